use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kic_base::{Digest, Sha256};
use rustix::fs::{AtFlags, CWD, FileType, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use serde::{Deserialize, Serialize};

use crate::blob_file::name;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::leases::Leases;
use crate::temporary_file::TemporaryFile;
use crate::{
    BlobReader, BlobWriter, Boot, Download, EmbeddingWriter, HashedWriter, Memo, PieceWriter, PlaceMode,
    Placed, Remembering, StoreError,
};
use crate::{memo, place, record, temporary_file};

/// A folder of content-addressed blobs, and of records which derivation gave which output.
///
/// Cheap to clone; clones share one handle. Several threads and several processes may use one store at once.
/// What a process asked for or wrote stays where it is as long as the last clone lives: see [`crate::collect`].
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    /// Files whose bytes this process has hashed, and found to give their digest.
    verified: Mutex<BTreeMap<Digest, Identity>>,
    /// Whether blobs are synced before they get their names: see [`Boot`].
    syncs: bool,
    /// What this process needs, so that no collection removes it.
    leases: Leases,
    /// Whether there is no room for what is only there to save work.
    is_full: AtomicBool,
}

/// Where the bytes of an embedded blob are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Embedded {
    pub(crate) container: Digest,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// A blob's bytes, found but not yet read.
pub(crate) struct Located {
    pub(crate) file: File,
    /// Where it lies, when the blob is a file of its own.
    pub(crate) embedded: Option<Embedded>,
    pub(crate) size: u64,
}

