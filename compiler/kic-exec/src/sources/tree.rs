//! What a walk found, where it found it.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use super::walk::Found;

/// What was found in one folder of a tree, sorted by name.
pub(super) struct FoundFolder {
    /// Its path below the tree's own.
    pub path: String,
    /// All names in it: a tree of many files is many short texts, none of which is worth memory of its own.
    pub names: String,
    /// Where the name of each stands, and what has it, at least one. A folder without anything in it is an entry without a name.
    pub entries: Vec<(Range<usize>, Found)>,
}

impl FoundFolder {
    fn entry(&self, place: usize) -> (TreePath<'_>, &Found) {
        let (name, found) = &self.entries[place];
        (TreePath { folder: &self.path, name: &self.names[name.clone()] }, found)
    }
}

/// A path below that of a tree, as text that is ordered by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TreePath<'a> {
    pub folder: &'a str,
    pub name: &'a str,
}

impl<'a> TreePath<'a> {
    /// The pieces of its text.
    pub fn pieces(&self) -> [&'a str; 3] {
        let between = if self.folder.is_empty() || self.name.is_empty() { "" } else { "/" };
        [self.folder, between, self.name]
    }
}

impl fmt::Display for TreePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().into_iter().try_for_each(|piece| f.write_str(piece))
    }
}

impl Ord for TreePath<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.folder == other.folder {
            return self.name.cmp(other.name);
        }
        let bytes = |path: &Self| path.pieces().into_iter().flat_map(str::bytes);
        bytes(self).cmp(bytes(other))
    }
}

impl PartialOrd for TreePath<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Everything below a folder, sorted by path.
pub(super) struct Tree {
    /// What each thread found, folder after folder. It stays where it is: to put all of it in one place would be the most that is done
    /// in memory for a tree in which nothing changed.
    folders: Vec<FoundFolder>,
    /// Where in them each entry stands, sorted by path.
    order: Vec<(usize, usize)>,
}

impl Tree {
    /// That of what was found in each folder, in any order.
    pub fn of(mut folders: Vec<FoundFolder>) -> Self {
        folders.sort_unstable_by(|left, right| left.entry(0).0.cmp(&right.entry(0).0));
        let mut order = Vec::with_capacity(folders.iter().map(|folder| folder.entries.len()).sum());
        for (folder, found) in folders.iter().enumerate() {
            order.extend((0..found.entries.len()).map(|entry| (folder, entry)));
        }
        // Most trees are in order then, folder after folder: whatever is sorted already is not sorted again.
        let path = |(folder, entry): &(usize, usize)| folders[*folder].entry(*entry).0;
        order.sort_by(|left, right| path(left).cmp(&path(right)));
        Self { folders, order }
    }

    /// The entries in parts of so many each.
    pub fn parts(&self, size: usize) -> Vec<TreePart<'_>> {
        self.order.chunks(size).map(|order| TreePart { tree: self, order }).collect()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (TreePath<'_>, &Found)> {
        TreePart { tree: self, order: &self.order }.iter()
    }

    /// The entry in that place.
    pub fn entry_mut(&mut self, place: usize) -> Option<(TreePath<'_>, &mut Found)> {
        let (folder, entry) = *self.order.get(place)?;
        let FoundFolder { path, names, entries } = self.folders.get_mut(folder)?;
        let (name, found) = entries.get_mut(entry)?;
        Some((TreePath { folder: path, name: &names[name.clone()] }, found))
    }

    /// The entries themselves, with their paths.
    pub fn into_entries(mut self) -> impl Iterator<Item = (String, Found)> {
        self.order.into_iter().map(move |(folder, entry)| {
            let path = self.folders[folder].entry(entry).0.to_string();
            (path, std::mem::replace(&mut self.folders[folder].entries[entry].1, Found::EmptyFolder))
        })
    }

    /// How many files are in each folder, by its path.
    pub fn files_by_folder(&self) -> impl Iterator<Item = (&str, usize)> {
        let is_file = |entry: &&(Range<usize>, Found)| matches!(entry.1, Found::File(_));
        self.folders.iter().map(move |folder| (&*folder.path, folder.entries.iter().filter(is_file).count()))
    }
}

/// Some entries of a tree.
pub(super) struct TreePart<'a> {
    tree: &'a Tree,
    order: &'a [(usize, usize)],
}

impl<'a> TreePart<'a> {
    pub fn iter(&self) -> impl Iterator<Item = (TreePath<'a>, &'a Found)> + use<'a> {
        let tree = self.tree;
        self.order.iter().map(|(folder, entry)| tree.folders[*folder].entry(*entry))
    }
}
