use std::io::{self, BufWriter, IntoInnerError, Write};

use kic_base::Digest;

use crate::layout::make_parent;
use crate::store::Identity;
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

/// A blob of at most so many bytes is treated as a document is: see [`Store::put`]. Whoever links to it syncs it, with all else that is
/// small. For a larger one, a sync is waited for only where nothing tells afterwards that the disk may lack it: see [`Boot`](crate::Boot).
pub const SMALL: u64 = 64 << 10;

const BUFFER: usize = 128 << 10;

/// A new blob on its way, of which somebody else computes the digest.
pub(crate) struct BlobFile {
    store: Store,
    file: BufWriter<TemporaryFile>,
    written: u64,
}

impl BlobFile {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = BufWriter::with_capacity(BUFFER, TemporaryFile::new(store.layout())?);
        Ok(Self { store, file, written: 0 })
    }

    /// Gives the bytes their name: a large one as [`keep`] does.
    pub(crate) fn commit(mut self, digest: &Digest) -> Result<(), StoreError> {
        let flushed = self.flush();
        let Self { store, file, written } = self;
        let wrap = |error| StoreError::at(&store.layout().blob(digest), error);
        flushed.map_err(wrap)?;
        let file = file.into_inner().map_err(IntoInnerError::into_error).map_err(wrap)?;
        if written > SMALL { keep(&store, file, digest) } else { name(&store, file, digest) }
    }
}

/// Gives a large blob its name: once its bytes are safe from a power failure, where the store waits for that. The name itself is not
/// synced: bytes without one are only fetched or built again, as those are whose record is lost.
pub(crate) fn keep(store: &Store, file: TemporaryFile, digest: &Digest) -> Result<(), StoreError> {
    if store.syncs_large() {
        file.sync()?;
        store.mark_synced(digest);
    }
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
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    /// The disk takes a small one while its name is still to be given.
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if (1..=SMALL).contains(&self.written) {
            self.file.get_ref().begin_sync(0, self.written);
        }
        Ok(())
    }
}
