//! What is built beside its place and renamed into it, and what dead processes have left of that.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kic_store::is_at;
use rustix::fs::FlockOperation;
use tempfile::{TempDir, TempPath};

use crate::unpack::Tree;

/// A destination that does not exist yet, or will be replaced whole: its directory, and its name in it.
pub(crate) struct Destination {
    pub directory: PathBuf,
    pub name: OsString,
}

/// A temporary directory or file beside a destination. It is locked while its process lives, and removed with it
/// unless it was renamed into place.
pub(crate) struct Sibling<T> {
    pub path: T,
    /// Held for its lock.
    pub lock: File,
}

/// Gives `path` these bytes in one step, as a file of mode 0644: whoever looks, and whenever the process ends, finds the
/// old file or the new one. What a killed process left of an earlier attempt is removed.
///
/// # Errors
/// Those of the system; what stood there stands there unchanged.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let destination = Destination::of(path)?;
    let sibling = destination.sibling_file()?;
    (&sibling.lock).write_all(bytes)?;
    sibling.lock.sync_all()?;
    sibling.path.persist(destination.path()).map_err(|error| error.error)?;
    File::open(&destination.directory)?.sync_all()
}

impl Destination {
    /// The destination `path`, in a directory that is there.
    pub fn of(path: &Path) -> io::Result<Self> {
        // `..` and `/` are directories of their own, and nothing is put in their place.
        let Some(name) = path.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Self { directory: parent.canonicalize()?, name: name.to_owned() })
    }

    /// The destination itself.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// A temporary directory beside it, mode 0755.
    pub fn sibling_directory(&self) -> io::Result<Sibling<TempDir>> {
        self.remove_stale();
        self.locked(|builder| {
            let made = builder.tempdir_in(&self.directory)?;
            let opened = fs::set_permissions(made.path(), Permissions::from_mode(0o755))
                .and_then(|()| File::open(made.path()));
            match opened {
                Ok(lock) => Ok(Some((made, lock))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// A temporary file beside it, mode 0644; the lock is its handle for writing.
    pub fn sibling_file(&self) -> io::Result<Sibling<TempPath>> {
        self.remove_stale();
        self.locked(|builder| {
            let (file, path) = builder.tempfile_in(&self.directory)?.into_parts();
            file.set_permissions(Permissions::from_mode(0o644))?;
            Ok(Some((path, file)))
        })
    }

    fn locked<T: AsRef<Path>>(
        &self,
        make: impl Fn(&tempfile::Builder<'_, '_>) -> io::Result<Option<(T, File)>>,
    ) -> io::Result<Sibling<T>> {
        let prefix = self.prefix();
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        loop {
            // Until it is locked, another process may take it for a dead one's and remove it.
            let Some((path, lock)) = make(&builder)? else { continue };
            lock_exclusively(&lock)?;
            if is_at(&lock, path.as_ref()) {
                return Ok(Sibling { path, lock });
            }
        }
    }

    /// Removes what dead processes have left for this destination. Failures do not matter: it only costs space.
    fn remove_stale(&self) {
        let prefix = self.prefix();
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                continue;
            }
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if !(kind.is_dir() || kind.is_file()) {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
                || !is_at(&file, &path)
            {
                continue;
            }
            if kind.is_file() {
                let _ = fs::remove_file(&path);
            } else if fs::remove_dir_all(&path).is_err() {
                // An unpacked tree may have folders that even their owner may not enter.
                let _ = Tree::open(&path).and_then(|mut tree| tree.clear());
                let _ = fs::remove_dir(&path);
            }
        }
    }

    fn prefix(&self) -> OsString {
        let mut prefix = OsString::from(".");
        prefix.push(&self.name);
        prefix.push(OsStr::new(".kic-"));
        prefix
    }
}

/// Waits for the lock of an open file or directory; it lasts as long as the file is open.
pub(crate) fn lock_exclusively(file: &File) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_goes_and_what_a_living_one_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kic.lock");
        fs::write(folder.path().join(".kic.lock.kic-dead"), "half").unwrap();
        fs::create_dir(folder.path().join(".kic.lock.kic-dir")).unwrap();
        fs::write(folder.path().join(".kic.lock.kic-dir/file"), "half").unwrap();
        fs::write(folder.path().join(".other.kic-dead"), "another's").unwrap();
        let living = Destination::of(&path).unwrap().sibling_file().unwrap();
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(living.path.exists());
        drop(living);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".other.kic-dead", "kic.lock"]);
    }

    #[test]
    fn a_folder_is_not_replaced_by_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kic.lock");
        fs::create_dir(&path).unwrap();
        assert!(replace_file(&path, b"one").is_err());
        assert!(replace_file(&folder.path().join("missing/kic.lock"), b"one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
