//! Downloads that are cut off when a run ends: the next run asks only for the rest, and gives the same image.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kic_base::Digest;
use kic_registry::scripted_server::{Reply, Request};
use rustix::fs::SeekFrom;

use crate::faults::Ended;
use crate::support::kic::{json, kic, shown, stdout};
use crate::support::killing::{send, wait};
use crate::support::repeats::{chance, kills};
use crate::support::server::Server;
use crate::support::sharing_specs::names;
use crate::support::synthetic_image::{Family, SyntheticImage};

/// More than kic takes in one stream.
const LARGE: usize = 24 << 20;

/// What becomes of the good answer for the layer, given how many requests for it came before in the same run.
type Manner = fn(&Request, usize, Reply, &[u8]) -> Reply;

/// What happens to the kept file between the runs.
type Between = fn(&Path);

/// A registry with an image of one large layer, and specs that want it as a part of a registry cache and as their base.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
    manner: Arc<Mutex<(Manner, usize)>>,
    layer: Digest,
    /// Its size.
    size: u64,
}

/// What the specs want the image for.
const SPECS: [&str; 2] = ["cache", "base"];

impl Place {
    fn new() -> Self {
        let image = SyntheticImage::new(Family::Oci, "amd64", &[(9, LARGE)]);
        let (layer, size) = (Digest::of(&image.blobs[1]), image.blobs[1].len() as u64);
        let manner: Arc<Mutex<(Manner, usize)>> = Arc::new(Mutex::new((good, 0)));
        let shared = Arc::clone(&manner);
        let server = Server::start(move |request| {
            let path = request.path();
            if path.contains("/manifests/") {
                let reply = Reply::new(200).header("content-type", image.media_type);
                reply.header("docker-content-digest", &image.digest()).body(&image.manifest)
            } else if path.ends_with(&layer.to_string()) {
                let mut manner = shared.lock().unwrap();
                manner.1 += 1;
                manner.0(request, manner.1 - 1, Reply::file(request, &image.blobs[1]), &image.blobs[1])
            } else {
                Reply::file(request, &image.blobs[0])
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let image = format!("{}/large:v1", server.host());
        for (name, text) in [
            ("cache", format!("base scratch\n registry \"sea.hub:5000\" {{ image \"{image}\"; }}")),
            ("base", format!("base \"{image}\"")),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            let text = format!("cluster \"large\" {{\n {text}\n}}\n");
            fs::write(folder.path().join(name).join("cluster.kdl"), text).unwrap();
        }
        Self { folder, server, manner, layer, size }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Begins a compile, for which the registry has these manners.
    fn begin(&self, spec: &str, store: &Path, manner: Manner) -> Child {
        *self.manner.lock().unwrap() = (manner, 0);
        let mut command = kic(&self.folder.path().join(spec), store);
        command.args(["compile", "--quiet", "--no-output"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn compile(&self, spec: &str, store: &Path, manner: Manner) -> Output {
        self.begin(spec, store, manner).wait_with_output().unwrap()
    }

    /// The bytes that the fullest file on its way holds.
    fn taken(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.store().join("tmp")) else { return 0 };
        entries.flatten().filter_map(|entry| held(&fs::File::open(entry.path()).ok()?)).max().unwrap_or(0)
    }

    /// Compiles, and asks that to end once some MiB of the layer came.
    fn interrupt(&self, spec: &str, signal: &str) {
        let mut child = self.begin(spec, &self.store(), slow);
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.taken() < 6 << 20 {
            assert!(child.try_wait().unwrap().is_none(), "{}", shown(&child.wait_with_output().unwrap()));
            assert!(Instant::now() < deadline, "nothing comes");
            std::thread::sleep(Duration::from_millis(2));
        }
        send(&child, signal);
        assert_eq!(wait(&mut child, signal).code(), Some(130), "{signal}");
    }

    fn unfinished(&self) -> PathBuf {
        self.store().join("partial").join(self.layer.hex())
    }

    /// The ranges of the layer that were asked for since so many requests.
    fn asked_since(&self, before: usize) -> Vec<Range<u64>> {
        let requests = self.server.requests();
        let of_layer =
            requests[before..].iter().filter(|request| request.path().ends_with(&self.layer.to_string()));
        of_layer.map(|request| range(request.header("range"), self.size)).collect()
    }
}

/// How many bytes a file holds, the holes in it and what a file system has put by for it left out.
fn held(file: &fs::File) -> Option<u64> {
    let (mut held, mut end) = (0, 0);
    while let Ok(begin) = rustix::fs::seek(file, SeekFrom::Data(end)) {
        end = rustix::fs::seek(file, SeekFrom::Hole(begin)).ok()?;
        held += end - begin;
    }
    // Some file systems know of no holes.
    Some(held.min(file.metadata().ok()?.blocks() * 512))
}

/// The range of a blob that a request asks for.
fn range(header: Option<&str>, size: u64) -> Range<u64> {
    let Some(range) = header.and_then(|range| range.strip_prefix("bytes=")) else { return 0..size };
    let (from, to) = range.split_once('-').unwrap();
    from.parse().unwrap()..to.parse().map_or(size, |to: u64| to + 1)
}

/// How many bytes of its blob a file says that it has.
fn recorded(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let (rest, length) = bytes.split_at(bytes.len() - 8);
    let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
    let text = String::from_utf8(rest[rest.len() - length..].to_vec()).unwrap();
    let record: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let ranges = record["ranges"].as_array().unwrap().iter();
    ranges.map(|range| range[1].as_u64().unwrap() - range[0].as_u64().unwrap()).sum()
}

fn good(_: &Request, _: usize, reply: Reply, _: &[u8]) -> Reply {
    reply
}

/// A MiB of each range comes, and then hardly anything.
fn slow(_: &Request, _: usize, reply: Reply, _: &[u8]) -> Reply {
    reply.trickle(1 << 20, Duration::from_millis(1500))
}

fn in_pieces(_: &Request, _: usize, reply: Reply, _: &[u8]) -> Reply {
    reply.trickle(256 << 10, Duration::from_millis(30))
}

/// Gives up once some of it came.
fn dying(_: &Request, number: usize, reply: Reply, _: &[u8]) -> Reply {
    if number == 0 { reply } else { Reply::new(404).wait(Duration::from_millis(1500)) }
}

fn without_ranges(_: &Request, _: usize, _: Reply, bytes: &[u8]) -> Reply {
    Reply::new(200).body(bytes)
}

fn refuses_ranges(request: &Request, _: usize, reply: Reply, bytes: &[u8]) -> Reply {
    // The first range of a blob is one, too, where that is large.
    match request.header("range") {
        Some(range) if range.starts_with("bytes=0-") => Reply::new(200).body(bytes),
        Some(_) => Reply::new(416).header("content-range", &format!("bytes */{}", bytes.len())),
        None => reply,
    }
}

fn nothing(_: &Path) {}

fn a_bit_flips(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // In the first MiB, which came first.
    bytes[700_000] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn it_is_cut(path: &Path) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 20).unwrap();
}

#[test]
fn the_next_run_asks_only_for_what_is_missing_and_gives_the_same_image() {
    let place = Place::new();
    let size = place.size;
    let golden = SPECS.map(|spec| {
        let alone = place.folder.path().join(format!("alone-{spec}"));
        stdout_of(&place.compile(spec, &alone, good))
    });
    assert!(golden.iter().all(|digest| digest.starts_with("sha256:")), "{golden:?}");
    let ends: [&str; 3] = ["TERM", "INT", "dying"];
    // What happens before the next run, its manners, and whether it asks for less.
    let cases: [(&str, Between, Manner, bool); 5] = [
        ("as it should be", nothing, good, true),
        ("ranges are ignored", nothing, without_ranges, true),
        ("ranges are refused", nothing, refuses_ranges, false),
        ("a bit flipped", a_bit_flips, good, false),
        ("it was cut", it_is_cut, good, false),
    ];
    for (number, (what, between, manner, is_less)) in cases.into_iter().enumerate() {
        for (spec, golden) in SPECS.iter().zip(&golden) {
            let end = ends[(number + usize::from(*spec == "base")) % ends.len()];
            let when = format!("{what}, {spec}, {end}");
            drop(fs::remove_dir_all(place.store()));
            if end == "dying" {
                let output = place.compile(spec, &place.store(), dying);
                assert!(!output.status.success(), "{when}: {}", shown(&output));
            } else {
                place.interrupt(spec, end);
            }
            assert_eq!(names(&place.store().join("tmp")), [""; 0], "{when}");
            assert!(place.unfinished().exists(), "{when}: nothing is kept");
            let had = recorded(&place.unfinished());
            assert!(had > 5 << 20, "{when}: {had}");
            between(&place.unfinished());
            let before = place.server.requests().len();
            let next = place.compile(spec, &place.store(), manner);
            assert!(next.status.success() && next.stderr.is_empty(), "{when}: {}", shown(&next));
            assert_eq!(stdout_of(&next), *golden, "{when}");
            let asked = place.asked_since(before);
            let bytes: u64 = asked.iter().map(|range| range.end - range.start).sum();
            let is_rest = bytes <= size - had && asked.iter().all(|range| range.start > 0);
            assert_eq!(is_rest, is_less, "{when}: {had} had of {size}, and asked for {asked:?}");
            assert_eq!(names(&place.store().join("partial")), [""; 0], "{when}");
            assert_eq!(names(&place.store().join("tmp")), [""; 0], "{when}");
            stdout(kic(place.folder.path(), &place.store()).args(["store", "verify", "-q"]));
        }
    }
}

#[test]
fn what_is_unfinished_is_counted_and_collected_and_a_store_without_it_is_as_good() {
    let place = Place::new();
    place.interrupt("cache", "TERM");
    let store = |arguments: &[&str]| {
        let mut command = kic(place.folder.path(), &place.store());
        json(&command.arg("store").args(arguments).args(["--format", "json"]).output().unwrap())
    };
    let status = store(&["status"]);
    assert_eq!(status["unfinished"]["count"], 1, "{status:#}");
    let bytes = status["unfinished"]["bytes"].as_u64().unwrap();
    assert!((5 << 20..12 << 20).contains(&bytes), "{status:#}");
    assert!(
        status["bytes"].as_u64().unwrap() >= bytes && status["removable"]["bytes"].as_u64().unwrap() >= bytes
    );
    assert_eq!(store(&["verify"])["damaged"], serde_json::json!([]));
    for (arguments, is_there) in [(&["gc", "--dry-run"][..], true), (&["gc"], false)] {
        let done = store(arguments);
        assert_eq!(done["removedUnfinished"], 1, "{done:#}");
        assert!(done["removedBytes"].as_u64().unwrap() >= bytes, "{done:#}");
        assert_eq!(place.unfinished().exists(), is_there);
    }
    assert_eq!(store(&["status"])["unfinished"]["count"], 0);
    let next = place.compile("cache", &place.store(), good);
    assert!(next.status.success() && next.stderr.is_empty(), "{}", shown(&next));
}

#[test]
fn a_run_with_nothing_to_do_makes_no_folder_for_it() {
    let place = Place::new();
    for _ in 0..2 {
        let done = place.compile("cache", &place.store(), good);
        assert!(done.status.success(), "{}", shown(&done));
        assert!(!place.store().join("partial").exists());
    }
}

/// Adds up what is told of the bytes: what was planned, what was had, and what came.
#[derive(Default)]
struct Bytes(Mutex<[u64; 3]>);

impl kic::Watch for Bytes {
    fn event(&self, event: kic::Event) {
        let mut told = self.0.lock().unwrap();
        match event {
            kic::Event::Planned { bytes, .. } => told[0] += bytes,
            kic::Event::Had { bytes, .. } => told[1] += bytes,
            kic::Event::Progress { bytes, .. } => told[2] += bytes,
            _ => {}
        }
    }
}

#[test]
fn what_was_had_is_told_apart_from_what_comes_and_their_sum_is_the_whole() {
    let place = Place::new();
    let manners: [(Manner, Between); 3] = [(good, nothing), (refuses_ranges, nothing), (good, a_bit_flips)];
    for (number, (manner, between)) in manners.into_iter().enumerate() {
        drop(fs::remove_dir_all(place.store()));
        place.interrupt("cache", "TERM");
        let had = recorded(&place.unfinished());
        between(&place.unfinished());
        *place.manner.lock().unwrap() = (manner, 0);
        let watch = Arc::new(Bytes::default());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = place.folder.path().join("cache");
        let Ended { status, code, text, .. } =
            runtime.block_on(crate::faults::watched(&folder, &place.store(), watch.clone()));
        assert_eq!((status, code.as_str()), (0, "none"), "{number}: {text}");
        let [planned, told, came] = *watch.0.lock().unwrap();
        assert_eq!(told, had, "{number}");
        assert_eq!(told + came, planned, "{number}");
        fs::remove_dir_all(folder.join("out.oci")).unwrap();
    }
}

#[test]
fn a_download_that_is_ended_again_and_again_comes_to_its_end() {
    let place = Place::new();
    let alone = place.folder.path().join("alone");
    let golden = SPECS.map(|spec| stdout_of(&place.compile(spec, &alone, good)));
    let mut random = chance(61);
    let mut kept = 0;
    for round in 0..kills(12) as usize {
        let (spec, golden) = (SPECS[round / 3 % 2], &golden[round / 3 % 2]);
        let signal = ["INT", "TERM", "KILL"][usize::try_from(random.below(3)).unwrap()];
        let mut child = place.begin(spec, &place.store(), in_pieces);
        std::thread::sleep(Duration::from_millis(100 + random.below(700)));
        if child.try_wait().unwrap().is_none() {
            send(&child, signal);
        }
        wait(&mut child, signal);
        kept += usize::from(place.unfinished().exists());
        let when = format!("round {round}, {spec}, {signal}");
        if random.below(3) == 0 {
            let next = place.compile(spec, &place.store(), good);
            assert!(next.status.success() && next.stderr.is_empty(), "{when}: {}", shown(&next));
            assert_eq!(stdout_of(&next), *golden, "{when}");
            assert_eq!(names(&place.store().join("tmp")), [""; 0], "{when}");
            stdout(kic(place.folder.path(), &place.store()).args(["store", "verify", "-q"]));
            fs::remove_dir_all(place.store()).unwrap();
        }
    }
    assert!(kept > 0, "nothing was ever kept");
    for (spec, golden) in SPECS.iter().zip(&golden) {
        let last = place.compile(spec, &place.store(), good);
        assert_eq!(stdout_of(&last), *golden, "{}", shown(&last));
    }
}

fn stdout_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
