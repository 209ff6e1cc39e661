//! `kic store` while others use the store, killed, on a full disk, and over damage.
//!
//! `KIC_TEST_ROUNDS` and `KIC_TEST_KILLS` set how often: the suite is content with a few, and the goals are 50 and 200.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, shown, stdout};
use crate::support::random::Random;
use crate::support::rich_spec;
use crate::support::upstream::Upstream;

const VARIANTS: [&str; 8] = ["north", "east", "south", "west", "up", "down", "in", "out"];

/// Specs that share images, files and downloads in part, and what each gives by itself.
struct Place {
    folder: TempDir,
    upstream: Upstream,
    golden: Vec<String>,
}

impl Place {
    fn new(variants: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        rich_spec::make_images_only(&images);
        let image = |name: &str| images.join("images").join(name);
        let (root, tool, agent) = (image("root.oci"), image("tool.oci"), image("agent.oci"));
        let upstream = Upstream::serve(
            &[("e/root", "v1", &root), ("e/tool", "v1", &tool), ("e/agent", "v1", &agent)],
            |_, reply| reply,
        );
        let mut place = Self { folder, upstream, golden: Vec::new() };
        let mut random = Random::new(37);
        place.write("tree/big", &random.bytes(1 << 20));
        for number in 0..30 {
            place.write(&format!("tree/{number}/file"), &random.bytes(number * 50));
        }
        for (number, variant) in VARIANTS[..variants].iter().enumerate() {
            place.write(&format!("{variant}/cluster.kdl"), spec(variant, number).as_bytes());
            let alone = place.path(&format!("alone-{variant}"));
            place.golden.push(place.assert_compiles(number, &alone, &[]));
            fs::remove_dir_all(alone).unwrap();
        }
        assert_eq!(place.golden.iter().collect::<BTreeSet<_>>().len(), variants);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Where a variant's image goes.
    fn output(&self, variant: usize) -> PathBuf {
        self.path(&format!("outputs/{}.oci", VARIANTS[variant]))
    }

    fn compile(&self, variant: usize, store: &Path) -> Command {
        fs::create_dir_all(self.path("outputs")).unwrap();
        let mut command = kic(&self.path(VARIANTS[variant]), store);
        let mirror = format!("registry.test=http://{}", self.upstream.host());
        command.args(["compile", "--quiet", "--registry-mirror", &mirror, "cluster.kdl", "-o"]);
        command.arg(self.output(variant));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A compile that must come to its end with a good image. Returns its digest.
    fn assert_compiles(&self, variant: usize, store: &Path, arguments: &[&str]) -> String {
        let digest = stdout(self.compile(variant, store).args(arguments)).trim().to_owned();
        if let Some(golden) = self.golden.get(variant) {
            assert_eq!(digest, *golden, "{}", VARIANTS[variant]);
        }
        assert_eq!(root_digest(&self.output(variant)), digest);
        assert_valid(&self.output(variant));
        digest
    }

    fn forget_outputs(&self) {
        drop(fs::remove_dir_all(self.path("outputs")));
    }

    fn store(&self, store: &Path, arguments: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), store);
        let mirror = format!("registry.test=http://{}", self.upstream.host());
        command.arg("store").args(arguments);
        if arguments[0] == "verify" {
            command.args(["--registry-mirror", &mirror]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn spec(variant: &str, number: usize) -> String {
    let image = ["tool", "agent"][number % 2];
    let compression = ["zstd", "zstd", "gzip", "none"][number % 4];
    format!(
        "cluster \"many\" version=\"v1\" {{
            base \"registry.test/e/root:v1\"
            compression \"{compression}\"
            files \"tree\" {{ copy \"../tree\" to=\"/tree\"; }}
            files \"own\" {{ text \"/etc/variant\" \"{variant}\"; }}
            manifests \"shop\" {{ object \"v1/ConfigMap\" name=\"shop\"; }}
            registry \"r.local\" {{
                image \"registry.test/e/{image}:v1\"
                image \"registry.test/e/root:v1\"
            }}
        }}"
    )
}