impl Store {
    /// Opens the store at `path`, and creates what is missing of it.
    ///
    /// Refused are a store of a newer format, another user's store, and a folder that holds anything else. Removes the
    /// temporary files and leases of processes that are gone.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::in_layout(Layout::open(path)?))
    }

    /// Opens the store at `path` for a look at it: `None` where there is none, and none is made. A store that is read-only is opened,
    /// too; what would change it fails then.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, StoreError> {
        Ok(Layout::open_existing(path)?.map(Self::in_layout))
    }

    /// A store that is nowhere, for work that needs none: it holds nothing, and takes small blobs without keeping them. What else is
    /// asked of it fails.
    ///
    /// # Errors
    /// Those of the system.
    pub fn nowhere() -> Result<Self, StoreError> {
        let (layout, lock) = Layout::nowhere()?;
        let (verified, is_full) = (Mutex::default(), AtomicBool::default());
        let inner = Inner { layout, syncs: false, verified, leases: Leases::new(lock), is_full };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn in_layout((layout, lock): (Layout, File)) -> Self {
        temporary_file::remove_stale(&layout);
        let syncs = layout.blobs().and_then(Boot::of).is_none();
        let leases = Leases::new(lock);
        let inner =
            Inner { layout, syncs, verified: Mutex::default(), leases, is_full: AtomicBool::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The store's folder, as an absolute path.
    pub fn path(&self) -> &Path {
        self.layout().root()
    }

    /// Makes so many files ready, for blobs and records that are written soon by this process, and the one of its leases: where there
    /// is nothing else to do, for to make a file takes longer than to write what is small. Those that are not needed go with the store.
    pub fn make_ready(&self, count: usize) {
        self.layout().make_ready(count);
        self.leases().make_ready(self.layout());
    }

    /// Whether the store holds the blob, as a file or inside another blob. Its bytes are not looked at.
    pub fn contains(&self, digest: &Digest) -> bool {
        matches!(self.find_file(digest), Ok(true)) || matches!(self.locate(digest), Ok(Some(_)))
    }

    /// Whether a blob is a file of its own. It gets no lease, as with [`Self::unleased_blob`].
    pub fn has_unleased(&self, digest: &Digest) -> bool {
        !self.layout().is_nowhere() && self.is_file(digest).is_some_and(|(is_file, _)| is_file)
    }

    /// The blob's size in bytes, or `None` when the store does not hold it.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.locate(digest)?.map(|located| located.size))
    }

    /// A reader of the blob's bytes, which hashes them as they pass.
    pub fn blob(&self, digest: &Digest) -> Result<BlobReader, StoreError> {
        let located = self.locate(digest)?.ok_or(StoreError::Missing { digest: *digest })?;
        BlobReader::new(self.clone(), *digest, located)
    }

    /// The same for a blob that nothing needs but this reader: it gets no lease, and a collection may remove its name meanwhile.
    pub fn unleased_blob(&self, digest: &Digest) -> Result<BlobReader, StoreError> {
        let opened = open_file(&self.layout().blob(digest))?;
        let (file, metadata) = opened.ok_or(StoreError::Missing { digest: *digest })?;
        BlobReader::new(self.clone(), *digest, Located { file, embedded: None, size: metadata.len() })
    }

    /// All bytes of a blob of at most `limit` bytes, verified.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let mut reader = self.blob(digest)?;
        let size = reader.len();
        if size > limit {
            return Err(StoreError::TooLarge { digest: *digest, size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let read = reader.read_to_end(&mut bytes);
        read.map_err(|error| StoreError::at(&self.layout().blob(digest), error))?;
        Ok(bytes)
    }

    /// Puts some bytes of a blob that is a file of its own into `bytes`, as they lie on the disk, where they are all there. They are not
    /// verified: whoever asks knows their digest. The blob gets no lease, as with [`Self::unleased_blob`].
    pub fn read_part(&self, digest: &Digest, offset: u64, size: u64, bytes: &mut Vec<u8>) -> Option<()> {
        let (file, metadata) = open_file(&self.layout().blob(digest)).ok()??;
        if offset.checked_add(size)? > metadata.len() {
            return None;
        }
        bytes.resize(usize::try_from(size).ok()?, 0);
        file.read_exact_at(bytes, offset).ok()
    }

    /// A writer of a new blob.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(self.clone())
    }

    /// A writer of a new blob, of which the caller computes the digest.
    pub fn hashed_writer(&self) -> Result<HashedWriter, StoreError> {
        HashedWriter::new(self.clone())
    }

    /// A writer of a new blob whose bytes come in any order.
    pub fn piece_writer(&self) -> Result<PieceWriter, StoreError> {
        PieceWriter::new(self.clone())
    }

    /// The same for a blob that is fetched: it goes on with what came before, and what came is kept where it is cut off.
    pub fn piece_writer_of(&self, download: &Download) -> Result<PieceWriter, StoreError> {
        PieceWriter::of(self.clone(), download)
    }

    /// Stores bytes that are in memory, such as a manifest, and returns their digest.
    ///
    /// They are not synced on any file system, as several are had one after the other before the first large blob is asked for. What a power
    /// failure takes of them is noticed when they are read, and fetched or built again.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.put_as(&Digest::of(bytes), bytes)
    }

    /// The same for bytes whose digest the caller has computed.
    pub fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = *digest;
        if self.layout().is_nowhere() || self.is_verified(&digest) {
            return Ok(digest);
        }
        // A damaged file is written anew.
        match self.read(&digest, bytes.len() as u64) {
            Ok(_) => return Ok(digest),
            Err(StoreError::Missing { .. } | StoreError::Corrupt { .. } | StoreError::TooLarge { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut file = TemporaryFile::new(self.layout())?;
        file.write_all(bytes)?;
        name(self, &mut file, &digest)?;
        Ok(digest)
    }

    /// A writer of a blob that is kept only inside another one: a container of `header`, then the blob, then
    /// `padding` zero bytes. Both can be read afterwards; the blob's bytes are on disk once.
    pub fn embedding_writer(&self, header: &[u8], padding: u64) -> Result<EmbeddingWriter, StoreError> {
        EmbeddingWriter::new(self, header, padding)
    }

    /// The same for a blob that is fetched: it goes on with what came before, and what came is kept where it is cut off.
    pub fn embedding_writer_of(
        &self,
        header: &[u8],
        padding: u64,
        download: &Download,
    ) -> Result<EmbeddingWriter, StoreError> {
        EmbeddingWriter::of(self, header, padding, download)
    }

    /// From now on nothing is kept of downloads that are cut off: there is no room left, and the user is to get theirs.
    pub fn keep_no_partials(&self) {
        self.inner.is_full.store(true, Ordering::Relaxed);
    }

    pub(crate) fn keeps_partials(&self) -> bool {
        !self.inner.is_full.load(Ordering::Relaxed)
    }

    /// Records that a blob lies inside another one, after a look at the bytes. A file of its own that the blob has is removed.
    ///
    /// # Errors
    /// Those of the disk; [`StoreError::Mismatch`] where other bytes lie there.
    pub fn record_embedded(
        &self,
        body: &Digest,
        container: &Digest,
        offset: u64,
        size: u64,
    ) -> Result<(), StoreError> {
        self.lease(body)?;
        let path = self.layout().blob(container);
        let (mut file, _) = self.open_leased(container)?.ok_or(StoreError::Missing { digest: *container })?;
        let mut hash = HashingSink(Sha256::new());
        let read = file
            .seek(SeekFrom::Start(offset))
            .and_then(|_| io::copy(&mut Read::take(&mut file, size), &mut hash));
        read.map_err(|error| StoreError::at(&path, error))?;
        let actual = hash.0.finish();
        if actual != *body {
            return Err(StoreError::Mismatch { expected: *body, actual, size });
        }
        let embedded = Embedded { container: *container, offset, size };
        record::write(self.layout(), &self.layout().embedded(body), body, &embedded)?;
        record::remove(&self.layout().blob(body))
    }

    /// Puts the blob's bytes at `destination`, which must not exist yet, in a folder that does.
    ///
    /// The bytes are verified, once in the life of this process for a file that did not change since. They are not
    /// synced. A process killed meanwhile may leave a part of them, so place into a folder that is renamed when it
    /// is complete.
    pub fn place(&self, digest: &Digest, destination: &Path, mode: PlaceMode) -> Result<Placed, StoreError> {
        place::place(self, digest, destination, mode)
    }

    /// The recorded output of a derivation. A damaged record is removed, and counts as none.
    pub fn output(&self, derivation: &Digest) -> Result<Option<serde_json::Value>, StoreError> {
        self.lease(derivation)?;
        record::read(&self.layout().output(derivation), derivation)
    }

    /// Keeps the recorded output of a derivation from collections, for one who knows it already.
    pub fn lease_output(&self, derivation: &Digest) -> Result<(), StoreError> {
        self.lease(derivation)
    }

    /// Records the output of a derivation, replacing an earlier record.
    pub fn record(&self, derivation: &Digest, output: &serde_json::Value) -> Result<(), StoreError> {
        self.lease(derivation)?;
        record::write(self.layout(), &self.layout().output(derivation), derivation, output)
    }

    /// Everything that this process has asked for or written: blobs and derivations.
    pub fn leased(&self) -> BTreeSet<Digest> {
        self.inner.leases.digests()
    }

    /// Keeps bytes that save work, and that may be gone at any time, under a key of the caller's. Those written longest
    /// ago make room for new ones.
    pub fn remember(&self, memo: &Memo) -> Result<(), StoreError> {
        self.remembered(self.begin_remembering(memo)?)
    }

    /// The first half of [`Self::remember`], and nearly all of its work: until [`Self::remembered`], nothing is kept under the key.
    pub fn begin_remembering(&self, memo: &Memo) -> Result<Remembering, StoreError> {
        memo::begin(self.layout(), memo)
    }

    /// The second half of [`Self::remember`].
    pub fn remembered(&self, begun: Remembering) -> Result<(), StoreError> {
        begun.finish(self.layout())
    }

    /// The bytes that were kept last under this key, whole and unchanged, or none.
    pub fn recall(&self, key: &Digest) -> Option<Vec<u8>> {
        self.recall_memo(key).map(Memo::into_bytes)
    }

    /// The same with their checksum.
    pub fn recall_memo(&self, key: &Digest) -> Option<Memo> {
        memo::read(self.layout(), key)
    }

    /// From now on no collection removes anything, until [`Self::let_go`] or the end of this store: for a look that is soon
    /// over, and cheaper than a lease for all that is looked at.
    pub fn hold(&self) -> Result<(), StoreError> {
        self.leases().hold(self.layout())
    }

    /// Leases all that was asked for since [`Self::hold`], and lets collections go on.
    pub fn let_go(&self) -> Result<(), StoreError> {
        self.leases().let_go(self.layout())
    }

    /// Lets collections go on after [`Self::hold`], without a lease: what was looked at is not needed any more.
    pub fn forgo(&self) -> Result<(), StoreError> {
        self.leases().forgo(self.layout())
    }

    pub(crate) fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    /// Keeps a blob or record from collections as long as this process lives. To be called before it is looked for or gets its
    /// name.
    pub(crate) fn lease(&self, digest: &Digest) -> Result<(), StoreError> {
        if self.layout().is_nowhere() {
            return Ok(());
        }
        self.inner.leases.add(self.layout(), digest).map(drop)
    }

    /// Leases a blob, and opens its own file.
    fn open_leased(&self, digest: &Digest) -> Result<Option<(File, u64)>, StoreError> {
        let now = self.inner.leases.add(self.layout(), digest)?;
        let path = self.layout().blob(digest);
        let opened = open_file(&path)?;
        if let (Some((_, metadata)), Some(now)) = (&opened, now) {
            note_use(self.layout(), digest, metadata.atime(), now);
        }
        Ok(opened.map(|(file, metadata)| (file, metadata.len())))
    }

    /// Leases a blob, and says whether it has a file of its own.
    fn find_file(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.layout().is_nowhere() {
            return Ok(false);
        }
        let now = self.inner.leases.add(self.layout(), digest)?;
        let Some((is_file, accessed)) = self.is_file(digest) else { return Ok(false) };
        if let Some(now) = now {
            note_use(self.layout(), digest, accessed, now);
        }
        Ok(is_file)
    }

    /// Whether what has the name of a blob is a file, and when it was used last; nothing where there is none.
    fn is_file(&self, digest: &Digest) -> Option<(bool, i64)> {
        let status = self.layout().blob_status(digest)?;
        Some((FileType::from_raw_mode(status.st_mode) == FileType::RegularFile, status.st_atime))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Finds a blob: its own file, else the range of a container that a record names.
    pub(crate) fn locate(&self, digest: &Digest) -> Result<Option<Located>, StoreError> {
        if self.layout().is_nowhere() {
            return Ok(None);
        }
        if let Some((file, size)) = self.open_leased(digest)? {
            return Ok(Some(Located { file, embedded: None, size }));
        }
        let path = self.layout().embedded(digest);
        let Some(embedded) = record::read::<Embedded>(&path, digest)? else { return Ok(None) };
        let container = self.open_leased(&embedded.container)?;
        let end = embedded.offset.checked_add(embedded.size);
        match container {
            Some((file, length)) if end.is_some_and(|end| end <= length) => {
                let size = embedded.size;
                Ok(Some(Located { file, embedded: Some(embedded), size }))
            }
            _ => {
                record::remove(&path)?;
                Ok(None)
            }
        }
    }

    pub(crate) fn syncs(&self) -> bool {
        self.inner.syncs
    }

    /// Notes that the file of this digest was hashed and found right.
    pub(crate) fn mark_verified(&self, digest: &Digest, identity: Identity) {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, identity);
    }

    /// Whether this process has hashed the blob's own file, and it did not change since.
    pub(crate) fn is_verified(&self, digest: &Digest) -> bool {
        let Ok(metadata) = fs::symlink_metadata(self.layout().blob(digest)) else { return false };
        let verified = self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.get(digest) == Some(&Identity::of(&metadata))
    }

    /// Takes a damaged file out of the store's sight, so that the blob is fetched or built again.
    /// `identity` is the file that was read: a good one that came in its place meanwhile stays.
    pub(crate) fn move_aside(&self, digest: &Digest, identity: Identity) {
        let path = self.layout().blob(digest);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| Identity::of(&metadata).same_file(identity))
            && fs::rename(&path, self.layout().corrupt(digest)).is_err()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

struct HashingSink(Sha256);

impl Write for HashingSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.path()).finish()
    }
}

/// Sets the time of the last read, by which a collection tells what was used last. Some file systems never do, and others once
/// a day; once an hour is enough.
fn note_use(layout: &Layout, digest: &Digest, last: i64, now: i64) {
    const HOUR: i64 = 3600;
    if last + HOUR < now {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        };
        // It is a hint, no more.
        let _ = rustix::fs::utimensat(CWD, layout.blob(digest), &times, AtFlags::empty());
    }
}

/// A regular file and its metadata, or `None` when there is none of that name.
pub(crate) fn open_file(path: &Path) -> Result<Option<(File, Metadata)>, StoreError> {
    let opened = File::open(path).and_then(|file| {
        let metadata = file.metadata()?;
        Ok(metadata.is_file().then_some((file, metadata)))
    });
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map_err(|error| StoreError::at(path, error)),
    }
}
