//! What a store holds, file by file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kic_base::Digest;

use crate::record::{self, Look};
use crate::store::Embedded;
use crate::{Store, StoreError};

/// What a file of the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A blob under its digest.
    Blob,
    /// The record of a blob inside another one.
    Embedded,
    /// The record of a derivation's output.
    Output,
}

/// One file of the store.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    pub(crate) digest: Digest,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// When it was last used, as far as the file system knows.
    pub(crate) used: SystemTime,
    /// The blob that an embedded one lies in; `None` for others, and where the record is damaged.
    pub(crate) container: Option<Digest>,
}

/// Every file that is named as one of the store's, sorted by kind and digest. Others are nobody's business here.
pub(crate) fn items(store: &Store) -> Result<Vec<Item>, StoreError> {
    let layout = store.layout();
    let mut items = Vec::new();
    for (kind, folder) in [
        (ItemKind::Blob, layout.root().join("blobs/sha256")),
        (ItemKind::Embedded, layout.root().join("embedded/sha256")),
        (ItemKind::Output, layout.root().join("outputs")),
    ] {
        for (digest, path) in sharded(&folder)? {
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_file() => metadata,
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::at(&path, error)),
            };
            let container = match kind {
                ItemKind::Embedded => match record::look::<Embedded>(&path, &digest)? {
                    Look::Good(embedded) => Some(embedded.container),
                    Look::Missing => continue,
                    Look::Damaged => None,
                },
                _ => None,
            };
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let used = metadata.accessed().map_or(modified, |accessed| accessed.max(modified));
            items.push(Item { kind, digest, path, size: metadata.len(), used, container });
        }
    }
    items.sort_by_key(|item| (item.kind, item.digest));
    Ok(items)
}

/// The files `xx/HEX` below a folder.
fn sharded(folder: &Path) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for shard in entries(folder)? {
        if !shard.is_dir() {
            continue;
        }
        for path in entries(&shard)? {
            let digest = path.file_name().and_then(|name| name.to_str()).map(Digest::from_hex);
            if let Some(Ok(digest)) = digest {
                found.push((digest, path));
            }
        }
    }
    Ok(found)
}

pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let wrap = |error| StoreError::at(folder, error);
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(wrap)?,
    };
    listed.map(|entry| Ok(entry.map_err(wrap)?.path())).collect()
}
