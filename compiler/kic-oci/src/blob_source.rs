use std::io::{self, Read};
use std::path::Path;

use kic_base::Digest;
use kic_store::{PlaceMode, Placed, Store, Suspects};

/// Where blobs come from that are written somewhere.
pub trait BlobSource: Send + Sync {
    /// The blob's bytes. The reader verifies them: it fails, at its end at the latest, when they do not give the
    /// digest.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;

    /// Puts the blob at `to`, which does not exist, shared with the source or copied, and verified. `None` says
    /// that this source cannot, and that nothing is at `to`: then the caller copies from [`Self::open`].
    fn place(&self, digest: &Digest, to: &Path, mode: PlaceMode) -> io::Result<Option<Placed>> {
        let _ = (digest, to, mode);
        Ok(None)
    }

    /// The blobs that were found damaged here: what was written of one before then is to be hashed.
    fn suspects(&self) -> Suspects;
}

impl BlobSource for Store {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.blob(digest)?))
    }

    fn place(&self, digest: &Digest, to: &Path, mode: PlaceMode) -> io::Result<Option<Placed>> {
        Ok(Some(Self::place(self, digest, to, mode)?))
    }

    fn suspects(&self) -> Suspects {
        Self::suspects(self)
    }
}
