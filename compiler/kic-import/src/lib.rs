//! From what others write to the language: Kubernetes manifests as `object` nodes. No I/O.
//!
//! **Invariant:** what is written is formatted, and means what was read; what cannot is a diagnostic.

mod manifest;

pub use manifest::{Wrapping, manifest};
