//! Image layouts that are as the specification asks, and layouts that are not, each in one way.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use kic_base::Digest;
use kic_oci::model::media_types::*;
use kic_oci::validate::{Finding, Problem, Severity, ValidateOptions, validate};
use serde_json::{Value, json};

/// A layout of two images under an index, which the test may change before it is written.
struct Layout {
    layers: Vec<(String, Vec<u8>)>,
    config: Value,
    manifest: Value,
    index: Value,
    version: Value,
}

impl Layout {
    fn new() -> Self {
        let tar = |name: &str| {
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_ustar();
            header.set_size(5);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, &b"hello"[..]).unwrap();
            tar.into_inner().unwrap()
        };
        let plain = tar("plain");
        let (gzip, zstd) = (tar("gzip"), tar("zstd"));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&gzip).unwrap();
        let layers = vec![
            (OCI_LAYER.to_owned(), plain.clone()),
            (OCI_LAYER_GZIP.to_owned(), encoder.finish().unwrap()),
            (OCI_LAYER_ZSTD.to_owned(), zstd::encode_all(&zstd[..], 3).unwrap()),
        ];
        let diff_ids = [plain, gzip, zstd].map(|tar| Digest::of(&tar));
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
            "config": { "Env": ["PATH=/bin"], "Cmd": null, "Labels": { "a": "b" }, "Volumes": { "/data": {} } },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{}, {}, { "empty_layer": true }, { "created": "1970-01-01T00:00:00Z" }],
        });
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": { "kind": "base" } });
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX });
        Self { layers, config, manifest, index, version: json!({ "imageLayoutVersion": "1.0.0" }) }
    }

    /// Writes blobs and documents, and fills in the descriptors that the test has not put there itself.
    fn write(mut self, root: &Path) {
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        let layers: Vec<Value> =
            self.layers.iter().map(|(media_type, bytes)| blob(root, media_type, bytes)).collect();
        fill(&mut self.manifest, "layers", json!(layers));
        fill(&mut self.manifest, "config", blob(root, OCI_CONFIG, self.config.to_string().as_bytes()));
        let mut descriptor = blob(root, OCI_MANIFEST, self.manifest.to_string().as_bytes());
        descriptor["platform"] = json!({ "architecture": "amd64", "os": "linux" });
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
        fill(&mut self.index, "manifests", json!([descriptor]));
        fs::write(root.join("index.json"), self.index.to_string()).unwrap();
        fs::write(root.join("oci-layout"), self.version.to_string()).unwrap();
    }
}

fn fill(document: &mut Value, member: &str, value: Value) {
    if let Some(document) = document.as_object_mut() {
        document.entry(member).or_insert(value);
    }
}

fn blob(root: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    fs::write(root.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

/// The findings over a layout that was changed before and after it was written, one a line.
fn findings_of(before: impl FnOnce(&mut Layout), after: impl FnOnce(&Path)) -> Vec<Finding> {
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::new();
    before(&mut layout);
    layout.write(folder.path());
    after(folder.path());
    validate(folder.path(), &ValidateOptions::default())
}

fn text(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.to_string() + "\n").collect()
}

/// Exactly one finding, of which the text must contain all of `parts`.
fn one(parts: &[&str], before: impl FnOnce(&mut Layout)) {
    let findings = findings_of(before, |_| {});
    assert_eq!(findings.len(), 1, "expected {parts:?}:\n{}", text(&findings));
    let text = text(&findings);
    assert!(parts.iter().all(|part| text.contains(part)), "expected {parts:?}:\n{text}");
}

/// Exactly one finding after a change of the files.
fn one_after(parts: &[&str], after: impl FnOnce(&Path)) {
    let findings = findings_of(|_| {}, after);
    assert_eq!(findings.len(), 1, "expected {parts:?}:\n{}", text(&findings));
    let text = text(&findings);
    assert!(parts.iter().all(|part| text.contains(part)), "expected {parts:?}:\n{text}");
}

fn edit_index(root: &Path, edit: impl FnOnce(&mut Value)) {
    let path = root.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut index);
    fs::write(path, index.to_string()).unwrap();
}

