//! containerd, started and stopped by a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::kic::shown;
use super::peers::peer;

/// A daemon with folders of its own; it stops when this value goes.
pub struct Containerd {
    child: Child,
    folder: PathBuf,
    ctr: PathBuf,
}

impl Containerd {
    /// `None`, with a loud word, where it is not installed or may not do its work: it needs root, and mounts.
    pub fn start(folder: &Path) -> Option<Self> {
        let (program, ctr) = (peer("containerd")?, peer("ctr")?);
        let (root, state, socket) = (folder.join("root"), folder.join("state"), folder.join("socket"));
        let configuration = format!(
            "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\n  address = {socket:?}\n"
        );
        fs::write(folder.join("config.toml"), configuration).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(folder.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut daemon = Self { child: command.spawn().unwrap(), folder: folder.to_owned(), ctr };
        let began = Instant::now();
        while daemon.child.try_wait().unwrap().is_none() && began.elapsed() < Duration::from_secs(20) {
            if daemon.ctr(&["version"]).output().unwrap().status.success() {
                return Some(daemon);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        eprintln!("SKIPPED: containerd does not start here, so nothing was tried with it:\n{log}");
        None
    }

    /// A call of its client, in a namespace of the tests.
    pub fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.ctr);
        command
            .arg("--address")
            .arg(self.folder.join("socket"))
            .args(["--namespace", "kic-tests"])
            .args(arguments);
        command
    }

    /// What a call said that unpacks an image; `None`, with a loud word, where containers may not mount. A call that fails
    /// for another reason fails the test.
    pub fn unpacking(command: &mut Command) -> Option<Output> {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("operation not permitted") || said.contains("permission denied") {
            eprintln!("SKIPPED: containerd may not mount here, so it unpacked nothing: {said}");
            return None;
        }
        assert!(output.status.success(), "{command:?}: {}", shown(&output));
        Some(output)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
