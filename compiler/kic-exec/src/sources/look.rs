//! What the file system says of a place, and a digest over it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::{Digest, StableHasher};
use kic_graph::{EntryFacts, FileFacts, PathFacts};

use super::facts_digest::FactsDigest;
use super::index::Index;
use super::listings::Listings;
use super::tree::{Tree, TreePart};
use super::walk::{Found, FoundFile, walk};
use super::{LookError, Looked, Place};
use crate::context::Context;
use crate::parallel::parallel;

/// A place while it is looked at.
pub(super) enum Look {
    Done(Looked),
    /// What was looked at before, and the digest over it.
    Held(PathFacts, FactsDigest),
    /// A file: its folder's path from the root, and its name.
    File(FoundFile, PathBuf, String),
    /// A folder: its path from the root, and what is in it.
    Folder(PathBuf, Tree),
}

impl Look {
    /// [`facts_digest`] of what comes out, without it: an unchanged tree is only held against what it was.
    pub fn digest(&self, context: &Context) -> Option<FactsDigest> {
        let mut hasher = StableHasher::new();
        hasher.text("kic facts");
        match self {
            Self::Done(looked) => return looked.as_ref().ok().map(facts_digest).map(FactsDigest::Known),
            Self::Held(_, digest) => return Some(digest.clone()),
            Self::File(file, ..) => hash_file(hasher.variant("File"), &file.facts()?),
            Self::Folder(_, found) => {
                let parts = found.parts(PART);
                let parts = parallel(&parts, context, || (), |(), part| digest_of_part(part));
                let parts: Option<Vec<Digest>> = parts.into_iter().map(Option::flatten).collect();
                hasher.variant("Folder").list(&parts?, |hasher, part| {
                    hasher.digest(part);
                });
            }
        }
        Some(FactsDigest::Known(hasher.finish()))
    }

    pub fn finish(self) -> Looked {
        match self {
            Self::Done(looked) => looked,
            Self::Held(facts, _) => Ok(facts),
            Self::File(file, ..) => facts(file).map(PathFacts::File),
            Self::Folder(_, found) => {
                let entry = |(relative, found): (String, Found)| {
                    let facts = match found {
                        Found::File(file) => EntryFacts::File(facts(file)?),
                        Found::Symlink(target) => EntryFacts::Symlink(target),
                        Found::EmptyFolder => EntryFacts::EmptyFolder,
                    };
                    Ok((relative, facts))
                };
                found
                    .into_entries()
                    .map(entry)
                    .collect::<Result<_, _>>()
                    .map(|found| PathFacts::Folder(Arc::new(found)))
            }
        }
    }
}

/// What a folder holds has the digest of those of its parts, of so many entries each: they are computed beside each other.
const PART: usize = 256;

/// Nothing where it is not known what a file holds.
fn digest_of_part(part: &TreePart) -> Option<Digest> {
    let mut hasher = StableHasher::new();
    for (path, found) in part.iter() {
        hasher.text_of(&path.pieces());
        match found {
            Found::File(file) => hash_file(hasher.variant("File"), &file.facts()?),
            Found::Symlink(target) => hash_symlink(&mut hasher, target),
            Found::EmptyFolder => hash_empty_folder(&mut hasher),
        }
    }
    Some(hasher.finish())
}

fn facts(file: FoundFile) -> Result<FileFacts, Vec<LookError>> {
    file.facts()
        .ok_or_else(|| vec![LookError::Unreadable(PathBuf::new(), io::Error::other("it was not read"))])
}

/// What the file system says of a place, without reading any file.
pub(super) fn look(place: &Place, index: &Index, listings: &Listings, context: &Context) -> Look {
    let failed = |error: LookError| Look::Done(Err(vec![error]));
    let unreadable = |error: io::Error| failed(LookError::Unreadable(place.path.clone(), error));
    let stat = match rustix::fs::stat(&place.path) {
        Ok(stat) => stat,
        Err(error) => return unreadable(error.into()),
    };
    let absolute = match std::path::absolute(&place.path) {
        Ok(absolute) => absolute,
        Err(error) => return unreadable(error),
    };
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Directory => match walk(place, &absolute, index, listings, context) {
            Ok(found) => Look::Folder(absolute, found),
            Err(error) => failed(error),
        },
        rustix::fs::FileType::RegularFile => {
            let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
            let known = index.folder(&folder).and_then(|folder| folder.file(&name));
            Look::File(FoundFile::new(&stat, known, context), folder, name)
        }
        _ => failed(LookError::Unsupported(place.path.clone(), "it is neither a file nor a folder")),
    }
}

/// A digest over everything that was found at a place.
pub fn facts_digest(facts: &PathFacts) -> Digest {
    let mut hasher = StableHasher::new();
    hasher.text("kic facts");
    match facts {
        PathFacts::File(facts) => hash_file(hasher.variant("File"), facts),
        PathFacts::Folder(below) => {
            hasher.variant("Folder").list(below.chunks(PART), |hasher, part| {
                let mut entries = StableHasher::new();
                for (path, entry) in part {
                    entries.text(path);
                    match entry {
                        EntryFacts::File(facts) => hash_file(entries.variant("File"), facts),
                        EntryFacts::Symlink(target) => hash_symlink(&mut entries, target),
                        EntryFacts::EmptyFolder => hash_empty_folder(&mut entries),
                    }
                }
                hasher.digest(&entries.finish());
            });
        }
    }
    hasher.finish()
}

fn hash_file(hasher: &mut StableHasher, file: &FileFacts) {
    hasher.digest(&file.content.digest).number(file.content.size).boolean(file.executable);
}

fn hash_symlink(hasher: &mut StableHasher, target: &str) {
    hasher.variant("Symlink").text(target);
}

fn hash_empty_folder(hasher: &mut StableHasher) {
    hasher.variant("EmptyFolder");
}
