//! Descriptors, manifests, layers, layouts, archives, unpacking and validation.

mod blob_source;
pub mod disk_image;
mod header_budget;
pub mod layer;
pub mod layer_diff;
pub mod layout;
pub mod model;
mod packed_files;
mod sibling;
pub mod unpack;
pub mod validate;
mod verifying_reader;

pub use blob_source::BlobSource;
pub use packed_files::{PackedFilesError, PackedLimits, packed_files};
pub use sibling::replace_file;
