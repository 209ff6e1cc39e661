//! Which content a file had when it was read last.
//!
//! The bytes of an index, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 12 | the moment at which it was written |
//! | 4 | the number of folders |
//! | each folder | length of its path (4), number of files (4), bytes of all that follows (4); the path; the offset of each file (4); the files |
//! | each file | length of its name (2), the name, device, inode, size (8 each), two moments (12 each), digest (32) |
//!
//! Folders are sorted by path, files by name, so that both are found by bisection in the bytes as they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use kic_base::Digest;

use super::bytes::{length_at, moment_at, put_length, put_moment};
use super::fingerprint::{FINGERPRINT, Fingerprint, Moment};

const MAGIC: &[u8; 8] = b"kicsrc1\n";
/// A fingerprint and a digest.
const FACTS: usize = FINGERPRINT + 32;

/// The contents of files, as they were found last.
#[derive(Debug, Default)]
pub(super) struct Index {
    bytes: Vec<u8>,
    /// Where each folder begins, in the order of the paths.
    folders: Vec<usize>,
}

/// The files of one folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folder<'a> {
    path: &'a [u8],
    offsets: &'a [u8],
    files: &'a [u8],
}

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub fingerprint: Fingerprint,
    pub digest: Digest,
}

/// Files by folder and name.
pub(super) type Files = BTreeMap<PathBuf, BTreeMap<String, Known>>;

impl Index {
    /// From its bytes. What is no index, or comes from the future (the clock was set back since, and what was sure when
    /// it was written is no more), is one that knows nothing.
    pub fn parse(bytes: Vec<u8>, now: Moment) -> Self {
        match folders(&bytes, now) {
            Some(folders) => Self { bytes, folders },
            None => Self::default(),
        }
    }

    /// The bytes of an index of these files.
    pub fn write(files: &Files, now: Moment) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_moment(&mut bytes, now);
        put_length(&mut bytes, files.len());
        // Paths compare part by part, and their bytes do not.
        let mut folders: Vec<(&[u8], &BTreeMap<String, Known>)> =
            files.iter().map(|(path, files)| (path.as_os_str().as_bytes(), files)).collect();
        folders.sort_unstable_by_key(|(path, _)| *path);
        for (path, files) in folders {
            put_folder(&mut bytes, path, files);
        }
        bytes
    }

    /// The bytes of an index that knows these files, too: as [`Self::write`] would give them, but folders in which nothing changes
    /// are taken over as they are.
    pub fn write_with(&self, more: Files, now: Moment) -> Vec<u8> {
        let mut more: BTreeMap<Vec<u8>, BTreeMap<String, Known>> =
            more.into_iter().map(|(path, files)| (path.into_os_string().into_vec(), files)).collect();
        let new = more.keys().filter(|path| self.folder_of(path).is_none()).count();
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 8);
        bytes.extend_from_slice(MAGIC);
        put_moment(&mut bytes, now);
        put_length(&mut bytes, self.folders.len() + new);
        for (at, folder) in self.folders.iter().filter_map(|at| Some((*at, folder_at(&self.bytes, *at)?))) {
            while let Some(first) = more.first_entry().filter(|first| first.key().as_slice() < folder.path) {
                let (path, files) = first.remove_entry();
                put_folder(&mut bytes, &path, &files);
            }
            match more.remove(folder.path) {
                Some(files) => put_merged(&mut bytes, folder, &files),
                None => {
                    let length = 12 + folder.path.len() + folder.offsets.len() + folder.files.len();
                    bytes.extend_from_slice(self.bytes.get(at..at + length).unwrap_or_default());
                }
            }
        }
        for (path, files) in more {
            put_folder(&mut bytes, &path, &files);
        }
        bytes
    }

    /// How many files it knows.
    pub fn len(&self) -> usize {
        let folders = self.folders.iter().filter_map(|at| folder_at(&self.bytes, *at));
        folders.map(|folder| folder.offsets.len() / 4).sum()
    }

    /// The files of the folder at `path`, an absolute path.
    pub fn folder(&self, path: &Path) -> Option<Folder<'_>> {
        self.folder_of(path.as_os_str().as_bytes())
    }

    fn folder_of(&self, path: &[u8]) -> Option<Folder<'_>> {
        let place = self.folders.binary_search_by(|at| {
            folder_at(&self.bytes, *at).map_or(Ordering::Less, |found| found.path.cmp(path))
        });
        folder_at(&self.bytes, *self.folders.get(place.ok()?)?)
    }

    /// Everything that it knows.
    pub fn files(&self) -> Files {
        let folders = self.folders.iter().filter_map(|at| folder_at(&self.bytes, *at));
        let path = |folder: &Folder<'_>| PathBuf::from(std::ffi::OsStr::from_bytes(folder.path));
        folders.map(|folder| (path(&folder), folder.all())).collect()
    }
}

