//! The same layers, unpacked by another tool.

use std::fs;

use kic_oci::model::media_types::OCI_LAYER;
use tar::EntryType;

use crate::shared::*;

/// umoci unpacks the same layers to the same tree.
#[test]
fn umoci_gives_the_same_tree() {
    let layers = [
        Tar::default()
            .folder("etc/")
            .entry(EntryType::Regular, b"etc/shadow", b"", 0o600, b"secret")
            .file("etc/old", b"old")
            .file("var/cache/one", b"1")
            .file("var/cache/two", b"2")
            .file("var/kept/three", b"3")
            .entry(EntryType::Directory, b"tmp/", b"", 0o1777, b"")
            .link("bin", "usr/bin")
            .file("usr/bin/tool", b"tool")
            .hard("usr/bin/alias", "usr/bin/tool")
            .link("dangling", "/no/where"),
        Tar::default()
            .file("etc/.wh.old", b"")
            .folder("var/cache/")
            .file("var/cache/.wh..wh..opq", b"")
            .file("var/cache/four", b"4")
            .file("usr/bin/tool", b"new tool")
            .folder("dangling/")
            .file("dangling/file", b"x"),
        Tar::default().file("var/.wh.kept", b"").link("etc/shadow", "../tmp").hard("tmp/link", "etc/shadow"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = kic_base::Digest::of(bytes);
        fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        serde_json::json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let tars = layers.clone().map(Tar::end);
    let diff_ids = tars.each_ref().map(|tar| kic_base::Digest::of(tar));
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let manifest = serde_json::json!({ "schemaVersion": 2,
        "config": blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
        "layers": tars.each_ref().map(|tar| blob(OCI_LAYER, tar)) });
    let mut manifest = blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let bundle = folder.path().join("bundle");
    let mut umoci = std::process::Command::new("umoci");
    umoci.arg("unpack").arg("--image").arg(format!("{}:latest", layout.display())).arg(&bundle);
    if !is_root() {
        umoci.arg("--rootless");
    }
    match umoci.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => return skip(&format!("umoci cannot be run: {error}")),
    }
    let (_folder, root, _) = good(layers.to_vec());
    let theirs = bundle.join("rootfs");
    assert_eq!(tree(&root), tree(&theirs));
    for name in names(&root) {
        assert_eq!(mode(root.join(&name)), mode(theirs.join(&name)), "{name}");
    }
}
