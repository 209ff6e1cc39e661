//! What kic tells its users, and how it is drawn: diagnostics, the declared codes, many errors at once.
//!
//! **Invariant:** nothing here prints or reads the environment. Libraries return [`Diagnostics`]; the program
//! draws them with [`draw`], as [`json`], or in any other way.

mod code;
mod codes;
mod diagnostic;
mod draw;

pub use code::{Class, Code, Severity};
pub use codes::{ALL, by_name};
pub use diagnostic::{Diagnostic, Diagnostics, Label};
pub use draw::{draw, json};

/// The declared codes, one constant each, named as the code in upper case: `code::UNKNOWN_NODE` is
/// `unknown-node`.
pub mod declared {
    pub use crate::codes::declared::*;
}
