//! The texts that an image was compiled from, as they are recorded in it: `kic/source.json`.
//!
//! | member | holds |
//! |---|---|
//! | `version` | 1 |
//! | `spec` | the name of the spec among `files` |
//! | `files` | every text that was read: spec, modules, specs of bases, lists of images, locks; by path from the spec's folder |
//! | `set` | the names of the parameters that were given. Their values may be secret, and are not recorded |
//! | `allowMissing` | the images that were allowed to be missing |
//! | `sourceDateEpoch` | the time of all files |
//! | `epoch` | the encoder epoch of the specs that have no lock; left out where that is 1, or all have one |
//!
//! Files that go into layers are not in it: the layers have them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use kic_base::Epoch;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::LockFile;
use kic_spec::World;
use serde::{Deserialize, Serialize};

use crate::compile::Request;
use crate::texts::Texts;

/// What an image was compiled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceRecord {
    pub version: u32,
    pub spec: String,
    pub files: BTreeMap<String, String>,
    pub set: Vec<String>,
    pub allow_missing: Vec<String>,
    pub source_date_epoch: u64,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub epoch: Epoch,
}

fn first() -> Epoch {
    Epoch::FIRST
}

fn is_first(epoch: &Epoch) -> bool {
    *epoch == Epoch::FIRST
}

impl SourceRecord {
    /// The record of a run that has read its texts, and the bytes of its file.
    ///
    /// # Errors
    /// `invalid-path` for a text that lies where no relative path leads.
    pub fn of(request: &Request, texts: &Texts, locks: &[LockFile]) -> Result<Vec<u8>, Diagnostics> {
        let folder = request.spec.parent().unwrap_or(Path::new(""));
        let mut files = BTreeMap::new();
        for (path, text) in texts.all() {
            files.insert(named(&path, folder)?, text);
        }
        let mut epoch = Epoch::FIRST;
        for lock in locks {
            let name = named(&lock.path, folder)?;
            // As it is once this run has written it; a spec that needs no pins has none.
            if lock.before.is_some() || lock.is_changed() {
                files.insert(name, lock.lock.to_text());
            } else {
                files.remove(&name);
                epoch = lock.lock.epoch;
            }
        }
        let mut set: Vec<String> = request.settings.set.iter().map(|(name, _)| name.clone()).collect();
        set.sort();
        let record = Self {
            version: 1,
            spec: named(&request.spec, folder)?,
            files,
            set,
            allow_missing: request.gather.allow_missing.iter().map(ToString::to_string).collect(),
            source_date_epoch: request.gather.source_date_epoch,
            epoch,
        };
        Ok(kic_oci::model::canonical_json(&record))
    }
}

/// The name of a text in the record.
fn named(path: &Path, folder: &Path) -> Result<String, Diagnostics> {
    let name = relative(path, folder).and_then(|name| name.to_str().map(str::to_owned));
    name.ok_or_else(|| {
        Diagnostic::new(
            &code::INVALID_PATH,
            format!("`{}` cannot be recorded: no path in UTF-8 leads there from the spec", path.display()),
        )
        .help("move it beside the spec, or compile without `--record-source`")
        .into()
    })
}

/// The way from a folder to a path, by their names alone.
fn relative(path: &Path, folder: &Path) -> Option<PathBuf> {
    let (path, folder) = (normalised(path)?, normalised(folder)?);
    let (path, folder): (Vec<_>, Vec<_>) = (path.components().collect(), folder.components().collect());
    let common = path.iter().zip(&folder).take_while(|(one, other)| one == other).count();
    let up = folder[common..].iter().map(|_| Component::ParentDir);
    Some(up.chain(path[common..].iter().copied()).collect())
}

fn normalised(path: &Path) -> Option<PathBuf> {
    let mut normalised = PathBuf::new();
    // An empty path is the working folder, which has a name of its own.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for component in std::path::absolute(path).ok()?.components() {
        match component {
            Component::ParentDir => {
                normalised.pop();
            }
            Component::CurDir => {}
            other => normalised.push(other),
        }
    }
    Some(normalised)
}

/// The texts of a record, and behind them those of another world.
pub(crate) struct RecordedWorld<'a> {
    pub record: &'a SourceRecord,
    /// The folder that the spec is taken to lie in.
    pub folder: &'a Path,
}

impl World for RecordedWorld<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let name = relative(path, self.folder);
        let text = name.as_deref().and_then(Path::to_str).and_then(|name| self.record.files.get(name));
        // What was not read then is not there now, whatever lies in that folder.
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_lead_up_and_down() {
        for (path, folder, way) in [
            ("a/b.kdl", "a", "b.kdl"),
            ("cluster.kdl", "", "cluster.kdl"),
            ("a/../c/d.kdl", "a", "../c/d.kdl"),
            ("/x/y/z.kdl", "/x/w/v", "../../y/z.kdl"),
            ("./a/./m.kdl", "./a/", "m.kdl"),
        ] {
            assert_eq!(
                relative(Path::new(path), Path::new(folder)),
                Some(PathBuf::from(way)),
                "{path} from {folder}"
            );
        }
    }
}
