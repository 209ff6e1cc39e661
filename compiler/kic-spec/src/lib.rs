//! From tree to one closed, checked value: the schema of the language, its decoding, and the lock.
//!
//! **Invariant:** nothing here sees the world but through [`World`]: no clock, no environment, no network. The
//! same texts give the same [`Spec`].

mod chart;
mod decode;
mod evaluate;
mod image_source;
mod lock;
mod module_page;
pub mod nodes;
mod object;
mod platforms;
pub mod readiness;
pub mod reference;
mod resolve;
pub mod schema;
mod spec;
mod stdlib;
mod value;
mod world;

pub use chart::{Chart, ChartSource, ChartValues, Kustomization};
pub use evaluate::{
    ModuleDocumentation, Override, ParameterDocumentation, Settings, documentation, documentation_of,
};
pub use image_source::{DiskFormat, ImageSource};
pub use lock::{ChartKey, ChartPin, FetchPin, ImagePin, Lock, ReferrerPin};
pub use module_page::module_page;
pub use resolve::{
    DEFAULT_PLATFORM, evaluate_cluster, is_manifest_name, resolve, resolve_with, unreadable, url_file_name,
};
pub use spec::{
    Base, CachedImage, Compression, Content, Fetch, FileItem, Layer, LayerKind, ManifestItem, Registry, Spec,
    Step,
};
pub use stdlib::names as standard_modules;
pub use value::{is_name, is_version};
pub use world::World;
