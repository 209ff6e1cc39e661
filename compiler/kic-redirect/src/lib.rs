//! What policies and mirrors make of an image's name.
mod admission_policy;
mod cel;
mod fault;
mod image_info;
mod jmespath;
mod json_patch;
mod kyverno;
mod mirrors;
mod policy;
mod request;
mod selector;
mod strategic_merge;
mod text;
pub use mirrors::{Asked, Endpoint, Mirror, MirrorEngine, asked, mirror_file, mirrors};
pub use policy::{Change, Engine, Policy, Problem, admit, policies};
pub use request::{Operation, Place, Pod, place_of};
