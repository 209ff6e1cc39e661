//! What local files and folders hold, read again only where they may have changed.
//!
//! An index says which content each file had, and the [`Fingerprint`] that it had then. A file that has the same one has
//! the same content, because nobody can write to a file and leave it: the file system sets its time of change.
//! Two things could make that untrue, and are looked out for:
//!
//! - **The clock goes in steps.** A file that is written, read by kic and written again within one step has the same
//!   time twice. So no file gets into the index that changed just before it was read, as the file system's clock tells.
//!   Where the clock was set back since, the index is not used at all.
//! - **Not every file system keeps its word**, or has this machine's clock. Only well-known local ones are trusted.
//!
//! The same goes for [the names in a folder](listings), whose time of change is set by whoever gives or takes one.
//!
//! **Invariant:** the index saves reading, and listing. What is found with it is what is found without it.

mod bytes;
mod facts_digest;
mod fingerprint;
mod frames;
mod index;
mod known_files;
mod listings;
mod look;
mod names;
mod read;
mod tree;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kic_base::{Digest, StableHasher};
use kic_graph::PathFacts;
use kic_oci::layer::{KnownFrames, PackedFrame};
use kic_store::{Memo, Store};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use facts_digest::FactsDigest;
pub use fingerprint::Fingerprint;
use fingerprint::now;
pub(crate) use frames::PackedLayer;
use frames::SpecFrames;
use index::{Files, Index, Known};
pub(crate) use known_files::KnownFiles;
use listings::Listings;
pub use look::facts_digest;
use look::{Look, look};
use read::read_all;
use walk::{Found, FoundFile};

/// A file or folder to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Its path, seen from where kic runs.
    pub path: PathBuf,
    /// What is left out of a folder.
    pub globs: Vec<String>,
    /// Whether a folder is looked at below its first level. What is no file there is left out where it is not.
    pub deep: bool,
}

/// Why a place cannot be used.
#[derive(Debug)]
pub enum LookError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is something that cannot stand in an image.
    Unsupported(PathBuf, &'static str),
}

/// What was found at a place, or what was in the way.
pub type Looked = Result<PathFacts, Vec<LookError>>;

/// What is known of local files, for one spec. Clones of a [`Context`] share it.
#[derive(Debug, Default)]
pub struct Sources {
    state: Mutex<State>,
    listings: Listings,
    frames: SpecFrames,
}

#[derive(Debug, Default)]
struct State {
    /// Where the index is kept; `None` where it is not.
    key: Option<Digest>,
    index: Arc<Index>,
    /// Files that were read, and may be taken on trust from now on.
    fresh: Files,
    /// How many files were found in each folder.
    seen: BTreeMap<PathBuf, usize>,
    /// What was looked at in this run, and not yet asked for again.
    held: BTreeMap<Place, (PathFacts, FactsDigest)>,
    /// Everything that was looked at in this run, with the digest over what it holds.
    looked: Vec<(Place, FactsDigest)>,
    /// The other files that were used in this run, with what tells whether they are still the same, where that can be told.
    used: BTreeMap<PathBuf, Option<Fingerprint>>,
    /// Which program was found first, by the names that were looked for.
    programs: BTreeMap<Vec<String>, PathBuf>,
}

/// So many files are read before what was found is noted.
const AT_A_TIME: usize = 4096;

/// So many files more than were seen in the last run may be in an index: those of other settings of the spec.
const MORE: usize = 20_000;

impl Sources {
    /// What is known of the files of the spec at this path.
    pub fn open(spec: &Path, store: &Store) -> Self {
        let Ok(spec) = std::path::absolute(spec) else { return Self::default() };
        let mut hasher = StableHasher::new();
        hasher.text("kic sources").bytes(spec.as_os_str().as_encoded_bytes());
        let key = hasher.finish();
        let index = store.recall(&key).map(|bytes| Index::parse(bytes, now())).unwrap_or_default();
        let state = State { key: Some(key), index: Arc::new(index), ..State::default() };
        Self { state: Mutex::new(state), listings: Listings::of(&key), frames: SpecFrames::of(&key) }
    }

