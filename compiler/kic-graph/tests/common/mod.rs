//! A machine for a readiness script: one folder on `PATH` that holds just the programs which the script may
//! use, and a stand-in for kubectl.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kic_graph::readiness_script;
use kic_spec::readiness::{Check, CheckKind};
use tempfile::TempDir;

/// What a script may use besides kubectl, curl and wget.
const PROGRAMS: &[&str] =
    &["date", "head", "mktemp", "rm", "sed", "sh", "sleep", "tail", "tr", "uniq", "cat"];

/// A check that is expected to fail, soon.
pub fn hasty(what: CheckKind) -> Check {
    Check { what, timeout_seconds: 1, interval_seconds: 1 }
}

/// A check that is expected to pass, however busy this machine is.
pub fn patient(what: CheckKind) -> Check {
    Check { what, timeout_seconds: 60, interval_seconds: 1 }
}

pub fn exists(resource: &str) -> CheckKind {
    CheckKind::Exists { resource: resource.into(), namespace: None }
}

pub fn command(command: &str) -> CheckKind {
    CheckKind::Command { command: command.into() }
}

/// The program's path, where this machine has it. A missing one is said loudly, and is a failure under
/// `KIC_REQUIRE_PEERS=1`.
#[allow(clippy::disallowed_methods)]
pub fn peer(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        let required = std::env::var_os("KIC_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "{program} is missing: run tests/peers/install");
        eprintln!("SKIPPED: no {program} (tests/peers/install)");
    }
    found
}

/// A machine, and the shell that runs scripts on it.
pub struct Machine {
    folder: TempDir,
    shell: Vec<PathBuf>,
}

/// How a script ended.
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// Does `what` on a machine for each shell that is here, all at once: the system's, dash, and busybox with
/// busybox's own programs.
pub fn on_every_machine(what: impl Fn(&Machine) + Sync) {
    for_each_on_every_machine(&[()], |(), machine| what(machine));
}

/// Does `what` with every case on a machine of its own for each shell that is here, all at once.
pub fn for_each_on_every_machine<T: Sync>(cases: &[T], what: impl Fn(&T, &Machine) + Sync) {
    let dash = peer("dash");
    let busybox = peer("busybox");
    std::thread::scope(|scope| {
        for case in cases {
            let mut machines = vec![Machine::new(vec!["/bin/sh".into()], None)];
            machines.extend(dash.clone().map(|dash| Machine::new(vec![dash], None)));
            machines
                .extend(busybox.iter().map(|path| Machine::new(vec![path.clone(), "sh".into()], Some(path))));
            for machine in machines {
                let what = &what;
                scope.spawn(move || what(case, &machine));
            }
        }
    });
}

impl Machine {
    /// `busybox` gives all programs where it is named; otherwise the system does.
    pub fn new(shell: Vec<PathBuf>, busybox: Option<&Path>) -> Self {
        let machine = Self { folder: TempDir::new().unwrap(), shell };
        fs::create_dir(machine.folder.path().join("bin")).unwrap();
        fs::create_dir(machine.folder.path().join("tmp")).unwrap();
        for program in PROGRAMS {
            let target = busybox.map_or_else(|| peer(program).unwrap(), Path::to_owned);
            machine.link(program, &target);
        }
        machine
    }

    /// Puts a program on the machine.
    pub fn link(&self, program: &str, target: &Path) {
        symlink(target, self.folder.path().join("bin").join(program)).unwrap();
    }

    /// Puts a shell script on the machine; `$here` is a folder where it may leave files.
    pub fn stand_in(&self, program: &str, body: &str) -> PathBuf {
        let path = self.folder.path().join("bin").join(program);
        let _ = fs::remove_file(&path);
        let here = self.folder.path().display();
        fs::write(&path, format!("#!/bin/sh\nhere={here}\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What a stand-in left in that file.
    pub fn left(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path().join(file)).unwrap()
    }

    /// The folder of the machine.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the script of these checks.
    pub fn start(&self, name: &str, checks: &[Check], arguments: &[&str], kubectl: Option<&str>) -> Child {
        let script = self.folder.path().join("wait.sh");
        fs::write(&script, readiness_script(name, checks)).unwrap();
        let mut process = Command::new(&self.shell[0]);
        process.args(&self.shell[1..]).arg(&script).args(arguments).env_clear();
        process.env("PATH", self.folder.path().join("bin")).env("TMPDIR", self.folder.path().join("tmp"));
        if let Some(kubectl) = kubectl {
            process.env("KUBECTL", kubectl);
        }
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the script of these checks to its end; it must leave nothing in the folder for temporary files.
    pub fn run(&self, name: &str, checks: &[Check], arguments: &[&str], kubectl: Option<&str>) -> Outcome {
        let begin = Instant::now();
        let output = self.start(name, checks, arguments, kubectl).wait_with_output().unwrap();
        assert_eq!(self.temporary_files(), 0, "temporary files left behind by {:?}", self.shell);
        Outcome {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: begin.elapsed(),
        }
    }

    /// How many temporary files and folders there are.
    pub fn temporary_files(&self) -> usize {
        fs::read_dir(self.folder.path().join("tmp")).unwrap().count()
    }

    /// [`Self::run`] without anything special.
    pub fn wait_for(&self, checks: &[Check]) -> Outcome {
        self.run("shop", checks, &[], None)
    }
}
