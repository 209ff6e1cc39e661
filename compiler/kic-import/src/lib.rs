//! From what others write to the language: Kubernetes manifests as `object` nodes, Kubefiles as specs. No I/O.
//!
//! **Invariant:** what is written is formatted, and means what was read; what cannot is a diagnostic.

mod kubefile;
mod manifest;
mod new_spec;

pub use kubefile::{Folder, Kind, KubefileOptions, kubefile};
pub use manifest::{Wrapping, manifest};
pub use new_spec::{NewSpec, new_spec};
