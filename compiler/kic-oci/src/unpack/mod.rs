//! Layers applied in order to a folder (OCI image specification 1.1, "Filesystem Layers").
//!
//! What a layer holds is not trusted. **Invariants:** nothing is created, changed or removed outside the
//! destination; every step goes from an open folder to the next by one name and without following links; no file
//! that exists is ever opened for writing, it is replaced; memory does not grow with the size of files or headers.
//! What kic does not take is refused with the layer, the entry and the reason, and then nothing is left.

mod apply_layer;
mod bounded_reader;
mod entry_header;
mod entry_name;
mod error;
mod followed_links;
mod hide;
mod layer_paths;
mod options;
mod tree;
mod tree_paths;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(crate) use bounded_reader::{BoundedReader, Meter};
pub(crate) use entry_header::refusal;
pub use entry_name::{Whiteout, split_name, whiteout};
pub(crate) use error::printable;
pub use error::{Limit, Refusal, UnpackError};
pub use layer_paths::{LayerPaths, PathRefusal};
pub use options::{UnpackLimits, UnpackOptions};

use apply_layer::LayerApplication;
pub(crate) use tree::Tree;
pub use tree_paths::TreePaths;

use crate::sibling::Destination;

/// One layer to apply.
pub struct UnpackLayer {
    /// The media type of the layer's descriptor: it says how the layer is packed.
    pub media_type: String,
    /// The layer's bytes as they are stored. Read to the end, so that a reader that verifies comes to its verdict;
    /// an error that it returns ends the unpacking, which is also how to cancel it.
    pub reader: Box<dyn Read + Send>,
    /// What messages call the layer: its digest, or its kind and name.
    pub name: String,
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnpackReport {
    /// Layers applied.
    pub layers: u64,
    /// Entries of all layers, those included that were skipped or that a later layer replaced.
    pub entries: u64,
    /// Entries that were regular files.
    pub files: u64,
    /// Entries that were folders.
    pub directories: u64,
    /// Entries that were symbolic links.
    pub symbolic_links: u64,
    /// Entries that were hard links.
    pub hard_links: u64,
    /// Whiteouts, opaque ones included.
    pub whiteouts: u64,
    /// Device nodes, fifos and sockets that were left out, as the options allow.
    pub skipped_special_files: u64,
    /// Entries that lost a set-user-id or set-group-id bit.
    pub dropped_setuid: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Applies `layers`, lowest first, to a folder that does not exist yet or is empty, in a folder that exists.
///
/// The work is done in a new folder beside the destination, which takes the destination's name when everything is
/// there. An error removes it; a killed process leaves it, for the next one to remove, and an untouched destination. What a layer leaves out gets mode 0755 and the modification time 0: folders that no entry
/// describes, and the destination itself.
///
/// Relative symbolic links inside the tree are followed in the parents of an entry's name; absolute ones and those
/// that climb out are not, and the entry is refused.
pub fn unpack(
    layers: impl IntoIterator<Item = UnpackLayer>,
    destination: &Path,
    options: &UnpackOptions,
) -> Result<UnpackReport, UnpackError> {
    let destination = check_destination(destination)?;
    let wrap = |source| UnpackError::Destination { path: destination.clone(), source };
    let sibling =
        Destination::of(&destination).and_then(|beside| beside.sibling_directory()).map_err(wrap)?;
    let folder = sibling.path;
    let mut tree = Tree::open(folder.path()).map_err(wrap)?;
    let mut report = UnpackReport::default();
    let applied = apply_all(layers, &mut tree, options, &mut report);
    let applied = applied.and_then(|()| tree.close().map_err(wrap)).and_then(|()| {
        std::fs::rename(folder.path(), &destination).map_err(|source| match source.kind() {
            // Which of the two, is the file system's choice.
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                UnpackError::NotEmpty { path: destination.clone() }
            }
            _ => wrap(source),
        })
    });
    match applied {
        Ok(()) => {
            // The name is gone; there is nothing to remove.
            let _ = folder.keep();
            Ok(report)
        }
        Err(error) => {
            // Folders that even their owner may not enter stop the removal of the temporary folder.
            let _ = Tree::open(folder.path()).and_then(|mut tree| tree.clear());
            Err(error)
        }
    }
}

fn apply_all(
    layers: impl IntoIterator<Item = UnpackLayer>,
    tree: &mut Tree,
    options: &UnpackOptions,
    report: &mut UnpackReport,
) -> Result<(), UnpackError> {
    let mut decoded = 0;
    for mut layer in layers {
        let applied = LayerApplication::new(tree, options, report, &layer.name).apply(&mut layer, decoded);
        decoded += applied.map_err(|error| verdict(layer, error))?;
        report.layers += 1;
    }
    Ok(())
}

/// Why a layer could not be applied: what is wrong with what it says, or that these are not its bytes, which its reader knows at their end.
fn verdict(mut layer: UnpackLayer, error: UnpackError) -> UnpackError {
    let is_of_bytes =
        matches!(error, UnpackError::Read { .. } | UnpackError::Refused { .. } | UnpackError::Limit { .. });
    match is_of_bytes.then(|| io::copy(&mut layer.reader, &mut io::sink())) {
        Some(Err(source)) => UnpackError::Read { layer: layer.name, source },
        None | Some(Ok(_)) => error,
    }
}

/// The destination with its own links resolved, which must be free.
fn check_destination(path: &Path) -> Result<PathBuf, UnpackError> {
    let wrap = |source| UnpackError::Destination { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.to_owned()),
        Err(error) => return Err(wrap(error)),
        Ok(_) => {}
    }
    let path = std::fs::canonicalize(path).map_err(wrap)?;
    if std::fs::read_dir(&path).map_err(wrap)?.next().is_some() {
        return Err(UnpackError::NotEmpty { path });
    }
    Ok(path)
}