#[test]
fn a_good_layout_has_no_findings() {
    let findings = findings_of(|_| {}, |_| {});
    assert!(findings.is_empty(), "{}", text(&findings));
    // An artifact, a nested index, and Docker's types in an index.
    let findings = findings_of(
        |_| {},
        |root| {
            let empty = blob(root, OCI_EMPTY, b"{}");
            let artifact = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/b",
                "config": empty, "layers": [blob(root, "text/x-anything", b"anything")] });
            let artifact = blob(root, OCI_MANIFEST, artifact.to_string().as_bytes());
            let inner = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [artifact] });
            let inner = blob(root, OCI_INDEX, inner.to_string().as_bytes());
            edit_index(root, |index| index["manifests"].as_array_mut().unwrap().push(inner));
        },
    );
    assert!(findings.is_empty(), "{}", text(&findings));
}

#[test]
fn the_files_of_a_layout_must_be_there_and_be_files() {
    one_after(&["oci-layout: it is missing"], |root| fs::remove_file(root.join("oci-layout")).unwrap());
    one_after(&["oci-layout: it is no JSON"], |root| fs::write(root.join("oci-layout"), "{").unwrap());
    one_after(&["oci-layout: it is no JSON"], |root| {
        fs::write(root.join("oci-layout"), "[".repeat(100_000)).unwrap();
    });
    one_after(&["oci-layout: it is longer than the 8 MiB"], |root| {
        fs::write(root.join("oci-layout"), vec![b' '; (8 << 20) + 1]).unwrap();
    });
    one_after(&["oci-layout: it is not a regular file"], |root| {
        fs::remove_file(root.join("oci-layout")).unwrap();
        fs::create_dir(root.join("oci-layout")).unwrap();
    });
    one(&["oci-layout: imageLayoutVersion: it is `2.0`, and must be `1.0.0`"], |layout| {
        layout.version = json!({ "imageLayoutVersion": "2.0" });
    });
    one(&["imageLayoutVersion: it is missing, and required"], |layout| layout.version = json!({}));
    one(&["oci-layout: it is an array, and must be an object"], |layout| layout.version = json!([]));
    let folder = tempfile::tempdir().unwrap();
    let findings = validate(folder.path(), &ValidateOptions::default());
    assert_eq!(
        text(&findings),
        "oci-layout: it is missing\nindex.json: it is missing\nblobs: it is missing\n"
    );
}

#[test]
fn a_fifo_in_place_of_a_file_does_not_hang() {
    one_after(&["oci-layout: it is not a regular file"], |root| {
        fs::remove_file(root.join("oci-layout")).unwrap();
        assert!(Command::new("mkfifo").arg(root.join("oci-layout")).status().unwrap().success());
    });
}

#[test]
fn documents_with_wrong_members_are_found() {
    one(&["index.json: schemaVersion: it is `1`, and must be 2"], |l| l.index["schemaVersion"] = json!(1));
    one(&["schemaVersion: it is a string"], |l| l.index["schemaVersion"] = json!("2"));
    one(&["index.json: mediaType: it is `application/vnd.oci.image.manifest"], |l| {
        l.index["mediaType"] = json!(OCI_MANIFEST);
    });
    one(&["mediaType: it is `none`, and must be a media type of RFC 6838"], |l| {
        l.index["mediaType"] = json!("none");
    });
    one(&["index.json: annotations.n: it is a number, and must be a string"], |l| {
        l.index["annotations"] = json!({ "n": 1, "ok": "" });
    });
    one(&["index.json: annotations: it is an array"], |l| l.index["annotations"] = json!([]));
    one(&["manifest sha256:", "annotations.n: it is null, and must be a string"], |l| {
        l.manifest["annotations"] = json!({ "n": null });
    });
    one(&["org.opencontainers.image.created: it is `today`, and must be a time"], |l| {
        l.manifest["annotations"] = json!({ "org.opencontainers.image.created": "today" });
    });
    one(&["manifest sha256:", "subject.size: it is missing, and required"], |l| {
        l.manifest["subject"] = json!({ "mediaType": "a/b", "digest": Digest::of(b"") });
    });
    one(&["index.json: it has members of an index and of a manifest"], |l| l.index["layers"] = json!([]));
    one(&["manifest sha256:", "it has members of an index and of a manifest"], |l| {
        l.manifest["manifests"] = json!([]);
    });
    let findings = findings_of(|l| l.index["manifests"] = json!({}), |_| {});
    assert!(text(&findings).contains("index.json: manifests: it is an object, and must be an array"));
}

