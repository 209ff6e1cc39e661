//! Descriptors, manifests, layers, layouts, archives, unpacking and validation.

pub mod layer;
pub mod model;
pub mod unpack;
