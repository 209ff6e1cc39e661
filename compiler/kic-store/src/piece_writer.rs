use std::fmt;
use std::io;
use std::ops::Range;

use kic_base::{Digest, Sha256};

use crate::partial::Download;
use crate::piece_file::PieceFile;
use crate::{Store, StoreError};

/// Writes a new blob whose bytes come in any order, and hashes it on the way.
/// [`commit`](Self::commit) gives it its place; a writer that is dropped before leaves nothing, unless it is that of a [`Download`].
pub struct PieceWriter {
    file: PieceFile,
    hash: Sha256,
}

impl PieceWriter {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        Ok(Self { file: PieceFile::new(store)?, hash: Sha256::new() })
    }

    pub(crate) fn of(store: Store, download: &Download) -> Result<Self, StoreError> {
        let (mut file, ranges) = PieceFile::of(store, 0, download)?;
        file.came_before(&ranges);
        Ok(Self { file, hash: Sha256::new() })
    }

    /// The ranges that are there: in order, none touching another. At first, those that an earlier download brought.
    pub fn had(&self) -> Vec<Range<u64>> {
        self.file.had()
    }

    /// Hashes some of what is there and not hashed yet; whether there is more. [`commit`](Self::commit) does it too, but nobody can stop it.
    pub fn catch_up(&mut self) -> io::Result<bool> {
        let Self { file, hash } = self;
        file.go_on(&mut |bytes| hash.update(bytes))
    }

    /// Has nothing kept where this is dropped: what came may be wrong.
    pub fn forget(&mut self) {
        self.file.forget();
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
        file.forget();
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
