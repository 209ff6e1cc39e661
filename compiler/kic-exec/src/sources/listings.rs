//! What stood in folders when they were listed last.
//!
//! To list a folder takes a fifth of the time of looking at the files in it. A folder that has the [`Fingerprint`] that it had then holds
//! the same names, of the same kinds: whatever gives, takes or exchanges one sets its time of change.
//!
//! The bytes of it, all numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`MAGIC`] |
//! | 12 | the moment at which it was written |
//! | each folder | length of its path (4), number of names (4), bytes of these (4); the path, the fingerprint, the kinds (1 each), the names, each with a zero behind it |
//!
//! Folders are sorted by path, names by their bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use kic_base::{Digest, StableHasher};
use kic_store::{Memo, Store, is_on_own_disk};

use super::bytes::{length_at, moment_at, put_moment};
use super::fingerprint::{FINGERPRINT, Fingerprint, Moment, now};
use super::names::Names;

const MAGIC: &[u8; 8] = b"kiclst1\n";

/// So many folders more than were looked at in the last run may be known: those of other settings of the spec.
const MORE: usize = 1000;

/// What is known of the folders of a spec, read when it is first asked for. Threads share it.
#[derive(Debug, Default)]
pub(super) struct Listings {
    key: Option<Digest>,
    known: OnceLock<Known>,
    fresh: Mutex<Fresh>,
}

/// What was listed in this run.
#[derive(Debug, Default)]
struct Fresh {
    /// By path, as they are written.
    folders: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether there are some that are not written down.
    is_changed: bool,
}

/// As it was written.
#[derive(Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    /// Where each folder begins, and whether it was asked for in this run.
    folders: Vec<(usize, AtomicBool)>,
}

/// One folder.
struct Listing<'a> {
    path: &'a [u8],
    fingerprint: &'a [u8],
    kinds: &'a [u8],
    names: &'a [u8],
    /// All its bytes.
    whole: &'a [u8],
}

impl Listings {
    /// Those of the spec whose sources have that key.
    pub fn of(sources: &Digest) -> Self {
        let mut hasher = StableHasher::new();
        hasher.text("kic listings").digest(sources);
        Self { key: Some(hasher.finish()), ..Self::default() }
    }

    /// Puts the names of the folder at `path`, an absolute path, into `names`, where it is known what they are; and says whether it is.
    pub fn find(&self, path: &Path, fingerprint: &Fingerprint, names: &mut Names, store: &Store) -> bool {
        let Some(key) = &self.key else { return false };
        let known = self
            .known
            .get_or_init(|| store.recall(key).map(|bytes| Known::parse(bytes, now())).unwrap_or_default());
        let found = known.folder(path.as_os_str().as_bytes());
        let same = found.filter(|found| Fingerprint::from_bytes(found.fingerprint) == Some(*fingerprint));
        same.is_some_and(|found| names.read(found.kinds, found.names))
    }

    /// Notes what stands in a folder that had that fingerprint before it was listed, `now` or later: unless it may change, and still have it.
    pub fn note(
        &self,
        path: &Path,
        fingerprint: &Fingerprint,
        now: Moment,
        names: &Names,
        folder: impl AsFd,
    ) {
        if self.key.is_none() || !fingerprint.is_settled(now) || !is_on_own_disk(folder) {
            return;
        }
        let path = path.as_os_str().as_bytes();
        let mut bytes = Vec::with_capacity(12 + path.len() + FINGERPRINT + names.size());
        let count = names.len();
        for length in [path.len(), count, names.size() - count] {
            // A folder with so many names is listed each time.
            let Ok(length) = u32::try_from(length) else { return };
            bytes.extend_from_slice(&length.to_le_bytes());
        }
        bytes.extend_from_slice(path);
        fingerprint.put(&mut bytes);
        if names.write(&mut bytes) {
            let mut fresh = self.fresh();
            fresh.folders.insert(path.to_owned(), bytes);
            fresh.is_changed = true;
        }
    }

    /// Whether something was found out that is not written down.
    pub fn is_changed(&self) -> bool {
        self.fresh().is_changed
    }

    /// Writes down what was found out. Where that does not work, the next run lists again.
    pub fn save(&self, store: &Store) {
        let mut fresh = self.fresh();
        let (Some(key), true) = (self.key, fresh.is_changed) else { return };
        fresh.is_changed = false;
        let mut bytes = MAGIC.to_vec();
        put_moment(&mut bytes, now());
        let known = self.known.get().into_iter().flat_map(|known| known.kept(fresh.folders.len()));
        let mut folders: BTreeMap<&[u8], &[u8]> = known.map(|known| (known.path, known.whole)).collect();
        folders.extend(fresh.folders.iter().map(|(path, bytes)| (path.as_slice(), bytes.as_slice())));
        folders.values().for_each(|folder| bytes.extend_from_slice(folder));
        let _ = store.remember(&Memo::new(key, bytes));
    }

    /// How many folders were listed in this run.
    #[cfg(test)]
    pub fn count_fresh(&self) -> usize {
        self.fresh().folders.len()
    }

    /// Where they are written, and what is there.
    #[cfg(test)]
    pub fn written(&self, store: &Store) -> Option<(Digest, Vec<u8>)> {
        Some((self.key?, store.recall(&self.key?)?))
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// From its bytes. What comes from the future (the clock was set back since, and what was sure when it was written is no more), or
    /// is damaged, knows nothing.
    fn parse(bytes: Vec<u8>, now: Moment) -> Self {
        let folders = || {
            let rest = bytes.strip_prefix(MAGIC)?;
            if moment_at(rest, 0)? > now {
                return None;
            }
            let (mut at, mut folders) = (MAGIC.len() + 12, Vec::new());
            while at < bytes.len() {
                folders.push((at, AtomicBool::new(false)));
                at += listing_at(&bytes, at)?.whole.len();
            }
            Some(folders)
        };
        match folders() {
            Some(folders) => Self { bytes, folders },
            None => Self::default(),
        }
    }

    /// All of them, unless there are many of which nobody has asked for any more.
    fn kept(&self, fresh: usize) -> impl Iterator<Item = Listing<'_>> {
        let asked = self.folders.iter().filter(|(_, is_asked)| is_asked.load(Relaxed)).count();
        let is_all = self.folders.len() <= asked + fresh + MORE;
        let kept = self.folders.iter().filter(move |(_, is_asked)| is_all || is_asked.load(Relaxed));
        kept.filter_map(|(at, _)| listing_at(&self.bytes, *at))
    }

    fn folder(&self, path: &[u8]) -> Option<Listing<'_>> {
        let place = self.folders.binary_search_by(|(at, _)| {
            listing_at(&self.bytes, *at).map_or(Ordering::Less, |found| found.path.cmp(path))
        });
        let (at, is_asked) = self.folders.get(place.ok()?)?;
        is_asked.store(true, Relaxed);
        listing_at(&self.bytes, *at)
    }
}

fn listing_at(bytes: &[u8], at: usize) -> Option<Listing<'_>> {
    let bytes = bytes.get(at..)?;
    let rest = bytes.get(12..)?;
    let (path, rest) = rest.split_at_checked(length_at(bytes, 0)?)?;
    let (fingerprint, rest) = rest.split_at_checked(FINGERPRINT)?;
    let (kinds, rest) = rest.split_at_checked(length_at(bytes, 4)?)?;
    let (names, rest) = rest.split_at_checked(length_at(bytes, 8)?)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some(Listing { path, fingerprint, kinds, names, whole })
}
