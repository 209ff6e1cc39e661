//! Descriptors, manifests, layers, layouts, archives, unpacking and validation.

pub mod model;
