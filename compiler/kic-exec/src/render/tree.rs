use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::sources::Sources;

/// The most that a chart or kustomization may hold.
pub(crate) const BYTES: u64 = 100 << 20;
/// The most files that it may hold.
pub(crate) const FILES: usize = 20_000;
/// Folders in each other.
const DEPTH: usize = 64;

/// Why the files of a folder are not read.
#[derive(Debug)]
pub(crate) enum FilesError {
    /// The system said so of this path.
    Unreadable(PathBuf, io::Error),
    /// This path cannot be taken, for this reason.
    Refused(PathBuf, String),
}

/// Every file below a folder, by its path with `/` between the parts. Links are followed, as the programs that read such
/// folders do; what git keeps is left out. `sources` is told of every folder and file before it is read: a name that comes
/// or goes changes its folder.
pub(crate) fn folder_files(
    folder: &Path,
    sources: &Sources,
) -> Result<BTreeMap<String, Vec<u8>>, FilesError> {
    let mut walk = Walk { files: BTreeMap::new(), bytes: 0, sources };
    walk.folder(folder, "", 0)?;
    Ok(walk.files)
}

struct Walk<'a> {
    files: BTreeMap<String, Vec<u8>>,
    bytes: u64,
    sources: &'a Sources,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, relative: &str, depth: usize) -> Result<(), FilesError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |error| FilesError::Unreadable(path, error)
        };
        if depth > DEPTH {
            let reason =
                format!("it has more than {DEPTH} folders in each other, or a link to a folder above it");
            return Err(FilesError::Refused(path.to_owned(), reason));
        }
        self.sources.note_use(path);
        for entry in fs::read_dir(path).map_err(unreadable(path))? {
            let entry = entry.map_err(unreadable(path))?;
            let own = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(FilesError::Refused(own, "its name is not UTF-8".to_owned()));
            };
            if name == ".git" {
                continue;
            }
            let below = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            let metadata = fs::metadata(&own).map_err(unreadable(&own))?;
            if metadata.is_dir() {
                self.folder(&own, &below, depth + 1)?;
            } else if metadata.is_file() {
                self.file(&own, below)?;
            } else {
                return Err(FilesError::Refused(own, "it is neither a file nor a folder".to_owned()));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: String) -> Result<(), FilesError> {
        self.sources.note_use(path);
        let mut bytes = Vec::new();
        let file = fs::File::open(path).map_err(|error| FilesError::Unreadable(path.to_owned(), error))?;
        file.take(BYTES + 1 - self.bytes)
            .read_to_end(&mut bytes)
            .map_err(|error| FilesError::Unreadable(path.to_owned(), error))?;
        self.bytes += bytes.len() as u64;
        if self.bytes > BYTES || self.files.len() == FILES {
            let reason = format!("the folder holds more than {} MiB, or {FILES} files", BYTES >> 20);
            return Err(FilesError::Refused(path.to_owned(), reason));
        }
        self.files.insert(relative, bytes);
        Ok(())
    }
}
