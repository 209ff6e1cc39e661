//! Images on disk, written: OCI image layouts (OCI image specification 1.1, "Image Layout") and the same as one
//! tar, an archive.
//!
//! **Invariant:** what stands under the name that was asked for is whole at every moment: the old or the new, for
//! a process killed at any point, and for a full disk. What a dead process left behind, the next write removes.

mod archive;
mod error;
mod existing;
mod files;
mod reachable;
mod write;

#[cfg(test)]
mod tests;

use kic_base::Digest;
use kic_store::PlaceMode;

pub use archive::write_archive;
pub use error::LayoutError;
pub use write::{is_in_layout, write_layout};

/// The annotation that names an image in an `index.json`.
pub const REFERENCE_NAME: &str = "org.opencontainers.image.ref.name";

/// The content of the file `oci-layout`.
pub(crate) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// How a layout is written.
#[derive(Debug, Clone, Copy)]
pub struct LayoutOptions {
    /// What the blobs may have in common with their source. [`PlaceMode::Share`] is the quickest, but those files
    /// are then mode 0444, and hard links to the store's own where the file system cannot do better.
    pub sharing: PlaceMode,
    /// Whether blobs that are there already are read and hashed; else that is done once for those that were written before this
    /// machine started ([`kic_store::Boot`]), and of others the size alone is looked at.
    /// With it, damaged blobs that no image of the layout names are removed, too.
    pub verify: bool,
}

/// What a write did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Blobs that were added, and their bytes.
    pub added: u64,
    /// Bytes of the blobs that were added.
    pub added_bytes: u64,
    /// Blobs that were there already.
    pub kept: u64,
    /// Blobs that no image of the layout needed any more.
    pub removed: u64,
    /// What had the reference before, where that was another image.
    pub replaced: Vec<Digest>,
    /// Whether anything changed at all.
    pub changed: bool,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self { sharing: PlaceMode::Share, verify: false }
    }
}
