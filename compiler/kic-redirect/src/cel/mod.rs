//! The Common Expression Language as admission policies use it.
//!
//! | evaluated | not |
//! |---|---|
//! | literals, lists, maps, `Object…{}`, `JSONPatch{}` | bytes, timestamps, durations, maps with keys that are no texts |
//! | all operators, `?:`, `.?`, `[?]`, `in`, `has()` | |
//! | `all`, `exists`, `exists_one`, `map`, `filter`, with one variable or two; `transformList`, `cel.bind` | other macros |
//! | functions of texts, lists, optionals and regular expressions | quantities, URLs, IP addresses, `authorizer`, `resource.…` |

mod evaluate;
mod functions;
mod lexer;
mod parser;
mod value;

use std::collections::BTreeMap;

pub(crate) use evaluate::Environment;
pub(crate) use value::Value;

use crate::fault::Fault;
use crate::request::unknown_of_request;

/// An expression, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Literal(Value),
    Name(String),
    /// `a.b`, `a.?b`
    Select {
        target: Box<Node>,
        field: String,
        optional: bool,
    },
    /// `a[b]`, `a[?b]`
    Index {
        target: Box<Node>,
        index: Box<Node>,
        optional: bool,
    },
    Call {
        target: Option<Box<Node>>,
        name: String,
        arguments: Vec<Node>,
    },
    /// Items, and whether each is there only when it has a value.
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    /// `Object.spec{…}`, `JSONPatch{…}`
    Message {
        name: String,
        fields: Vec<(String, Node, bool)>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Binary(&'static str, Box<Node>, Box<Node>),
    If(Box<Node>, Box<Node>, Box<Node>),
}

/// Reads an expression.
pub(crate) fn parse(text: &str) -> Result<Node, Fault> {
    let node = parser::parse(text)?;
    unknown_of_request(text)?;
    Ok(node)
}

/// Values by name.
pub(crate) type Names = BTreeMap<String, Value>;

#[cfg(test)]
mod tests;
