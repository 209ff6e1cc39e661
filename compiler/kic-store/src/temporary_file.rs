use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use crate::StoreError;
use crate::file_system::{exchange_or_rename, is_at, rename_to_free};
use crate::layout::Layout;
use crate::record;

/// What a file of the store has for its mode: nobody is to change it.
pub(crate) const MODE: u32 = 0o444;

/// A file in the store's `tmp/` or `leases/`, locked exclusively while it lives and removed when it is dropped.
/// The lock tells the living from what a killed process left: see [`remove_stale`].
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: NamedTempFile,
}

impl TemporaryFile {
    /// One in `tmp/`.
    pub(crate) fn new(layout: &Layout) -> Result<Self, StoreError> {
        layout.take_ready().map_or_else(|| Self::make(layout), Ok)
    }

    /// The same, of which none was made before.
    pub(crate) fn make(layout: &Layout) -> Result<Self, StoreError> {
        Self::new_in(&layout.temporary())
    }

    pub(crate) fn new_in(folder: &Path) -> Result<Self, StoreError> {
        let wrap = |error| StoreError::at(folder, error);
        loop {
            // Now, so that the mode is on disk when the bytes are.
            let mode = Permissions::from_mode(MODE);
            let made = tempfile::Builder::new().prefix("").permissions(mode.clone()).tempfile_in(folder);
            let file = made.map_err(wrap)?;
            // Somebody who cleans may have taken the lock first; the file is then gone, or about to be.
            match file.as_file().try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(StoreError::at(file.path(), error)),
            }
            let metadata = file.as_file().metadata().map_err(wrap)?;
            if metadata.nlink() == 0 {
                continue;
            }
            // Whatever the umask says.
            if metadata.mode() & 0o7777 != MODE {
                file.as_file().set_permissions(mode).map_err(wrap)?;
            }
            return Ok(Self { file });
        }
    }

    /// One whose bytes may be changed once it has another name.
    pub(crate) fn new_changeable(layout: &Layout) -> Result<Self, StoreError> {
        let file = Self::new(layout)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        Ok(file)
    }

    /// The file that stands at `path`, with what is in it, where there is one that nobody uses.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let file = File::options().read(true).write(true).open(path).ok()?;
        file.try_lock().ok()?;
        let found = Self { file: NamedTempFile::from_parts(file, TempPath::try_from_path(path).ok()?) };
        if is_at(found.file.as_file(), path) {
            return Some(found);
        }
        // Whoever had the lock before has given it another name, under which nobody may change it; what stands here is another one.
        let _ = found.file.into_temp_path().keep();
        None
    }

    /// The file that stands at `path`, where there is one that nobody uses, under a name of its own in `tmp/`: nobody else finds it from now
    /// on. Where it cannot get one, it stays.
    pub(crate) fn take(layout: &Layout, path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(found) = Self::at(path) else { return Ok(None) };
        let (file, former) = found.file.into_parts();
        let _ = former.keep();
        // A second name, and not another one, as that never takes the place of somebody else's.
        let linked =
            tempfile::Builder::new().prefix("").make_in(layout.temporary(), |name| fs::hard_link(path, name));
        let Ok(linked) = linked else { return Ok(None) };
        let (_, name) = linked.into_parts();
        // Somebody may have put another one at its path just now, which is his to take.
        if !is_at(&file, &name) {
            return Ok(None);
        }
        record::remove(path)?;
        Ok(Some(Self { file: NamedTempFile::from_parts(file, name) }))
    }

    /// What `look` finds in the file.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&File) -> T) -> T {
        look(self.file.as_file())
    }

    /// Gives the file another mode than 0444.
    pub(crate) fn set_permissions(&self, permissions: Permissions) -> Result<(), StoreError> {
        let set = self.file.as_file().set_permissions(permissions);
        set.map_err(|error| StoreError::at(self.file.path(), error))
    }

    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.file.as_file_mut().write_all(bytes);
        written.map_err(|error| StoreError::at(self.file.path(), error))
    }

    /// Takes what is behind so many bytes out of the file.
    pub(crate) fn truncate(&self, size: u64) -> Result<(), StoreError> {
        let file = self.file.as_file();
        let truncate = || if file.metadata()?.len() > size { file.set_len(size) } else { Ok(()) };
        truncate().map_err(|error| StoreError::at(self.file.path(), error))
    }

    /// Writes bytes to a place in the file.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.file.as_file().write_all_at(bytes, offset);
        written.map_err(|error| StoreError::at(self.file.path(), error).into())
    }

    /// Reads what was written to a place in the file.
    pub(crate) fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.file.as_file().read_exact_at(bytes, offset);
        read.map_err(|error| StoreError::at(self.file.path(), error).into())
    }

    pub(crate) fn metadata(&self) -> Result<Metadata, StoreError> {
        self.file.as_file().metadata().map_err(|error| StoreError::at(self.file.path(), error))
    }

    /// Makes the bytes survive a power failure.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file.as_file().sync_data().map_err(|error| StoreError::at(self.file.path(), error))
    }

    /// Asks the disk to take `size` bytes that were just written, and does not wait for it. It is a hint, no more.
    pub(crate) fn begin_sync(&self, offset: u64, size: u64) {
        begin_sync(self.file.as_file(), offset, size);
    }

    /// Gives the file its name, and the file that had it the name `spare`, where that is free. Gives `false` where the file is gone: others
    /// may have removed it, or, in the same moment, have put another one in its place.
    pub(crate) fn replace(self, path: &Path, spare: &Path) -> Result<bool, StoreError> {
        let is_exchanged = match exchange_or_rename(self.file.path(), path) {
            Ok(is_exchanged) => is_exchanged,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(StoreError::at(path, error)),
        };
        if !is_at(self.file.as_file(), path) {
            return Ok(false);
        }
        let former = self.file.into_temp_path();
        if !is_exchanged || &*former == spare || leave(&former, spare).is_ok() {
            let _ = former.keep();
        }
        Ok(true)
    }

    /// Gives the file its name, replacing what has it.
    pub(crate) fn persist(self, path: &Path) -> Result<File, StoreError> {
        self.file.persist(path).map_err(|error| StoreError::at(path, error.error))
    }

    /// The same for one that is dropped later.
    pub(crate) fn rename(&mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(self.file.path(), path).map_err(|error| StoreError::at(path, error))?;
        self.file.disable_cleanup(true);
        Ok(())
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.as_file_mut().write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(StoreError::at(self.file.path(), error).into())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives a file a name that no other one has, under which its bytes may be changed.
fn leave(path: &Path, to: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o644))?;
    rename_to_free(path, to)
}

/// Asks the disk to take `size` bytes of a file that were just written, and does not wait for it. It is a hint, no more.
pub fn begin_sync(file: &File, offset: u64, size: u64) {
    // Linux begins to write what is not on the disk yet, and keeps it in memory until it is.
    #[cfg(target_os = "linux")]
    let _ = rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(size), rustix::fs::Advice::DontNeed);
    #[cfg(not(target_os = "linux"))]
    let _ = (file, offset, size);
}

/// Removes the temporary files of processes that are gone: those that nobody holds locked.
/// What cannot be looked at or removed stays; it is in nobody's way.
pub(crate) fn remove_stale(layout: &Layout) {
    for folder in [layout.temporary(), layout.leases()] {
        remove_stale_in(&folder);
    }
}

fn remove_stale_in(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        // The lock is held until the name is gone, so that a writer who comes now notices.
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}
