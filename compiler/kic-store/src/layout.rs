use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use kic_base::Digest;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use crate::StoreError;
use crate::temporary_file::TemporaryFile;

/// The format that this version writes, and the newest that it reads.
const FORMAT: u64 = 1;

const FOLDERS: [&str; 8] = ["tmp", "blobs", "embedded", "outputs", "memos", "corrupt", "roots", "leases"];

/// A folder that a store may have.
const PARTIAL: &str = "partial";

/// In place of a folder where there is no store.
const NOWHERE: &str = "/dev/null";

/// Where things lie in a store.
#[derive(Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    /// The folder of the blobs, for those that are asked for by the hundred.
    blobs: Option<OwnedFd>,
    /// Files that were made before they are needed.
    ready: Mutex<Vec<TemporaryFile>>,
}

impl Layout {
    /// Makes the folder a store, or checks that it is one. Returns the lock file too.
    pub(crate) fn open(path: &Path) -> Result<(Self, File), StoreError> {
        let root = std::path::absolute(path).map_err(|error| StoreError::at(path, error))?;
        let mut layout = Self { root, blobs: None, ready: Mutex::default() };
        let new = layout.check_format()?;
        if new {
            make_root(&layout.root)?;
            layout.refuse_other_content()?;
        }
        layout.refuse_everybody()?;
        let lock = layout.lock()?;
        for folder in FOLDERS {
            make_folder(&layout.root.join(folder))?;
        }
        for folder in ["blobs", "embedded"] {
            make_folder(&layout.root.join(folder).join("sha256"))?;
        }
        // Where that does not work, they are found by their paths.
        let blobs = layout.root.join("blobs/sha256");
        layout.blobs =
            rustix::fs::open(&blobs, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .ok();
        if new {
            let mut file = TemporaryFile::new(&layout)?;
            file.write_all(format!("{FORMAT}\n").as_bytes())?;
            file.sync()?;
            file.persist(&layout.version())?;
            sync_folder(&layout.root)?;
        }
        Ok((layout, lock))
    }

    /// Opens the store in the folder, where one is: none is made. One that may not be written is opened as it is.
    pub(crate) fn open_existing(path: &Path) -> Result<Option<(Self, File)>, StoreError> {
        let root = std::path::absolute(path).map_err(|error| StoreError::at(path, error))?;
        let layout = Self { root, blobs: None, ready: Mutex::default() };
        if layout.check_format()? {
            return Ok(None);
        }
        match Self::open(path) {
            Err(StoreError::Permission { .. }) => {
                let path = layout.root.join("lock");
                let lock = File::open(&path).map_err(|error| StoreError::at(&path, error))?;
                Ok(Some((layout, lock)))
            }
            opened => opened.map(Some),
        }
    }

    /// That of no store, below what is no folder: nothing can be found or made there.
    pub(crate) fn nowhere() -> Result<(Self, File), StoreError> {
        let root = PathBuf::from(NOWHERE);
        let lock = File::open(&root).map_err(|error| StoreError::at(&root, error))?;
        Ok((Self { root, blobs: None, ready: Mutex::default() }, lock))
    }

    pub(crate) fn is_nowhere(&self) -> bool {
        // As bytes: it is asked for every blob.
        self.root.as_os_str() == NOWHERE
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Makes files that are written later: to make one takes a while.
    pub(crate) fn make_ready(&self, count: usize) {
        // Whoever needs one that cannot be made says why.
        let made: Vec<_> = (0..count).map_while(|_| TemporaryFile::make(self).ok()).collect();
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(made);
    }

    /// A file that was made before, where there is one.
    pub(crate) fn take_ready(&self) -> Option<TemporaryFile> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(crate) fn leases(&self) -> PathBuf {
        self.root.join("leases")
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.root.join("roots")
    }

    pub(crate) fn root_record(&self, key: &Digest) -> PathBuf {
        self.roots().join(key.hex())
    }

    /// Where the record of a root stands that another one took the place of.
    pub(crate) fn spare_root_record(&self, key: &Digest) -> PathBuf {
        self.root_record(key).with_extension("spare")
    }

    pub(crate) fn corrupt_folder(&self) -> PathBuf {
        self.root.join("corrupt")
    }

    /// A path in a folder by the first two digits, in memory that is asked for once.
    fn sharded(&self, folder: &str, digest: &Digest) -> PathBuf {
        let name = sharded(digest);
        let mut path = PathBuf::with_capacity(self.root.as_os_str().len() + folder.len() + name.len() + 8);
        path.push(&self.root);
        path.push(folder);
        path.push(name);
        path
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs/sha256", digest)
    }

    /// The folder of the blobs, where it could be opened.
    pub(crate) fn blobs(&self) -> Option<&OwnedFd> {
        self.blobs.as_ref()
    }

    /// The status of a blob's own file, without a path from the root; nothing where it is not found in that way.
    pub(crate) fn blob_status(&self, digest: &Digest) -> Option<Stat> {
        rustix::fs::statat(self.blobs.as_ref()?, sharded(digest), AtFlags::empty()).ok()
    }

    pub(crate) fn embedded(&self, digest: &Digest) -> PathBuf {
        self.sharded("embedded/sha256", digest)
    }

    pub(crate) fn output(&self, derivation: &Digest) -> PathBuf {
        self.sharded("outputs", derivation)
    }

    pub(crate) fn memos(&self) -> PathBuf {
        self.root.join("memos")
    }

    pub(crate) fn memo(&self, key: &Digest) -> PathBuf {
        self.memos().join(key.hex())
    }

    pub(crate) fn corrupt(&self, digest: &Digest) -> PathBuf {
        self.corrupt_folder().join(digest.hex())
    }

    /// The folder of downloads that were cut off. It is made when there is one.
    pub(crate) fn partials(&self) -> PathBuf {
        self.root.join(PARTIAL)
    }

    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(digest.hex())
    }

    fn version(&self) -> PathBuf {
        self.root.join("version")
    }

    /// Whether the folder has no `version` file yet.
    fn check_format(&self) -> Result<bool, StoreError> {
        let path = self.version();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(self.no_store("it is not a folder"));
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(StoreError::at(&path, error)),
        };
        let found = text.trim_end().parse::<u64>();
        let found = found.map_err(|_| self.no_store("its file `version` holds no number"))?;
        if found > FORMAT {
            return Err(StoreError::NewerFormat { path: self.root.clone(), found, supported: FORMAT });
        }
        if found == 0 {
            return Err(self.no_store("its file `version` names format 0, which never was"));
        }
        let owner = fs::metadata(&path).map_err(|error| StoreError::at(&path, error))?.uid();
        let user = rustix::process::geteuid().as_raw();
        if owner != user {
            return Err(StoreError::Foreign { path: self.root.clone(), owner, user });
        }
        Ok(false)
    }

