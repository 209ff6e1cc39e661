//! Descriptors, manifests, layers, layouts, archives, unpacking and validation.

mod blob_source;
pub mod layer;
pub mod layout;
pub mod model;
pub mod unpack;
pub mod validate;

pub use blob_source::BlobSource;