/// How often something is done: what the environment says, else `few`.
fn often(variable: &str, few: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(few)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}

#[test]
fn eight_processes_compile_under_collections() {
    let place = Place::new(VARIANTS.len());
    let store = place.path("store");
    let (done, collections) = (AtomicBool::new(false), std::sync::Mutex::new(0));
    std::thread::scope(|scope| {
        // One collection after the other, as long as there are compiles.
        let collector = scope.spawn(|| {
            let mut removed = 0;
            while !done.load(Ordering::Relaxed) {
                let output = place.store(&store, &["gc", "--format", "json"]).output().unwrap();
                assert!(output.status.success(), "{}", shown(&output));
                removed += json(&output)["removed"].as_array().unwrap().len();
                *collections.lock().unwrap() += 1;
            }
            removed
        });
        for round in 0..often("KIC_TEST_ROUNDS", 3) {
            // Without outputs and locks nothing is kept but what runs.
            place.forget_outputs();
            for variant in VARIANTS {
                drop(fs::remove_file(place.path(variant).join("kic.lock")));
            }
            let running: Vec<_> =
                (0..VARIANTS.len()).map(|variant| place.compile(variant, &store).spawn().unwrap()).collect();
            for (variant, child) in running.into_iter().enumerate() {
                let output = child.wait_with_output().unwrap();
                let when = format!("round {round}, {}", VARIANTS[variant]);
                assert!(output.status.success(), "{when}: {}", shown(&output));
                assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), place.golden[variant], "{when}");
                assert_eq!(root_digest(&place.output(variant)), place.golden[variant], "{when}");
                assert_valid(&place.output(variant));
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0, "the collections removed nothing");
    });
    // What the last round made is kept, and good.
    let verified = place.store(&store, &["verify", "--format", "json"]).output().unwrap();
    assert!(verified.status.success(), "{}", shown(&verified));
    for folder in ["tmp", "leases", "corrupt"] {
        assert_eq!(fs::read_dir(store.join(folder)).unwrap().count(), 0, "left in {folder}");
    }
    let asked = place.upstream.asked().len();
    for variant in 0..VARIANTS.len() {
        place.assert_compiles(variant, &store, &["--offline"]);
    }
    assert_eq!(place.upstream.asked().len(), asked);
    eprintln!("{} collections ran", collections.into_inner().unwrap());
}

#[test]
fn a_collection_that_is_killed_leaves_a_good_store() {
    let place = Place::new(2);
    let store = place.path("store");
    let mut random = Random::new(41);
    let count = u32::try_from(often("KIC_TEST_KILLS", 8)).unwrap();
    let mut length = Duration::from_millis(60);
    let (mut killed, mut some_left) = (0, 0);
    for round in 0..count {
        // One image that is kept, another one whose output is gone, and what nobody needs.
        place.forget_outputs();
        let (kept, gone) = ((round % 2) as usize, ((round + 1) % 2) as usize);
        place.assert_compiles(gone, &store, &[]);
        place.forget_outputs();
        drop(fs::remove_file(place.path(VARIANTS[gone]).join("kic.lock")));
        place.assert_compiles(kept, &store, &[]);
        for number in 0..300 {
            let bytes = random.bytes(64 + number);
            let hex = kic_base::Digest::of(&bytes).hex();
            let path = store.join("blobs/sha256").join(&hex[..2]).join(&hex);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let before = files(&store.join("blobs")).len();
        let moment = length * u32::try_from(random.below(1000)).unwrap() / 1000;
        let when = format!("round {round}: killed after {moment:?} of {length:?}");
        let started = Instant::now();
        let mut child = place.store(&store, &["gc", "--quiet"]).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            length = (length * 4 / 5).max(Duration::from_millis(5));
        } else {
            killed += 1;
            length = (length * 21 / 20).min(started.elapsed() * 20 + Duration::from_millis(20));
            some_left += usize::from(files(&store.join("blobs")).len() < before);
        }
        // What is kept is there; what is gone is had again; and the next collection comes to its end.
        place.assert_compiles(kept, &store, &["--offline"]);
        place.assert_compiles(gone, &store, &[]);
        let verified = place.store(&store, &["verify", "--quiet"]).output().unwrap();
        assert!(verified.status.success(), "{when}: {}", shown(&verified));
        stdout(&mut place.store(&store, &["gc", "--quiet"]));
        place.assert_compiles(kept, &store, &["--offline"]);
    }
    assert!(killed * 4 > count, "only {killed} of {count} were hit");
    eprintln!(
        "{killed} of {count} collections were killed, {some_left} of them after they had removed something"
    );
}

