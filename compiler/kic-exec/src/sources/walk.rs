//! Walks folders on several threads, and asks the file system about every file in them.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use kic_base::Digest;
use kic_graph::{ContentFacts, FileFacts};
use kic_threads::together;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::fingerprint::{Fingerprint, now};
use super::index::{Folder, Index, Known};
use super::listings::Listings;
use super::names::Names;
use super::tree::{FoundFolder, Tree, TreePath};
use super::{LookError, Place, below};
use crate::context::Context;

/// Folders in folders; deeper ones are more likely a mistake than meant.
const DEEPEST: usize = 256;

/// With so many folders waiting, further threads are worth their start.
const MANY: usize = 4;

/// What is at a path below a place.
#[derive(Debug)]
pub(super) enum Found {
    File(FoundFile),
    Symlink(String),
    EmptyFolder,
}

/// A file, and its content where that is known.
#[derive(Debug)]
pub(super) struct FoundFile {
    pub executable: bool,
    pub size: u64,
    /// The content, where the index knows it of just this file.
    pub digest: Option<Digest>,
}

impl FoundFile {
    /// A file with that status, and what the index knows of it. Where that is of another one, something will have to be built.
    pub fn new(stat: &Stat, known: Option<Known>, context: &Context) -> Self {
        let fingerprint = Fingerprint::of(stat);
        let same = known.filter(|known| known.fingerprint == fingerprint);
        if known.is_some() && same.is_none() {
            context.begin_early();
        }
        let digest = same.map(|known| known.digest);
        Self { executable: is_executable(stat), size: fingerprint.size, digest }
    }

    /// What is known of it; nothing where it was not read.
    pub fn facts(&self) -> Option<FileFacts> {
        let Self { executable, size, digest } = *self;
        digest.map(|digest| FileFacts { content: ContentFacts { digest, size }, executable })
    }
}

/// Whether its owner may execute it.
pub(super) fn is_executable(stat: &Stat) -> bool {
    stat.st_mode & 0o100 != 0
}

/// A folder to look at.
struct Task {
    path: PathBuf,
    relative: String,
    depth: usize,
}

struct Queue {
    tasks: Vec<Task>,
    /// How many threads are at work on a task.
    busy: usize,
}

struct Walk<'a> {
    place: &'a Place,
    /// The place's path from the root.
    absolute: &'a Path,
    index: &'a Index,
    listings: &'a Listings,
    context: &'a Context,
    queue: Mutex<Queue>,
    /// Told when there is a task, or the last one is done.
    changed: Condvar,
}

/// What one thread found.
#[derive(Default)]
struct Part {
    /// Room for listings, and for the names in one of them.
    listing: Vec<u8>,
    names: Names,
    found: Vec<FoundFolder>,
    errors: Vec<(String, LookError)>,
}

/// Everything below a folder.
///
/// # Errors
/// The first by path.
pub(super) fn walk(
    place: &Place,
    absolute: &Path,
    index: &Index,
    listings: &Listings,
    context: &Context,
) -> Result<Tree, LookError> {
    let first = Task { path: place.path.clone(), relative: String::new(), depth: 0 };
    let queue = Mutex::new(Queue { tasks: vec![first], busy: 0 });
    let walk = Walk { place, absolute, index, listings, context, queue, changed: Condvar::new() };
    let mut own = Part::default();
    let mut parts = Vec::new();
    // Most folders are small: this thread alone, until it is seen that there are many.
    walk.work(&mut own, MANY);
    if !walk.lock().tasks.is_empty() {
        parts = together(context.jobs.clamp(1, 8), || {
            let mut part = Part::default();
            walk.work(&mut part, usize::MAX);
            part
        });
    }
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for part in parts.into_iter().chain([own]) {
        found.extend(part.found);
        errors.extend(part.errors);
    }
    if let Some((_, error)) = errors.into_iter().min_by(|left, right| left.0.cmp(&right.0)) {
        return Err(error);
    }
    Ok(Tree::of(found))
}

