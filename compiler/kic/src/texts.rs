use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kic_base::Digest;
use kic_spec::World;

/// The texts of a run: each is read once, and it is noted what there was.
pub(crate) struct Texts<'a> {
    world: &'a dyn World,
    read: RefCell<BTreeMap<PathBuf, Text>>,
}

enum Text {
    Is(Vec<u8>),
    IsMissing,
    /// It could not be read, which may be otherwise the next time.
    Failed,
}

impl<'a> Texts<'a> {
    pub fn new(world: &'a dyn World) -> Self {
        Self { world, read: RefCell::default() }
    }

    /// Every text that was read, with the digest of its bytes; `None` for those that were not there. Nothing at all
    /// where one could not be read.
    pub fn known(&self) -> Option<BTreeMap<PathBuf, Option<Digest>>> {
        let digest = |text: &Text| match text {
            Text::Is(bytes) => Some(Some(Digest::of(bytes))),
            Text::IsMissing => Some(None),
            Text::Failed => None,
        };
        self.read.borrow().iter().map(|(path, text)| Some((path.clone(), digest(text)?))).collect()
    }

    /// Every text that was there, as text.
    pub fn all(&self) -> BTreeMap<PathBuf, String> {
        let text = |text: &Text| match text {
            Text::Is(bytes) => String::from_utf8(bytes.clone()).ok(),
            Text::IsMissing | Text::Failed => None,
        };
        self.read.borrow().iter().filter_map(|(path, found)| Some((path.clone(), text(found)?))).collect()
    }

    /// Whether the text at `path` has that digest, or is missing where there is none.
    pub fn is(&self, path: &Path, digest: Option<Digest>) -> bool {
        match self.read(path) {
            Ok(bytes) => digest.is_some_and(|digest| digest == Digest::of(&bytes)),
            Err(error) => digest.is_none() && error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Takes over what kic itself has written.
    pub fn wrote(&self, path: &Path, bytes: Vec<u8>) {
        self.read.borrow_mut().insert(path.to_owned(), Text::Is(bytes));
    }
}

impl World for Texts<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.read.borrow().get(path) {
            Some(Text::Is(bytes)) => return Ok(bytes.clone()),
            Some(Text::IsMissing) => return Err(io::ErrorKind::NotFound.into()),
            Some(Text::Failed) | None => {}
        }
        let result = self.world.read(path);
        let text = match &result {
            Ok(bytes) => Text::Is(bytes.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Text::IsMissing,
            Err(_) => Text::Failed,
        };
        self.read.borrow_mut().insert(path.to_owned(), text);
        result
    }
}
