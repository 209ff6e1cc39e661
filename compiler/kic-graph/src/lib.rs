//! Lowers the closed value to derivations, each with a digest over all its inputs.
//!
//! **Invariant:** no I/O, and nothing read but the spec and [`Inputs`]: the same values give the same graph.

mod admissions;
mod awaited_objects;
mod closure;
mod derivation;
mod draw;
mod graph;
mod image_list;
mod inputs;
mod launch_steps;
mod layer_entries;
mod lower;
mod packed_graph;
mod packed_node;
mod readiness_script;
mod redirect_list;
mod redirect_proof;
mod redirects;
mod registry_cache;
mod rendering;
mod tree_parts;

pub use admissions::{Admission, KnownAdmissions};
pub use derivation::{
    BasePlan, Bytes, Derivation, Launch, LaunchStep, LayerSettings, PlanImage, TreeEntry, TreeEntryKind,
    compression_name,
};
pub use draw::{draw_dot, draw_mermaid, draw_svg};
pub use graph::{BaseConfig, Contents, Graph, Image, ImageLayer, Kind, Node, PlatformImage};
pub use image_list::{ImageContents, ImageState, ListedImage, list_images};
pub use inputs::{
    BaseContents, BaseFacts, BaseImage, BaseLayer, BlobFacts, ContentFacts, EntryFacts, FileFacts,
    ImageFacts, Inputs, ManifestFacts, Need, NeedStep, ObjectFacts, Origin, PathFacts, PathKey, PolicyFacts,
    RedirectFacts, Referral, ReferrerFacts, RenderFacts,
};
pub use kic_manifest::Confidence;
pub use lower::{EarlyLimits, LAYER_LIMIT, early_layers, located, lower};
pub use petgraph::graph::NodeIndex;
pub use readiness_script::{readiness_json, readiness_script};
pub use redirect_list::{Redirected, redirect_images};
pub use redirects::may_be_judged;
pub use registry_cache::{ROOT as REGISTRY_ROOT, private_name};
pub use rendering::{ChartPart, Rendering, render_key};

/// The annotation of a layer's descriptor that says its kind.
pub const KIND_ANNOTATION: &str = "dev.kic.layer.kind";
/// The annotation of a layer's descriptor that says its name.
pub const NAME_ANNOTATION: &str = "dev.kic.layer.name";
/// The annotation of a layer's descriptor that says the digest of its derivation.
pub const DERIVATION_ANNOTATION: &str = "dev.kic.layer.derivation";
