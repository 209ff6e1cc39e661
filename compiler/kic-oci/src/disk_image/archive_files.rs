use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::Path;

use super::DiskImageError;
use super::tar_index::TarIndex;
use crate::validate::{ImageFiles, Problem};

/// The files of a layout in a tar, for [`crate::validate::examine`].
pub struct LayoutArchive(TarIndex);

impl LayoutArchive {
    /// Opens the tar `file`, which is not compressed.
    ///
    /// # Errors
    /// Why it cannot be read, or is no tar.
    pub fn open(file: &Path) -> Result<Self, DiskImageError> {
        TarIndex::open(file).map(Self)
    }

    fn folder(name: &str) -> String {
        format!("{name}/")
    }
}

impl ImageFiles for LayoutArchive {
    fn open(&self, name: &str) -> Result<Box<dyn Read + Send>, Problem> {
        if self.0.is_twice(name) {
            return Err(Problem::Unreadable("it is there more than once".to_owned()));
        }
        match self.0.find(name) {
            Ok(Some(range)) => Ok(Box::new(range)),
            Ok(None) => Err(Problem::Missing),
            Err(error) => Err(Problem::Unreadable(error.to_string())),
        }
    }

    fn names(&self, folder: &str) -> Result<BTreeSet<OsString>, Problem> {
        let names: BTreeSet<OsString> = self.0.names_in(&Self::folder(folder)).map(OsString::from).collect();
        if names.is_empty() { Err(Problem::Missing) } else { Ok(names) }
    }

    fn is_folder(&self, name: &str) -> bool {
        self.0.names_in(&Self::folder(name)).next().is_some()
    }

    fn exists(&self, name: &str) -> bool {
        matches!(self.0.find(name), Ok(Some(_)))
    }
}

impl fmt::Debug for LayoutArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LayoutArchive")
    }
}
