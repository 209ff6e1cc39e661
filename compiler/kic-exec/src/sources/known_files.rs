//! Whether files are still what they were when they were hashed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::Digest;

use super::fingerprint::Fingerprint;
use super::index::Index;

/// Files with the fingerprints that they had when they were hashed.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownFiles {
    pub(super) index: Arc<Index>,
    /// From where paths are seen.
    pub(super) here: PathBuf,
}

impl KnownFiles {
    /// The fingerprint with which the file at `path` has that content.
    pub fn fingerprint(&self, path: &Path, digest: &Digest) -> Option<Fingerprint> {
        let absolute = std::path::absolute(self.here.join(path)).ok()?;
        let known = self.index.folder(absolute.parent()?)?.file(absolute.file_name()?.to_str()?)?;
        (known.digest == *digest).then_some(known.fingerprint)
    }

    /// Whether a file has the fingerprint now with which the file at `path` has that content.
    pub fn is_unchanged(&self, path: &Path, digest: &Digest, file: &File) -> io::Result<bool> {
        match self.fingerprint(path, digest) {
            Some(known) => Ok(known == Fingerprint::of_file(file)?),
            None => Ok(false),
        }
    }

    #[cfg(test)]
    pub fn of(path: &Path, fingerprint: Fingerprint, digest: Digest) -> Self {
        use std::collections::BTreeMap;

        use super::fingerprint::now;
        use super::index::{Files, Known};

        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let known = BTreeMap::from([(name, Known { fingerprint, digest })]);
        let files = Files::from([(path.parent().unwrap().to_owned(), known)]);
        let index = Arc::new(Index::parse(Index::write(&files, now()), now()));
        Self { index, here: PathBuf::new() }
    }
}
