use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kic_base::{Digest, Sha256};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::layout::Layout;
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

/// Reads the record of a root, and leaves a damaged one. While it is read, its file may become the spare one, which is written to: then
/// another one stands in its place.
pub(crate) fn look(layout: &Layout, key: &Digest) -> Result<Look<Root>, StoreError> {
    let path = layout.root_record(key);
    loop {
        let before = Identity::at(&path);
        let found = record::look(&path, key)?;
        if !matches!(found, Look::Damaged) || Identity::at(&path) == before {
            return Ok(found);
        }
    }
}

/// Takes the record of a root out where it is damaged, and gives whether it was. Nobody records a root meanwhile.
fn remove_damaged(store: &Store, key: &Digest) -> Result<bool, StoreError> {
    store.leases().exclude(store.layout(), || {
        let is_damaged = matches!(look(store.layout(), key)?, Look::Damaged);
        if is_damaged {
            remove(store.layout(), key)?;
        }
        Ok(is_damaged)
    })
}

/// Takes the record of a root out, and what is spare of it.
pub(crate) fn remove(layout: &Layout, key: &Digest) -> Result<(), StoreError> {
    record::remove(&layout.root_record(key))?;
    record::remove(&layout.spare_root_record(key))
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
        let spare = self.layout().spare_root_record(&root.key);
        let record = record::prepare_changed(self.layout(), &path, &spare, &root.bytes)?;
        Ok(PreparedRoot { path, root, record })
    }

    /// Records a root that was prepared. To be called once its file says what it is to say: a collection takes the record out
    /// before. Returns whether that changed anything.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn add_prepared_root(&self, prepared: PreparedRoot) -> Result<bool, StoreError> {
        let PreparedRoot { path, root, record } = prepared;
        let spare = self.layout().spare_root_record(&root.key);
        self.leases().share(self.layout(), || {
            let is_there = match record {
                Some(record) => record.replace(&path, &spare)?,
                None if path.exists() => return Ok(false),
                None => false,
            };
            // A collection may have taken out since what was there, or the file that was written.
            if !is_there {
                let mut file = TemporaryFile::new_changeable(self.layout())?;
                file.write_all(&root.bytes)?;
                file.persist(&path)?;
            }
            Ok(true)
        })
    }

    /// Every root that is recorded, sorted by kind, path and name. Damaged records are left out.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn roots(&self) -> Result<Vec<RecordedRoot>, StoreError> {
        let mut roots = Vec::new();
        for key in self.root_keys()? {
            if let Look::Good(root) = look(self.layout(), &key)? {
                roots.push(RecordedRoot { key, root });
            }
        }
        let order =
            |one: &RecordedRoot| (one.root.kind.clone(), one.root.path.clone(), one.root.name.clone());
        roots.sort_by_key(order);
        Ok(roots)
    }

    /// The names of the records of roots that are damaged, sorted: what these keep cannot be told.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn damaged_roots(&self) -> Result<Vec<Digest>, StoreError> {
        let mut damaged = Vec::new();
        for key in self.root_keys()? {
            if matches!(look(self.layout(), &key)?, Look::Damaged) {
                damaged.push(key);
            }
        }
        Ok(damaged)
    }

    /// Takes the damaged records of roots out, and gives how many those were. What only they kept goes with the next collection.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn remove_damaged_roots(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        for key in self.damaged_roots()? {
            removed += usize::from(remove_damaged(self, &key)?);
        }
        Ok(removed)
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
        remove(self.layout(), key)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn root(size: usize) -> Root {
        let kept = (0..size).map(|number| Kept {
            digest: Digest::of(&number.to_le_bytes()),
            what: "a layer".to_owned(),
            through: None,
            size: Some(1),
            origins: Vec::new(),
        });
        let digest = Digest::of(&size.to_le_bytes());
        Root { kept: kept.collect(), ..Root::new("output", Path::new("/x"), "", digest, Path::new("/s")) }
    }

    /// The folder, the store, and where the record stands, and the spare one.
    fn store() -> (tempfile::TempDir, Store, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = root(0).key();
        let (path, spare) = (store.layout().root_record(&key), store.layout().spare_root_record(&key));
        (folder, store, path, spare)
    }

    fn recorded(store: &Store) -> Vec<Root> {
        store.roots().unwrap().into_iter().map(|found| found.root).collect()
    }

    #[test]
    fn a_record_is_written_into_the_file_of_the_one_before_the_last() {
        let (folder, store, path, spare) = store();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        for size in [3, 9] {
            store.add_root(&root(size)).unwrap();
        }
        if !spare.exists() {
            eprintln!("SKIPPED: this file system does not exchange names");
            return;
        }
        let mut files = [inode(&path), inode(&spare)];
        for size in [90, 1, 0, 40] {
            assert!(store.add_root(&root(size)).unwrap());
            assert_eq!(recorded(&store), [root(size)]);
            files.reverse();
            assert_eq!([inode(&path), inode(&spare)], files, "{size}");
        }
        assert_eq!(fs::read_dir(store.layout().temporary()).unwrap().count(), 0);

        // One that is used is left alone, and so is one that has become the record of another process.
        let used = File::open(&spare).unwrap();
        used.lock().unwrap();
        store.add_root(&root(5)).unwrap();
        assert_eq!(recorded(&store), [root(5)]);
        drop(used);
        // Another process may have put another record there than that which this one has written.
        let prepared = store.prepare_root(root(8).encode().unwrap()).unwrap();
        fs::rename(&spare, folder.path().join("gone")).unwrap();
        fs::write(&spare, "the record before, of another process").unwrap();
        assert!(store.add_prepared_root(prepared).unwrap());
        assert_eq!(recorded(&store), [root(8)]);
        store.add_root(&root(9)).unwrap();
        store.add_root(&root(10)).unwrap();
        assert!(TemporaryFile::at(&spare).is_some());
        assert!(!spare.exists(), "what is not recorded leaves nothing");
        store.add_root(&root(6)).unwrap();
        fs::write(&spare, "what a killed process left").unwrap();
        store.add_root(&root(7)).unwrap();
        assert_eq!(recorded(&store), [root(7)]);

        store.remove_root(&root(0).key()).unwrap();
        assert_eq!(fs::read_dir(store.layout().roots()).unwrap().count(), 0);
    }

    #[test]
    fn a_collection_may_take_out_what_is_there_and_what_is_being_written() {
        let (_folder, store, path, spare) = store();
        for gone in [vec![&path], vec![&spare], vec![&path, &spare]] {
            for size in [1, 2] {
                store.add_root(&root(size)).unwrap();
            }
            let prepared = store.prepare_root(root(3).encode().unwrap()).unwrap();
            gone.into_iter().for_each(|path| drop(fs::remove_file(path)));
            assert!(store.add_prepared_root(prepared).unwrap());
            assert_eq!(recorded(&store), [root(3)]);
        }
    }

    #[test]
    fn a_damaged_record_is_taken_out_once_and_a_good_one_is_not() {
        let (_folder, store, path, _) = store();
        let key = root(0).key();
        store.add_root(&root(2)).unwrap();
        assert!(!remove_damaged(&store, &key).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 2);
        fs::write(&path, bytes).unwrap();
        assert!(recorded(&store).is_empty());
        assert!(remove_damaged(&store, &key).unwrap() && !path.exists());
        assert!(!remove_damaged(&store, &key).unwrap());
    }
}
