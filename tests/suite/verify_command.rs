//! `kic verify` finds what is wrong with an image that was changed after it was compiled. `tests/verify/NAME.json` is a case:
//!
//! | member | says |
//! |---|---|
//! | `layer` | the files of a layer on top of the image, by path: a text, or `null` to remove what is there |
//! | `entries` | more entries of that layer, in their order: `path`, and what it is a `symlink` or a `hardlink` to, or its `type` as tar has it; the `records` of its extended header |
//! | `plan` | values of `kic/plan.json`, by JSON pointer, in that layer; `null` removes one |
//! | `annotations` | annotations of that layer |
//! | `manifest` | annotations of the manifest |
//! | `expect` | all that is found, each by its code and words of its message; one may stand for several |
//!
//! `IMAGE`, `CONFIG` and `LAYER` stand for the digests of the cached image's manifest, configuration and layer, `IMAGE.hex` and so on for
//! their digits, `IMAGE.shard` for the first two of these.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use kic_base::Digest;
use kic_registry::scripted_server::Reply;
use serde_json::{Value, json};

use crate::support::image_layout::{index, root_digest};
use crate::support::kic::{kic, shown, stdout};
use crate::support::upstream::{Upstream, is_blob};
use crate::support::{copy_tree_as_it_is, root};

/// The example `hello`, compiled, with what is cached in it.
struct Place {
    folder: tempfile::TempDir,
    names: BTreeMap<&'static str, Digest>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy_tree_as_it_is(&root().join("examples/hello"), folder.path());
        let mut place = Self { folder, names: BTreeMap::new() };
        stdout(place.kic().args(["compile", "-q", "cluster.kdl", "-o", "good.oci"]));
        let image: Digest = root_digest(&place.path("greeter-image")).parse().unwrap();
        let manifest = document(&place.path("greeter-image"), &image);
        let digest = |value: &Value| value["digest"].as_str().unwrap().parse().unwrap();
        place.names.insert("IMAGE", image);
        place.names.insert("CONFIG", digest(&manifest["config"]));
        place.names.insert("LAYER", digest(&manifest["layers"][0]));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn kic(&self) -> std::process::Command {
        kic(self.folder.path(), &self.path("store"))
    }

    fn verify(&self, image: &str) -> Output {
        self.kic().args(["verify", "--format", "json", image]).output().unwrap()
    }

    fn named(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, digest)| {
            let text = text.replace(&format!("{name}.shard"), &digest.hex()[..2]);
            text.replace(&format!("{name}.hex"), &digest.hex()).replace(name, &digest.to_string())
        })
    }

    /// The image with a layer on top.
    fn changed(&self, case: &Value) -> String {
        let layout = self.path("changed.oci");
        drop(fs::remove_dir_all(&layout));
        copy_tree_as_it_is(&self.path("good.oci"), &layout);
        let mut manifest = document(&layout, &root_digest(&layout).parse().unwrap());
        let mut config = document(&layout, &manifest["config"]["digest"].as_str().unwrap().parse().unwrap());
        let mut files: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (path, text) in case["layer"].as_object().into_iter().flatten() {
            files.insert(self.named(path), text.as_str().map(|text| self.named(text)));
        }
        if let Some(changes) = case["plan"].as_object() {
            let mut plan = self.plan();
            for (pointer, value) in changes {
                set(&mut plan, pointer, serde_json::from_str(&self.named(&value.to_string())).unwrap());
            }
            files.insert("kic/plan.json".to_owned(), Some(plan.to_string()));
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let (path, text) = match text {
                Some(text) => (path.clone(), text),
                None => (format!("{folder}/.wh.{name}"), String::new()),
            };
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        for entry in case["entries"].as_array().into_iter().flatten() {
            append(&mut tar, entry);
        }
        let mut layer = put(&layout, "application/vnd.oci.image.layer.v1.tar", &tar.into_inner().unwrap());
        if let Some(annotations) = case.get("annotations") {
            layer["annotations"] = serde_json::from_str(&self.named(&annotations.to_string())).unwrap();
        }
        config["rootfs"]["diff_ids"].as_array_mut().unwrap().push(layer["digest"].clone());
        config["history"].as_array_mut().unwrap().push(json!({}));
        manifest["layers"].as_array_mut().unwrap().push(layer);
        for (name, value) in case["manifest"].as_object().into_iter().flatten() {
            manifest["annotations"][name] = value.clone();
        }
        manifest["config"] =
            put(&layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest =
            put(&layout, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest],
        });
        fs::write(layout.join("index.json"), index.to_string()).unwrap();
        "changed.oci".to_owned()
    }

    fn plan(&self) -> Value {
        let shown: Value =
            serde_json::from_str(&stdout(self.kic().args(["inspect", "--format", "json", "good.oci"])))
                .unwrap();
        shown["platforms"][0]["plan"].clone()
    }
}

