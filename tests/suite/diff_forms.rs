//! Whatever differs between two images, `kic diff` says in what: in images of other tools, too.

use std::fs;
use std::path::Path;

use kic_base::Digest;
use serde_json::{Value, json};
use tar::EntryType;

use crate::support::kic::{kic, stdout};
use crate::support::synthetic_image::Family;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

#[derive(Clone)]
struct Entry {
    path: &'static str,
    kind: EntryType,
    user: u64,
    time: u64,
    records: &'static [(&'static str, &'static str)],
    text: &'static str,
}

const FILE: Entry =
    Entry { path: "a", kind: EntryType::Regular, user: 0, time: 0, records: &[], text: "a\n" };

/// What it is about, the entries on each side, and lines that are told.
type Case<'a> = (&'a str, &'a [Entry], &'a [Entry], &'a [&'a str]);

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        if !entry.records.is_empty() {
            let records = entry.records.iter().map(|(key, value)| (*key, value.as_bytes()));
            builder.append_pax_extensions(records).unwrap();
        }
        let mut header = tar::Header::new_ustar();
        header.set_path(entry.path).unwrap();
        header.set_entry_type(entry.kind);
        header.set_mode(0o644);
        header.set_uid(entry.user);
        header.set_gid(0);
        header.set_mtime(entry.time);
        header.set_size(entry.text.len() as u64);
        header.set_cksum();
        builder.append(&header, entry.text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

struct Image {
    family: Family,
    layers: Vec<Vec<u8>>,
    /// Put into the manifest and the configuration.
    manifest: Value,
    config: Value,
    pretty: bool,
    /// Around it, with what is put into it, and into the entry of an attestation.
    index: Option<(Value, Value)>,
}

fn image(layers: &[&[Entry]]) -> Image {
    let layers = layers.iter().map(|entries| layer(entries)).collect();
    Image { family: Family::Oci, layers, manifest: json!({}), config: json!({}), pretty: false, index: None }
}

fn put(document: &mut Value, members: &Value) {
    for (name, value) in members.as_object().unwrap() {
        document[name] = value.clone();
    }
}

fn write(folder: &Path, image: &Image) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let [_, manifest_type, config_type, _] = image.family.types();
    let layer_type = match image.family {
        Family::Oci => TAR,
        Family::Docker => "application/vnd.docker.image.rootfs.diff.tar",
    };
    let layers: Vec<Value> = image.layers.iter().map(|bytes| blob(layer_type, bytes)).collect();
    let diff_ids: Vec<Digest> = image.layers.iter().map(|bytes| Digest::of(bytes)).collect();
    let mut config = json!({
        "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    put(&mut config, &image.config);
    let config = blob(config_type, config.to_string().as_bytes());
    let mut manifest =
        json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers });
    put(&mut manifest, &image.manifest);
    let manifest = if image.pretty { format!("{manifest:#}") } else { manifest.to_string() };
    let mut root = blob(manifest_type, manifest.as_bytes());
    if let Some((members, entry)) = &image.index {
        let mut entries = vec![root, blob(manifest_type, format!("{manifest} ").as_bytes())];
        entries[0]["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        entries[1]["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        put(&mut entries[1], entry);
        let [index_type, ..] = image.family.types();
        let mut index = json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": entries });
        put(&mut index, members);
        root = blob(index_type, index.to_string().as_bytes());
    }
    let index = json!({ "schemaVersion": 2, "manifests": [root] }).to_string();
    fs::write(folder.join("index.json"), index).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// What is told of two images, without what stands before their names and before what differs.
fn told(left: &Image, right: &Image) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("left"), left);
    write(&folder.path().join("right"), right);
    let text = stdout(kic(folder.path(), &folder.path().join("store")).args(["diff", "left", "right"]));
    let lines =
        text.lines().skip(3).map(|line| line.trim_start_matches(['│', '├', '└', '─', ' ']).to_owned());
    lines.collect()
}

fn assert_told(what: &str, left: &Image, right: &Image, expected: &[&str]) {
    let told = told(left, right);
    for line in expected {
        assert!(told.iter().any(|told| told == line), "{what}: {line}\n{told:#?}");
    }
}

