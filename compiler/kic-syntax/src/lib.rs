//! Text to typed tree, and back: [`parse`] reads KDL 2, [`Plain`] writes it.
//!
//! **Invariant:** [`parse`] takes any text: it never panics, never overflows the stack, and takes time in
//! proportion to the text.

mod parse;
mod plain;
mod tree;

pub use parse::parse;
pub use plain::Plain;
pub use tree::{Entry, File, Node, Value};