/// Appends an entry as it is, whatever its path.
fn append(tar: &mut tar::Builder<Vec<u8>>, entry: &Value) {
    let text = |key: &str| entry[key].as_str();
    let mut header = tar::Header::new_ustar();
    let (kind, target) = match (text("symlink"), text("hardlink")) {
        (Some(target), _) => (tar::EntryType::Symlink, target),
        (_, Some(target)) => (tar::EntryType::Link, target),
        _ => {
            (text("type").map_or(tar::EntryType::Regular, |kind| tar::EntryType::new(kind.as_bytes()[0])), "")
        }
    };
    let records = entry["records"].as_object().into_iter().flatten();
    let records = records.map(|(key, value)| (key.as_str(), value.as_str().unwrap().as_bytes()));
    tar.append_pax_extensions(records).unwrap();
    let path = text("path").unwrap().as_bytes();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    tar.append(&header, std::io::empty()).unwrap();
}

/// Sets what a JSON pointer names, or removes it.
fn set(json: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Array(items) if value.is_null() => drop(items.remove(key.parse().unwrap())),
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        Value::Object(members) if value.is_null() => drop(members.remove(key).unwrap()),
        Value::Object(members) => drop(members.insert(key.to_owned(), value)),
        _ => panic!("{pointer}"),
    }
}

fn document(layout: &Path, digest: &Digest) -> Value {
    serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap()).unwrap()
}

/// Writes a blob, and returns its descriptor.
fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// What was found: codes and messages.
fn findings(output: &Output) -> Vec<(String, String)> {
    if output.stderr.is_empty() {
        return Vec::new();
    }
    let all: Value =
        serde_json::from_slice(&output.stderr).unwrap_or_else(|error| panic!("{error}: {}", shown(output)));
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    all.as_array().unwrap().iter().map(|one| (text(one, "code"), text(one, "message"))).collect()
}

