use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use kic_base::{Digest, Sha256};

use crate::identity::Identity;
use crate::store::{Embedded, Located};
use crate::{Store, StoreError, record};

/// Reads a blob and hashes it on the way.
///
/// When the last byte has been read and the digest is another, that read fails with [`io::ErrorKind::InvalidData`]
/// around [`StoreError::Corrupt`], and so does every later one; the damaged file has then been moved aside. So whoever reads [`len`](Self::len)
/// bytes, or until the end, has either the right bytes or an error. Bytes before the end are not yet proven.
pub struct BlobReader {
    store: Store,
    digest: Digest,
    file: File,
    identity: Identity,
    embedded: Option<Embedded>,
    length: u64,
    remaining: u64,
    state: State,
}

enum State {
    Reading(Sha256),
    Proven,
    Corrupt,
}

impl BlobReader {
    pub(crate) fn new(store: Store, digest: Digest, located: Located) -> Result<Self, StoreError> {
        let Located { mut file, embedded, size } = located;
        let container = embedded.as_ref().map_or(&digest, |embedded| &embedded.container);
        let path = store.layout().blob(container);
        let wrap = |error| StoreError::at(&path, error);
        if let Some(embedded) = &embedded {
            file.seek(SeekFrom::Start(embedded.offset)).map_err(wrap)?;
        }
        let identity = Identity::of(&file.metadata().map_err(wrap)?);
        let state = State::Reading(Sha256::new());
        Ok(Self { store, digest, file, identity, embedded, length: size, remaining: size, state })
    }

    /// The blob's size in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// The blob's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Whether the blob is a range of another one.
    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Compares the digest of what was read with the one it should have.
    fn finish(&mut self, hash: Sha256) -> io::Result<()> {
        if self.remaining == 0 && hash.finish() == self.digest {
            self.state = State::Proven;
            if self.embedded.is_none() {
                self.store.mark_verified(&self.digest, self.identity);
            }
            return Ok(());
        }
        self.state = State::Corrupt;
        match &self.embedded {
            None => self.store.move_aside(&self.digest, self.identity),
            Some(embedded) => {
                self.store.move_aside(&embedded.container, self.identity);
                let _ = record::remove(&self.store.layout().embedded(&self.digest));
            }
        }
        Err(self.corrupt())
    }

    fn corrupt(&self) -> io::Error {
        StoreError::Corrupt { digest: self.digest }.into()
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let hash = match &mut self.state {
            State::Proven => return Ok(0),
            State::Corrupt => return Err(self.corrupt()),
            State::Reading(hash) => hash,
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        let room = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..room])?;
        hash.update(&buffer[..read]);
        self.remaining -= read as u64;
        // At the end, or before it in a file that was cut off since it was opened.
        if self.remaining == 0 || read == 0 {
            let hash = std::mem::take(hash);
            self.finish(hash)?;
        }
        Ok(read)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("digest", &self.digest)
            .field("length", &self.length)
            .field("remaining", &self.remaining)
            .finish()
    }
}