    /// Looks at places, each once in a run, and reads the files of which it is not known what they hold. What comes out
    /// is in the order of the places.
    pub fn look(&self, places: &[Place], context: &Context) -> Vec<Looked> {
        let (looks, _) = self.look_at(places, context);
        let digests: Vec<Option<FactsDigest>> = looks.iter().map(|look| look.digest(context)).collect();
        let looked: Vec<Looked> = looks.into_iter().map(Look::finish).collect();
        let mut state = self.lock();
        for (place, digest) in places.iter().zip(digests) {
            state.looked.extend(digest.map(|digest| (place.clone(), digest)));
        }
        drop(state);
        looked
    }

    /// Whether all that [`Self::look`] would give for these places is known, so that it need not wait for the disk.
    pub(crate) fn has_looked(&self, places: &[Place]) -> bool {
        let state = self.lock();
        places.iter().all(|place| state.held.contains_key(place))
    }

    /// Whether places hold what they held. Where one does not, what was found is kept for the next time in this run that
    /// somebody looks.
    pub fn hold(&self, expected: &[(Place, Digest)], context: &Context) -> bool {
        let places: Vec<Place> = expected.iter().map(|(place, _)| place.clone()).collect();
        let (looks, is_other) = self.look_at(&places, context);
        if is_other {
            // Whatever the digests are: they are computed beside what has to be done now.
            let good = places.into_iter().zip(looks).filter_map(|(place, look)| {
                let facts = look.finish().ok()?;
                let digest = FactsDigest::begin(&facts, context);
                Some((place, (facts, digest)))
            });
            self.lock().held.extend(good);
            return false;
        }
        let digests: Vec<Option<FactsDigest>> = looks.iter().map(|look| look.digest(context)).collect();
        let mut found = digests.iter().zip(expected);
        let same =
            found.all(|(found, (_, expected))| found.as_ref().map(FactsDigest::get) == Some(*expected));
        let mut state = self.lock();
        if same {
            let known = expected.iter().map(|(place, digest)| (place.clone(), FactsDigest::Known(*digest)));
            state.looked.extend(known);
        } else {
            let good = places
                .into_iter()
                .zip(looks.into_iter().zip(digests))
                .filter_map(|(place, (look, digest))| Some((place, (look.finish().ok()?, digest?))));
            state.held.extend(good);
        }
        same
    }

    /// What is kept for the next [`Self::look`] at a place.
    pub fn held(&self, place: &Place) -> Option<PathFacts> {
        self.lock().held.get(place).map(|(facts, _)| facts.clone())
    }

    /// The digest over it.
    pub fn held_digest(&self, place: &Place) -> Option<Digest> {
        let digest = self.lock().held.get(place).map(|(_, digest)| digest.clone());
        digest.map(|digest| digest.get())
    }

    /// With it, whether a file was read that is not what the index says: then nothing holds what it held.
    fn look_at(&self, places: &[Place], context: &Context) -> (Vec<Look>, bool) {
        let (index, is_held) = {
            let state = self.lock();
            (Arc::clone(&state.index), !state.held.is_empty())
        };
        let mut looks: Vec<Look> = places
            .iter()
            .map(|place| {
                let held = if is_held { self.lock().held.remove(place) } else { None };
                let held = held.map(|(facts, digest)| Look::Held(facts, digest));
                held.unwrap_or_else(|| look(place, &index, &self.listings, context))
            })
            .collect();
        self.note_seen(&looks);
        let is_other = self.read_unknown(places, &mut looks, &index, context);
        (looks, is_other)
    }

    /// Notes that a file is used without being looked at: before anything of it is read.
    pub fn note_use(&self, path: &Path) {
        let fingerprint = Fingerprint::settled_at(path);
        self.lock().used.entry(path.to_owned()).or_insert(fingerprint);
    }

    /// Notes files that are used as they were used before, when they had these fingerprints.
    pub fn note_used(&self, used: &[(PathBuf, Fingerprint)], programs: &[(Vec<String>, PathBuf)]) {
        let mut state = self.lock();
        state.used.extend(used.iter().map(|(path, fingerprint)| (path.clone(), Some(*fingerprint))));
        state.programs.extend(programs.iter().cloned());
    }

