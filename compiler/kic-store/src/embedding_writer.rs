use std::fmt;
use std::io::{self, Write};
use std::ops::Range;

use kic_base::{Digest, NestedSha256};

use crate::partial::Download;
use crate::piece_file::PieceFile;
use crate::store::Embedded;
use crate::{Store, StoreError, record};

/// The end of a tar.
const ZEROS: [u8; 1536] = [0; 1536];

/// Writes a blob, the body, into a container that is a blob too: header, body, zero padding.
/// Takes the body through [`Write`], or by [`write_at`](Self::write_at) in any order, and computes both digests in one pass.
pub struct EmbeddingWriter {
    container: PieceFile,
    header: u64,
    padding: u64,
    hashes: NestedSha256,
}

impl EmbeddingWriter {
    pub(crate) fn new(store: &Store, header: &[u8], padding: u64) -> Result<Self, StoreError> {
        Self::with(PieceFile::new(store.clone())?, header, padding)
    }

    pub(crate) fn of(
        store: &Store,
        header: &[u8],
        padding: u64,
        download: &Download,
    ) -> Result<Self, StoreError> {
        let (container, ranges) = PieceFile::of(store.clone(), header.len() as u64, download)?;
        let mut writer = Self::with(container, header, padding)?;
        // Not before: the header is hashed by itself.
        writer.container.came_before(&ranges);
        Ok(writer)
    }

    fn with(container: PieceFile, header: &[u8], padding: u64) -> Result<Self, StoreError> {
        let (store, hashes) = (container.store().clone(), NestedSha256::new());
        let mut writer = Self { container, header: header.len() as u64, padding, hashes };
        let written = writer.container.write_at(0, header, &mut |bytes| writer.hashes.update(bytes));
        written.map_err(|error| StoreError::at(&store.layout().temporary(), error))?;
        writer.hashes.begin_part();
        Ok(writer)
    }

    /// How many bytes of the body are there, without a gap.
    pub fn written(&self) -> u64 {
        self.container.done() - self.header
    }

    /// The ranges of the body that are there: in order, none touching another. At first, those that an earlier download brought.
    pub fn had(&self) -> Vec<Range<u64>> {
        self.container.had()
    }

    /// Hashes some of what is there and not hashed yet; whether there is more. [`commit`](Self::commit) does it too, but nobody can stop it.
    pub fn catch_up(&mut self) -> io::Result<bool> {
        let Self { container, hashes, .. } = self;
        container.go_on(&mut |bytes| hashes.update(bytes))
    }

    /// Has nothing kept where this is dropped: what came may be wrong.
    pub fn forget(&mut self) {
        self.container.forget();
    }

    /// Writes bytes of the body to their place in it. Those that are there already may come again.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Self { container, header, hashes, .. } = self;
        let offset = offset.checked_add(*header).ok_or(io::ErrorKind::FileTooLarge)?;
        container.write_at(offset, bytes, &mut |bytes| hashes.update(bytes))
    }

    /// Checks the body against its digest and its size in bytes, and makes the container and the body inside it blobs of the store.
    /// Returns the container's digest and size. A body that is not the announced one leaves nothing.
    pub fn commit(self, body: &Digest, size: u64) -> Result<(Digest, u64), StoreError> {
        let Self { mut container, header, padding, mut hashes } = self;
        container.forget();
        container.finish(&mut |bytes| hashes.update(bytes))?;
        let written = container.done() - header;
        let actual = hashes.end_part();
        if actual != *body {
            return Err(StoreError::Mismatch { expected: *body, actual, size: written });
        }
        if written != size {
            return Err(StoreError::WrongSize { digest: *body, expected: size, actual: written });
        }
        let store = container.store().clone();
        let end = header + size + padding;
        while container.done() < end {
            let left = usize::try_from(end - container.done()).unwrap_or(usize::MAX);
            let zeros = &ZEROS[..left.min(ZEROS.len())];
            container
                .write_at(container.done(), zeros, &mut |bytes| hashes.update(bytes))
                .map_err(|error| StoreError::at(&store.layout().temporary(), error))?;
        }
        let digest = hashes.finish();
        store.lease(body)?;
        container.commit(&digest)?;
        let embedded = Embedded { container: digest, offset: header, size };
        record::write(store.layout(), &store.layout().embedded(body), body, &embedded)?;
        Ok((digest, end))
    }
}

impl Write for EmbeddingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(self.written(), bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for EmbeddingWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingWriter").field("written", &self.written()).finish_non_exhaustive()
    }
}