    /// A mistyped path to somebody's home must not become a store: a collection deletes what it does not know.
    /// What a first run leaves that was killed before it wrote `version` is taken.
    fn refuse_other_content(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.root).map_err(|error| StoreError::at(&self.root, error))? {
            let name = entry.map_err(|error| StoreError::at(&self.root, error))?.file_name();
            // Another process may have written `version` since we looked.
            let ours = ["lock", "version", PARTIAL].iter().chain(&FOLDERS).any(|known| name == *known);
            if !ours {
                return Err(self.no_store(&format!("it holds `{}`", name.display())));
            }
        }
        Ok(())
    }

    /// Who may write to the folder can put another one in the place of each that is in it.
    fn refuse_everybody(&self) -> Result<(), StoreError> {
        let metadata = fs::metadata(&self.root).map_err(|error| StoreError::at(&self.root, error))?;
        match metadata.mode() & 0o002 {
            0 => Ok(()),
            _ => Err(StoreError::Writable { path: self.root.clone() }),
        }
    }

    /// The lock file, opened but not locked.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.root.join("lock");
        let wrap = |error| StoreError::at(&path, error);
        // Opened for writing, because some file systems lock only such files.
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(wrap)?;
        set_mode(&path, 0o644)?;
        Ok(file)
    }

    fn no_store(&self, reason: &str) -> StoreError {
        StoreError::NotAStore { path: self.root.clone(), reason: reason.to_owned() }
    }
}

/// The name of what a digest stands for, in a folder by the first two digits.
fn sharded(digest: &Digest) -> String {
    let hex = digest.hex();
    [&hex[..2], "/", &hex].concat()
}

/// Makes the parent of `path` if it is missing.
pub(crate) fn make_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    make_folder(parent)
}

/// Makes the names in a folder survive a power failure.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::at(path, error))
}

/// Sets the mode whatever the umask made of it. To set what is set already would have the disk take it once more.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    let has_it = |metadata: Metadata| metadata.mode() & 0o7777 == mode;
    if fs::metadata(path).is_ok_and(has_it) {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| StoreError::at(path, error))
}

/// What an image holds may be secret, so only its owner enters a new store.
fn make_root(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| StoreError::at(parent, error))?;
    }
    make_folder_with_mode(path, 0o700)
}

pub(crate) fn make_folder(path: &Path) -> Result<(), StoreError> {
    make_folder_with_mode(path, 0o755)
}

fn make_folder_with_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => set_mode(path, mode),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(StoreError::at(path, error)),
    }
}