#[test]
fn members_that_come_twice_are_found() {
    one_after(&["index.json: the member `schemaVersion` comes twice"], |root| {
        let text = fs::read_to_string(root.join("index.json")).unwrap();
        fs::write(root.join("index.json"), text.replacen('{', "{\"schemaVersion\":2,", 1)).unwrap();
    });
    one_after(&["index.json: manifests[0]: the member `digest` comes twice"], |root| {
        let text = fs::read_to_string(root.join("index.json")).unwrap();
        let text = text.replacen("\"digest\"", "\"digest\":\"x\",\"digest\"", 1);
        // The first counts here; it must not: so it is the right one again.
        let digest = text.split("sha256:").nth(1).unwrap()[..64].to_owned();
        fs::write(root.join("index.json"), text.replacen("\"x\"", &format!("\"sha256:{digest}\""), 1))
            .unwrap();
    });
}

#[test]
fn descriptors_are_checked_member_by_member() {
    let edit = |parts: &[&str], edit: fn(&mut Value)| {
        let folder = tempfile::tempdir().unwrap();
        Layout::new().write(folder.path());
        edit_index(folder.path(), |index| edit(&mut index["manifests"][0]));
        let findings = validate(folder.path(), &ValidateOptions::default());
        let errors: Vec<_> =
            findings.into_iter().filter(|finding| finding.problem.severity() == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "expected {parts:?}:\n{}", text(&errors));
        assert!(parts.iter().all(|part| text(&errors).contains(part)), "{parts:?}:\n{}", text(&errors));
    };
    edit(&["index.json: manifests[0].digest: it is missing"], |d| {
        d.as_object_mut().unwrap().remove("digest");
    });
    edit(&["manifests[0].digest: it is `sha256:00`, and must be"], |d| d["digest"] = json!("sha256:00"));
    edit(&["manifests[0].digest: it is `md5:"], |d| d["digest"] = json!("md5:00"));
    edit(&["manifests[0].digest: it is `../../x`"], |d| d["digest"] = json!("../../x"));
    edit(&["manifests[0].size: it is a number, and must be a whole number"], |d| d["size"] = json!(-1));
    edit(&["manifests[0].size: it is `9223372036854775808`"], |d| d["size"] = json!(1_u64 << 63));
    edit(&["manifests[0].size: the blob has", "its descriptor says 7"], |d| d["size"] = json!(7));
    edit(&["manifests[0].mediaType: it is missing"], |d| {
        d.as_object_mut().unwrap().remove("mediaType");
    });
    edit(&["manifests[0].mediaType: its own media type is"], |d| d["mediaType"] = json!(DOCKER_MANIFEST));
    edit(&["manifests[0].urls[0]: it is a number"], |d| d["urls"] = json!([1]));
    edit(&["manifests[0].annotations.x: it is a truth value"], |d| d["annotations"] = json!({ "x": true }));
    edit(&["manifests[0].platform.os: it is missing"], |d| {
        d["platform"] = json!({ "architecture": "amd64" })
    });
    edit(&["manifests[0].platform: the index says linux/arm64", "configuration says linux/amd64"], |d| {
        d["platform"]["architecture"] = json!("arm64");
    });
    edit(&["manifests[0].data: the embedded data does not give"], |d| d["data"] = json!("e30="));
    edit(&["manifests[0]: the blob sha256:", "is missing"], |d| d["digest"] = json!(Digest::of(b"no")));
    edit(&["manifests[0]: it is a string, and must be an object"], |d| *d = json!("x"));
}

#[test]
fn names_given_twice_and_entries_listed_twice_are_found() {
    let again = |name: &'static str| {
        move |root: &Path| {
            edit_index(root, |index| {
                let mut entry = index["manifests"][0].clone();
                entry["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
                index["manifests"].as_array_mut().unwrap().push(entry);
            });
        }
    };
    assert_eq!(findings_of(|_| {}, again("other")), []);
    let findings = text(&findings_of(|_| {}, again("latest")));
    assert!(findings.contains("manifests[1]: the same entry is listed before"), "{findings}");
    assert!(findings.contains("the name `latest` is given to more than one entry"), "{findings}");
    one_after(
        &["manifests[1].annotations.org.opencontainers.image.ref.name: it is `a b`, and should be"],
        again("a b"),
    );
}

