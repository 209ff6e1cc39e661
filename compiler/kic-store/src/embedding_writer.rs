use std::fmt;
use std::io::{self, Write};

use kic_base::{Digest, TwinSha256};

use crate::blob_file::BlobFile;
use crate::store::Embedded;
use crate::{Store, StoreError, record};

/// Writes a blob, the body, into a container that is a blob too: header, body, zero padding.
/// Takes the body through [`Write`], and computes both digests in one pass.
pub struct EmbeddingWriter {
    container: BlobFile,
    header: u64,
    padding: u64,
    hashes: TwinSha256,
    written: u64,
}

impl EmbeddingWriter {
    pub(crate) fn new(store: &Store, header: &[u8], padding: u64) -> Result<Self, StoreError> {
        let mut container = BlobFile::new(store.clone())?;
        container.write_all(header).map_err(|error| StoreError::at(&store.layout().temporary(), error))?;
        let hashes = TwinSha256::new(header);
        Ok(Self { container, header: header.len() as u64, padding, hashes, written: 0 })
    }

    /// How many bytes of the body were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Checks the body against its digest and its size in bytes, and makes the container and the body inside it blobs of the store.
    /// Returns the container's digest and size. A body that is not the announced one leaves nothing.
    pub fn commit(self, body: &Digest, size: u64) -> Result<(Digest, u64), StoreError> {
        let Self { mut container, header, padding, hashes, written } = self;
        let (actual, digest) = hashes.finish(padding);
        if actual != *body {
            return Err(StoreError::Mismatch { expected: *body, actual, size: written });
        }
        if written != size {
            return Err(StoreError::WrongSize { digest: *body, expected: size, actual: written });
        }
        let store = container.store().clone();
        write_zeros(&mut container, padding)
            .map_err(|error| StoreError::at(&store.layout().temporary(), error))?;
        store.lease(body)?;
        container.commit(&digest)?;
        let embedded = Embedded { container: digest, offset: header, size };
        record::write(store.layout(), &store.layout().embedded(body), body, &embedded)?;
        Ok((digest, header + size + padding))
    }
}

impl Write for EmbeddingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.container.write(bytes)?;
        self.hashes.update(&bytes[..taken]);
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.container.flush()
    }
}

impl fmt::Debug for EmbeddingWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingWriter").field("written", &self.written).finish_non_exhaustive()
    }
}

fn write_zeros(writer: &mut impl Write, count: u64) -> io::Result<()> {
    io::copy(&mut io::Read::take(io::repeat(0), count), writer)?;
    Ok(())
}
