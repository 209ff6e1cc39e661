//! The bytes of everything below a folder, and the layers that kic names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kic_base::Digest;
use serde_json::Value;

use super::image_layout::{document, root_digest};

/// Every file below a folder, by relative path, with the digest of its bytes; of a symbolic link, that of its target.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Digest> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            let entry = entry.unwrap();
            let (kind, path) = (entry.file_type().unwrap(), entry.path());
            if kind.is_dir() {
                waiting.push(path);
                continue;
            }
            let digest = if kind.is_symlink() {
                Digest::of(fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes())
            } else {
                digest_of(&path)
            };
            files.insert(path.strip_prefix(folder).unwrap().to_owned(), digest);
        }
    }
    files
}

/// The digest of a file's bytes.
pub fn digest_of(path: &Path) -> Digest {
    Digest::of(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The descriptor of the layer of that kind and name, in the first platform of the only image of a layout.
pub fn layer(layout: &Path, kind: &str, name: &str) -> Value {
    let mut root = document(layout, &root_digest(layout));
    if let Some(children) = root["manifests"].as_array() {
        root = document(layout, children[0]["digest"].as_str().unwrap());
    }
    let annotation =
        |layer: &Value, name: &str| layer["annotations"][name].as_str().unwrap_or_default().to_owned();
    let found = root["layers"].as_array().unwrap().iter().rfind(|layer| {
        annotation(layer, kic_graph::KIND_ANNOTATION) == kind
            && annotation(layer, kic_graph::NAME_ANNOTATION) == name
    });
    found.unwrap_or_else(|| panic!("{} has no layer {kind} {name}", layout.display())).clone()
}