#[test]
fn what_was_changed_is_found() {
    let place = Place::new();
    let good = place.verify("good.oci");
    assert!(good.status.success() && findings(&good).is_empty(), "{}", shown(&good));
    let mut cases: Vec<_> =
        fs::read_dir(root().join("tests/verify")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 10);
    let mut failures = Vec::new();
    for path in cases {
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let output = place.verify(&place.changed(&case));
        // The blobs of the image that was changed are nobody's now.
        let found: Vec<_> = findings(&output)
            .into_iter()
            .filter(|(_, message)| !message.contains("no document names"))
            .collect();
        let expected: Vec<(String, String)> = case["expect"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().to_owned(), place.named(pair[1].as_str().unwrap())))
            .collect();
        let fit = |(code, message): &(String, String), (wanted, words): &(String, String)| {
            code == wanted && message.contains(words)
        };
        let fits = found.iter().all(|one| expected.iter().any(|wanted| fit(one, wanted)))
            && expected.iter().all(|wanted| found.iter().any(|one| fit(one, wanted)));
        let status = i32::from(expected.iter().any(|(code, _)| code != "unusual-layout"));
        // What unpacking refuses is told, and nothing else is.
        let is_refused = expected.iter().any(|(_, words)| words.starts_with("refuses the entry"));
        drop(fs::remove_dir_all(place.path("root")));
        let unpacked = place.kic().args(["unpack", "-q", "changed.oci", "root"]).output().unwrap();
        if !fits || output.status.code() != Some(status) || unpacked.status.success() == is_refused {
            failures.push(format!("{}: {}: {found:#?}", path.display(), output.status));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_flipped_bit_of_an_image_is_found_wherever_it_is() {
    let place = Place::new();
    stdout(place.kic().args(["compile", "-q", "cluster.kdl", "-o", "good.tar"]));
    let blobs: Vec<_> = fs::read_dir(place.path("good.oci/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let archive = fs::read(place.path("good.tar")).unwrap();
    for (number, blob) in blobs.iter().enumerate() {
        let good = fs::read(blob).unwrap();
        let mut bad = good.clone();
        let at = (number * 31) % bad.len();
        bad[at] ^= 1 << (number % 8);
        drop(fs::remove_dir_all(place.path("changed.oci")));
        copy_tree_as_it_is(&place.path("good.oci"), &place.path("changed.oci"));
        let copy = place.path("changed.oci/blobs/sha256").join(blob.file_name().unwrap());
        fs::remove_file(&copy).unwrap();
        fs::write(&copy, &bad).unwrap();
        // The same in an archive, and in a registry.
        let place_in_archive = archive.windows(good.len()).position(|window| window == good).unwrap();
        let mut changed = archive.clone();
        changed[place_in_archive + at] ^= 1 << (number % 8);
        fs::write(place.path("changed.tar"), changed).unwrap();
        let name = blob.file_name().unwrap().to_str().unwrap();
        for image in ["changed.oci", "changed.tar"] {
            let output = place.verify(image);
            let found = findings(&output);
            let named = found.iter().any(|(code, message)| code == "damaged-image" && message.contains(name));
            assert!(named && output.status.code() == Some(1), "{image} {name}: {}", shown(&output));
        }
    }
}

#[test]
fn an_image_in_a_registry_is_verified_too() {
    let place = Place::new();
    let good = place.path("good.oci");
    let upstream = Upstream::serve(&[("hello", "v1", &good)], |_, reply| reply);
    let image = format!("{}/hello:v1", upstream.host());
    let output = place.verify(&image);
    assert!(output.status.success() && findings(&output).is_empty(), "{}", shown(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["good"], &result["images"][0]["cachedImages"]), (&json!(true), &json!(1)));
    // A registry that has lost a layer.
    let manifest = document(&good, &root_digest(&good).parse().unwrap());
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    fs::remove_file(good.join("blobs/sha256").join(layer.strip_prefix("sha256:").unwrap())).unwrap();
    fs::remove_dir_all(place.path("store")).unwrap();
    let output = place.verify(&image);
    let found = findings(&output);
    assert!(
        found.iter().any(|(code, message)| code == "damaged-image" && message.contains(layer)),
        "{found:#?}"
    );
    assert!(!output.status.success());
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn what_could_not_be_looked_at_is_not_damaged() {
    let place = Place::new();
    let upstream = Upstream::serve(&[("hello", "v1", &place.path("good.oci"))], |request, reply| {
        if is_blob(request) { Reply::new(403) } else { reply }
    });
    fs::remove_dir_all(place.path("store")).unwrap();
    let output = place.verify(&format!("{}/hello:v1", upstream.host()));
    let found = findings(&output);
    assert!(found.len() == 1 && found[0].0 == "registry-forbidden", "{}", shown(&output));
    assert!(shown(&output).contains("6 blobs of the image could not be looked at"), "{}", shown(&output));
}

#[test]
fn a_rebuild_takes_what_is_cached_from_the_image_itself() {
    let place = Place::new();
    let upstream = Upstream::serve(&[("greeter", "v1", &place.path("greeter-image"))], |_, reply| reply);
    let image = format!("{}/greeter:v1", upstream.host());
    let spec = format!(
        "cluster \"shop\" version=\"v1\" {{\n base scratch\n registry \"sea.hub:5000\" {{ image \"{image}\"; }}\n}}\n"
    );
    fs::write(place.path("cluster.kdl"), spec).unwrap();
    let compiled = stdout(place.kic().args(["compile", "-q", "--record-source", "-o", "shop.oci"]));
    drop(upstream);
    for keeps_store in [true, false] {
        if !keeps_store {
            fs::remove_dir_all(place.path("store")).unwrap();
        }
        let output = place.kic().args(["verify", "--rebuild", "shop.oci"]).output().unwrap();
        let same = format!("compiled again: the same, {compiled}");
        assert!(output.status.success() && shown(&output).contains(&same), "{}", shown(&output));
    }
}

#[test]
fn a_damaged_layer_is_told_once_and_without_what_follows_from_it() {
    let place = Place::new();
    let layout = place.path("good.oci");
    let manifest = document(&layout, &root_digest(&layout).parse().unwrap());
    for layer in manifest["layers"].as_array().unwrap() {
        let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let path = layout.join("blobs/sha256").join(hex);
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = findings(&place.verify("good.oci"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].0 == "damaged-image" && found[0].1.contains(hex), "{found:#?}");
        fs::write(&path, kept).unwrap();
    }
    assert_eq!(index(&layout)["manifests"].as_array().unwrap().len(), 1);
}
