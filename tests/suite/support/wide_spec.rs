//! A spec with what [`super::rich_spec`] lacks: `tests/reproducible/wide` with a tree of thousands of files, and images.
//! It needs Helm and kustomize.

use std::fs;
use std::path::Path;

use super::random::Random;
use super::rich_spec::{Item, Making, files_of, images, lay_out, make_images};
use super::root;

/// How many files the tree has, and the size of most of them.
const FILES: usize = 1500;
const SIZE: u64 = 8000;

/// Makes the spec with its tree and images in `folder`. `folder/cluster.kdl` is the spec.
pub fn make(folder: &Path, making: Making) {
    let mut items = files_of(&root().join("tests/reproducible/wide"));
    let file = |path: String, bytes: Vec<u8>| Item::File { path, bytes, executable: false };
    for name in ["greeters.yaml", "kyverno.yaml"] {
        let bytes = fs::read(root().join("examples/redirected").join(name)).unwrap();
        items.push(file(name.to_owned(), bytes));
    }
    // Half of each file compresses.
    let mut random = Random::new(17);
    for number in 0..FILES {
        let size = usize::try_from(random.below(SIZE)).unwrap();
        let mut bytes = random.bytes(size / 2);
        bytes.resize(size, b'k');
        items.push(file(format!("data/{}/{}", number % 37, random.below(1 << 40)), bytes));
    }
    items.extend(images());
    lay_out(items, folder, making);
    make_images(folder);
}
