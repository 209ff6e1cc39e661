//! JMESPath as Kyverno speaks it: a key that is not there is an error, but where `||`, a comparison, a function
//! or a projection takes it for null.

mod evaluate;
mod functions;
mod lexer;
mod parser;

use serde_json::Value as Json;

use crate::fault::Fault;
use crate::request::unknown_of_request;

/// An expression, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Current,
    Literal(Json),
    Field(String),
    Index(i64),
    Slice([Option<i64>; 3]),
    /// `a.b`, `a[0]`: the right side of what the left one gives.
    Then(Box<Expression>, Box<Expression>),
    /// `a | b`: the same, and it ends a projection.
    Pipe(Box<Expression>, Box<Expression>),
    /// `a[*].b`
    Project(Box<Expression>, Box<Expression>),
    /// `a.*.b`
    ProjectValues(Box<Expression>, Box<Expression>),
    /// `a[?c].b`
    Filter(Box<Expression>, Box<Expression>, Box<Expression>),
    Flatten(Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Compare(Comparison, Box<Expression>, Box<Expression>),
    List(Vec<Expression>),
    Hash(Vec<(String, Expression)>),
    Call(String, Vec<Expression>),
    /// `&a`, an argument of functions such as `map`.
    Reference(Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Evaluates the expression `text` on `context`.
pub(crate) fn query(text: &str, context: &Json) -> Result<Json, Fault> {
    let expression = parser::parse(text)?;
    unknown_of_request(text)?;
    evaluate::evaluate(&expression, context)
}

#[cfg(test)]
mod tests;
