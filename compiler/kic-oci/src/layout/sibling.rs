use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use tempfile::{TempDir, TempPath};

use super::LayoutError;

/// A destination that does not exist yet, or will be replaced whole: its directory, and its name in it.
pub(super) struct Destination {
    pub directory: PathBuf,
    pub name: OsString,
}

/// A temporary directory or file beside a destination. It is locked while its process lives, and removed with it
/// unless it was renamed into place.
pub(super) struct Sibling<T> {
    pub path: T,
    /// Held for its lock.
    pub lock: File,
}

impl Destination {
    /// The destination `path`, in a directory that is there.
    pub fn of(path: &Path) -> Result<Self, LayoutError> {
        let Some(name) = path.file_name() else {
            return Err(LayoutError::Occupied { path: path.to_owned(), found: "a directory" });
        };
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = parent.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LayoutError::NotADirectory { path: path.to_owned(), source },
            _ => LayoutError::at(path, source),
        })?;
        Ok(Self { directory, name: name.to_owned() })
    }

    /// The destination itself.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.name)
    }

    /// A temporary directory beside it, mode 0755.
    pub fn sibling_directory(&self) -> Result<Sibling<TempDir>, LayoutError> {
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
    pub fn sibling_file(&self) -> Result<Sibling<TempPath>, LayoutError> {
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
    ) -> Result<Sibling<T>, LayoutError> {
        let prefix = self.prefix();
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        let made = || loop {
            // Until it is locked, another process may take it for a dead one's and remove it.
            let Some((path, lock)) = make(&builder)? else { continue };
            lock_exclusively(&lock)?;
            if is_at(&lock, path.as_ref()) {
                return Ok(Sibling { path, lock });
            }
        };
        made().map_err(|error| LayoutError::at(&self.path(), error))
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
            let _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
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
pub(super) fn lock_exclusively(file: &File) -> io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::flock(file, FlockOperation::LockExclusive))?;
    Ok(())
}

/// Whether the open file is the one that `path` names now.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}
