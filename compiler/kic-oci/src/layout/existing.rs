use std::fs::{self, DirEntry, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use kic_store::{Boot, exchange_or_rename, is_at};
use serde::Deserialize;

use super::files::{begin_file, make_directory};
use super::{LayoutError, OCI_LAYOUT};
use crate::model::{DOCUMENT_LIMIT, Document, Index, canonical_json, media_types};
use crate::sibling::lock_exclusively;

/// The prefix of files that are being written in a layout, under its lock: whoever holds it removes them.
const TEMPORARY: &str = ".kic-write-";

/// An OCI layout that is there and is being changed, locked until this is dropped.
pub(super) struct Existing {
    pub path: PathBuf,
    /// What its `index.json` says; an empty index where there is none yet.
    pub index: Index,
    /// The bytes of its `index.json`.
    index_bytes: Option<Vec<u8>>,
    /// Whether it was an empty directory.
    was_empty: bool,
    /// Since when the system has had what was written to it, whether the disk has it or not.
    pub boot: Option<Boot>,
    /// Held for its lock.
    _lock: File,
}

/// A file of the layout that does not have its name yet.
pub(super) struct Begun {
    name: &'static str,
    file: File,
    /// Whether it is synced before it gets its name.
    is_synced: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

impl Existing {
    /// Locks and reads the layout at `path`, a directory; an empty directory becomes a layout without images.
    /// Nothing where the directory was replaced by another meanwhile.
    pub fn open(path: &Path) -> Result<Option<Self>, LayoutError> {
        let at = |error| LayoutError::at(path, error);
        let path = path.canonicalize().map_err(at)?;
        let lock = File::open(&path).map_err(at)?;
        lock_exclusively(&lock).map_err(at)?;
        if !is_at(&lock, &path) {
            return Ok(None);
        }
        let (mut is_empty, mut temporary) = (true, Vec::new());
        for entry in fs::read_dir(&path).map_err(at)? {
            let entry = entry.map_err(at)?;
            if is_temporary(&entry) {
                temporary.push(entry.path());
            } else {
                is_empty = false;
            }
        }
        if !is_empty {
            check(&path)?;
        }
        let index_bytes = if is_empty { None } else { read(&path.join("index.json"))? };
        let index = match &index_bytes {
            None => Index::new(Vec::new()),
            // All that a power failure may leave of one that names a single image, see [`Self::is_synced`].
            Some(bytes) if bytes.iter().all(|byte| *byte == 0) => Index::new(Vec::new()),
            Some(bytes) => match Document::parse(media_types::OCI_INDEX, bytes) {
                Ok(Document::Index(index)) => index,
                Ok(Document::Manifest(_)) => {
                    return Err(damaged(&path.join("index.json"), "it is no index"));
                }
                Err(error) => return Err(damaged(&path.join("index.json"), &error.to_string())),
            },
        };
        // What a dead process did not finish.
        temporary.iter().for_each(|path| drop(fs::remove_file(path)));
        Ok(Some(Self { path, index, index_bytes, was_empty: is_empty, boot: Boot::of(&lock), _lock: lock }))
    }

    /// Makes what a layout must have beside its blobs. First of all the file that says it is one, so that a
    /// process killed at any point leaves a layout that the next one adds to.
    pub fn prepare(&self) -> Result<(), LayoutError> {
        let no_image = Index::new(Vec::new());
        for (name, bytes, is_synced) in [
            ("oci-layout", OCI_LAYOUT.to_vec(), true),
            ("index.json", canonical_json(&no_image), self.is_synced(&no_image)),
        ] {
            if !exists(&self.path.join(name)) {
                self.finish(&self.begin(name, &bytes, is_synced)?)?;
            }
        }
        for directory in [self.path.join("blobs"), self.blobs()] {
            if !exists(&directory) {
                make_directory(&directory)?;
            }
        }
        Ok(())
    }

    /// After a failure: makes an empty directory again of what was one. Whatever else came into it stays.
    pub fn restore_empty(&self) {
        if self.was_empty {
            let _ = fs::remove_dir(self.blobs());
            let _ = fs::remove_dir(self.path.join("blobs"));
            let _ = fs::remove_file(self.path.join("index.json"));
            let _ = fs::remove_file(self.path.join("oci-layout"));
        }
    }

    /// The directory of its blobs.
    pub fn blobs(&self) -> PathBuf {
        self.path.join("blobs").join("sha256")
    }

    /// Where a file of the layout stands until it is whole.
    pub fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!("{TEMPORARY}{name}"))
    }

    /// Whether `index.json` is there, and says just that.
    pub fn has_index(&self, index: &Index) -> bool {
        self.index_bytes.as_ref() == Some(&canonical_json(index))
    }

    /// Whether `index.json` has to be safe before it gets its name: one that names no other image than the one that is written is made
    /// again with it, where it is known that it may have been lost.
    fn is_synced(&self, index: &Index) -> bool {
        self.boot.is_none() || index.manifests.len() > 1
    }

    /// Begins to write `index.json`: nothing where it says that already. It has no name before [`Self::finish_index`].
    pub fn begin_index(&self, index: &Index) -> Result<Option<Begun>, LayoutError> {
        if self.has_index(index) {
            return Ok(None);
        }
        self.begin("index.json", &canonical_json(index), self.is_synced(index)).map(Some)
    }

    /// Gives `index.json` its name in one step, and gives whether that changed it. Its new name is not yet synced.
    pub fn finish_index(&self, begun: Option<Begun>) -> Result<bool, LayoutError> {
        begun.as_ref().map_or(Ok(()), |index| self.finish(index))?;
        Ok(begun.is_some())
    }

    /// Begins a file under its temporary name.
    fn begin(&self, name: &'static str, bytes: &[u8], is_synced: bool) -> Result<Begun, LayoutError> {
        let file = begin_file(&self.temporary(name), bytes, is_synced)?;
        Ok(Begun { name, file, is_synced })
    }

    /// Gives a file its name that was begun.
    fn finish(&self, Begun { name, file, is_synced }: &Begun) -> Result<(), LayoutError> {
        let (temporary, path) = (self.temporary(name), self.path.join(name));
        if *is_synced {
            file.sync_all().map_err(|error| LayoutError::at(&temporary, error))?;
        }
        let is_exchanged =
            exchange_or_rename(&temporary, &path).map_err(|error| LayoutError::at(&path, error))?;
        if is_exchanged {
            // What stays is removed by the next write.
            let _ = fs::remove_file(&temporary);
        }
        Ok(())
    }

    /// Removes the files that a write did not finish.
    pub fn remove_temporary(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten().filter(is_temporary) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_temporary(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Whether a directory that is not empty is a layout that kic may write into.
fn check(path: &Path) -> Result<(), LayoutError> {
    let version_path = path.join("oci-layout");
    let Some(bytes) = read(&version_path)? else {
        return Err(LayoutError::Occupied {
            path: path.to_owned(),
            found: "a directory that is neither empty nor an OCI layout",
        });
    };
    let version: LayoutVersion =
        serde_json::from_slice(&bytes).map_err(|error| damaged(&version_path, &error.to_string()))?;
    if version.image_layout_version != "1.0.0" {
        return Err(damaged(&version_path, &format!("its version is {:?}", version.image_layout_version)));
    }
    // Through a link kic would write, and remove, in a directory that others may use too.
    for directory in [path.join("blobs"), path.join("blobs").join("sha256")] {
        match fs::symlink_metadata(&directory) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(damaged(&directory, "it is no directory of its own")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(LayoutError::at(&directory, error)),
        }
    }
    Ok(())
}

/// A small file of the layout; nothing where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LayoutError> {
    let at = |error| LayoutError::at(path, error);
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(damaged(path, "it is no file")),
        Ok(metadata) if metadata.len() > DOCUMENT_LIMIT as u64 => {
            return Err(damaged(path, "it is longer than 8 MiB"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error)),
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(DOCUMENT_LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(at)?;
    Ok(Some(bytes))
}

fn damaged(path: &Path, reason: &str) -> LayoutError {
    LayoutError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
