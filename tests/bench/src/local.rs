//! What kic does with local files: nothing where nothing changed, little where little did, and packing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::measure::{Taken, median, timed};
use crate::programs::{Asking, Job, Kind, Program, write_manifest, write_manifests};
use crate::rounds::{put_aside, settle};
use crate::table::{Table, ratio, seconds};

/// What is measured, and how often.
pub struct Local<'a> {
    pub job: Job<'a>,
    pub kics: &'a [Program],
    pub runs: usize,
    /// The files of the tree, 25 KB each as a mean.
    pub files: usize,
    /// How often the tree is packed.
    pub packings: usize,
    /// Whether the peer is there.
    pub has_zstd: bool,
}

const MANIFESTS: usize = 500;

/// A file that changes within this time of another change may have the same time, and is read again.
const SETTLED: Duration = Duration::from_millis(50);

/// Both tables.
pub fn run(local: &Local) -> Result<Vec<Table>> {
    let tree = tree(local)?;
    let mut changes = Table::new(
        format!("Local files, medians of {} runs", local.runs),
        &["", "again", "one changed", "processor, again", "processor, one changed"],
    );
    let mut packing = Table::new(
        format!("{} files packed into one zstd layer, medians of {} runs", local.files, local.packings),
        &["", "elapsed", "to tar | zstd", "processor", "to tar | zstd"],
    );
    let (elapsed, processor) = if local.has_zstd { tar_zstd(local, &tree)? } else { (None, None) };
    packing.rows.push(packing_row("tar | zstd -3", elapsed, processor, elapsed, processor));
    for kic in local.kics {
        let Kind::Kic { path, .. } = &kic.kind else { continue };
        changes.rows.push(manifests(local, kic, path, Asking::Nothing)?);
        changes.rows.push(manifests(local, kic, path, Asking::Redirected)?);
        changes.rows.push(files(local, kic, path, &tree)?);
        for (name, arguments, known) in [
            ("files known", &[][..], true),
            ("files known, -j 1", &["-j", "1"], true),
            ("with hashing them first", &[], false),
        ] {
            let (own, own_processor) = pack(local, path, &tree, arguments, known)?;
            let name = format!("{}, {name}", kic.name);
            packing.rows.push(packing_row(&name, own, own_processor, elapsed, processor));
        }
    }
    Ok(vec![changes, packing])
}

fn packing_row(
    name: &str,
    elapsed: Option<Duration>,
    processor: Option<Duration>,
    peer: Option<Duration>,
    peer_processor: Option<Duration>,
) -> Vec<String> {
    vec![
        name.to_owned(),
        seconds(elapsed),
        ratio(elapsed, peer),
        seconds(processor),
        ratio(processor, peer_processor),
    ]
}

/// 500 manifests and the images of the corpus.
fn manifests(local: &Local, kic: &Program, path: &Path, asking: Asking) -> Result<Vec<String>> {
    let folder = local.job.folder;
    fresh(folder)?;
    write_manifests(&local.job, MANIFESTS, asking)?;
    let change = |round: usize| write_manifest(&local.job, round * 37 % MANIFESTS, round + 2, asking);
    let what = match asking {
        Asking::Nothing => "manifests",
        Asking::Redirected => "manifests that ask for them, redirected",
    };
    let name = format!("{}: {} images, {MANIFESTS} {what}", kic.name, local.job.images.len());
    row(local, name, path, folder, &change)
}

/// A tree of files.
fn files(local: &Local, kic: &Program, path: &Path, tree: &Path) -> Result<Vec<String>> {
    let folder = local.job.folder;
    fresh(folder)?;
    fs::write(folder.join("cluster.kdl"), spec(tree, ""))?;
    let change = |round: usize| -> Result<()> {
        let number = round * 7919 % local.files;
        Ok(fs::write(file(tree, number), body(number + round + 1_000_000, size(number)))?)
    };
    let row = row(local, format!("{}: {} files", kic.name, local.files), path, folder, &change)?;
    // As it was, for whoever comes next.
    for round in 0..local.runs {
        let number = round * 7919 % local.files;
        fs::write(file(tree, number), body(number, size(number)))?;
    }
    Ok(row)
}