#[test]
fn configurations_are_checked_and_agree_with_the_layers() {
    let one = |parts: &[&str], edit: fn(&mut Value)| one(parts, |layout| edit(&mut layout.config));
    one(&["config sha256:", ": architecture: it is missing"], |c| {
        c.as_object_mut().unwrap().remove("architecture");
    });
    one(&["os: it is a number"], |c| c["os"] = json!(1));
    one(&["variant: it is a number"], |c| c["variant"] = json!(7));
    one(&["rootfs: it is missing"], |c| {
        c.as_object_mut().unwrap().remove("rootfs");
    });
    one(&["rootfs.type: it is `stack`, and must be `layers`"], |c| c["rootfs"]["type"] = json!("stack"));
    one(&["rootfs.diff_ids[1]: it is `x`"], |c| c["rootfs"]["diff_ids"][1] = json!("x"));
    one(&["rootfs.diff_ids: there are 2 diff ids for 3 layers"], |c| {
        c["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
    });
    one(&["rootfs.diff_ids[0]: the layer's decompressed bytes give sha256:"], |c| {
        c["rootfs"]["diff_ids"][0] = json!(Digest::of(b""));
    });
    one(&["rootfs.diff_ids[1]: the layer's decompressed bytes give"], |c| {
        c["rootfs"]["diff_ids"][1] = json!(Digest::of(b""));
    });
    one(&["rootfs.diff_ids[2]: the layer's decompressed bytes give"], |c| {
        c["rootfs"]["diff_ids"][2] = json!(Digest::of(b""));
    });
    one(&["history: the history tells of 1 layers, and there are 3"], |c| c["history"] = json!([{}]));
    one(&["history[0].empty_layer: it is a string"], |c| c["history"][0]["empty_layer"] = json!("no"));
    one(&["created: it is `yesterday`"], |c| c["created"] = json!("yesterday"));
    one(&["config.Env[0]: it is `PATH`, and must be `NAME=VALUE`"], |c| c["config"]["Env"] = json!(["PATH"]));
    one(&["config.Cmd: it is a string, and must be an array"], |c| c["config"]["Cmd"] = json!("sh"));
    one(&["config.Labels.n: it is a number"], |c| c["config"]["Labels"] = json!({ "n": 1 }));
    one(&["config.Volumes./data: it is null, and must be an object"], |c| {
        c["config"]["Volumes"] = json!({ "/data": null });
    });
}

#[test]
fn diff_ids_are_left_alone_when_that_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut layout = Layout::new();
    layout.config["rootfs"]["diff_ids"][1] = json!(Digest::of(b""));
    layout.write(folder.path());
    let options = ValidateOptions { diff_ids: false, ..Default::default() };
    assert_eq!(validate(folder.path(), &options), []);
}

#[test]
fn layers_of_unusual_types_and_layers_that_do_not_decompress_are_found() {
    one(&["layers[0].mediaType: it is `text/plain`, and should be the media type of a layer"], |layout| {
        layout.layers[0].0 = "text/plain".into();
    });
    one(&["layers[0].mediaType: it is", "should be a layer that may be passed on"], |layout| {
        layout.layers[0].0 = OCI_FOREIGN_LAYER.into();
    });
    let findings = findings_of(|layout| layout.layers[1].1 = b"no gzip".to_vec(), |_| {});
    assert!(matches!(&findings[..], [Finding { problem: Problem::Undecodable(_), .. }]), "{findings:?}");
    let mut options = ValidateOptions::default();
    options.limits.bytes = 100;
    let folder = tempfile::tempdir().unwrap();
    Layout::new().write(folder.path());
    let findings = text(&validate(folder.path(), &options));
    assert_eq!(findings.matches("it cannot be decompressed: the layers have more than 100 bytes").count(), 3);
}

