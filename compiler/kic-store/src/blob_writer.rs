use std::fmt;
use std::io::{self, BufWriter, IntoInnerError, Write};

use kic_base::{Digest, Sha256};

use crate::layout::{make_parent, sync_folder};
use crate::store::Identity;
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

const BUFFER: usize = 128 << 10;

/// Writes a new blob to a temporary file of the store, and hashes it on the way.
/// [`commit`](Self::commit) gives it its place; a writer that is dropped before leaves nothing.
pub struct BlobWriter {
    store: Store,
    file: BufWriter<TemporaryFile>,
    hash: Sha256,
    written: u64,
}

impl BlobWriter {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = BufWriter::with_capacity(BUFFER, TemporaryFile::new(store.layout())?);
        Ok(Self { store, file, hash: Sha256::new(), written: 0 })
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the bytes a blob of the store, safe from a power failure. Returns its digest and its size in bytes.
    ///
    /// With an `expected` digest that the bytes do not give, nothing is kept and the error is
    /// [`StoreError::Mismatch`].
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let Self { store, file, hash, written } = self;
        let digest = hash.finish();
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(StoreError::Mismatch { expected: *expected, actual: digest, size: written });
        }
        let path = store.layout().blob(&digest);
        let wrap = |error| StoreError::at(&path, error);
        let file = file.into_inner().map_err(IntoInnerError::into_error).map_err(wrap)?;
        file.sync()?;
        store.lease(&digest)?;
        make_parent(&path)?;
        // What is there already has the same bytes, or is damaged: either way it may go.
        let file = file.persist(&path)?;
        store.mark_verified(&digest, Identity::of(&file.metadata().map_err(wrap)?));
        path.parent().map_or(Ok(()), sync_folder)?;
        Ok((digest, written))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl fmt::Debug for BlobWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobWriter").field("written", &self.written).finish_non_exhaustive()
    }
}