#[test]
fn a_lock_keeps_what_it_pins_when_the_output_is_gone() {
    let place = Place::new(1);
    let store = place.path("store");
    place.assert_compiles(0, &store, &[]);
    place.forget_outputs();
    let done = json(&place.store(&store, &["gc", "--format", "json"]).output().unwrap());
    assert!(done["removedBytes"].as_u64().unwrap() > 1 << 19, "the layer of files is nobody's: {done:#}");
    let asked = place.upstream.asked().len();
    place.assert_compiles(0, &store, &["--offline", "--locked"]);
    assert_eq!(place.upstream.asked().len(), asked);
    // A lock that says something else keeps nothing of what it was.
    place.forget_outputs();
    let lock = place.path(VARIANTS[0]).join("kic.lock");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, format!("{text}\n")).unwrap();
    stdout(&mut place.store(&store, &["gc"]));
    assert_eq!(files(&store.join("blobs")).len(), 0);
    place.assert_compiles(0, &store, &[]);
}

#[test]
fn a_written_lock_keeps_its_documents() {
    let place = Place::new(1);
    let store = place.path("store");
    let mirror = format!("registry.test=http://{}", place.upstream.host());
    let lock = |arguments: &[&str]| {
        stdout(
            kic(&place.path(VARIANTS[0]), &store)
                .args(["lock", "-q", "--registry-mirror", &mirror])
                .args(arguments),
        );
    };
    lock(&[]);
    let documents = files(&store.join("blobs")).len();
    stdout(&mut place.store(&store, &["gc"]));
    assert_eq!(files(&store.join("blobs")).len(), documents);
    // A lock that is only looked at again keeps what a compile found out of it.
    place.assert_compiles(0, &store, &[]);
    lock(&[]);
    place.forget_outputs();
    stdout(&mut place.store(&store, &["gc"]));
    place.assert_compiles(0, &store, &["--offline"]);
}

