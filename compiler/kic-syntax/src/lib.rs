//! Text to typed tree, and back: [`parse`] reads KDL 2, [`Plain`] writes it, [`format()`] lays it out.
//!
//! **Invariant:** [`parse`] takes any text: it never panics, never overflows the stack, and takes time in
//! proportion to the text.
//!
//! The parser is ours. kdl-rs reads about 1 MB/s, gives no tree when there is an error, has no spans for values,
//! and takes exponential time or overflows the stack on some texts. It reads the same documents in our tests,
//! where both must agree.

mod braces;
mod character;
mod entry;
mod errors;
mod format;
mod grammar;
mod lexer;
mod number;
mod parse;
mod plain;
mod quotes;
mod readable;
mod string;
mod tree;

pub use format::format;
pub use parse::parse;
pub use plain::Plain;
pub use tree::{Entry, File, Node, Value};
