//! containerd imports the archives that kic writes, and unpacks them to the same tree as `kic unpack`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;
use crate::support::root;
use crate::support::tree::assert_same;

/// A daemon with folders of its own; it stops when this value goes.
struct Containerd {
    child: Child,
    folder: PathBuf,
    ctr: PathBuf,
}

impl Containerd {
    /// `None`, with a loud word, where it is not installed or may not do its work: it needs root, and mounts.
    fn start(folder: &Path) -> Option<Self> {
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
        eprintln!("SKIPPED: containerd does not start here, so it imported nothing:\n{log}");
        None
    }

    fn ctr(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.ctr);
        command
            .arg("--address")
            .arg(self.folder.join("socket"))
            .args(["--namespace", "kic-tests"])
            .args(arguments);
        command
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn containerd_imports_an_archive_and_unpacks_it_to_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(daemon) = Containerd::start(folder) else { return };
    let spec = root().join("examples/hello/cluster.kdl");
    let spec = spec.to_str().unwrap();
    let ours =
        |arguments: &[&str]| stdout(kic(folder, &folder.join("store")).args(arguments)).trim().to_owned();
    let digest = ours(&["compile", spec, "--quiet", "-o", "hello.tar"]);
    ours(&["unpack", "hello.tar", "ours"]);
    // Whole folders, and no overlay, which a container may not be allowed to mount.
    let archive = folder.join("hello.tar");
    let import = ["images", "import", "--snapshotter", "native", "--base-name", "example.com/hello"];
    let output = daemon.ctr(&import).arg(archive).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("operation not permitted") || said.contains("permission denied") {
        eprintln!("SKIPPED: containerd may not mount here, so it unpacked nothing: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
    let list = stdout(&mut daemon.ctr(&["images", "list"]));
    assert!(list.contains("example.com/hello:v1") && list.contains(&digest), "{list}");
    // The snapshot of the uppermost layer is the newest.
    let snapshots = fs::read_dir(folder.join("root/io.containerd.snapshotter.v1.native/snapshots")).unwrap();
    let snapshots = snapshots.map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap_or(0);
    assert_same(&folder.join("ours"), &snapshots.max_by_key(number).unwrap());
}
