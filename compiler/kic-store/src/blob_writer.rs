use std::fmt;
use std::io::{self, Write};

use kic_base::{Digest, Sha256};

use crate::blob_file::BlobFile;
use crate::{Store, StoreError};

/// Writes a new blob to a temporary file of the store, and hashes it on the way.
/// [`commit`](Self::commit) gives it its place; a writer that is dropped before leaves nothing.
pub struct BlobWriter {
    file: BlobFile,
    hash: Sha256,
    written: u64,
}

impl BlobWriter {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        Ok(Self { file: BlobFile::new(store)?, hash: Sha256::new(), written: 0 })
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the bytes a blob of the store. Returns its digest and its size in bytes.
    ///
    /// With an `expected` digest that the bytes do not give, nothing is kept and the error is
    /// [`StoreError::Mismatch`].
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), StoreError> {
        let Self { file, hash, written } = self;
        let digest = hash.finish();
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(StoreError::Mismatch { expected: *expected, actual: digest, size: written });
        }
        file.commit(&digest)?;
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
