use std::io;
use std::path::{Path, PathBuf};

use crate::model::ModelError;

/// Why an image on disk cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskImageError {
    /// The file or directory cannot be opened or read.
    #[error("{path} cannot be read")]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive that is compressed as a whole.
    #[error("{path} is compressed with {with}, and an image archive must be a plain tar")]
    Compressed {
        /// The archive.
        path: PathBuf,
        /// What it is compressed with.
        with: &'static str,
        /// The command that unpacks it.
        command: String,
    },
    /// The file is no tar, or a damaged one.
    #[error("{path} is no tar archive, or a damaged one: {reason}")]
    NotATar {
        /// The archive.
        path: PathBuf,
        /// What tells.
        reason: String,
    },
    /// Nothing there says that it is an image of that kind.
    #[error("{path} holds no {expected}: {reason}")]
    NotAnImage {
        /// The layout or archive.
        path: PathBuf,
        /// What was expected, as `OCI layout`.
        expected: &'static str,
        /// What tells.
        reason: String,
    },
    /// A file that another one names is not there.
    #[error("{path} lacks `{member}`")]
    Missing {
        /// The layout or archive.
        path: PathBuf,
        /// The file inside it.
        member: String,
    },
    /// A JSON file in it is not what it should be.
    #[error("`{member}` in {path} cannot be used")]
    Document {
        /// The layout or archive.
        path: PathBuf,
        /// The file inside it.
        member: String,
        /// What is wrong with it.
        source: ModelError,
    },
    /// Something in it contradicts itself, or leads out of it.
    #[error("`{member}` in {path} cannot be used: {reason}")]
    Invalid {
        /// The layout or archive.
        path: PathBuf,
        /// The file inside it.
        member: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It holds no image at all.
    #[error("{path} holds no image")]
    Empty {
        /// The layout or archive.
        path: PathBuf,
    },
    /// It holds several images, and none was asked for.
    #[error("{path} holds several images, so say which: {}", list(.names))]
    Several {
        /// The layout or archive.
        path: PathBuf,
        /// The names, or digests, that its images have.
        names: Vec<String>,
    },
    /// It holds no image of the name that was asked for.
    #[error("{path} holds no image `{reference}`; it holds {}", list(.names))]
    Unknown {
        /// The layout or archive.
        path: PathBuf,
        /// What was asked for.
        reference: String,
        /// The names, or digests, that its images have.
        names: Vec<String>,
    },
}

impl DiskImageError {
    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn missing(path: &Path, member: &str) -> Self {
        Self::Missing { path: path.to_owned(), member: member.to_owned() }
    }

    pub(super) fn invalid(path: &Path, member: &str, reason: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), member: member.to_owned(), reason: reason.into() }
    }
}

fn list(names: &[String]) -> String {
    const MOST: usize = 20;
    let mut text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        text.push_str(&format!(" and {} more", names.len() - MOST));
    }
    text
}
