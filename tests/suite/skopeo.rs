//! skopeo copies what kic writes, between layouts, archives and registries, and its digests stay.

use std::fs;
use std::path::Path;
use std::process::Command;

use kic_base::Digest;
use serde_json::Value;

use crate::support::copy_tree;
use crate::support::image_layout::{assert_valid, blob, document, root_digest};
use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;
use crate::support::root;
use crate::support::stock_registry::StockRegistry;

/// `skopeo ARGUMENTS` in `folder`.
fn skopeo(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(peer("skopeo").unwrap());
    stdout(command.current_dir(folder).arg("--insecure-policy").args(arguments))
}

/// The first example with this compression, as layout `image` and archive `image.tar` in `folder`; its digest.
fn compile(folder: &Path, compression: &str) -> String {
    copy_tree(&root().join("examples/hello"), &folder.join("spec"), 0o644);
    let spec = folder.join("spec/cluster.kdl");
    let text = fs::read_to_string(&spec).unwrap();
    let line = format!("    base scratch\n    compression \"{compression}\"\n");
    assert!(text.contains("    base scratch\n"));
    fs::write(&spec, text.replace("    base scratch\n", &line)).unwrap();
    let run = |output: &str| {
        let mut kic = kic(folder, &folder.join("store"));
        stdout(kic.args(["compile", "spec/cluster.kdl", "--quiet", "-o", output])).trim().to_owned()
    };
    let digest = run("image");
    assert_eq!(run("image.tar"), digest);
    digest
}

#[test]
fn copies_keep_their_digests_whatever_the_compression() {
    if peer("skopeo").is_none() {
        return;
    }
    for compression in ["zstd", "gzip", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let digest = compile(folder, compression);
        for (number, from) in ["oci:image:v1", "oci-archive:image.tar:v1"].iter().enumerate() {
            let layout = format!("copy-{number}");
            // skopeo compresses what is not compressed yet, unless it is told to leave digests alone.
            let keep = if compression == "none" { "--preserve-digests" } else { "--all" };
            skopeo(folder, &["copy", "--quiet", keep, from, &format!("oci:{layout}:new")]);
            assert_eq!(root_digest(&folder.join(&layout)), digest, "{compression} {from}");
            assert_valid(&folder.join(&layout));
            skopeo(folder, &["copy", "--quiet", keep, from, &format!("oci-archive:{layout}.tar:new")]);
            assert_eq!(root_digest(&folder.join(format!("{layout}.tar"))), digest, "{compression} {from}");
        }
        // What skopeo wrote is read by kic, as an image and as the base of the next one.
        let inspect = |image: &str| -> Value {
            let mut kic = kic(folder, &folder.join("store"));
            serde_json::from_str(&stdout(kic.args(["inspect", "--format", "json", image]))).unwrap()
        };
        assert_eq!(inspect("copy-0")["platforms"], inspect("image")["platforms"]);
        assert_eq!(inspect("copy-1.tar")["digest"], digest.as_str());
    }
}

#[test]
fn a_registry_keeps_what_skopeo_brings_and_gives_it_back() {
    if peer("skopeo").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(registry) = StockRegistry::start(&folder.join("registry"), false) else { return };
    let digest = compile(folder, "zstd");
    let to = format!("docker://{}/own/hello:v1", registry.host);
    skopeo(folder, &["copy", "--quiet", "--dest-tls-verify=false", "oci:image:v1", &to]);
    let manifest = fs::read(blob(&folder.join("image"), &digest)).unwrap();
    assert_eq!(registry.manifest("own/hello", "v1"), manifest);
    skopeo(folder, &["copy", "--quiet", "--src-tls-verify=false", &to, "oci:back:v1"]);
    assert_eq!(root_digest(&folder.join("back")), digest);
    assert_valid(&folder.join("back"));
    // kic reads it from there, too.
    let unpack = |image: &str, to: &str| {
        stdout(kic(folder, &folder.join(to).join("../other-store")).args(["unpack", image, to]))
    };
    unpack("image", "from-layout");
    unpack(&format!("{}/own/hello:v1", registry.host), "from-registry");
    crate::support::tree::assert_same(&folder.join("from-layout"), &folder.join("from-registry"));
}

#[test]
fn inspect_tells_what_kic_wrote() {
    if peer("skopeo").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let digest = compile(folder, "zstd");
    let manifest = document(&folder.join("image"), &digest);
    for image in ["oci:image:v1", "oci-archive:image.tar:v1"] {
        let told: Value = serde_json::from_str(&skopeo(folder, &["inspect", image])).unwrap();
        assert_eq!(told["Digest"], digest.as_str(), "{told}");
        assert_eq!((told["Os"].as_str(), told["Architecture"].as_str()), (Some("linux"), Some("amd64")));
        assert_eq!(told["Created"], "1970-01-01T00:00:00Z");
        let layers: Vec<&Value> =
            manifest["layers"].as_array().unwrap().iter().map(|layer| &layer["digest"]).collect();
        assert_eq!(told["Layers"].as_array().unwrap().iter().collect::<Vec<_>>(), layers);
        let raw = skopeo(folder, &["inspect", "--raw", image]);
        assert_eq!(Digest::of(raw.as_bytes()).to_string(), digest);
    }
}
