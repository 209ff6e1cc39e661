use std::io;
use std::path::{Path, PathBuf};

use kic_base::Digest;

/// Why an image could not be written. What stood at the destination stands there unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The file system is full, or the user's quota is.
    #[error("no space is left to write {path}")]
    StorageFull {
        /// What was being written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system forbids it: missing permission, or a file system mounted read-only.
    #[error("{path} may not be written or read")]
    Permission {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A part of the path is a file, or is not there.
    #[error("{path} lies in no directory")]
    NotADirectory {
        /// The path that was asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else stands there, which kic does not overwrite.
    #[error("{path} is {found}, and is not overwritten")]
    Occupied {
        /// The path that was asked for.
        path: PathBuf,
        /// What is there, as `a directory that is neither empty nor an OCI layout`.
        found: &'static str,
    },
    /// An OCI layout that kic cannot add to.
    #[error("the OCI layout at {path} cannot be added to: {reason}")]
    Damaged {
        /// The file of the layout that it is about.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A blob cannot be had from its source, or is not what it should be there.
    #[error("the blob {digest} cannot be had")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What the source said.
        source: io::Error,
    },
    /// A blob has another size than its descriptor says.
    #[error("the blob {digest} should have {expected} bytes, and has {found}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The size in its descriptor, in bytes.
        expected: u64,
        /// How many bytes there are, or there are at least.
        found: u64,
    },
    /// A reference that no image can have: it is empty, or has control characters.
    #[error("{reference:?} cannot name an image")]
    Reference {
        /// The reference.
        reference: String,
    },
    /// Anything else that the system refused.
    #[error("writing {path} failed")]
    Io {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LayoutError {
    /// The error for what the system said about `path`.
    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::StorageFull { path, source }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, source }
            }
            io::ErrorKind::NotADirectory => Self::NotADirectory { path, source },
            _ => Self::Io { path, source },
        }
    }

    /// The error for what the system said about the directory that `path` is to lie in.
    pub(super) fn parent(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::IsADirectory => Self::Occupied { path, found: "a directory" },
            io::ErrorKind::NotFound => Self::NotADirectory { path, source },
            _ => Self::at(&path, source),
        }
    }

    /// The error for what a blob's source said while it placed or gave the blob for `path`.
    pub(super) fn blob(digest: Digest, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::StorageFull { path: path.to_owned(), source }
            }
            _ => Self::Blob { digest, source },
        }
    }
}
