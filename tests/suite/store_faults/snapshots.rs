//! Power failures on the file systems that people have: a snapshot of the disk at a moment of chance is what the machine finds when it starts
//! again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::Place;
use crate::support::disk_file::{make, mount};
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::shown;
use crate::support::repeats::{chance, rounds};

/// A machine whose disk is a file. It goes with the value.
struct Machine {
    /// Where the disk is mounted.
    path: PathBuf,
    /// A file system that takes a snapshot of a file in one step, on a disk of its own.
    around: PathBuf,
    /// How a disk that was in use when the power failed is mounted.
    options: &'static str,
    /// How long the real machine ran when this one started, in seconds.
    started: u64,
}

impl Machine {
    /// `None`, with a loud word, where there can be none.
    fn start(folder: &Path, kind: &str) -> Option<Self> {
        let around = folder.join("around");
        let mut machine = Self {
            path: folder.join("disk"),
            options: if kind == "xfs" { "loop,nouuid" } else { "loop" },
            around,
            started: uptime(),
        };
        for path in [&machine.path, &machine.around] {
            fs::create_dir(path).unwrap();
        }
        let own = machine.within(Command::new("cat").arg("/proc/uptime")).output().ok()?;
        let begun = String::from_utf8_lossy(&own.stdout).starts_with("0.");
        make(&folder.join("around.img"), "xfs", 2 << 30)?;
        if !begun || !mount(&folder.join("around.img"), &machine.around, "loop") {
            eprintln!(
                "SKIPPED: no disk of {kind} whose power fails: it takes root, loop devices and time namespaces"
            );
            return None;
        }
        make(&machine.disk(), kind, 1 << 30)?;
        assert!(mount(&machine.disk(), &machine.path, machine.options), "{kind}");
        machine.started = uptime();
        Some(machine)
    }

    fn disk(&self) -> PathBuf {
        self.around.join("disk.img")
    }

    /// The power fails: of what was written the disk has what it has just now. Then the machine starts again.
    fn fail(&mut self, during: &mut std::process::Child) {
        let snapshot = self.around.join("snapshot.img");
        run(Command::new("cp").arg("--reflink=always").arg(self.disk()).arg(&snapshot));
        drop(during.kill());
        during.wait().unwrap();
        run(Command::new("umount").arg(&self.path));
        fs::rename(&snapshot, self.disk()).unwrap();
        assert!(mount(&self.disk(), &self.path, self.options), "its journal is of no use");
        // Whole seconds are all that a clock is set by: so that what was written is older than the start.
        std::thread::sleep(Duration::from_millis(1100));
        self.started = uptime();
    }

    /// The command, with the clock of this machine.
    fn within(&self, command: &mut Command) -> Command {
        let mut within = Command::new("unshare");
        within.args(["--time", "--boottime", &format!("-{}", self.started)]).arg(command.get_program());
        within.args(command.get_args()).stdin(Stdio::null()).env_clear();
        within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        within.current_dir(command.get_current_dir().unwrap_or(Path::new("/")));
        within
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for path in [&self.path, &self.around] {
            drop(Command::new("umount").arg("-l").arg(path).stderr(Stdio::null()).status());
        }
    }
}

/// How long the machine runs, in whole seconds.
fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}

fn run(command: &mut Command) -> Output {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", shown(&done));
    done
}

#[test]
fn whatever_a_disk_has_when_the_power_fails_the_next_compile_makes_whole() {
    let place = Place::new();
    let file = fs::read(place.path("tree/3/file")).unwrap();
    let mut random = chance(83);
    for kind in ["ext4", "xfs", "btrfs"] {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut machine) = Machine::start(folder.path(), kind) else { return };
        let (store, output) = (machine.path.join("store"), machine.path.join("out.oci"));
        for round in 0..rounds(4) {
            let when = format!("{kind}, round {round}");
            // Every other time there is all to do, else a little: on a disk that has what was there before, or does not have it yet.
            if round % 2 == 0 {
                drop(fs::remove_dir_all(&store));
                drop(fs::remove_dir_all(&output));
            } else if random.below(2) == 0 {
                run(&mut Command::new("sync"));
            }
            place.specs.write("tree/3/file", format!("{when}\n").as_bytes());
            let mut changed = machine.within(&mut place.command(&store, &output));
            let mut child = changed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let length = u64::try_from(place.specs.length.as_micros()).unwrap();
            // Sometimes right after it, when hardly anything has reached the disk.
            std::thread::sleep(Duration::from_micros(random.below(length * 2)));
            // Another program syncs a file of its own: with it go names, and not what the files hold that have them.
            if random.below(2) == 0 {
                let mut other = fs::File::create(machine.path.join("other")).unwrap();
                other.write_all(when.as_bytes()).and_then(|()| other.sync_all()).unwrap();
            }
            machine.fail(&mut child);

            place.specs.write("tree/3/file", &file);
            let next = run(&mut machine.within(&mut place.command(&store, &output)));
            assert_eq!(root_digest(&output), place.golden(), "{when}: {}", shown(&next));
            assert_valid(&output);
            // What it gave is not doubted again.
            let again = run(&mut machine.within(&mut place.command(&store, &output)));
            assert_eq!(again.stdout, next.stdout, "{when}");
        }
    }
}
