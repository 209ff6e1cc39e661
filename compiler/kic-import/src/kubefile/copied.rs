//! What comes into the image, and where it goes.

use kic_base::Span;

use super::variables::Substituted;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// The folder of a Kubefile: what sealer calls the build context. Paths are relative to it.
pub trait Folder {
    /// What is there.
    fn kind(&self, path: &str) -> Option<Kind>;
    /// The files below a folder, sorted, with `path` in front.
    fn files(&self, path: &str) -> Vec<String>;
    /// The text of a file, where it is one.
    fn read(&self, path: &str) -> Option<String>;
}

/// One source that goes to one place.
#[derive(Debug, Clone)]
pub(super) struct Copied {
    /// Where it is: a path below the folder of the Kubefile, or a URL.
    pub from: Substituted,
    /// Where it goes, from the image's root, without a `/` at the start; of a folder, where its contents go.
    pub to: String,
    /// Whether it goes into the folder `to` under its own name.
    pub is_into: bool,
    pub kind: Option<Kind>,
    /// The permission bits, where they are said.
    pub mode: Option<String>,
    /// What of it stands in layers of manifests instead, by its path.
    pub used: Vec<String>,
    pub span: Span,
}

impl Copied {
    /// Where a file of it is in the image: `None` where it is not in it.
    pub fn target(&self) -> String {
        match self.from.known() {
            Some(from) if self.is_into => join(&self.to, name(from)),
            _ => self.to.clone(),
        }
    }

    /// The path below the Kubefile's folder of what will be at `path` in the image.
    pub fn source_of(&self, path: &str, folder: &dyn Folder) -> Option<String> {
        let from = self.from.known()?;
        if is_url(from) {
            return None;
        }
        if self.kind != Some(Kind::Folder) {
            return (self.target() == path).then(|| from.to_owned());
        }
        let inner =
            if self.to.is_empty() { path } else { path.strip_prefix(&self.to)?.trim_start_matches('/') };
        let source = join(from, inner);
        folder.kind(&source).map(|_| source)
    }
}

pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// The last part of a path.
pub(super) fn name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

pub(super) fn join(folder: &str, path: &str) -> String {
    match (folder.trim_end_matches('/'), path) {
        ("", path) => path.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, path) => format!("{folder}/{path}"),
    }
}

/// A path of the image, or of the Kubefile's folder, without `./`, `/` at the start and `/` at the end.
pub(super) fn plain(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}