impl<'a> Folder<'a> {
    /// What is known of the file of that name.
    pub fn file(&self, name: &str) -> Option<Known> {
        self.file_from(&mut 0, name)
    }

    /// The same, for names that are asked for in their order: the file is looked for at `place` first, and `place` is that behind it
    /// then.
    pub fn file_from(&self, place: &mut usize, name: &str) -> Option<Known> {
        let (mut low, mut high, mut middle) = (0, self.offsets.len() / 4, *place);
        while low < high {
            middle = middle.min(high - 1);
            let (found, facts) = self.nth(middle)?;
            match found.cmp(name.as_bytes()) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    *place = middle + 1;
                    return known(facts);
                }
            }
            middle = low.midpoint(high);
        }
        None
    }

    fn all(&self) -> BTreeMap<String, Known> {
        let files = (0..self.offsets.len() / 4).filter_map(|place| self.nth(place));
        files
            .filter_map(|(name, facts)| Some((std::str::from_utf8(name).ok()?.to_owned(), known(facts)?)))
            .collect()
    }

    /// Name and facts of the file in that place.
    fn nth(&self, place: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (name, file) = self.nth_bytes(place)?;
        Some((name, &file[2 + name.len()..]))
    }

    /// Name and all bytes of the file in that place.
    fn nth_bytes(&self, place: usize) -> Option<(&'a [u8], &'a [u8])> {
        let file = self.files.get(length_at(self.offsets, place * 4)?..)?;
        let length = usize::from(u16::from_le_bytes(*file.first_chunk::<2>()?));
        let file = file.get(..2 + length + FACTS)?;
        Some((&file[2..2 + length], file))
    }
}

/// The files of a folder, while they are put into bytes in the order of their names.
#[derive(Default)]
struct Putting {
    offsets: Vec<u8>,
    files: Vec<u8>,
}

impl Putting {
    fn file(&mut self, name: &str, known: &Known) {
        // A file system knows no longer names.
        let Ok(length) = u16::try_from(name.len()) else { return };
        put_length(&mut self.offsets, self.files.len());
        self.files.extend_from_slice(&length.to_le_bytes());
        self.files.extend_from_slice(name.as_bytes());
        known.fingerprint.put(&mut self.files);
        self.files.extend_from_slice(known.digest.as_bytes());
    }

    /// One that is in bytes already: its name's length, its name and its facts.
    fn taken_over(&mut self, file: &[u8]) {
        put_length(&mut self.offsets, self.files.len());
        self.files.extend_from_slice(file);
    }

    fn finish(self, bytes: &mut Vec<u8>, path: &[u8]) {
        put_length(bytes, path.len());
        put_length(bytes, self.offsets.len() / 4);
        put_length(bytes, path.len() + self.offsets.len() + self.files.len());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&self.offsets);
        bytes.extend_from_slice(&self.files);
    }
}

fn put_folder(bytes: &mut Vec<u8>, path: &[u8], files: &BTreeMap<String, Known>) {
    let mut putting = Putting::default();
    files.iter().for_each(|(name, known)| putting.file(name, known));
    putting.finish(bytes, path);
}

/// A folder with other files in it, too, or with what is known of them now.
fn put_merged(bytes: &mut Vec<u8>, folder: Folder<'_>, files: &BTreeMap<String, Known>) {
    let more: usize = files.keys().map(|name| 2 + name.len() + FACTS).sum();
    let mut putting = Putting {
        offsets: Vec::with_capacity(folder.offsets.len() + 4 * files.len()),
        files: Vec::with_capacity(folder.files.len() + more),
    };
    let mut files = files.iter().peekable();
    for (name, file) in (0..folder.offsets.len() / 4).filter_map(|place| folder.nth_bytes(place)) {
        while let Some((new, known)) = files.next_if(|(new, _)| new.as_bytes() < name) {
            putting.file(new, known);
        }
        match files.next_if(|(new, _)| new.as_bytes() == name) {
            Some((new, known)) => putting.file(new, known),
            None => putting.taken_over(file),
        }
    }
    files.for_each(|(name, known)| putting.file(name, known));
    putting.finish(bytes, folder.path);
}

