//! What the tests share: the program, folders, peers.

pub mod kic;
pub mod peers;

use std::path::{Path, PathBuf};

/// The root of the project.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the root").to_owned()
}

/// The folder of real inputs beside the project, where it is there. Says loudly when it is not.
pub fn shared_data() -> Option<PathBuf> {
    let path = root().join("../shared/data");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, so nothing was tested with real manifests", path.display());
    None
}

/// Whether expectations are rewritten instead of compared.
pub fn updates_expectations() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}
