use std::io;
use std::path::Path;

/// The only view that the language has of the world: texts by path. The program gives the disk, tests a map.
pub trait World {
    /// The bytes of the file at `path`.
    ///
    /// # Errors
    /// As reading a file gives them; [`io::ErrorKind::NotFound`] where there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

impl World for std::collections::BTreeMap<std::path::PathBuf, String> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
