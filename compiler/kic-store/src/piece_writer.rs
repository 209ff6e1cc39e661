use std::fmt;
use std::io;

use kic_base::{Digest, Sha256};

use crate::piece_file::PieceFile;
use crate::{Store, StoreError};

/// Writes a new blob whose bytes come in any order, and hashes it on the way.
/// [`commit`](Self::commit) gives it its place; a writer that is dropped before leaves nothing.
pub struct PieceWriter {
    file: PieceFile,
    hash: Sha256,
}

impl PieceWriter {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        Ok(Self { file: PieceFile::new(store)?, hash: Sha256::new() })
    }

    /// Writes bytes to their place. Those that are there already may come again.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Self { file, hash } = self;
        file.write_at(offset, bytes, &mut |bytes| hash.update(bytes))
    }

    /// Makes the bytes a blob of the store. If they are not the expected ones, nothing is kept, and the error is
    /// [`StoreError::Mismatch`].
    pub fn commit(self, expected: &Digest) -> Result<(), StoreError> {
        let Self { mut file, mut hash } = self;
        file.finish(&mut |bytes| hash.update(bytes))?;
        let actual = hash.finish();
        if actual != *expected {
            return Err(StoreError::Mismatch { expected: *expected, actual, size: file.done() });
        }
        file.commit(expected)
    }
}

impl fmt::Debug for PieceWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceWriter").field("written", &self.file.done()).finish_non_exhaustive()
    }
}
