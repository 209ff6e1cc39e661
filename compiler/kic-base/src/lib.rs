//! Values everybody shares: digests, spans, sources, platforms, image references, stable hashing, packed bytes.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or knows of KDL or a registry.

mod digest;
mod epoch;
mod image_reference;
mod login;
mod nested_sha256;
pub mod packed;
mod platform;
mod span;
mod stable_hasher;
mod suggest;

pub use digest::{Digest, DigestError, DigestText, Sha256};
pub use epoch::Epoch;
pub use image_reference::{ImageReference, ImageReferenceError};
pub use login::{WHERE_LOGINS_BELONG, without_login, without_secrets};
pub use nested_sha256::{NestedSha256, Sha256State};
pub use platform::{Platform, PlatformError};
pub use span::{Source, Span, Spanned};
pub use stable_hasher::StableHasher;
pub use suggest::closest;