/// Flips one bit of a blob in the store.
fn flip(path: &Path, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
    bytes[at] ^= 1 << random.below(8);
    // Not through a hard link: that would damage the output too.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn flipped_bits_are_found_named_and_healed() {
    let place = Place::new(1);
    let store = place.path("store");
    let mut random = Random::new(43);
    for round in 0..6 {
        // In turns: the output is there, and has it all; or the registry alone has its blobs.
        let has_output = round % 2 == 0;
        place.assert_compiles(0, &store, &[]);
        if !has_output {
            place.forget_outputs();
        }
        let blobs = store.join("blobs/sha256");
        let all: Vec<PathBuf> = files(&blobs).into_keys().collect();
        let mut flipped = BTreeSet::new();
        for path in &all {
            if random.below(3) > 0 {
                continue;
            }
            flip(&blobs.join(path), &mut random);
            flipped.insert(format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()));
        }
        let when = format!("round {round}: {flipped:?}");
        let found = place.store(&store, &["verify", "--format", "json"]).output().unwrap();
        assert_eq!(
            found.status.code(),
            Some(if flipped.is_empty() { 0 } else { 2 }),
            "{when}: {}",
            shown(&found)
        );
        let named = json(&found)["damaged"].as_array().unwrap().clone();
        let named: BTreeSet<String> =
            named.iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect();
        assert_eq!(named, flipped, "{when}");

        let repaired = place.store(&store, &["verify", "--repair", "--format", "json"]).output().unwrap();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for one in json(&repaired)["repaired"].as_array().unwrap() {
            *outcomes.entry(one["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(outcomes.values().sum::<usize>(), flipped.len(), "{when}: {}", shown(&repaired));
        if has_output {
            // An output holds all but what is only in layers, which the registry has.
            assert_eq!(repaired.status.code(), Some(0), "{when}: {}", shown(&repaired));
            assert_eq!(
                outcomes.keys().collect::<Vec<_>>(),
                if flipped.is_empty() { vec![] } else { vec!["repaired"] }
            );
        } else {
            assert!(!outcomes.contains_key("failed"), "{when}: {}", shown(&repaired));
        }
        let again = place.store(&store, &["verify"]).output().unwrap();
        assert!(again.status.success(), "{when}: {}", shown(&again));
        place.assert_compiles(0, &store, &["--offline"]);
    }
}

#[test]
fn every_blob_of_a_registry_is_fetched_again() {
    let place = Place::new(1);
    let store = place.path("store");
    let mut random = Random::new(47);
    place.assert_compiles(0, &store, &[]);
    let blobs = store.join("blobs/sha256");
    let before = files(&blobs);
    place.forget_outputs();
    // Only what the lock pins is left, and all of that is damaged.
    stdout(&mut place.store(&store, &["gc"]));
    let pinned = files(&blobs);
    assert!(pinned.len() > 5 && pinned.len() < before.len());
    for path in pinned.keys() {
        let file = blobs.join(path);
        let length = fs::metadata(&file).unwrap().len();
        let mut bytes = fs::read(&file).unwrap();
        // In the body of layers, whose header is what they are made with again.
        bytes[usize::try_from((length - 1).min(600)).unwrap()] ^= 1 << random.below(8);
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    let repaired = place.store(&store, &["verify", "--repair", "--format", "json"]).output().unwrap();
    assert_eq!(repaired.status.code(), Some(0), "{}", shown(&repaired));
    let now = files(&blobs);
    assert!(pinned.keys().all(|path| now.contains_key(path)), "{}", shown(&repaired));
    place.assert_compiles(0, &store, &["--offline"]);
}

#[test]
fn a_collection_makes_room_on_a_full_disk() {
    let place = Place::new(2);
    let path = place.path("memory");
    fs::create_dir_all(&path).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&path).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no file system of a small size can be mounted here, so none was full");
        return;
    }
    let store = path.join("store");
    place.assert_compiles(0, &store, &[]);
    place.forget_outputs();
    drop(fs::remove_file(place.path(VARIANTS[0]).join("kic.lock")));
    // Full to the last byte.
    let filler = path.join("filler");
    let mut size = 8 << 20;
    let mut bytes = Vec::new();
    while size > 0 {
        bytes.resize(size, 1);
        drop(fs::write(path.join(format!("filler-{size}")), &bytes));
        size /= 2;
    }
    drop(fs::write(&filler, [1]));
    let full = place.compile(1, &store).output().unwrap();
    assert_eq!(full.status.code(), Some(2), "{}", shown(&full));
    assert!(String::from_utf8_lossy(&full.stderr).contains("store-full"), "{}", shown(&full));
    let status = place.store(&store, &["status", "--format", "json"]).output().unwrap();
    assert!(json(&status)["unneeded"]["bytes"].as_u64().unwrap() > 1 << 20, "{}", shown(&status));
    stdout(&mut place.store(&store, &["verify"]));
    stdout(&mut place.store(&store, &["gc"]));
    // The room that the collection made is enough for the other image, not for both.
    place.assert_compiles(1, &store, &[]);
    let unmounted = Command::new("umount").arg(&path).output().unwrap();
    assert!(unmounted.status.success(), "{}", shown(&unmounted));
}
