//! A tree that is cut into several layers.

use std::fs;
use std::path::{Path, PathBuf};

use super::random::Random;

/// How many files it has.
pub const FILES: u64 = 2_000;

/// The size of each.
pub const SIZE: usize = 40_000;

/// Makes the tree in `folder`: 80 MB, more than one layer holds.
pub fn make(folder: &Path) {
    let mut random = Random::new(3);
    for number in 0..FILES {
        let path = file(folder, number);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body(random.next())).unwrap();
    }
}

/// Where one of the files is.
pub fn file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{:02}/{number:04}", number / 100))
}

/// A file's bytes: nothing to compress, and quick to make.
pub fn body(seed: u64) -> Vec<u8> {
    Random::new(seed).bytes(SIZE / 10).repeat(10)
}
