//! Every program in turn, round after round: what disturbs the machine for a while disturbs all alike.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::measure::{Peak, Taken, disk, hashing_speed, median, peak, timed};
use crate::programs::{Job, Program, change_file, change_images, verify, with_one_changed};

/// What to run.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    pub host: &'a str,
    pub images: &'a [String],
    pub folder: &'a Path,
    pub rounds: usize,
    pub only_cold: bool,
    pub verify: bool,
}

/// The medians of one program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub cold: Option<Duration>,
    /// Of the cold run.
    pub processor: Option<Duration>,
    pub warm: Option<Duration>,
    pub file_changed: Option<Duration>,
    pub image_changed: Option<Duration>,
    /// Bytes a second that `kic verify` reads of the image.
    pub verified: Option<f64>,
    /// Bytes a second that the processors hash, looked at beside it.
    pub hashed: Option<f64>,
    /// Of the cold run.
    pub peak: Peak,
}

#[derive(Default)]
struct Runs {
    cold: Vec<Taken>,
    warm: Vec<Taken>,
    file_changed: Vec<Taken>,
    image_changed: Vec<Taken>,
    verified: Vec<f64>,
    hashed: Vec<f64>,
    peak: Peak,
}

/// Runs the rounds, and one more that looks at memory and disk.
pub fn run(plan: &Plan, programs: &[Program]) -> Result<Vec<Measured>> {
    let mut runs: Vec<Runs> = programs.iter().map(|_| Runs::default()).collect();
    for round in 0..=plan.rounds {
        for (number, (program, runs)) in programs.iter().zip(&mut runs).enumerate() {
            let folder = plan.folder.join(format!("run-{number}"));
            let job = Job { host: plan.host, images: plan.images, folder: &folder };
            program.prepare(&job)?;
            settle(plan.folder)?;
            if round == plan.rounds {
                runs.peak = peak(&mut program.command(&job)?, &folder)?;
            } else {
                runs.cold.push(timed(&mut program.command(&job)?)?);
                eprintln!("{} {}: {:.2?}", round + 1, program.name, runs.cold[round].elapsed);
                if let Some(mut command) = verify(program, &job).filter(|_| plan.verify) {
                    let bytes = disk(&folder.join("out")) as f64;
                    runs.hashed.push(hashing_speed());
                    runs.verified.push(bytes / timed(&mut command)?.elapsed.as_secs_f64());
                }
                if !plan.only_cold && !program.is_floor() {
                    changes(program, &job, round, runs)?;
                }
            }
            put_aside(&folder, plan.folder)?;
        }
    }
    let middle = |runs: &[Taken]| median(runs.iter().map(|taken| taken.elapsed).collect());
    Ok(runs
        .iter()
        .map(|runs| Measured {
            cold: middle(&runs.cold),
            processor: median(runs.cold.iter().map(|taken| taken.processor).collect()),
            warm: middle(&runs.warm),
            file_changed: middle(&runs.file_changed),
            image_changed: middle(&runs.image_changed),
            verified: median_of(&runs.verified),
            hashed: median_of(&runs.hashed),
            peak: runs.peak,
        })
        .collect())
}

fn median_of(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Over what the cold run left: nothing new, one file, one image.
fn changes(program: &Program, job: &Job, round: usize, runs: &mut Runs) -> Result<()> {
    runs.warm.push(timed(&mut program.command(job)?)?);
    if program.is_kic() {
        change_file(job, round + 1)?;
        runs.file_changed.push(timed(&mut program.command(job)?)?);
    }
    let images = with_one_changed(job.images);
    let job = Job { images: &images, ..*job };
    if program.is_kic() {
        change_images(&job)?;
    }
    runs.image_changed.push(timed(&mut program.command(&job)?)?);
    Ok(())
}

/// The folder below the benchmark's own of what is measured.
const ASIDE: &str = "aside";

/// Gives the bytes of a run free, and leaves its files below `bench` where nobody looks, until all is measured: ext4 without a journal
/// does not use a file's place again for some minutes, and looks through all that were given free for each new file, so that programs
/// would pay for each other's.
pub fn put_aside(gone: &Path, bench: &Path) -> Result<()> {
    let mut folders = vec![gone.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, entry.path());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
                File::create(&path)?;
            }
        }
    }
    let aside = bench.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let number = fs::read_dir(&aside)?.count();
    Ok(fs::rename(gone, aside.join(number.to_string()))?)
}

/// Removes what was put aside, and what a run that was interrupted left.
pub fn clear(bench: &Path) -> Result<()> {
    for entry in fs::read_dir(bench)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == ASIDE || name.to_str().is_some_and(|name| name.starts_with("run-")) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Lets the disk come to rest, so that nobody pays for the writes of another.
pub fn settle(folder: &Path) -> Result<()> {
    let status = Command::new("sync").arg("--file-system").arg(folder).status()?;
    if status.success() { Ok(()) } else { Err("sync failed".into()) }
}