fn row(
    local: &Local,
    name: String,
    kic: &Path,
    folder: &Path,
    change: &dyn Fn(usize) -> Result<()>,
) -> Result<Vec<String>> {
    let run = || timed(&mut command(kic, folder, &["-o", "out"]));
    run()?;
    // What was written just before the first run is read once more.
    std::thread::sleep(SETTLED);
    run()?;
    // The disk is still taking what was fetched and written for all this, for half a minute and more: beside that, everything takes longer.
    Command::new("sync").status()?;
    let again = (0..local.runs).map(|_| run()).collect::<Result<Vec<_>>>()?;
    let mut changed = Vec::new();
    for round in 0..local.runs {
        change(round)?;
        std::thread::sleep(SETTLED);
        changed.push(run()?);
    }
    let elapsed = |taken: &[Taken]| median(taken.iter().map(|taken| taken.elapsed).collect());
    // The processor's time is told in ticks that are longer than a run.
    let processor = |taken: &[Taken]| {
        let all: Duration = taken.iter().map(|taken| taken.processor).sum();
        u32::try_from(taken.len()).ok().and_then(|count| all.checked_div(count))
    };
    let cells = [elapsed(&again), elapsed(&changed), processor(&again), processor(&changed)].map(seconds);
    eprintln!("{name}: {}, {}", cells[0], cells[1]);
    Ok(std::iter::once(name).chain(cells).collect())
}

/// Into an empty store; the index of the files, where they are known, is that of a run before.
fn pack(
    local: &Local,
    kic: &Path,
    tree: &Path,
    arguments: &[&str],
    known: bool,
) -> Result<(Option<Duration>, Option<Duration>)> {
    let folder = local.job.folder;
    let mut taken = Vec::new();
    for _ in 0..local.packings {
        fresh(folder)?;
        fs::write(folder.join("cluster.kdl"), spec(tree, " split=#false"))?;
        let arguments = [&["--no-output"], arguments].concat();
        if known {
            timed(&mut command(kic, folder, &arguments))?;
            for gone in ["blobs", "outputs", "roots"] {
                away(folder, &folder.join("store").join(gone))?;
            }
        }
        settle(folder)?;
        taken.push(timed(&mut command(kic, folder, &arguments))?);
    }
    Ok(medians(&taken))
}

fn tar_zstd(local: &Local, tree: &Path) -> Result<(Option<Duration>, Option<Duration>)> {
    let folder = local.job.folder;
    let mut taken = Vec::new();
    for _ in 0..local.packings {
        fresh(folder)?;
        settle(folder)?;
        let mut command = Command::new("sh");
        command.args(["-c", "tar -C \"$0\" -cf - . | zstd -q -3 -o layer.tar.zst"]);
        taken.push(timed(command.arg(tree).current_dir(folder))?);
    }
    Ok(medians(&taken))
}

fn medians(taken: &[Taken]) -> (Option<Duration>, Option<Duration>) {
    let of = |time: fn(&Taken) -> Duration| median(taken.iter().map(time).collect());
    (of(|taken| taken.elapsed), of(|taken| taken.processor))
}

fn command(kic: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(kic);
    command.current_dir(folder).args(["compile", "cluster.kdl", "--store", "store"]).args(arguments);
    command
}

fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        away(folder, folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

/// Puts what a run left aside.
fn away(folder: &Path, gone: &Path) -> Result<()> {
    put_aside(gone, folder.parent().unwrap_or(folder))
}

fn spec(tree: &Path, more: &str) -> String {
    format!(
        "cluster \"tree\" {{\n    base scratch\n    files \"tree\"{more} {{\n        copy \"{}\" to=\"/opt/tree\"\n    }}\n}}\n",
        tree.display()
    )
}

/// The tree, made where it is not there.
fn tree(local: &Local) -> Result<PathBuf> {
    let beside = local.job.folder.parent().unwrap_or(local.job.folder);
    let tree = beside.join(format!("tree-{}", local.files));
    let stamp = tree.with_extension("whole");
    if !stamp.exists() {
        for number in 0..local.files {
            let path = file(&tree, number);
            if number % 100 == 0
                && let Some(folder) = path.parent()
            {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, body(number, size(number)))?;
        }
        fs::write(stamp, "")?;
    }
    Ok(tree)
}

fn file(tree: &Path, number: usize) -> PathBuf {
    tree.join(format!("d{:02}/s{:03}/f{number:05}.txt", number / 1000, number / 100))
}

fn size(number: usize) -> usize {
    5_000 + number * 7_919 % 40_000
}

/// About as compressible as programs and texts are: words of a small vocabulary between numbers.
fn body(number: usize, size: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut bytes = Vec::with_capacity(size + 32);
    while bytes.len() < size {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let word = ["image", "registry", "layer", "manifest"][(state >> 62) as usize];
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(&state.to_le_bytes()[5..]);
    }
    bytes.truncate(size);
    bytes
}
