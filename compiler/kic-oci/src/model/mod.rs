//! What an image is in JSON: descriptors, manifests, indexes and configurations of the OCI image
//! specification 1.1, and of Docker's schema 2, which has the same shapes.
//!
//! The structs are kic's own, because maps must keep the order of their keys.
//! **Invariant:** what came from upstream is never written again from these structs: its bytes are its digest.

mod canonical_json;
mod descriptor;
mod document;
mod image_config;
mod manifest;
pub mod media_types;

pub use canonical_json::{canonical_json, canonical_value};
pub use descriptor::{Descriptor, DescriptorPlatform};
pub use document::{DOCUMENT_LIMIT, Document, ModelError};
pub use image_config::{History, ImageConfig, RootFs, RunConfig};
pub use manifest::{Index, Manifest};
