use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::DiskImageError;
use super::tar_index::TarIndex;
use crate::model::DOCUMENT_LIMIT;

/// The files of a layout: in a directory, or in a tar.
pub(super) enum Members {
    /// Its path without links.
    Directory(PathBuf),
    Archive(PathBuf, TarIndex),
}

/// A file of a layout, open, and its size in bytes.
pub(super) type OpenMember = (Box<dyn Read + Send>, u64);

impl Members {
    pub fn directory(path: &Path) -> Result<Self, DiskImageError> {
        let at = |error| DiskImageError::at(path, error);
        let path = path.canonicalize().map_err(at)?;
        if !fs::metadata(&path).map_err(at)?.is_dir() {
            return Err(DiskImageError::at(&path, ErrorKind::NotADirectory.into()));
        }
        Ok(Self::Directory(path))
    }

    pub fn archive(path: &Path) -> Result<Self, DiskImageError> {
        Ok(Self::Archive(path.to_owned(), TarIndex::open(path)?))
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive(path, _) => path,
        }
    }

    /// Opens a file; nothing where there is none. `member` is relative and normalised.
    pub fn open(&self, member: &str) -> Result<Option<OpenMember>, DiskImageError> {
        match self {
            Self::Archive(_, index) => Ok(index.find(member)?.map(|range| {
                let size = range.size;
                (Box::new(range) as Box<dyn Read + Send>, size)
            })),
            Self::Directory(root) => {
                let at = |error| DiskImageError::at(&root.join(member), error);
                // Links are followed, but not out of the layout.
                let path = match root.join(member).canonicalize() {
                    Ok(path) => path,
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(at(error)),
                };
                if !path.starts_with(root) {
                    let reason = "it is a link that leads out of the layout";
                    return Err(DiskImageError::invalid(root, member, reason));
                }
                let metadata = fs::metadata(&path).map_err(at)?;
                if !metadata.is_file() {
                    return Err(DiskImageError::invalid(root, member, "it is no file"));
                }
                let file = File::open(&path).map_err(at)?;
                Ok(Some((Box::new(file), metadata.len())))
            }
        }
    }

    /// The bytes of a small JSON file that is in no way verified; nothing where there is none.
    pub fn read(&self, member: &str) -> Result<Option<Vec<u8>>, DiskImageError> {
        if let Self::Archive(path, index) = self
            && index.is_twice(member)
        {
            return Err(DiskImageError::invalid(path, member, "it is there more than once"));
        }
        let Some((reader, size)) = self.open(member)? else { return Ok(None) };
        if size > DOCUMENT_LIMIT as u64 {
            return Err(DiskImageError::invalid(self.path(), member, "it is longer than 8 MiB"));
        }
        let mut bytes = Vec::new();
        let read = reader.take(size).read_to_end(&mut bytes);
        match read {
            Ok(count) if count as u64 == size => Ok(Some(bytes)),
            Ok(_) => Err(DiskImageError::at(self.path(), ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(DiskImageError::at(self.path(), error)),
        }
    }
}
