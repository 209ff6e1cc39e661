use std::fmt;
use std::io::{self, Write};

use kic_base::Digest;

use crate::blob_file::BlobFile;
use crate::{Store, StoreError};

/// Writes a new blob whose digest the caller computes as it writes, so that nothing is hashed twice. A writer that is
/// dropped before [`commit`](Self::commit) leaves nothing.
pub struct HashedWriter {
    file: BlobFile,
}

impl HashedWriter {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        Ok(Self { file: BlobFile::new(store)? })
    }

    /// Makes the bytes a blob of the store, by the digest of exactly the bytes that were written.
    pub fn commit(self, digest: &Digest) -> Result<(), StoreError> {
        self.file.commit(digest)
    }
}

impl Write for HashedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl fmt::Debug for HashedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedWriter").finish_non_exhaustive()
    }
}
