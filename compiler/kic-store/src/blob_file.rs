use std::io::{self, BufWriter, IntoInnerError, Write};

use kic_base::Digest;

use crate::layout::make_parent;
use crate::store::Identity;
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

/// A blob of at most so many bytes is not synced in the store, no more than a document: see [`Store::put`]. Whoever links to it
/// syncs it, with all else that is small.
pub const MOST_UNSYNCED: u64 = 64 << 10;

const BUFFER: usize = 128 << 10;
/// After so many bytes the disk is asked to take them, so that less is left for the sync at the end.
const AHEAD: u64 = 2 << 20;

/// A new blob on its way, of which somebody else computes the digest.
pub(crate) struct BlobFile {
    store: Store,
    file: BufWriter<Asking>,
}

/// A file that asks the disk to take what it is given while more comes.
struct Asking {
    file: TemporaryFile,
    written: u64,
    asked: u64,
}

impl BlobFile {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = Asking { file: TemporaryFile::new(store.layout())?, written: 0, asked: 0 };
        Ok(Self { store, file: BufWriter::with_capacity(BUFFER, file) })
    }

    /// Gives the bytes their name: a large one as [`keep`] does.
    pub(crate) fn commit(self, digest: &Digest) -> Result<(), StoreError> {
        let Self { store, file } = self;
        let wrap = |error| StoreError::at(&store.layout().blob(digest), error);
        let mut file = file.into_inner().map_err(IntoInnerError::into_error).map_err(wrap)?;
        if file.written > MOST_UNSYNCED {
            return keep(&store, file.file, digest);
        }
        file.ask();
        name(&store, file.file, digest)
    }
}

impl Asking {
    fn ask(&mut self) {
        if self.written > self.asked {
            self.file.begin_sync(self.asked, self.written - self.asked);
            self.asked = self.written;
        }
    }
}

impl Write for Asking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.asked >= AHEAD {
            self.ask();
        }
        Ok(count)
    }

    /// The disk takes all of it while the name is still to be given.
    fn flush(&mut self) -> io::Result<()> {
        self.ask();
        Ok(())
    }
}

/// Gives the bytes their name, once they are safe from a power failure. The name itself is not synced: bytes
/// without one are only fetched or built again, as those are whose record is lost.
pub(crate) fn keep(store: &Store, file: TemporaryFile, digest: &Digest) -> Result<(), StoreError> {
    file.sync()?;
    store.mark_synced(digest);
    name(store, file, digest)
}

/// Gives bytes their name that may not be safe from a power failure yet.
pub(crate) fn name(store: &Store, file: TemporaryFile, digest: &Digest) -> Result<(), StoreError> {
    let path = store.layout().blob(digest);
    store.lease(digest)?;
    make_parent(&path)?;
    // What is there already has the same bytes, or is damaged: either way it may go.
    let file = file.persist(&path)?;
    let metadata = file.metadata().map_err(|error| StoreError::at(&path, error))?;
    store.mark_verified(digest, Identity::of(&metadata));
    Ok(())
}

impl Write for BlobFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
