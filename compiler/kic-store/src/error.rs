use std::io;
use std::path::{Path, PathBuf};

use kic_base::Digest;

/// Why the store could not do what it was asked.
///
/// The [`io::Error`]s that the store's readers and writers return hold one of these:
/// `io::Error::downcast::<StoreError>` gives it back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system is full, or the user's quota is.
    #[error("no space is left to write {path}")]
    StorageFull {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system forbids it: missing permission, or a file system mounted read-only.
    #[error("the store may not use {path}")]
    Permission {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store was made by another user. Writing to it would leave files there that its owner cannot manage.
    #[error("the store at {path} belongs to user {owner}, and this process runs as user {user}")]
    Foreign {
        /// The store.
        path: PathBuf,
        /// The user id of the owner.
        owner: u32,
        /// The user id of this process.
        user: u32,
    },
    /// Everybody may write to the folder of the store, and so put anything into an image.
    #[error("everybody may write to the folder of the store, {path}")]
    Writable {
        /// The store.
        path: PathBuf,
    },
    /// Records of roots are damaged, so what they keep cannot be told. Nothing was removed.
    #[error("{count} {} of outputs or locks in the store {} damaged, so what {} cannot be told", if *count == 1 { "record" } else { "records" }, if *count == 1 { "is" } else { "are" }, if *count == 1 { "it keeps" } else { "they keep" })]
    DamagedRoots {
        /// How many.
        count: usize,
    },
    /// The store was written by a later kic.
    #[error("the store at {path} has format {found}; this kic knows formats up to {supported}")]
    NewerFormat {
        /// The store.
        path: PathBuf,
        /// The format that its `version` file names.
        found: u64,
        /// The newest format that this kic knows.
        supported: u64,
    },
    /// The folder holds something else, and kic does not write into it.
    #[error("{path} is not a store: {reason}")]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What tells.
        reason: String,
    },
    /// The blob is not in the store.
    #[error("the store does not hold {digest}")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// The stored bytes no longer give their digest. The file was moved aside, so the blob is missing from now on.
    #[error("the stored bytes of {digest} are damaged")]
    Corrupt {
        /// The blob.
        digest: Digest,
    },
    /// The bytes that were written are not the ones that were announced. Nothing was kept.
    #[error("expected {expected}, and got {size} bytes that give {actual}")]
    Mismatch {
        /// The announced digest.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
        /// How many bytes came.
        size: u64,
    },
    /// More or fewer bytes were written than were announced. Nothing was kept.
    #[error("{digest} was announced with {expected} bytes, and {actual} came")]
    WrongSize {
        /// The blob.
        digest: Digest,
        /// The announced size in bytes.
        expected: u64,
        /// How many bytes came.
        actual: u64,
    },
    /// The blob is larger than the reader takes.
    #[error("{digest} has {size} bytes, more than the {limit} that are read at once")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is already something where a blob was to be placed.
    #[error("{path} exists already")]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// Anything else the system refused.
    #[error("the store failed at {path}")]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// The error for what the system said about `path`.
    pub(crate) fn at(path: &Path, source: io::Error) -> Self {
        // A store's own error that has passed through `Read` or `Write` keeps its variant.
        let source = match source.downcast::<Self>() {
            Ok(error) => return error,
            Err(source) => source,
        };
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, source }
            }
            _ => Self::Io { path, source },
        }
    }
}

/// Keeps the kind, so that callers who know nothing of stores still see a full disk as one.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::StorageFull { source, .. }
            | StoreError::Permission { source, .. }
            | StoreError::Io { source, .. } => source.kind(),
            StoreError::Missing { .. } => io::ErrorKind::NotFound,
            StoreError::Exists { .. } => io::ErrorKind::AlreadyExists,
            StoreError::Foreign { .. } | StoreError::Writable { .. } => io::ErrorKind::PermissionDenied,
            StoreError::NewerFormat { .. } | StoreError::NotAStore { .. } => io::ErrorKind::Unsupported,
            StoreError::Corrupt { .. }
            | StoreError::DamagedRoots { .. }
            | StoreError::Mismatch { .. }
            | StoreError::WrongSize { .. }
            | StoreError::TooLarge { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