    /// Notes which program was found when one of these names was looked for, and that it is used: before it is read or run.
    pub fn note_program(&self, names: Vec<String>, path: PathBuf) {
        self.note_use(&path);
        self.lock().programs.insert(names, path);
    }

    /// The programs that were found in this run, by the names that were looked for.
    pub fn programs(&self) -> BTreeMap<Vec<String>, PathBuf> {
        self.lock().programs.clone()
    }

    /// Everything that was looked at in this run, with the digest over what it holds.
    pub fn looked(&self) -> Vec<(Place, Digest)> {
        // Where a place was looked at twice, what was found last is what was used.
        let last: BTreeMap<Place, FactsDigest> = self.lock().looked.iter().cloned().collect();
        last.into_iter().map(|(place, digest)| (place, digest.get())).collect()
    }

    /// The other files that were used in this run; `None` where one of them changed so shortly before that it may have
    /// changed again.
    pub fn used(&self) -> Option<Vec<(PathBuf, Fingerprint)>> {
        self.lock().used.iter().map(|(path, fingerprint)| Some((path.clone(), (*fingerprint)?))).collect()
    }

    /// What is known of files that were read, once it is written down: to tell whether they are still what they were.
    pub(crate) fn known_files(&self) -> KnownFiles {
        let here = std::path::absolute(".").unwrap_or_default();
        KnownFiles { index: Arc::clone(&self.lock().index), here }
    }

    /// The frames of the layers that were packed for the spec; nothing where none are kept.
    pub(crate) fn known_frames(&self, store: &Store) -> Option<Arc<dyn KnownFrames>> {
        self.frames.known(store)
    }

    /// Notes the frames of a layer that is in the store.
    pub(crate) fn note_frames(&self, layer: &Digest, frames: &[PackedFrame], store: &Store) {
        self.frames.note(layer, frames, store);
    }

    /// The layer that was packed last for the spec under that name.
    pub(crate) fn packed(&self, name: &str, store: &Store) -> Option<PackedLayer> {
        self.frames.packed(name, store)
    }

    /// The name of the layer that was packed last of all for the spec.
    pub(crate) fn packed_last(&self, store: &Store) -> Option<String> {
        self.frames.packed_last(store)
    }

    /// Notes a layer that is in the store.
    pub(crate) fn note_packed(&self, name: &str, layer: PackedLayer, store: &Store) {
        self.frames.note_packed(name, layer, store);
    }

    /// Writes down which layers were packed in this run, and their frames.
    pub fn save_frames(&self, store: &Store) {
        self.frames.save(store);
    }

    /// Whether something was found out that is not written down.
    pub fn is_changed(&self) -> bool {
        let state = self.lock();
        state.key.is_some() && (!state.fresh.is_empty() || self.listings.is_changed())
    }

