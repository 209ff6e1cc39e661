//! Holds kic against its peers and against the least that the work can take.
//!
//!     cargo run --release -p kic-bench
//!
//! Makes a corpus of images, serves it by the stock registry, and has kic, crane, skopeo and a floor fetch it in turns:
//! from loopback, and through a link of its own with a round trip and a speed. See the book, Benchmarks.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program for those who work on kic: it prints what it finds, and reads the environment"
)]
#![allow(missing_docs, reason = "a program is run, not called")]

mod corpus;
mod floor;
mod http;
mod local;
mod measure;
mod programs;
mod registry;
mod rounds;
mod slow_link;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

use corpus::Corpus;
use programs::{Job, Kind, Program};
use registry::Registry;
use rounds::{Measured, Plan, clear};
use slow_link::SlowLink;
use table::{Table, megabytes, ratio, seconds};

/// Anything that goes wrong ends the run, with its reason.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures kic against its peers and against the least that the work can take
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Floor>,
    /// A 64th of the bytes and one round: says that everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// Rounds over loopback; every program runs once in each
    #[arg(long)]
    rounds: Option<usize>,
    /// Rounds over the slow link
    #[arg(long)]
    slow_rounds: Option<usize>,
    /// Where the corpus and all output go; another file system measures that one
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Measure these builds of kic, instead of one made from here: to compare a change with what was before it
    #[arg(long, value_name = "NAME=PATH")]
    kic: Vec<String>,
    /// Leave out crane and skopeo
    #[arg(long)]
    no_peers: bool,
    /// Leave out all but the cold compile
    #[arg(long)]
    only_cold: bool,
    /// Leave out what is done with local files: nothing, little, and packing
    #[arg(long)]
    no_local: bool,
    /// Write the tables as Markdown, too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Floor {
    /// Fetches, hashes and writes images, and nothing else
    Floor(floor::Floor),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Some(Floor::Floor(floor)) => floor::run(floor),
        None => bench(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kic-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<()> {
    std::fs::create_dir_all(&arguments.folder)?;
    let folder = arguments.folder.canonicalize()?;
    let kics = kics(&arguments.kic)?;
    let Some(registry) = peer("docker-registry")? else {
        return Err("nothing can be measured without docker-registry (tests/peers/install)".into());
    };
    let mut peers = Vec::new();
    if !arguments.no_peers {
        for name in ["crane", "skopeo"] {
            let Some(path) = peer(name)? else { continue };
            let kind = if name == "crane" { Kind::Crane { path } } else { Kind::Skopeo { path } };
            peers.push(Program { name: name.to_owned(), kind });
        }
    }
    clear(&folder)?;
    let corpus = Corpus::at(&folder, arguments.quick)?;
    println!("{} images, {} in {} blobs", corpus.images.len(), megabytes(corpus.bytes), corpus.blobs);
    let registry = Registry::start(&registry, &corpus.data)?;
    let slow = SlowLink::start(&registry.host)?;
    let links = [
        Link {
            name: "Over loopback",
            host: &registry.host,
            rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 7 }),
            floor: Kind::Floor { connections: 4, part: 0 },
            verify: true,
            variants: &["-j 1", "-j 2", "-j 4", "-j 8"],
        },
        Link {
            name: "Over a link with 40 ms of round trip, 12 MB/s a connection and 100 MB/s in all",
            host: &slow.host,
            rounds: arguments.slow_rounds.unwrap_or(if arguments.quick { 1 } else { 3 }),
            floor: Kind::Floor { connections: 16, part: 4 << 20 },
            verify: false,
            variants: &[
                "-j 1",
                "-j 8",
                "--connections 4",
                "--connections 8",
                "--connections 12",
                "--connections 16",
            ],
        },
    ];
    let mut markdown = String::new();
    for link in links.iter().filter(|link| link.rounds > 0) {
        // Peers take their time over a slow link.
        let (peers, only_cold) = match link.host == slow.host && arguments.quick {
            true => (&[][..], true),
            false => (&peers[..], arguments.only_cold),
        };
        for table in measure(link, &kics, peers, &corpus, &folder, only_cold)? {
            println!("\n{}", table.text());
            markdown.push_str(&format!("{}\n", table.markdown()));
        }
    }
    if !arguments.no_local {
        let (runs, files, packings) = if arguments.quick { (3, 500, 1) } else { (25, 20_000, 5) };
        let job = Job { host: &registry.host, images: &corpus.images, folder: &folder.join("run-local") };
        let has_zstd = peer("zstd")?.is_some();
        for table in local::run(&local::Local { job, kics: &kics, runs, files, packings, has_zstd })? {
            println!("\n{}", table.text());
            markdown.push_str(&format!("{}\n", table.markdown()));
        }
    }
    if let Some(path) = &arguments.markdown {
        std::fs::write(path, markdown)?;
    }
    clear(&folder)
}

