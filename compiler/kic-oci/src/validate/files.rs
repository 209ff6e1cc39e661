use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

use kic_base::Digest;

use super::finding::Problem;
use crate::blob_source::BlobSource;

/// The files of an image layout, wherever they are. Names are relative, with `/` between parts.
pub trait ImageFiles: Sync {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`Problem::Missing`], and why it cannot be read.
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, Problem>;

    /// The names in a folder.
    ///
    /// # Errors
    /// [`Problem::Missing`], and why it cannot be read.
    fn names(&self, folder: &str) -> Result<BTreeSet<OsString>, Problem>;

    /// Whether that is a folder, and no link to one.
    fn is_folder(&self, name: &str) -> bool;

    /// Whether there is anything of that name.
    fn exists(&self, name: &str) -> bool;

    /// Blobs of so many bytes are going to be read, for those who tell how far that is.
    fn announce(&self, bytes: u64) {
        let _ = bytes;
    }
}

/// The files of a layout in a folder.
#[derive(Debug, Clone)]
pub struct LayoutFolder(pub PathBuf);

impl ImageFiles for LayoutFolder {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, Problem> {
        let path = self.0.join(name);
        // A fifo would never end.
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Box::new(File::open(&path).map_err(unreadable)?)),
            Ok(_) => Err(Problem::NotAFile),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<OsString>, Problem> {
        let entries = fs::read_dir(self.0.join(folder)).map_err(unreadable)?;
        entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(unreadable)).collect()
    }

    fn is_folder(&self, name: &str) -> bool {
        fs::symlink_metadata(self.0.join(name)).is_ok_and(|metadata| metadata.is_dir())
    }

    fn exists(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

/// Blobs that are in no layout: only `blobs/sha256/HEX` is there, and only for who knows the digest.
pub struct LooseBlobs<'a>(pub &'a (dyn BlobSource + Sync));

impl ImageFiles for LooseBlobs<'_> {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, Problem> {
        let digest = name.strip_prefix("blobs/sha256/").map(Digest::from_hex);
        let Some(Ok(digest)) = digest else { return Err(Problem::Missing) };
        self.0.open(&digest).map_err(unreadable)
    }

    fn names(&self, _: &str) -> Result<BTreeSet<OsString>, Problem> {
        Ok(BTreeSet::new())
    }

    fn is_folder(&self, _: &str) -> bool {
        false
    }

    fn exists(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }
}

impl std::fmt::Debug for LooseBlobs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LooseBlobs")
    }
}

pub(super) fn unreadable(error: io::Error) -> Problem {
    if error.kind() == ErrorKind::NotFound {
        Problem::Missing
    } else {
        Problem::Unreadable(error.to_string())
    }
}

/// The name of a blob's file.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
