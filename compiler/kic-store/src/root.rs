use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kic_base::{Digest, Sha256};
use serde::{Deserialize, Serialize};

use crate::record::{self, Look};
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

/// A file outside of the store that keeps things in it alive, as long as it says what it said when this was recorded.
///
/// The store does not know what such a file is: whoever collects says which roots still count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What kind of file, in a word.
    pub kind: String,
    path: OsString,
    /// Which one, where several things stand at one path; else empty.
    pub name: String,
    /// What the file must still give.
    pub digest: Digest,
    /// What made it, for messages.
    made_from: OsString,
    /// What it keeps, each digest once.
    pub kept: Vec<Kept>,
}

/// A blob or derivation that a root keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its digest.
    pub digest: Digest,
    /// What it is, in words.
    pub what: String,
    /// What refers to it; `None` where it is the root itself that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Digest>,
    /// Its size in bytes, where that is needed to fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where its bytes can be had, in a form that only the caller knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

/// A root as it is recorded.
#[derive(Debug, Clone)]
pub struct RecordedRoot {
    /// The name of its record.
    pub key: Digest,
    /// What it says.
    pub root: Root,
}

/// A root in the bytes of its record: these can be put together before its file says what it is to say.
#[derive(Debug, Clone)]
pub struct EncodedRoot {
    key: Digest,
    checksum: Digest,
    bytes: Vec<u8>,
}

/// A root whose record is written, and does not count yet. One that is dropped leaves nothing.
#[derive(Debug)]
pub struct PreparedRoot {
    path: PathBuf,
    root: EncodedRoot,
    /// `None` where the same record is there.
    record: Option<TemporaryFile>,
}

impl EncodedRoot {
    /// The name of its record.
    pub fn key(&self) -> Digest {
        self.key
    }

    /// The checksum of its record: see [`Store::root_checksum`].
    pub fn checksum(&self) -> Digest {
        self.checksum
    }
}

impl Root {
    /// A root that keeps nothing yet. `path` is absolute.
    pub fn new(kind: &str, path: &Path, name: &str, digest: Digest, made_from: &Path) -> Self {
        Self {
            kind: kind.to_owned(),
            path: path.into(),
            name: name.to_owned(),
            digest,
            made_from: made_from.into(),
            kept: Vec::new(),
        }
    }

    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.path)
    }

    /// What the file was made from.
    pub fn made_from(&self) -> PathBuf {
        PathBuf::from(&self.made_from)
    }

    /// The chain from the root to what it keeps: the last one is `digest`. Empty when it does not keep that.
    pub fn chain(&self, digest: &Digest) -> Vec<&Kept> {
        let find = |digest: &Digest| self.kept.iter().find(|kept| kept.digest == *digest);
        let mut chain = Vec::new();
        let mut next = find(digest);
        while let Some(kept) = next.filter(|_| chain.len() <= self.kept.len()) {
            chain.push(kept);
            next = kept.through.as_ref().and_then(find);
        }
        chain.reverse();
        chain
    }

    /// The bytes of its record.
    ///
    /// # Errors
    /// Where it cannot be written as JSON.
    pub fn encode(&self) -> io::Result<EncodedRoot> {
        let key = self.key();
        // A digest or two, and some words.
        let (checksum, bytes) = record::encode(&key, self, 1024 + 320 * self.kept.len())?;
        Ok(EncodedRoot { key, checksum, bytes })
    }

    /// The name of its record, one for each kind, path and name: a newer one takes its place.
    pub fn key(&self) -> Digest {
        let mut hash = Sha256::new();
        for part in [self.kind.as_bytes(), self.path.as_bytes(), self.name.as_bytes()] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}

impl Store {
    /// Records a root, in the place of what was recorded for the same file. Returns whether that changed anything.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn add_root(&self, root: &Root) -> Result<bool, StoreError> {
        let encoded = root.encode().map_err(|error| StoreError::at(&self.layout().roots(), error))?;
        self.add_prepared_root(self.prepare_root(encoded)?)
    }

    /// Writes the record of a root, and gives it no name yet.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn prepare_root(&self, root: EncodedRoot) -> Result<PreparedRoot, StoreError> {
        let path = self.layout().root_record(&root.key);
        let record = record::prepare_changed(self.layout(), &path, &root.bytes)?;
        Ok(PreparedRoot { path, root, record })
    }

    /// Records a root that was prepared. To be called once its file says what it is to say: a collection takes the record out
    /// before. Returns whether that changed anything.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn add_prepared_root(&self, prepared: PreparedRoot) -> Result<bool, StoreError> {
        let PreparedRoot { path, root, record } = prepared;
        self.leases().share(self.layout(), || match record {
            Some(record) => record.persist(&path).map(|_| true),
            // A collection may have taken it out since.
            None if path.exists() => Ok(false),
            None => record::write_bytes(self.layout(), &path, &root.bytes).map(|()| true),
        })
    }

    /// Every root that is recorded, sorted by kind, path and name. Damaged records are left out.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn roots(&self) -> Result<Vec<RecordedRoot>, StoreError> {
        let mut roots = Vec::new();
        for key in self.root_keys()? {
            if let Look::Good(root) = record::look(&self.layout().root_record(&key), &key)? {
                roots.push(RecordedRoot { key, root });
            }
        }
        let order =
            |one: &RecordedRoot| (one.root.kind.clone(), one.root.path.clone(), one.root.name.clone());
        roots.sort_by_key(order);
        Ok(roots)
    }

    /// The checksum of what is recorded under that name, if something is and it is not damaged.
    pub fn root_checksum(&self, key: &Digest) -> Option<Digest> {
        let bytes = fs::read(self.layout().root_record(key)).ok()?;
        record::checked(&bytes, key).map(|(checksum, _)| checksum)
    }

    /// Takes the record of a root out.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_root(&self, key: &Digest) -> Result<(), StoreError> {
        record::remove(&self.layout().root_record(key))
    }

    pub(crate) fn root_keys(&self) -> Result<Vec<Digest>, StoreError> {
        let folder = self.layout().roots();
        let wrap = |error| StoreError::at(&folder, error);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&folder).map_err(wrap)? {
            let name = entry.map_err(wrap)?.file_name();
            keys.extend(name.to_str().and_then(|name| Digest::from_hex(name).ok()));
        }
        keys.sort();
        Ok(keys)
    }
}