/// Where the folders begin, where the bytes are those of an index.
fn folders(bytes: &[u8], now: Moment) -> Option<Vec<usize>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let written = moment_at(rest, 0)?;
    if written > now {
        return None;
    }
    let count = length_at(rest, 12)?;
    let mut at = MAGIC.len() + 16;
    let mut folders = Vec::new();
    for _ in 0..count {
        folder_at(bytes, at)?;
        folders.push(at);
        at += 12 + length_at(bytes, at + 8)?;
    }
    (at == bytes.len()).then_some(folders)
}

fn folder_at(bytes: &[u8], at: usize) -> Option<Folder<'_>> {
    let (path, count, length) = (length_at(bytes, at)?, length_at(bytes, at + 4)?, length_at(bytes, at + 8)?);
    let body = bytes.get(at + 12..at.checked_add(12)?.checked_add(length)?)?;
    let (path, body) = body.split_at_checked(path)?;
    let (offsets, files) = body.split_at_checked(count.checked_mul(4)?)?;
    Some(Folder { path, offsets, files })
}

fn known(facts: &[u8]) -> Option<Known> {
    let fingerprint = Fingerprint::from_bytes(facts)?;
    let digest = facts.get(FINGERPRINT..FACTS)?.try_into().ok()?;
    Some(Known { fingerprint, digest: Digest::from_bytes(digest) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known_of(number: u64) -> Known {
        let moment = (number.cast_signed() % 977, u32::try_from(number % 1_000_000_000).unwrap());
        let fingerprint = Fingerprint {
            device: number,
            inode: number + 1,
            size: number / 3,
            modified: moment,
            changed: moment,
        };
        Known { fingerprint, digest: Digest::of(&number.to_le_bytes()) }
    }

    type Numbers = BTreeMap<String, BTreeMap<String, u64>>;

    fn some_folders() -> impl Strategy<Value = Numbers> {
        let numbers = any::<u64>().prop_map(|number| number >> 2);
        let files = prop::collection::btree_map("[a-dü-]{1,4}", numbers, 0..9);
        prop::collection::btree_map("(/[a-c-]{1,3}){1,3}", files, 0..9)
    }

    fn files(folders: &Numbers) -> Files {
        let files = |files: &BTreeMap<String, u64>| {
            files.iter().map(|(name, number)| (name.clone(), known_of(*number))).collect()
        };
        folders.iter().map(|(path, own)| (PathBuf::from(path), files(own))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_added_is_written_as_if_all_were_written_anew(
            before in some_folders(),
            more in some_folders(),
        ) {
            let (before, more) = (files(&before), files(&more));
            let index = Index::parse(Index::write(&before, (5, 6)), (5, 6));
            prop_assert_eq!(index.len(), before.values().map(BTreeMap::len).sum::<usize>());
            let mut all = before;
            for (path, files) in more.clone() {
                all.entry(path).or_default().extend(files);
            }
            prop_assert_eq!(index.write_with(more, (7, 8)), Index::write(&all, (7, 8)));
        }

        #[test]
        fn what_is_written_is_found_and_nothing_else(
            folders in some_folders(),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
            from in any::<prop::sample::Index>(),
        ) {
            let files = files(&folders);
            let bytes = Index::write(&files, (5, 6));
            let index = Index::parse(bytes.clone(), (5, 6));
            prop_assert_eq!(&index.files(), &files);
            for (path, files) in &files {
                let folder = index.folder(path).unwrap();
                let mut place = from.index(10);
                for (name, known) in files {
                    prop_assert_eq!(folder.file(name), Some(*known));
                    prop_assert_eq!(folder.file_from(&mut place, name), Some(*known));
                    prop_assert_eq!(folder.file_from(&mut place, "0"), None);
                }
                prop_assert_eq!(folder.file("zz"), None);
                prop_assert_eq!(place.min(files.len()), if files.is_empty() { 0 } else { files.len() });
            }
            prop_assert!(index.folder(Path::new("/d")).is_none());
            // From before the clock was set back.
            prop_assert!(Index::parse(bytes.clone(), (5, 5)).files().is_empty());
            // Damage that got through the checksum: it must not do more harm than to be wrong.
            let mut damaged = bytes.clone();
            damaged.truncate(cut.index(bytes.len()));
            prop_assert!(Index::parse(damaged, (5, 6)).files().is_empty());
            let mut damaged = bytes.clone();
            damaged[flip.index(bytes.len())] ^= 0x81;
            let index = Index::parse(damaged, (5, 6));
            for path in files.keys() {
                let _ = index.folder(path).and_then(|folder| folder.file("a"));
            }
            drop(index.files());
        }
    }
}