impl Walk<'_> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does tasks until there are none, or `most` of them wait.
    fn work(&self, part: &mut Part, most: usize) {
        let mut queue = self.lock();
        loop {
            if queue.tasks.len() >= most || self.context.cancel.is_cancelled() {
                break;
            }
            let Some(task) = queue.tasks.pop() else {
                if queue.busy == 0 {
                    break;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let mut deeper = Vec::new();
            if let Err((path, error)) = self.folder(&task, part, &mut deeper) {
                part.errors.push((path, error));
                deeper.clear();
            }
            queue = self.lock();
            queue.busy -= 1;
            queue.tasks.append(&mut deeper);
            self.changed.notify_all();
        }
        // Whoever waits must see that it is over.
        self.changed.notify_all();
    }

    /// Notes what is in one folder; the folders in it are put into `deeper`.
    fn folder(
        &self,
        task: &Task,
        part: &mut Part,
        deeper: &mut Vec<Task>,
    ) -> Result<(), (String, LookError)> {
        let failed = |error: LookError| (task.relative.clone(), error);
        let unreadable = |error: rustix::io::Errno| {
            failed(LookError::Unreadable(task.path.clone(), io::Error::from(error)))
        };
        if task.depth > DEEPEST {
            return Err(failed(LookError::Unsupported(
                task.path.clone(),
                "it has more than 256 folders in each other",
            )));
        }
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        if task.depth > 0 {
            flags |= OFlags::NOFOLLOW;
        }
        // What changes from now on, changes the fingerprint, too.
        let now = now();
        let folder = rustix::fs::open(&task.path, flags, Mode::empty()).map_err(unreadable)?;
        let fingerprint = Fingerprint::of(&rustix::fs::fstat(&folder).map_err(unreadable)?);
        let absolute = below(self.absolute, &task.relative);
        let names = &mut part.names;
        if !self.listings.find(&absolute, &fingerprint, names, &self.context.store) {
            if let Some(odd) = list(&folder, &mut part.listing, names).map_err(unreadable)? {
                let path = task.path.join(odd);
                return Err(failed(LookError::Unsupported(path, "its name is not UTF-8")));
            }
            self.listings.note(&absolute, &fingerprint, now, names, &folder);
        }
        let folder = folder.as_fd();
        let known = self.index.folder(&absolute);
        let (text, places) = (names.text(), names.places());
        let mut entries = Vec::with_capacity(places.len());
        let (mut any, mut next) = (false, 0);
        for (place, kind) in places {
            let name = &text[place.clone()];
            let relative = TreePath { folder: &task.relative, name };
            if self.is_excluded(&relative) {
                continue;
            }
            let path = || task.path.join(name);
            let c_name = names.with_zero(place);
            match self.entry(folder, (name, c_name), *kind, known.map(|known| (known, &mut next))) {
                Ok(Entry::Folder) if !self.place.deep => continue,
                Ok(Entry::Folder) => {
                    let (path, relative) = (path(), relative.to_string());
                    deeper.push(Task { path, relative, depth: task.depth + 1 });
                }
                Ok(Entry::Found(found)) => entries.push((place.clone(), found)),
                Ok(Entry::Nothing) => {}
                Err(trouble) => {
                    let error = match trouble {
                        None => LookError::Unsupported(
                            path(),
                            "it is neither a file, a folder nor a symbolic link",
                        ),
                        Some(Trouble::Name) => {
                            LookError::Unsupported(path(), "it leads to a name that is not UTF-8")
                        }
                        Some(Trouble::Error(error)) => LookError::Unreadable(path(), error.into()),
                    };
                    return Err((relative.to_string(), error));
                }
            }
            any = true;
        }
        if !any && !task.relative.is_empty() {
            entries.push((0..0, Found::EmptyFolder));
        }
        if !entries.is_empty() {
            let (path, names) = (task.relative.clone(), text.to_owned());
            part.found.push(FoundFolder { path, names, entries });
        }
        Ok(())
    }

    fn entry(
        &self,
        folder: BorrowedFd<'_>,
        (name, c_name): (&str, &CStr),
        kind: FileType,
        known: Option<(Folder<'_>, &mut usize)>,
    ) -> Result<Entry, Option<Trouble>> {
        let file = |stat: &Stat| {
            let known = known.and_then(|(folder, next)| folder.file_from(next, name));
            Entry::Found(Found::File(FoundFile::new(stat, known, self.context)))
        };
        let error = |error| Some(Trouble::Error(error));
        let stat = |flags| rustix::fs::statat(folder, c_name, flags);
        // Some file systems do not tell the kind in a listing.
        let (kind, own) = match kind {
            FileType::Unknown => {
                let stat = stat(AtFlags::SYMLINK_NOFOLLOW).map_err(error)?;
                (FileType::from_raw_mode(stat.st_mode), Some(stat))
            }
            kind => (kind, None),
        };
        Ok(match kind {
            FileType::Directory => Entry::Folder,
            FileType::Symlink if self.place.deep => {
                let target = rustix::fs::readlinkat(folder, c_name, Vec::new()).map_err(error)?;
                let target = target.into_string().map_err(|_| Some(Trouble::Name))?;
                Entry::Found(Found::Symlink(target))
            }
            FileType::RegularFile => {
                let stat = own.map_or_else(|| stat(AtFlags::SYMLINK_NOFOLLOW), Ok).map_err(error)?;
                file(&stat)
            }
            // As `kubectl apply -f FOLDER` does, which takes what it is given.
            FileType::Symlink => match stat(AtFlags::empty()) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => file(&stat),
                _ => Entry::Nothing,
            },
            _ if self.place.deep => return Err(None),
            _ => Entry::Nothing,
        })
    }

    /// A glob with `/` is about the path below the root, one without about names in every folder.
    fn is_excluded(&self, path: &TreePath<'_>) -> bool {
        if self.place.globs.is_empty() {
            return false;
        }
        let relative = path.to_string();
        self.place.globs.iter().any(|glob| {
            let glob = glob.trim_start_matches("./").trim_start_matches('/');
            let (glob, subject) =
                if glob.trim_end_matches('/').contains('/') { (glob, &*relative) } else { (glob, path.name) };
            let glob = glob.trim_end_matches('/');
            glob_match::glob_match(glob, subject) || glob.strip_suffix("/**") == Some(subject)
        })
    }
}

/// Lists a folder, in order; gives the first name that is not UTF-8.
fn list(folder: &OwnedFd, room: &mut Vec<u8>, names: &mut Names) -> rustix::io::Result<Option<OsString>> {
    names.clear();
    let mut odd = None;
    each(folder, room, |name, kind| {
        if name != c"." && name != c".." && !names.push(name, kind) {
            odd.get_or_insert_with(|| OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    })?;
    names.sort();
    Ok(odd)
}

/// Tells of each name in a folder. There is no copy of them, other than where systems differ.
#[cfg(target_os = "linux")]
fn each(
    folder: &OwnedFd,
    room: &mut Vec<u8>,
    mut note: impl FnMut(&CStr, FileType),
) -> rustix::io::Result<()> {
    room.reserve(16 << 10);
    let mut names = rustix::fs::RawDir::new(folder, room.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        note(entry.file_name(), entry.file_type());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn each(folder: &OwnedFd, _: &mut Vec<u8>, mut note: impl FnMut(&CStr, FileType)) -> rustix::io::Result<()> {
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        note(entry.file_name(), entry.file_type());
    }
    Ok(())
}

enum Entry {
    Folder,
    Found(Found),
    /// What a folder of manifests may hold beside them.
    Nothing,
}

enum Trouble {
    Error(rustix::io::Errno),
    Name,
}

/// The status of an open file.
pub(super) fn status(file: impl AsFd) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(file)?)
}
