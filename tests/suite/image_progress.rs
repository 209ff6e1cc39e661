//! What commands show of their progress that look at an image: bars on a terminal, lines elsewhere, nothing where that is asked for,
//! and nothing of what is over in a moment.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kic::{Event, Watch};
use kic_base::{Digest, Sha256};
use serde_json::{Value, json};

use crate::support::kic::{kic, shown, stdout};
use crate::support::pseudo_terminal::kic_on_a_terminal;
use crate::support::random::Random;
use crate::support::upstream::{Upstream, is_blob};

/// The bytes of the file that the large image is made of.
const BYTES: usize = 1 << 20;

/// An image, another one beside it, and a registry that sends the first one slowly.
struct Place {
    folder: tempfile::TempDir,
    registry: Upstream,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("content"), Random::new(7).bytes(BYTES)).unwrap();
        let files = [("large", "copy \"content\" to=\"/large\""), ("small", "text \"/etc/motd\" \"hello\"")];
        for (name, file) in files {
            let spec = format!("cluster \"{name}\" {{\n base scratch\n files \"f\" {{ {file}; }}\n}}\n");
            fs::write(folder.path().join(format!("{name}.kdl")), spec).unwrap();
            let (spec, image) = (format!("{name}.kdl"), format!("{name}.oci"));
            let mut compile = kic(folder.path(), &folder.path().join("own-store"));
            stdout(compile.args(["compile", "-q", &spec, "-o", &image]));
        }
        let images = [("large", "v1", &*folder.path().join("large.oci"))];
        let registry = Upstream::serve(&images, |request, reply| match is_blob(request) {
            true => reply.trickle(32 << 10, Duration::from_millis(25)),
            false => reply.wait(Duration::from_millis(600)),
        });
        Self { folder, registry }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The words with the image in the registry for `IMAGE`.
    fn words(&self, words: &[&str]) -> Vec<String> {
        let image = format!("{}/large:v1", self.registry.host());
        words.iter().map(|word| word.replace("IMAGE", &image)).collect()
    }

    /// What is left of a run before.
    fn forget(&self) {
        for name in ["store", "unpacked"] {
            drop(fs::remove_dir_all(self.path(name)));
        }
    }

    /// What stands on the screen in the end and before, and what is printed without one.
    fn on_a_terminal(&self, words: &[&str]) -> Option<String> {
        self.forget();
        let words = self.words(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = kic_on_a_terminal(100, &words, &[])?;
        let output = as_if_in(&mut command, self).output().unwrap();
        let screen = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(screen.ends_with("status 0\n"), "{screen}{}", shown(&output));
        Some(screen)
    }

    /// What is printed where there is no terminal, on standard output and on standard error.
    fn without_one(&self, words: &[&str]) -> [String; 2] {
        self.forget();
        let output = kic(self.folder.path(), &self.path("store")).args(self.words(words)).output().unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    }
}

fn as_if_in<'c>(command: &'c mut Command, place: &Place) -> &'c mut Command {
    let store = place.path("store");
    command.current_dir(place.folder.path()).env("KIC_STORE", store).env("NO_COLOR", "1").stdin(Stdio::null())
}

/// Commands, and what they show of their progress.
const FETCHING: [(&[&str], &[&str]); 4] = [
    (&["inspect", "IMAGE"], &["resolving "]),
    (&["verify", "IMAGE"], &["resolving ", "blob ", " of 1.00 MiB"]),
    (&["unpack", "IMAGE", "unpacked"], &["resolving ", "blob ", " of 1.00 MiB"]),
    (&["diff", "small.oci", "IMAGE"], &["resolving ", "blob ", " of 1.00 MiB"]),
];

#[test]
fn what_is_fetched_is_shown_on_a_terminal_and_told_in_lines_elsewhere() {
    let place = Place::new();
    for (words, told) in FETCHING {
        let [printed, lines] = place.without_one(words);
        let resolved = format!("resolved {}/large:v1\n", place.registry.host());
        assert!(lines.starts_with(&resolved), "{words:?}: {lines}");
        let is_blob = |line: &str| line.starts_with("blob ") && line.contains(" (1.0 MB, ");
        assert_eq!(lines.lines().any(is_blob), told.len() > 1, "{words:?}: {lines}");
        for quiet in [&["--quiet"][..], &["--format", "json"]] {
            let [_, lines] = place.without_one(&[words, quiet].concat());
            assert_eq!(lines, "", "{words:?} {quiet:?}");
        }
        let Some(screen) = place.on_a_terminal(words) else { return };
        for said in told {
            assert!(screen.contains(*said), "{words:?}, {said}: {screen:?}");
        }
        // The bars are gone when the result is printed.
        let end = screen.rsplit_once("\x1b[2K").map_or(&*screen, |(_, end)| end);
        assert_eq!(end, format!("{printed}status 0\n"), "{words:?}: {screen:?}");
    }
}

