use std::fs::File;
use std::path::PathBuf;

use crate::StoreError;

/// A sync of what a writer has written so far, to be run beside it, so that less is left for the end.
#[derive(Debug)]
pub struct SyncAhead {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
}

impl SyncAhead {
    /// Waits for the disk. An error is told here and not again at the end: what was written must not be kept then.
    pub fn run(self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| StoreError::at(&self.path, error))
    }
}
