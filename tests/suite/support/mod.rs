//! What the tests share: the program, folders, peers.

pub mod containerd;
pub mod contents;
pub mod damage;
pub mod disk_file;
pub mod fault_proxy;
pub mod http;
pub mod image_layout;
pub mod kic;
pub mod killing;
pub mod large_tree;
pub mod markdown;
pub mod peers;
pub mod pseudo_terminal;
pub mod random;
pub mod redirected;
pub mod registry_data;
pub mod repeats;
pub mod rich_spec;
pub mod seed;
pub mod server;
pub mod sharing_specs;
pub mod small_disk;
pub mod stock_registry;
pub mod synthetic_image;
pub mod tree;
pub mod upstream;
pub mod wide_spec;

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

/// Copies a folder, its entries in reverse order of their names, and gives each file these permission bits.
pub fn copy_tree(from: &Path, to: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(to).unwrap();
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().rev() {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(path, &target, mode);
        } else {
            std::fs::copy(path, &target).unwrap();
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Copies a folder with the permission bits and symbolic links that it has.
pub fn copy_tree_as_it_is(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        let kind = entry.unwrap().file_type().unwrap();
        if kind.is_dir() {
            copy_tree_as_it_is(&path, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&path).unwrap(), &target).unwrap();
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
