use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio_util::sync::CancellationToken;

use super::Programs;

/// More output of a program is not taken, in bytes.
pub(super) const OUTPUT_LIMIT: u64 = 32 << 20;

/// Of what a program says on standard error, this much is kept.
const SAID_LIMIT: u64 = 64 << 10;

/// How to run a program.
pub(super) struct Run<'a> {
    pub program: &'a Path,
    pub arguments: &'a [String],
    /// The folder that it runs in.
    pub folder: &'a Path,
    /// An empty folder for what it may want to keep.
    pub home: &'a Path,
    /// The time zone, where it asks for the time of day.
    pub time_zone: &'a str,
}

/// What a program gave.
pub(super) struct Finished {
    pub status: ExitStatus,
    pub output: Vec<u8>,
    pub said: String,
}

/// Why a program gave nothing.
#[derive(Debug)]
pub(super) enum RunError {
    Start(io::Error),
    Read(io::Error),
    TooSlow(Duration),
    TooMuch,
    Interrupted,
}

/// Runs a program to its end, or ends it, and whatever it started, in time.
pub(super) fn run(run: &Run, programs: &Programs, cancel: &CancellationToken) -> Result<Finished, RunError> {
    let mut child = start(run, programs).map_err(RunError::Start)?;
    let too_much = Arc::new(AtomicBool::new(false));
    let output = read(child.stdout.take(), OUTPUT_LIMIT, Some(Arc::clone(&too_much)));
    let said = read(child.stderr.take(), SAID_LIMIT, None);
    let begin = Instant::now();
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) => {}
            Err(error) => break Err(RunError::Read(error)),
        }
        if cancel.is_cancelled() {
            break Err(RunError::Interrupted);
        }
        if begin.elapsed() > programs.time_limit {
            break Err(RunError::TooSlow(programs.time_limit));
        }
        if too_much.load(Ordering::Relaxed) {
            break Err(RunError::TooMuch);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // What it started must neither go on nor hold the pipes.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if ended.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = ended?;
    let (output, said) = (receive(&output)?, receive(&said)?);
    if too_much.load(Ordering::Relaxed) {
        return Err(RunError::TooMuch);
    }
    Ok(Finished { status, output, said: String::from_utf8_lossy(&said).into_owned() })
}

fn start(run: &Run, programs: &Programs) -> io::Result<Child> {
    let mut command = Command::new(run.program);
    command
        .args(run.arguments)
        .current_dir(run.folder)
        .env_clear()
        .envs(environment(run, programs))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut tries = 0;
    loop {
        match command.spawn() {
            // It is being installed at this moment.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < 50 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            started => return started,
        }
    }
}

/// Nothing of the user's but `PATH`, folders of its own, and a proxy that nobody answers at.
fn environment<'a>(run: &Run<'a>, programs: &Programs) -> Vec<(&'static str, std::ffi::OsString)> {
    let home = run.home.as_os_str();
    let mut all = vec![("PATH", std::env::join_paths(&programs.folders).unwrap_or_default())];
    for name in [
        "HOME",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "HELM_CACHE_HOME",
        "HELM_CONFIG_HOME",
        "HELM_DATA_HOME",
        "HELM_PLUGINS",
        "KUSTOMIZE_PLUGIN_HOME",
    ] {
        all.push((name, home.to_owned()));
    }
    for (name, value) in [
        ("HELM_NO_PLUGINS", "1"),
        ("KUBECONFIG", "/dev/null"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", run.time_zone),
    ] {
        all.push((name, OsStr::new(value).to_owned()));
    }
    all
}

/// Reads a pipe on a thread of its own; what is over the limit is not kept, and noted.
fn read(
    pipe: Option<impl Read + Send + 'static>,
    limit: u64,
    over: Option<Arc<AtomicBool>>,
) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = pipe.map_or(Ok(0), |mut pipe| {
            pipe.by_ref().take(limit).read_to_end(&mut bytes)?;
            let more = io::copy(&mut pipe.by_ref().take(1), &mut io::sink())?;
            if let (1.., Some(over)) = (more, &over) {
                over.store(true, Ordering::Relaxed);
            }
            // A full pipe would hold the program up.
            io::copy(&mut pipe, &mut io::sink())
        });
        let _ = sender.send(result.map(|_| bytes));
    });
    receiver
}

/// A process that left the group may hold the pipe for ever.
fn receive(reader: &mpsc::Receiver<io::Result<Vec<u8>>>) -> Result<Vec<u8>, RunError> {
    match reader.recv_timeout(Duration::from_secs(5)) {
        Ok(bytes) => bytes.map_err(RunError::Read),
        Err(_) => Err(RunError::Read(io::ErrorKind::TimedOut.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(
        script: &str,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> (Result<Finished, RunError>, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let asked = Run {
            program: Path::new("/bin/sh"),
            arguments: &arguments,
            folder: folder.path(),
            home: folder.path(),
            time_zone: "UTC",
        };
        let folders = vec!["/usr/bin".into(), "/bin".into()];
        let begin = Instant::now();
        let result = run(&asked, &Programs { folders, time_limit: limit }, cancel);
        (result, begin.elapsed())
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
        let (short, none) = (Duration::from_millis(200), CancellationToken::new());
        let (result, elapsed) = shell("sleep 60 & sleep 60", short, &none);
        assert!(
            matches!(result, Err(RunError::TooSlow(_))) && elapsed < Duration::from_secs(20),
            "{elapsed:?}"
        );
        // One that leaves a process behind which holds the pipe.
        let (result, elapsed) = shell("sleep 60 & echo a", Duration::from_secs(60), &none);
        assert_eq!(result.unwrap().output, b"a\n");
        assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let (result, _) = shell("sleep 60", Duration::from_secs(60), &cancelled);
        assert!(matches!(result, Err(RunError::Interrupted)));
    }

    #[test]
    fn more_than_the_bound_is_refused_and_long_errors_are_cut() {
        let none = CancellationToken::new();
        let (result, _) = shell("yes", Duration::from_secs(60), &none);
        assert!(matches!(result, Err(RunError::TooMuch)));
        let (result, _) = shell("head -c 200000 /dev/zero >&2; exit 3", Duration::from_secs(60), &none);
        let finished = result.unwrap();
        assert_eq!((finished.status.code(), finished.said.len()), (Some(3), 65_536));
    }
}
