//! What a program takes: time, processor, memory, disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kic_base::Sha256;

use crate::Result;

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Taken {
    pub elapsed: Duration,
    /// Of all processors, user and system.
    pub processor: Duration,
}

/// The most that one run had at any time, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Peak {
    pub memory: u64,
    pub disk: u64,
}

/// Runs a command to its end.
pub fn timed(command: &mut Command) -> Result<Taken> {
    let before = processor_of_children()?;
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    let elapsed = began.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed ({}): {said}", output.status).into());
    }
    Ok(Taken { elapsed, processor: processor_of_children()?.saturating_sub(before) })
}

/// Runs a command to its end while looking at its memory and at what lies in `folder`. That takes time itself, so the
/// run is not timed.
pub fn peak(command: &mut Command, folder: &Path) -> Result<Peak> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = Peak::default();
    let mut looked = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let family = std::iter::once(child.id()).chain(children_of(child.id()));
        peak.memory = peak.memory.max(family.filter_map(resident).max().unwrap_or(0));
        if looked.elapsed() > Duration::from_millis(40) {
            peak.disk = peak.disk.max(disk(folder));
            looked = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    peak.disk = peak.disk.max(disk(folder));
    if status.success() { Ok(peak) } else { Err(format!("{command:?} failed ({status})").into()) }
}

/// Bytes a second that all processors together hash by SHA-256, from memory that is near.
pub fn hashing_speed() -> f64 {
    const PIECE: usize = 256 << 10;
    const ROUNDS: usize = 1000;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let piece = vec![1; PIECE];
                let mut hash = Sha256::new();
                (0..ROUNDS).for_each(|_| hash.update(&piece));
                hash.finish()
            });
        }
    });
    (cores * ROUNDS * PIECE) as f64 / began.elapsed().as_secs_f64()
}

/// The value in the middle.
pub fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort();
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2),
    }
}

/// The processor time of all children that ended, as Linux tells in ticks of 10 ms.
fn processor_of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may have spaces; the fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis(10 * (ticks(13) + ticks(14))))
}

/// A shell's programs.
fn children_of(process: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The most memory that a process had so far.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// The bytes of disk below a folder; a file with two names counts once.
pub fn disk(folder: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.blocks() * 512;
            }
        }
    }
    bytes
}
