//! Kubernetes manifests as text: YAML with spans, the objects in it, and the images they name. No I/O.
//!
//! Text becomes objects and errors ([`read`]), objects become finds ([`images`]), and a value becomes text
//! again ([`emit`]). Commands of a launch name images as well ([`command_images`]), and
//! references are replaced in place, all other bytes as they were ([`rewrite`]).
//!
//! **Invariants:** bad input gives errors, never a panic, endless work or unbounded memory. Every span is in
//! bytes of the text that was read. The only crate that names the YAML parser.

mod builder;
mod command;
mod emit;
mod images;
mod json;
mod line_breaks;
mod object;
mod offsets;
mod relaxed;
mod rewrite;
mod scalar;
mod stream;
mod yaml;
mod yaml_error;

pub use command::command_images;
pub use emit::emit;
pub use images::{Confidence, Discovery, Found, Gap, GapKind, discover, images, images_of_text};
pub use object::{Object, read};
pub use rewrite::{Rewritten, rewrite};
pub use stream::documents;
pub use yaml::{Style, Yaml, YamlValue};
pub use yaml_error::YamlError;
