//! What kic writes is well formed by the schemas that the image specification itself publishes.

use std::process::Command;

use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;

#[test]
fn the_schemas_of_the_image_specification_accept_what_is_written() {
    let Some(check) = peer("image-spec-check") else { return };
    let folder = tempfile::tempdir().unwrap();
    let spec = r#"
        cluster "schemas" version="v1+2" {
            platform "linux/amd64" "linux/arm64"
            base scratch
            label "a" "b"
            compression "COMPRESSION"
            files "files" { text "/etc/motd" ($)"${platform.arch}"; }
            manifests "objects" { object "v1/ConfigMap" name="x" { data { a "b"; }; }; }
            readiness "ready" { exists "configmap/x"; }
        }
    "#;
    let mut layouts = Vec::new();
    for compression in ["zstd", "gzip", "none"] {
        std::fs::write(folder.path().join("cluster.kdl"), spec.replace("COMPRESSION", compression)).unwrap();
        let layout = format!("{compression}.oci");
        stdout(kic(folder.path(), &folder.path().join("store")).args(["compile", "-o", &layout]));
        layouts.push(folder.path().join(layout));
    }
    // One on another, so that a base's layers and configuration are in it, too.
    let above = "cluster \"above\" { base oci=\"gzip.oci\"; platform \"linux/arm64\"; }";
    std::fs::write(folder.path().join("cluster.kdl"), above).unwrap();
    stdout(kic(folder.path(), &folder.path().join("store")).args(["compile", "-o", "above.oci"]));
    layouts.push(folder.path().join("above.oci"));
    stdout(Command::new(check).args(&layouts));

    // A document that is not well formed is noticed.
    let index = layouts[3].join("index.json");
    let broken =
        std::fs::read_to_string(&index).unwrap().replace("\"schemaVersion\":2", "\"schemaVersion\":\"2\"");
    std::fs::write(&index, broken).unwrap();
    let check = peer("image-spec-check").unwrap();
    assert!(!Command::new(check).arg(&layouts[3]).output().unwrap().status.success());
}
