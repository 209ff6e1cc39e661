//! What becomes of an image's name on its way to a registry: what admission policies make of it in a pod, and whom nodes ask
//! for it. No I/O.
//!
//! Objects become policies ([`policies`]), files of the root file system become mirrors ([`mirrors`]); a pod goes through the
//! first ([`admit`]), and each name in it through the second ([`asked`]).
//!
//! | engine | evaluated in |
//! |---|---|
//! | Kyverno's `ClusterPolicy` and `Policy` | `kyverno`, `jmespath` |
//! | `MutatingAdmissionPolicy`, Kyverno's `MutatingPolicy` | `admission_policy`, `cel` |
//! | containerd's `hosts.toml`, the `registries.yaml` of k3s and RKE2 | `mirrors` |
//!
//! **Invariants:** what cannot be evaluated is a [`Problem`] that says so, never a guess. Policies come from strangers: none
//! makes the evaluation panic, go on without end, or take memory without bound.

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
pub use policy::{Change, Engine, LeftAlone, Policy, Problem, admit, kyverno_leaves_alone, policies};
pub use request::{Operation, Place, Pod, place_of};
