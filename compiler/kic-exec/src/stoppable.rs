use std::io::{self, Read};
use std::path::Path;

use kic_base::Digest;
use kic_oci::BlobSource;
use kic_store::{PlaceMode, Placed, Store, Suspects};
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// A reader that fails once the work is to stop, so that whoever reads cleans up and ends.
#[derive(Debug)]
pub struct Stoppable<R> {
    reader: R,
    cancel: CancellationToken,
}

impl<R> Stoppable<R> {
    /// The reader, for work of `context`.
    pub fn new(reader: R, context: &Context) -> Self {
        Self { reader, cancel: context.cancel.clone() }
    }
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(&self.cancel)?;
        self.reader.read(buffer)
    }
}

/// The blobs of a store, until the work is to stop.
#[derive(Debug)]
pub struct StoppableStore {
    store: Store,
    cancel: CancellationToken,
}

impl StoppableStore {
    /// The store of `context`.
    pub fn new(context: &Context) -> Self {
        Self { store: context.store.clone(), cancel: context.cancel.clone() }
    }
}

impl BlobSource for StoppableStore {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        go_on(&self.cancel)?;
        Ok(Box::new(Stoppable { reader: self.store.blob(digest)?, cancel: self.cancel.clone() }))
    }

    fn place(&self, digest: &Digest, to: &Path, mode: PlaceMode) -> io::Result<Option<Placed>> {
        go_on(&self.cancel)?;
        BlobSource::place(&self.store, digest, to, mode)
    }

    fn suspects(&self) -> Suspects {
        self.store.suspects()
    }
}

/// Not `ErrorKind::Interrupted`: that one asks to try again.
fn go_on(cancel: &CancellationToken) -> io::Result<()> {
    if cancel.is_cancelled() { Err(io::Error::other("the work was interrupted")) } else { Ok(()) }
}