#[test]
fn documents_are_told() {
    let plain = || image(&[&[FILE]]);
    let subject = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(b""), "size": 0,
    });
    assert_told(
        "a subject",
        &plain(),
        &Image { manifest: json!({ "subject": subject }), ..plain() },
        &[&format!("+ subject  {subject}")],
    );
    assert_told(
        "Docker's media types",
        &plain(),
        &Image { family: Family::Docker, ..plain() },
        &[
            "~ layer 1",
            r#"~ mediaType  "application/vnd.oci.image.layer.v1.tar" → "application/vnd.docker.image.rootfs.diff.tar""#,
            r#"~ config.mediaType  "application/vnd.oci.image.config.v1+json" → "application/vnd.docker.container.image.v1+json""#,
        ],
    );
    let history = |by: &str| Image { config: json!({ "history": [{ "created_by": by }] }), ..plain() };
    assert_told("history", &history("one"), &history("two"), &[r#"~ history[0].created_by  "one" → "two""#]);
    assert_told(
        "form",
        &plain(),
        &Image { pretty: true, ..plain() },
        &["~ the same manifest in other bytes"],
    );
}

#[test]
fn what_tars_say_of_files_is_told() {
    let other = Entry { path: "b", ..FILE };
    let special = |kind| Entry { kind, text: "", ..FILE };
    let cases: [Case<'_>; 8] = [
        ("owner", &[FILE], &[Entry { user: 7, ..FILE }], &["~ user  0 → 7"]),
        (
            "kind",
            &[special(EntryType::Fifo)],
            &[special(EntryType::Char)],
            &["~ kind  pipe → character device"],
        ),
        ("time", &[FILE], &[Entry { time: 7, ..FILE }], &["~ of these, the times alone", "~ a  0 → 7"]),
        (
            "record",
            &[FILE],
            &[Entry { records: &[("SCHILY.xattr.user.x", "y")], ..FILE }],
            &[r#"~ extended header SCHILY.xattr.user.x  nothing → "y""#],
        ),
        ("order", &[FILE, other.clone()], &[other.clone(), FILE], &["~ the same files in another order"]),
        (
            "bytes",
            &[FILE],
            &[Entry { records: &[("path", "a")], ..FILE }],
            // The record says what the header says.
            &["~ the same files in other bytes"],
        ),
        (
            "an empty folder",
            &[FILE],
            &[FILE, Entry { path: "d/", kind: EntryType::Directory, text: "", ..FILE }],
            &["+ d  folder"],
        ),
        ("line ends", &[FILE], &[Entry { text: "a", ..FILE }], &["~ one of them ends without a newline"]),
    ];
    for (what, left, right, expected) in cases {
        assert_told(what, &image(&[left]), &image(&[right]), expected);
    }
    let replaced = |text| image(&[&[Entry { text, ..FILE }], &[FILE, Entry { path: "b", text, ..FILE }]]);
    assert_told("replaced", &replaced("1"), &replaced("2"), &["~ a, which a later layer replaces"]);
}

#[test]
fn whiteouts_are_deletions() {
    let entry = |path| Entry { path, text: "", ..FILE };
    let low: &[Entry] = &[FILE, entry("d/x")];
    let upper = entry("u");
    let left = image(&[low, std::slice::from_ref(&upper)]);
    let right = image(&[low, &[upper.clone(), entry(".wh.a"), entry("d/.wh..wh..opq")]]);
    assert_told(
        "over a layer that both have",
        &left,
        &right,
        &["- a  deleted by a whiteout", "~ d  emptied by an opaque whiteout"],
    );
    assert_told(
        "backwards",
        &right,
        &left,
        &["+ a  no longer deleted by a whiteout", "~ d  no longer emptied by an opaque whiteout"],
    );
    // Over layers that are compared, too, only what is left of them counts.
    let (one, other) = (image(&[&[FILE, entry("b")]]), image(&[&[FILE, entry("c")], &[entry(".wh.a")]]));
    let told = told(&one, &other);
    let files =
        told.iter().skip_while(|line| *line != "~ files").skip(1).take(3).cloned().collect::<Vec<_>>();
    assert_eq!(files[1..], ["- b  0 bytes, e3b0c44298fc", "+ c  0 bytes, e3b0c44298fc"], "{told:#?}");
    assert!(files[0].starts_with("- a  2 bytes, "), "{told:#?}");
}

#[test]
fn indexes_are_told() {
    let around = |members: Value, entry: Value| Image { index: Some((members, entry)), ..image(&[&[FILE]]) };
    let plain = || around(json!({}), json!({}));
    let artifact = json!({ "artifactType": "application/x" });
    let cases = [
        ("the index", around(artifact.clone(), json!({})), r#"+ artifactType  "application/x""#),
        (
            "an attestation",
            around(json!({}), json!({ "digest": Digest::of(b"x"), "size": 1 })),
            "~ a manifest of no platform, such as an attestation",
        ),
        ("an entry", around(json!({}), artifact.clone()), r#"+ artifactType  "application/x""#),
        ("form", around(json!({ "annotations": {} }), json!({})), "~ the same index in other bytes"),
    ];
    for (what, right, expected) in cases {
        let told = told(&plain(), &right);
        assert!(told.iter().any(|line| line.starts_with(expected)), "{what}: {told:#?}");
    }
    let told = told(&image(&[&[FILE]]), &plain());
    assert_eq!(told[0], "~ index", "{told:#?}");
}
