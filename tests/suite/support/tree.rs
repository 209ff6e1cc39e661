//! What a folder holds, for comparing what two programs made of the same layers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use kic_base::Digest;

/// Every path below `root` with its kind, mode, and content; for files and links with the time of their last change.
/// Folders come without: what lies in them decides their time.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let what = if metadata.is_dir() {
                waiting.push(path.clone());
                format!("folder {mode:o}")
            } else if metadata.is_symlink() {
                format!("link to {} at {}", fs::read_link(&path).unwrap().display(), metadata.mtime())
            } else {
                format!("file {mode:o} at {} {}", metadata.mtime(), Digest::of(&fs::read(&path).unwrap()))
            };
            tree.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), what);
        }
    }
    tree
}

/// The two folders hold the same; says what differs where they do not.
pub fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (tree(ours), tree(theirs));
    assert!(!ours.is_empty());
    let missing: Vec<_> = ours.iter().filter(|(path, what)| theirs.get(*path) != Some(what)).collect();
    let more: Vec<_> = theirs.iter().filter(|(path, what)| ours.get(*path) != Some(what)).collect();
    assert!(missing.is_empty() && more.is_empty(), "only here: {missing:#?}\nonly there: {more:#?}");
}
