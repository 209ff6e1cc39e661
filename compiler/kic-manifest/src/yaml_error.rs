use std::fmt;

use kic_base::Span;

/// What is wrong with a text that should be YAML, or Kubernetes objects.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlError {
    /// One plain sentence without a full stop.
    pub message: String,
    /// Where, in bytes.
    pub span: Span,
    /// The earlier place that the error is about as well.
    pub first: Option<Span>,
    /// What to do, where that is known.
    pub help: Option<String>,
}

impl YamlError {
    pub(crate) fn key_twice(name: &str, second: &Span, first: &Span) -> Self {
        Self {
            message: format!("the key `{name}` stands twice in one mapping"),
            span: second.clone(),
            first: Some(first.clone()),
            help: Some("keep one of the two".to_owned()),
        }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.span, self.message)
    }
}

impl std::error::Error for YamlError {}

/// What to do about a template that reached the YAML reader.
pub(crate) const TEMPLATE_HELP: &str =
    "this is a template: render it first, with `helm template` or the like, and name what comes out";
