use std::io::{self, BufWriter, IntoInnerError, Write};

use kic_base::Digest;

use crate::identity::Identity;
use crate::layout::make_parent;
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

const BUFFER: usize = 128 << 10;

/// A new blob on its way, of which somebody else computes the digest.
pub(crate) struct BlobFile {
    store: Store,
    file: BufWriter<TemporaryFile>,
}

impl BlobFile {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = BufWriter::with_capacity(BUFFER, TemporaryFile::new(store.layout())?);
        Ok(Self { store, file })
    }

    /// Gives the bytes their name, as [`keep`] does.
    pub(crate) fn commit(self, digest: &Digest) -> Result<(), StoreError> {
        let Self { store, file } = self;
        let wrap = |error| StoreError::at(&store.layout().blob(digest), error);
        let mut file = file.into_inner().map_err(IntoInnerError::into_error).map_err(wrap)?;
        keep(&store, &mut file, digest)
    }
}

/// Gives the bytes their name: once they are safe from a power failure, where nothing tells afterwards that it may have taken them
/// ([`Boot`](crate::Boot)). The name itself is not synced: bytes without one are only fetched or built again, as those are whose record
/// is lost.
pub(crate) fn keep(store: &Store, file: &mut TemporaryFile, digest: &Digest) -> Result<(), StoreError> {
    if store.syncs() {
        file.sync()?;
    }
    name(store, file, digest)
}

/// Gives bytes their name that may not be safe from a power failure yet.
pub(crate) fn name(store: &Store, file: &mut TemporaryFile, digest: &Digest) -> Result<(), StoreError> {
    let path = store.layout().blob(digest);
    store.lease(digest)?;
    make_parent(&path)?;
    // What is there already has the same bytes, or is damaged: either way it may go.
    file.rename(&path)?;
    store.mark_verified(digest, Identity::of(&file.metadata()?));
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
