//! What is looked at in OCI layouts and archives, without kic's own reader.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use kic_oci::validate::{Severity, ValidateOptions, validate};
use serde_json::Value;

/// The `index.json` of a layout or archive.
pub fn index(image: &Path) -> Value {
    let mut bytes = Vec::new();
    if image.is_dir() {
        File::open(image.join("index.json")).unwrap().read_to_end(&mut bytes).unwrap();
    } else {
        let mut archive = tar::Archive::new(File::open(image).unwrap());
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let mut entry = entries.find(|entry| &*entry.path_bytes() == b"index.json").expect("index.json");
        entry.read_to_end(&mut bytes).unwrap();
    }
    serde_json::from_slice(&bytes).unwrap()
}

/// The digest of the only image in a layout or archive.
pub fn root_digest(image: &Path) -> String {
    let index = index(image);
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 1, "{index}");
    manifests[0]["digest"].as_str().unwrap().to_owned()
}

/// A document of a layout, by its digest.
pub fn document(layout: &Path, digest: &str) -> Value {
    serde_json::from_slice(&std::fs::read(blob(layout, digest)).unwrap()).unwrap()
}

/// The path of a blob of a layout.
pub fn blob(layout: &Path, digest: &str) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

/// The layers of the only image in a layout, bottom first.
pub fn layers(layout: &Path) -> Vec<String> {
    let manifest = document(layout, &root_digest(layout));
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// The layout has nothing that the image specification forbids, down to the `diff_id` of each layer.
pub fn assert_valid(layout: &Path) {
    let findings = validate(layout, &ValidateOptions::default());
    let errors: Vec<_> =
        findings.iter().filter(|finding| finding.problem.severity() == Severity::Error).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", layout.display());
}
