//! umoci unpacks to the same tree as `kic unpack`.

use std::fs;
use std::process::Command;

use crate::support::image_layout::assert_valid;
use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;
use crate::support::rich_spec::{self, Making};
use crate::support::tree::{assert_same, tree};

/// umoci 0.4.7 reads no zstd; gzip is what kic has for it.
#[test]
fn umoci_unpacks_to_the_same_tree() {
    let Some(umoci) = peer("umoci") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    rich_spec::make(folder, Making::default());
    rich_spec::add_line(folder, "compression \"gzip\"");
    let spec = fs::read_to_string(folder.join("cluster.kdl")).unwrap();
    let both = "platform \"linux/amd64\" \"linux/arm64\"";
    assert!(spec.contains(both));
    let base = fs::read_to_string(folder.join("base/cluster.kdl")).unwrap();
    let gzip = base.replacen("{\n", "{\n    compression \"gzip\"\n", 1);
    fs::write(folder.join("base/cluster.kdl"), gzip).unwrap();
    fs::write(folder.join("cluster.kdl"), spec.replace(both, "platform \"linux/amd64\"")).unwrap();
    let ours = |arguments: &[&str]| stdout(kic(folder, &folder.join("store")).args(arguments));
    ours(&["compile", "--quiet", "-o", "image"]);
    assert_valid(&folder.join("image"));
    ours(&["unpack", "image", "ours"]);
    let mut command = Command::new(umoci);
    command.current_dir(folder).args(["unpack", "--image", "image:v1.2.3-build.7"]);
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) != 0) {
        command.arg("--rootless");
    }
    stdout(command.arg("theirs"));
    assert_same(&folder.join("ours"), &folder.join("theirs/rootfs"));
    let tree = tree(&folder.join("ours"));
    for path in [
        "srv/tree/run.sh",
        "srv/tree/new\nline",
        "srv/tree/link",
        "registry/docker/registry/v2/blobs",
        "kic/plan.json",
    ] {
        assert!(tree.contains_key(path), "{path}");
    }
}
