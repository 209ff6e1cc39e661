use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use kic_base::Digest;

use crate::items::{ItemKind, entries, items};
use crate::leases::leased;
use crate::partial;
use crate::record::{self, Look};
use crate::store::Embedded;
use crate::suspects::is_shared;
use crate::{Root, Store, StoreError};

/// What a store holds, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs that are files of their own.
    pub blobs: Files,
    /// Blobs inside these; the bytes are those of their records.
    pub embedded: Files,
    /// Records of what derivations gave.
    pub outputs: Files,
    /// Of all these, what neither a root that counts nor a process that runs needs.
    pub unneeded: Files,
    /// Blobs that were set aside as damaged.
    pub set_aside: Files,
    /// What came of downloads that were cut off.
    pub partials: Files,
    /// What only saves work, and may be gone at any time.
    pub memos: Files,
    /// What is being written, and leases.
    pub temporary: Files,
    /// Roots that count.
    pub roots: usize,
    /// Roots that do not.
    pub stale_roots: usize,
}

/// Some files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Files {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// Where a blob is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    /// The file.
    pub path: PathBuf,
    /// The blob that the file is, where it is another one.
    pub container: Option<Digest>,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Store {
    /// Counts what the store holds. `counts` tells whether a root still counts.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn usage(&self, counts: &dyn Fn(&Root) -> bool) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        let mut live = self.leases().exclude(self.layout(), || leased(self.layout()))?;
        for found in self.roots()? {
            if counts(&found.root) {
                usage.roots += 1;
                live.extend(found.root.kept.iter().map(|kept| kept.digest));
            } else {
                usage.stale_roots += 1;
            }
        }
        let items = items(self)?;
        let inner = items.iter().filter(|item| live.contains(&item.digest));
        let containers: BTreeSet<Digest> = inner.filter_map(|item| item.container).collect();
        live.extend(containers);
        for item in &items {
            let files = match item.kind {
                ItemKind::Blob => &mut usage.blobs,
                ItemKind::Embedded => &mut usage.embedded,
                ItemKind::Output => &mut usage.outputs,
            };
            files.add(item.size);
            if !live.contains(item.container.as_ref().unwrap_or(&item.digest)) {
                usage.unneeded.add(item.size);
            }
        }
        let layout = self.layout();
        let count = |folder: PathBuf, files: &mut Files| -> Result<(), StoreError> {
            for path in entries(&folder)? {
                if let Ok(metadata) = fs::symlink_metadata(&path) {
                    files.add(metadata.len());
                }
            }
            Ok(())
        };
        partial::all(layout)?.iter().for_each(|found| usage.partials.add(found.size));
        count(layout.corrupt_folder(), &mut usage.set_aside)?;
        count(layout.memos(), &mut usage.memos)?;
        count(layout.temporary(), &mut usage.temporary)?;
        count(layout.leases(), &mut usage.temporary)?;
        Ok(usage)
    }

    /// Every digest of a blob or derivation that begins with these hexadecimal digits.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn find(&self, prefix: &str) -> Result<BTreeSet<Digest>, StoreError> {
        let digests = items(self)?.into_iter().map(|item| item.digest);
        Ok(digests.filter(|digest| digest.hex().starts_with(prefix)).collect())
    }

    /// Where a blob is, or `None` when the store does not hold it. Nothing is leased: the next collection may remove it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn blob_place(&self, digest: &Digest) -> Result<Option<BlobPlace>, StoreError> {
        let size = |digest: &Digest| {
            let metadata = fs::symlink_metadata(self.layout().blob(digest)).ok();
            metadata.filter(fs::Metadata::is_file).map(|metadata| metadata.len())
        };
        if let Some(size) = size(digest) {
            let path = self.layout().blob(digest);
            return Ok(Some(BlobPlace { path, container: None, offset: 0, size }));
        }
        let record = self.layout().embedded(digest);
        let Look::Good(Embedded { container, offset, size: own }) = record::look(&record, digest)? else {
            return Ok(None);
        };
        let path = self.layout().blob(&container);
        Ok(size(&container).map(|_| BlobPlace { path, container: Some(container), offset, size: own }))
    }

    /// The digests of the blobs that were set aside as damaged, sorted.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn set_aside(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let names = entries(&self.layout().corrupt_folder())?;
        let digest = |path: &PathBuf| Digest::from_hex(path.file_name()?.to_str()?).ok();
        Ok(names.iter().filter_map(digest).collect())
    }

    /// The damaged bytes of a blob that was set aside.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn open_set_aside(&self, digest: &Digest) -> Result<Option<fs::File>, StoreError> {
        Ok(crate::store::open_file(&self.layout().corrupt(digest))?.map(|(file, _)| file))
    }

    /// Removes the damaged bytes of a blob that was set aside, unless an output shares them.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn forget_set_aside(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.layout().corrupt(digest);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if is_shared(&metadata) => Ok(()),
            _ => record::remove(&path),
        }
    }
}
