//! Hashes everything in a store again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kic_base::Digest;
use kic_threads::together;

use crate::identity::Identity;
use crate::items::{Item, ItemKind, items};
use crate::record::{self, Look};
use crate::store::{Embedded, Located};
use crate::{BlobReader, Store, StoreError, memo};

const BUFFER: usize = 256 << 10;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct StoreCheck {
    /// How many blobs were read.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The blobs that are damaged, sorted by digest. They were set aside.
    pub damaged: Vec<DamagedBlob>,
    /// Records that were damaged or led nowhere, each with what it was of. They were removed.
    pub records: Vec<(ItemKind, Digest)>,
    /// How many records of roots are damaged. They stay: without them a collection would remove what they kept.
    pub roots: usize,
    /// How much of what only saves work was damaged, and removed.
    pub memos: usize,
    /// Whether everything was looked at.
    pub complete: bool,
}

/// A damaged blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as it is now.
    pub size: u64,
    /// The blobs that were to be found inside it: offset and size.
    pub inside: Vec<(Digest, u64, u64)>,
    /// Why it could not be read at all.
    pub unreadable: Option<String>,
}

/// What is told of a check while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEvent {
    /// How many bytes there are to read.
    Begun(u64),
    /// How many of them were read now.
    Read(u64),
}

/// Reads and hashes every blob with `jobs` threads, and sets damaged ones aside. What happens is told to `watch`, from any
/// thread; `stop` ends the work early.
///
/// # Errors
/// Those of the disk, other than that a blob cannot be read.
pub fn check(
    store: &Store,
    jobs: usize,
    watch: &(dyn Fn(CheckEvent) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<StoreCheck, StoreError> {
    let items = items(store)?;
    let mut found = StoreCheck::default();
    let inside = check_records(store, &items, &mut found)?;
    let mut blobs: Vec<&Item> = items.iter().filter(|item| item.kind == ItemKind::Blob).collect();
    // The largest first, so that no thread is left alone with it at the end.
    blobs.sort_by_key(|item| (std::cmp::Reverse(item.size), item.digest));
    watch(CheckEvent::Begun(blobs.iter().map(|item| item.size).sum()));
    let (next, is_stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
    let shared = Mutex::new((found, None));
    together(jobs, || {
        let mut buffer = vec![0; BUFFER];
        while let Some(item) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop() {
                is_stopped.store(true, Ordering::Relaxed);
                return;
            }
            let result = check_blob(store, item, &mut buffer, watch, stop);
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(Finding::Gone) => {}
                Ok(Finding::Stopped) => is_stopped.store(true, Ordering::Relaxed),
                Ok(Finding::Good(size)) => {
                    shared.0.blobs += 1;
                    shared.0.bytes += size;
                }
                Ok(Finding::Damaged(unreadable)) => {
                    shared.0.blobs += 1;
                    shared.0.bytes += item.size;
                    let inside = inside.get(&item.digest).cloned().unwrap_or_default();
                    let (digest, size) = (item.digest, item.size);
                    shared.0.damaged.push(DamagedBlob { digest, size, inside, unreadable });
                }
                Err(error) => {
                    shared.1.get_or_insert(error);
                }
            }
        }
    });
    let (mut found, error) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
    }
    for damaged in &found.damaged {
        for (digest, ..) in &damaged.inside {
            record::remove(&store.layout().embedded(digest))?;
        }
    }
    found.damaged.sort_by_key(|damaged| damaged.digest);
    found.complete = !is_stopped.into_inner();
    Ok(found)
}

/// For each blob: what lies in it, with offset and size.
type Inside = BTreeMap<Digest, Vec<(Digest, u64, u64)>>;

fn check_records(store: &Store, items: &[Item], found: &mut StoreCheck) -> Result<Inside, StoreError> {
    let mut inside = Inside::new();
    for item in items {
        let good = match item.kind {
            ItemKind::Blob => true,
            ItemKind::Output => {
                !matches!(record::look::<serde_json::Value>(&item.path, &item.digest)?, Look::Damaged)
            }
            ItemKind::Embedded => match record::look::<Embedded>(&item.path, &item.digest)? {
                Look::Missing => true,
                Look::Damaged => false,
                Look::Good(Embedded { container, offset, size }) => {
                    let length = fs::metadata(store.layout().blob(&container)).map(|metadata| metadata.len());
                    inside.entry(container).or_default().push((item.digest, offset, size));
                    length.is_ok_and(|length| offset.checked_add(size).is_some_and(|end| end <= length))
                }
            },
        };
        if !good {
            record::remove(&item.path)?;
            found.records.push((item.kind, item.digest));
        }
    }
    found.roots = store.damaged_roots()?.len();
    found.memos = memo::remove_damaged(store.layout())?;
    Ok(inside)
}

enum Finding {
    Good(u64),
    Damaged(Option<String>),
    Gone,
    Stopped,
}

fn check_blob(
    store: &Store,
    item: &Item,
    buffer: &mut [u8],
    watch: &(dyn Fn(CheckEvent) + Sync),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Finding, StoreError> {
    let file = match open_unnoticed(&item.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Finding::Gone),
        // Nobody can read it, so it is worth no more than a damaged one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if let Some(identity) = Identity::at(&item.path) {
                store.move_aside(&item.digest, identity);
            }
            return Ok(Finding::Damaged(Some(error.to_string())));
        }
        Err(error) => return Err(StoreError::at(&item.path, error)),
    };
    let metadata = file.metadata().map_err(|error| StoreError::at(&item.path, error))?;
    let located = Located { file, embedded: None, size: metadata.len() };
    let mut reader = BlobReader::new(store.clone(), item.digest, located)?;
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(Finding::Good(metadata.len())),
            Ok(count) => watch(CheckEvent::Read(count as u64)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return match error.downcast::<StoreError>() {
                    Ok(StoreError::Corrupt { .. }) => Ok(Finding::Damaged(None)),
                    Ok(error) => Err(error),
                    // A bad sector, most likely.
                    Err(error) => {
                        store.move_aside(&item.digest, Identity::of(&metadata));
                        Ok(Finding::Damaged(Some(error.to_string())))
                    }
                };
            }
        }
        if stop() {
            return Ok(Finding::Stopped);
        }
    }
}

/// Opens a file without that counting as a use, where the system can do so.
fn open_unnoticed(path: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = i32::try_from(rustix::fs::OFlags::NOATIME.bits()).unwrap_or_default();
        match File::options().read(true).custom_flags(flags).open(path) {
            // Only the owner may.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            opened => return opened,
        }
    }
    File::open(path)
}