/// A way to the registry.
struct Link<'a> {
    name: &'static str,
    host: &'a str,
    rounds: usize,
    floor: Kind,
    /// Whether what kic compiled is verified.
    verify: bool,
    /// Arguments with which kic runs once more.
    variants: &'static [&'static str],
}

fn measure(
    link: &Link,
    kics: &[Program],
    peers: &[Program],
    corpus: &Corpus,
    folder: &Path,
    only_cold: bool,
) -> Result<Vec<Table>> {
    let floor = Program { name: "floor".to_owned(), kind: link.floor.clone() };
    let mut programs = vec![floor];
    programs.extend(kics.iter().chain(peers).cloned());
    let plan = Plan {
        host: link.host,
        images: &corpus.images,
        folder,
        rounds: link.rounds,
        only_cold,
        verify: link.verify,
    };
    let measured = rounds::run(&plan, &programs)?;
    let floor = measured.first().and_then(|measured| measured.cold);
    let mut head = vec![
        "",
        "cold",
        "to the floor",
        "again",
        "one file changed",
        "one image changed",
        "processor",
        "memory",
        "disk",
    ];
    if only_cold {
        head.drain(3..6);
    }
    let mut table = Table::new(format!("{}, medians of {} rounds", link.name, link.rounds), &head);
    for (program, measured) in programs.iter().zip(&measured) {
        table.rows.push(row(&program.name, measured, floor, only_cold));
    }
    let mut tables = vec![table];
    if link.verify {
        tables.push(verified(&programs, &measured));
    }
    if let (false, Some(Program { kind: Kind::Kic { path, .. }, .. })) = (only_cold, kics.last()) {
        let variants: Vec<Program> = link
            .variants
            .iter()
            .map(|variant| {
                let arguments = variant.split(' ').map(str::to_owned).collect();
                let kind = Kind::Kic { path: path.clone(), arguments };
                Program { name: (*variant).to_owned(), kind }
            })
            .collect();
        let measured = rounds::run(&Plan { only_cold: true, verify: false, ..plan }, &variants)?;
        let head = ["kic", "cold", "to the floor", "processor", "memory", "disk"];
        let mut table = Table::new(format!("{}, other numbers of jobs and connections", link.name), &head);
        for (program, measured) in variants.iter().zip(&measured) {
            table.rows.push(row(&program.name, measured, floor, true));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// How fast `kic verify` reads an image that lies in memory, against what the processors hash at the most.
fn verified(programs: &[Program], measured: &[Measured]) -> Table {
    let head = ["", "kic verify", "all processors hash", "share"];
    let mut table = Table::new("Verification of the image just compiled", &head);
    for (program, measured) in programs.iter().zip(measured) {
        let (Some(verified), Some(hashed)) = (measured.verified, measured.hashed) else { continue };
        let speed = |bytes: f64| format!("{:.0} MB/s", bytes / 1e6);
        let share = format!("{:.0} %", 100.0 * verified / hashed);
        table.rows.push(vec![program.name.clone(), speed(verified), speed(hashed), share]);
    }
    table
}

fn row(name: &str, measured: &Measured, floor: Option<std::time::Duration>, only_cold: bool) -> Vec<String> {
    let mut row = vec![name.to_owned(), seconds(measured.cold), ratio(measured.cold, floor)];
    if !only_cold {
        row.extend([measured.warm, measured.file_changed, measured.image_changed].map(seconds));
    }
    row.extend([seconds(measured.processor), megabytes(measured.peak.memory), megabytes(measured.peak.disk)]);
    row
}

/// The builds to measure: those named, else one made from this workspace.
fn kics(named: &[String]) -> Result<Vec<Program>> {
    let program = |name: &str, path: &Path| -> Result<Program> {
        let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Program { name: name.to_owned(), kind: Kind::Kic { path, arguments: Vec::new() } })
    };
    if !named.is_empty() {
        return named
            .iter()
            .map(|text| {
                let (name, path) = text.split_once('=').ok_or("write --kic NAME=PATH")?;
                program(name, Path::new(path))
            })
            .collect();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "-p", "kic-cli"]).current_dir(root());
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    if profile == "release" {
        command.arg("--release");
    }
    // What cargo tells this package of itself would make it build ring anew, and all that depends on it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if !command.status()?.success() {
        return Err("kic does not build".into());
    }
    // Beside this program, wherever cargo puts both.
    let path = std::env::current_exe()?.with_file_name("kic");
    Ok(vec![program("kic", &path)?])
}

fn root() -> &'static Path {
    const FOLDER: &str = env!("CARGO_MANIFEST_DIR");
    Path::new(FOLDER.strip_suffix("/tests/bench").unwrap_or(FOLDER))
}

/// A peer, looked for as the suite does: first among those that `tests/peers/install` built.
fn peer(name: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(root().join("target/peers/bin"))
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        let message = format!("the peer `{name}` is not installed: run tests/peers/install");
        if std::env::var("KIC_REQUIRE_PEERS").as_deref() == Ok("1") {
            return Err(message.into());
        }
        eprintln!("SKIPPED: {message}");
    }
    Ok(found)
}