/// A layout whose one layer is a file of zeros, which takes a while to hash and no room on the disk.
fn zeros(layout: &Path, bytes: u64) {
    let (blobs, layer) = (layout.join("blobs/sha256"), layout.join("layer"));
    fs::create_dir_all(&blobs).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_cksum();
    let mut file = fs::File::create(&layer).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(512 + bytes + 1024).unwrap();
    let mut hash = Sha256::new();
    let mut file = fs::File::open(&layer).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let digest = hash.finish();
    fs::rename(&layer, blobs.join(digest.hex())).unwrap();
    let put = |kind: &str, document: &Value| {
        let bytes = document.to_string();
        let digest = Digest::of(bytes.as_bytes());
        fs::write(blobs.join(digest.hex()), &bytes).unwrap();
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}.v1+json"), "digest": digest, "size": bytes.len() })
    };
    let rootfs = json!({ "type": "layers", "diff_ids": [digest] });
    let config = put("config", &json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs }));
    let layer = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": 512 + bytes + 1024,
    });
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [put("manifest", &manifest)] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

#[test]
fn what_is_long_verified_is_shown() {
    let place = Place::new();
    zeros(&place.path("zeros.oci"), 1 << 30);
    let Some(screen) = place.on_a_terminal(&["verify", "zeros.oci"]) else { return };
    assert!(screen.contains(" of 1.00 GiB verified, "), "{screen:?}");
    assert!(screen.ends_with("3 whole blobs, 1.1 GB read: good\nstatus 0\n"), "{screen:?}");

    let blobs =
        fs::read_dir(place.path("zeros.oci/blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let layer = blobs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let name = layer.file_name().unwrap().to_str().unwrap();
    let folder = place.path("own-store/blobs/sha256").join(&name[..2]);
    fs::create_dir_all(&folder).unwrap();
    fs::rename(&layer, folder.join(name)).unwrap();
    let screen = place.on_a_terminal(&["store", "verify", "--store", "own-store"]).unwrap();
    assert!(screen.contains(" of 1.0") && screen.contains(" GiB verified, "), "{screen:?}");
    assert!(screen.ends_with("blobs are good: 1.1 GB read\nstatus 0\n"), "{screen:?}");
}

#[test]
fn nothing_flickers_where_it_takes_no_moment() {
    let place = Place::new();
    for words in
        [&["inspect", "small.oci"][..], &["verify", "small.oci"], &["diff", "small.oci", "small.oci"]]
    {
        let [printed, lines] = place.without_one(words);
        assert_eq!(lines, "", "{words:?}");
        let Some(screen) = place.on_a_terminal(words) else { return };
        assert_eq!(screen, format!("{printed}status 0\n"), "{words:?}");
    }
}

/// What was said to be read, and what was.
#[derive(Default)]
struct Bytes(Mutex<[u64; 2]>);

impl Watch for Bytes {
    fn event(&self, event: Event) {
        let mut told = self.0.lock().unwrap();
        match event {
            Event::Reading { bytes, .. } => told[0] += bytes.unwrap_or(0),
            Event::Read { bytes } => told[1] += bytes,
            _ => {}
        }
    }
}

#[test]
fn the_bytes_that_are_read_are_those_that_were_told_before() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let image = place.path("large.oci").display().to_string();
    let small = place.path("small.oci").display().to_string();
    for command in ["verify", "unpack", "diff"] {
        let watch = Arc::new(Bytes::default());
        let context = crate::faults::context_for(&place.path("store"), watch.clone());
        runtime.block_on(async {
            match command {
                "verify" => drop(kic::verify(&image, &context).await.unwrap()),
                "diff" => drop(kic::diff(&small, &image, &context).await.unwrap()),
                _ => {
                    let to = place.path("unpacked");
                    let unpacked = kic::unpack(&image, None, &to, Default::default(), &context).await;
                    assert_eq!(unpacked.unwrap().layers, 2);
                }
            }
        });
        let [planned, read] = *watch.0.lock().unwrap();
        assert!(planned > BYTES as u64, "{command}: {planned}");
        // A verification reads the documents, too, which are small.
        let more = read.checked_sub(planned).unwrap();
        assert!(if command == "verify" { more < 10_000 } else { more == 0 }, "{command}: {more}");
    }
}
