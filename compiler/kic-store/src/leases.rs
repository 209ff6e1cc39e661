//! What processes that run need of the store, so that a collection leaves it alone.
//!
//! A process appends each digest that it asks for or writes to a file of its own in `leases/`, before it looks for the blob. It
//! does so holding the store's lock shared; a collection that removes holds it exclusively. So a blob is either leased before
//! a collection looks, and stays, or it is gone before the process looks, and is missing. Nobody waits for longer than one
//! digest is written, or one batch removed.
//!
//! A process that only looks whether everything is still there holds the lock shared while it does, and writes no lease.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use kic_base::Digest;

use crate::StoreError;
use crate::layout::Layout;
use crate::temporary_file::TemporaryFile;

/// Bytes of a digest in the file of a lease.
const LENGTH: usize = 32;

/// The leases of this process.
pub(crate) struct Leases {
    state: Mutex<State>,
}

struct State {
    lock: File,
    /// Locked as long as this process lives, which tells a lease from what a dead process left.
    file: Option<TemporaryFile>,
    digests: BTreeSet<Digest>,
    /// The store's lock is held shared, and a collection waits: for a short while, or to the end where no lease can be written, on
    /// a full disk above all.
    holds_lock: bool,
    /// When the file was last written, in seconds since 1970, by the file system's clock.
    now: Option<i64>,
}

impl Leases {
    pub(crate) fn new(lock: File) -> Self {
        let digests = BTreeSet::new();
        Self { state: Mutex::new(State { lock, file: None, digests, holds_lock: false, now: None }) }
    }

    /// Leases a digest. Returns whether it is new, and the time then.
    pub(crate) fn add(&self, layout: &Layout, digest: &Digest) -> Result<Option<i64>, StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.digests.insert(*digest) {
            return Ok(None);
        }
        if state.holds_lock {
            return Ok(state.now);
        }
        let wrap = |error| StoreError::at(layout.root(), error);
        state.lock.lock_shared().map_err(wrap)?;
        if state.write(layout, digest.as_bytes()).is_err() {
            state.holds_lock = true;
            return Ok(state.now);
        }
        state.lock.unlock().map_err(wrap)?;
        Ok(state.now)
    }

    /// Makes the file that leases are written to.
    pub(crate) fn make_ready(&self, layout: &Layout) {
        // Whoever writes the first one says what is wrong.
        let _ = self.state.lock().unwrap_or_else(PoisonError::into_inner).file(layout);
    }

    /// Holds the store's lock shared, so that nothing needs a lease for now.
    pub(crate) fn hold(&self, layout: &Layout) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.holds_lock {
            state.lock.lock_shared().map_err(|error| StoreError::at(layout.root(), error))?;
            state.holds_lock = true;
        }
        if state.now.is_none() {
            state.now = Some(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec);
        }
        Ok(())
    }

    /// Writes the leases of all that was asked for, and lets the lock go. Where that does not work, the lock stays held.
    pub(crate) fn let_go(&self, layout: &Layout) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.holds_lock {
            return Ok(());
        }
        // Some of them may be in the file already; twice does no harm.
        let bytes: Vec<u8> = state.digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        if !bytes.is_empty() && state.write(layout, &bytes).is_err() {
            return Ok(());
        }
        state.lock.unlock().map_err(|error| StoreError::at(layout.root(), error))?;
        state.holds_lock = false;
        Ok(())
    }

    /// Lets the lock go, and forgets what was asked for: whoever asks again, leases it.
    pub(crate) fn forgo(&self, layout: &Layout) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.holds_lock {
            state.lock.unlock().map_err(|error| StoreError::at(layout.root(), error))?;
            state.holds_lock = false;
            state.digests.clear();
        }
        Ok(())
    }

    /// Everything that this process has leased.
    pub(crate) fn digests(&self) -> BTreeSet<Digest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).digests.clone()
    }

    /// Runs `work` while no collection removes anything.
    pub(crate) fn share<T>(
        &self,
        layout: &Layout,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wrap = |error| StoreError::at(layout.root(), error);
        state.lock.lock_shared().map_err(wrap)?;
        let result = work();
        if !state.holds_lock {
            state.lock.unlock().map_err(wrap)?;
        }
        result
    }

    /// Runs `work` while nobody can lease anything.
    pub(crate) fn exclude<T>(
        &self,
        layout: &Layout,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wrap = |error| StoreError::at(layout.root(), error);
        state.lock.lock().map_err(wrap)?;
        let result = work();
        if state.holds_lock {
            state.lock.lock_shared().map_err(wrap)?;
        } else {
            state.lock.unlock().map_err(wrap)?;
        }
        result
    }
}

impl State {
    fn write(&mut self, layout: &Layout, digests: &[u8]) -> Result<(), StoreError> {
        let now = self.now;
        let file = self.file(layout)?;
        file.write_all(digests)?;
        if now.is_none() {
            self.now = Some(file.metadata()?.mtime());
        }
        Ok(())
    }

    fn file(&mut self, layout: &Layout) -> Result<&mut TemporaryFile, StoreError> {
        Ok(match &mut self.file {
            Some(file) => file,
            none => none.insert(TemporaryFile::new_in(&layout.leases())?),
        })
    }
}

/// What all processes that live have leased. To be called where nobody can lease anything.
pub(crate) fn leased(layout: &Layout) -> Result<BTreeSet<Digest>, StoreError> {
    let mut digests = BTreeSet::new();
    let folder = layout.leases();
    for entry in fs::read_dir(&folder).map_err(|error| StoreError::at(&folder, error))? {
        let path = entry.map_err(|error| StoreError::at(&folder, error))?.path();
        // What cannot be opened has just ended: its process wrote its roots before that.
        let Ok(mut file) = File::open(&path) else { continue };
        if file.try_lock_shared().is_ok() {
            continue;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| StoreError::at(&path, error))?;
        digests.extend(
            bytes.chunks_exact(LENGTH).filter_map(|chunk| chunk.try_into().ok()).map(Digest::from_bytes),
        );
    }
    Ok(digests)
}
