//! The entries of layers on top of each other, as unpacking them would leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::read::{File, LayerFiles};

/// The entries of some layers of an image, and what these do to layers below them that are not read.
#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    pub files: BTreeMap<&'a str, &'a File>,
    /// What is deleted.
    pub hidden: BTreeSet<&'a str>,
    /// Folders that are emptied.
    pub emptied: BTreeSet<&'a str>,
}

/// The tree that some layers make, the lowest first.
pub(super) fn tree<'a>(layers: impl IntoIterator<Item = &'a LayerFiles>) -> Tree<'a> {
    let mut tree = Tree::default();
    for layer in layers {
        for path in &layer.emptied {
            tree.remove_below(path);
            tree.emptied.insert(path);
        }
        for path in &layer.hidden {
            tree.remove_below(path);
            tree.files.remove(path.as_str());
            tree.emptied.remove(path.as_str());
            tree.hidden.insert(path);
        }
        for (path, file) in &layer.files {
            if file.kind != "folder" {
                tree.remove_below(path);
                tree.emptied.remove(path.as_str());
            }
            // A folder that was deleted and came again has nothing of what it had.
            if tree.hidden.remove(path.as_str()) && file.kind == "folder" {
                tree.emptied.insert(path);
            }
            tree.files.insert(path, file);
        }
    }
    tree
}

impl Tree<'_> {
    /// Whether something lies in a folder.
    pub fn has_below(&self, folder: &str) -> bool {
        let start = start(folder);
        first(self.files.range::<str, _>(from(&start)).map(|(path, _)| *path), &start).is_some()
    }

    fn remove_below(&mut self, folder: &str) {
        let start = start(folder);
        while let Some(path) = first(self.files.range::<str, _>(from(&start)).map(|(path, _)| *path), &start)
        {
            self.files.remove(path);
        }
        for paths in [&mut self.hidden, &mut self.emptied] {
            while let Some(path) = first(paths.range::<str, _>(from(&start)).copied(), &start) {
                paths.remove(path);
            }
        }
    }
}

/// What the paths in a folder begin with.
fn start(folder: &str) -> String {
    if folder.is_empty() { String::new() } else { format!("{folder}/") }
}

fn from(start: &str) -> (Bound<&str>, Bound<&str>) {
    // Nothing is in itself; of all folders, the root alone could begin its own range.
    let from = if start.is_empty() { Bound::Excluded(start) } else { Bound::Included(start) };
    (from, Bound::Unbounded)
}

fn first<'a>(mut paths: impl Iterator<Item = &'a str>, start: &str) -> Option<&'a str> {
    paths.next().filter(|path| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diff::read::tests::file;

    fn layer(paths: &[(&str, &'static str)], hidden: &[&str], emptied: &[&str]) -> Arc<LayerFiles> {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let mut layer = LayerFiles::default();
        layer.files.extend(paths.iter().map(|(path, kind)| ((*path).to_owned(), File { kind, ..file("") })));
        (layer.hidden, layer.emptied) = (set(hidden), set(emptied));
        Arc::new(layer)
    }

    fn shown(layers: &[Arc<LayerFiles>]) -> String {
        let tree = tree(layers.iter().map(Arc::as_ref));
        let mut shown: Vec<String> = tree.files.keys().map(|path| (*path).to_owned()).collect();
        shown.extend(tree.hidden.iter().map(|path| format!("-{path}")));
        shown.extend(tree.emptied.iter().map(|path| format!("0{path}")));
        shown.join(" ")
    }

    #[test]
    fn whiteouts_hide_what_is_below_them_alone() {
        let low = layer(&[("a", "file"), ("d", "folder"), ("d/x", "file"), ("d.e", "file")], &[], &[]);
        for (upper, expected) in [
            (layer(&[], &["a"], &[]), "d d.e d/x -a"),
            (layer(&[], &["d"], &[]), "a d.e -d"),
            (layer(&[("d/y", "file")], &[], &["d"]), "a d d.e d/y 0d"),
            (layer(&[("a", "file")], &["a"], &[]), "a d d.e d/x"),
            (layer(&[("d", "folder")], &["d"], &[]), "a d d.e 0d"),
            (layer(&[("d", "file")], &[], &[]), "a d d.e"),
            (layer(&[("a", "file")], &[], &[""]), "a 0"),
        ] {
            assert_eq!(shown(&[Arc::clone(&low), upper]), expected);
        }
        let again = layer(&[("a", "file")], &[], &[]);
        assert_eq!(shown(&[layer(&[], &["a"], &["d"]), layer(&[], &["d"], &[]), again]), "a -d");
    }
}