    /// Writes down what was found out. Where that does not work, the next run reads again.
    pub fn save(&self, store: &Store) {
        self.listings.save(store);
        let mut state = self.lock();
        let (Some(key), false) = (state.key, state.fresh.is_empty()) else { return };
        let now = now();
        let fresh = std::mem::take(&mut state.fresh);
        let bytes = if state.index.len() + count(&fresh) <= most(&state.seen) {
            state.index.write_with(fresh, now)
        } else {
            let mut files = state.index.files();
            for (folder, fresh) in fresh {
                files.entry(folder).or_default().extend(fresh);
            }
            forget(&mut files, &state.seen);
            Index::write(&files, now)
        };
        let memo = Memo::new(key, bytes);
        if store.remember(&memo).is_ok() {
            state.index = Arc::new(Index::parse(memo.into_bytes(), now));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_seen(&self, looks: &[Look]) {
        let mut state = self.lock();
        let mut note = |folder: PathBuf, count: usize| *state.seen.entry(folder).or_default() += count;
        fn folder_of(look: &Look) -> Option<&std::ffi::OsStr> {
            match look {
                Look::File(_, folder, _) => Some(folder.as_os_str()),
                Look::Done(_) | Look::Held(..) | Look::Folder(..) => None,
            }
        }
        for same in looks.chunk_by(|left, right| folder_of(left) == folder_of(right)) {
            if let Some(folder) = folder_of(&same[0]) {
                note(folder.into(), same.len());
            }
        }
        for look in looks {
            let Look::Folder(absolute, tree) = look else { continue };
            for (folder, count) in tree.files_by_folder().filter(|(_, count)| *count > 0) {
                note(below(absolute, folder), count);
            }
        }
    }

    /// Reads the files whose content the index does not know, on as many threads as there are jobs; and says whether one is not
    /// what the index says.
    fn read_unknown(&self, places: &[Place], looks: &mut [Look], indexed: &Index, context: &Context) -> bool {
        let mut is_other = false;
        let mut wanted: Vec<(usize, usize, PathBuf)> = Vec::new();
        for (index, (place, look)) in places.iter().zip(looks.iter()).enumerate() {
            match look {
                Look::Done(_) | Look::Held(..) => {}
                Look::File(file, ..) if file.digest.is_none() => wanted.push((index, 0, place.path.clone())),
                Look::File(..) => {}
                Look::Folder(_, found) => {
                    for (entry, (path, found)) in found.iter().enumerate() {
                        if let Found::File(FoundFile { digest: None, .. }) = found {
                            wanted.push((index, entry, place.path.join(path.to_string())));
                        }
                    }
                }
            }
        }
        let results = wanted.chunks(AT_A_TIME).flat_map(|wanted| read_all(wanted, context));
        for ((index, entry, path), result) in wanted.iter().zip(results) {
            let result = match result {
                Ok(result) => result,
                Err(error) => {
                    let error = LookError::Unreadable(path.clone(), error);
                    match &mut looks[*index] {
                        Look::Done(Err(errors)) => errors.push(error),
                        look => *look = Look::Done(Err(vec![error])),
                    }
                    continue;
                }
            };
            let (file, folder, name) = match &mut looks[*index] {
                Look::File(file, folder, name) => (file, folder.clone(), name.clone()),
                Look::Folder(absolute, found) => match found.entry_mut(*entry) {
                    Some((path, Found::File(file))) => {
                        let (folder, name) = (below(absolute, path.folder), path.name.to_owned());
                        (file, folder, name)
                    }
                    _ => continue,
                },
                // An error of another file of the same folder.
                Look::Done(_) | Look::Held(..) => continue,
            };
            *file = FoundFile {
                executable: result.facts.executable,
                size: result.facts.content.size,
                digest: Some(result.facts.content.digest),
            };
            let before = indexed.folder(&folder).and_then(|known| known.file(&name));
            let digest = result.facts.content.digest;
            let is_changed = before.is_some_and(|before| before.digest != digest);
            is_other |= is_changed;
            // The next run reads it again where it is not settled, and is to find that what it holds is what the index says.
            let fingerprint = result.settled.or(is_changed.then_some(Fingerprint::OF_NONE));
            if let Some(fingerprint) = fingerprint {
                let known = Known { fingerprint, digest };
                self.lock().fresh.entry(folder).or_default().insert(name, known);
            }
        }
        is_other
    }
}

/// The folder at `relative` below another; itself where that is empty.
fn below(folder: &Path, relative: &str) -> PathBuf {
    if relative.is_empty() { folder.to_owned() } else { folder.join(relative) }
}

fn count(files: &Files) -> usize {
    files.values().map(BTreeMap::len).sum()
}

/// So many files may be in an index.
fn most(seen: &BTreeMap<PathBuf, usize>) -> usize {
    seen.values().sum::<usize>() + MORE
}

/// Keeps the index within bounds: where it holds many files that were not seen, only folders that were seen stay, and
/// of those only the ones that do not hold many names that are gone.
fn forget(files: &mut Files, seen: &BTreeMap<PathBuf, usize>) {
    if count(files) <= most(seen) {
        return;
    }
    files.retain(|folder, files| seen.get(folder).is_some_and(|seen| files.len() <= 2 * seen + 16));
}