#[test]
fn every_damaged_blob_is_found_even_one_that_nobody_names() {
    let folder = tempfile::tempdir().unwrap();
    Layout::new().write(folder.path());
    blob(folder.path(), "", b"nobody's");
    let findings = validate(folder.path(), &ValidateOptions::default());
    assert!(matches!(&findings[..], [Finding { problem: Problem::Unreferenced, .. }]));
    assert_eq!(findings[0].problem.severity(), Severity::Warning);
    let blobs: Vec<_> = fs::read_dir(folder.path().join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(blobs.len(), 6);
    for path in blobs {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&path, &bad).unwrap();
        let findings = validate(folder.path(), &ValidateOptions::default());
        let name = path.file_name().unwrap().to_str().unwrap();
        let found = findings.iter().any(|finding| {
            finding.document.ends_with(name) && matches!(finding.problem, Problem::Digest { .. })
        });
        assert!(found, "{name}:\n{}", text(&findings));
        fs::remove_file(&path).unwrap();
        let findings = validate(folder.path(), &ValidateOptions::default());
        let is_named = good != b"nobody's";
        let found = findings.iter().any(|finding| matches!(finding.problem, Problem::MissingBlob(_)));
        assert_eq!(found, is_named, "{name}:\n{}", text(&findings));
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn what_is_no_blob_among_the_blobs_is_found() {
    one_after(&["blobs/sha256/.tmp: its name is not a digest"], |root| {
        fs::write(root.join("blobs/sha256/.tmp"), "").unwrap();
    });
    one_after(&["blobs/file: its name is not a digest"], |root| {
        fs::write(root.join("blobs/file"), "").unwrap();
    });
}

#[test]
fn indexes_inside_of_indexes_end_somewhere_and_findings_too() {
    one_after(&["it lies deeper than 16 indexes"], |root| {
        let mut inner = blob(root, OCI_INDEX, br#"{"schemaVersion":2,"mediaType":"x/y","manifests":[]}"#);
        for _ in 0..16 {
            let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner] });
            inner = blob(root, OCI_INDEX, index.to_string().as_bytes());
        }
        // The innermost is not looked at, else its media type would be a finding; but something names it.
        edit_index(root, |index| index["manifests"].as_array_mut().unwrap().push(inner));
        let unread = Digest::of(br#"{"schemaVersion":2,"mediaType":"x/y","manifests":[]}"#);
        fs::remove_file(root.join("blobs/sha256").join(unread.hex())).unwrap();
    });
    let findings = findings_of(|layout| layout.index["manifests"] = json!(vec![json!({}); 5000]), |_| {});
    assert_eq!(findings.len(), 1001);
    assert_eq!(findings[1000].problem, Problem::Many);
}

/// What other tools write is valid too.
#[test]
fn a_layout_by_skopeo_and_one_by_umoci_have_no_errors() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    Layout::new().write(&source);
    let copied = folder.path().join("copied");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--format=oci"]);
    skopeo.arg(format!("oci:{}:latest", source.display())).arg(format!("oci:{}:copy", copied.display()));
    let made = folder.path().join("made");
    let image = format!("{}:new", made.display());
    let umoci = |arguments: &[&str]| {
        let mut umoci = Command::new("umoci");
        umoci.args(arguments);
        umoci
    };
    let mut commands = [
        skopeo,
        umoci(&["init", "--layout", made.to_str().unwrap()]),
        umoci(&["new", "--image", &image]),
        umoci(&["config", "--image", &image, "--author", "kic", "--config.env", "A=b"]),
    ];
    for command in &mut commands {
        match command.output() {
            Ok(output) => {
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr))
            }
            Err(error) => return skip(&format!("{command:?} cannot be run: {error}")),
        }
    }
    for root in [copied, made] {
        let findings = validate(&root, &ValidateOptions::default());
        let errors: Vec<_> =
            findings.into_iter().filter(|finding| finding.problem.severity() == Severity::Error).collect();
        assert!(errors.is_empty(), "{}:\n{}", root.display(), text(&errors));
    }
}

#[allow(clippy::disallowed_methods)]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    let required = std::env::var("KIC_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "KIC_REQUIRE_PEERS=1, and a test was skipped: {why}");
}
