use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Span, closest};
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::Value;

/// A value that has a name: of a parameter, of `let`, of `for`, or built in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Binding {
    /// A string, number, boolean or null, and where it was written.
    Scalar {
        value: Value,
        span: Span,
        /// Whether it is a path, which stays relative to the file that it was written in.
        is_path: bool,
    },
    /// Values in order.
    List(Vec<Binding>, Span),
    /// Values by name, in the order of the names.
    Map(BTreeMap<String, Binding>, Span),
}

impl Binding {
    /// A scalar that is no path.
    pub fn scalar(value: Value, span: Span) -> Self {
        Self::Scalar { value, span, is_path: false }
    }

    /// Where it was written.
    pub fn span(&self) -> &Span {
        match self {
            Self::Scalar { span, .. } | Self::List(_, span) | Self::Map(_, span) => span,
        }
    }

    /// What it is called in a sentence.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Scalar { value: Value::String(_), .. } => "a string",
            Self::Scalar { value: Value::Integer(_), .. } => "an integer",
            Self::Scalar { value: Value::Float(_), .. } => "a float",
            Self::Scalar { value: Value::Bool(_), .. } => "a boolean",
            Self::Scalar { value: Value::Null, .. } => "`#null`",
            Self::List(..) => "a list",
            Self::Map(..) => "a map",
        }
    }
}

/// The names that can be used at a place. An inner scope sees the outer one's names, and may take them for itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope(Option<Arc<Names>>);

#[derive(Debug)]
struct Names {
    name: String,
    binding: Binding,
    outer: Scope,
}

impl Scope {
    /// The same scope with one more name.
    pub fn with(&self, name: impl Into<String>, binding: Binding) -> Self {
        Self(Some(Arc::new(Names { name: name.into(), binding, outer: self.clone() })))
    }

    /// This scope with `outer` around it.
    pub fn on_top_of(&self, outer: &Self) -> Self {
        match &self.0 {
            None => outer.clone(),
            Some(names) => names.outer.on_top_of(outer).with(names.name.clone(), names.binding.clone()),
        }
    }

    fn get(&self, name: &str) -> Option<&Binding> {
        let mut scope = self;
        while let Some(names) = &scope.0 {
            if names.name == name {
                return Some(&names.binding);
            }
            scope = &names.outer;
        }
        None
    }

    fn names(&self) -> Vec<&str> {
        let mut all = Vec::new();
        let mut scope = self;
        while let Some(names) = &scope.0 {
            all.push(names.name.as_str());
            scope = &names.outer;
        }
        all
    }

    /// The value of `NAME` or `NAME.KEY…`, written at `span`.
    pub fn look_up(&self, path: &str, span: &Span) -> Result<&Binding, Diagnostic> {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let Some(mut binding) = self.get(first) else {
            let help = match closest(first, self.names()) {
                Some(close) => format!("did you mean `{close}`?"),
                None if self.names().is_empty() => "declare it with `param` or `let`".to_owned(),
                None => {
                    let mut names = self.names();
                    names.sort_unstable();
                    names.dedup();
                    format!("the names here are {}", crate::decode::list(names.into_iter().take(20)))
                }
            };
            return Err(Diagnostic::new(
                &code::UNKNOWN_VARIABLE,
                format!("there is no value named `{first}`"),
            )
            .at(span, "unknown name")
            .help(help));
        };
        for part in parts {
            let Binding::Map(fields, _) = binding else {
                return Err(Diagnostic::new(
                    &code::UNKNOWN_VARIABLE,
                    format!("`{path}` looks into {}, which has nothing inside", binding.describe()),
                )
                .at(span, "")
                .at(binding.span(), "its value is this")
                .help(format!("write `${{{}}}`", path.rsplit_once('.').map_or(path, |(before, _)| before))));
            };
            let Some(inner) = fields.get(part) else {
                let help = match closest(part, fields.keys().map(String::as_str)) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("it has {}", crate::decode::list(fields.keys().map(String::as_str))),
                };
                return Err(Diagnostic::new(
                    &code::UNKNOWN_VARIABLE,
                    format!("`{path}`: there is no `{part}` in it"),
                )
                .at(span, "unknown name")
                .help(help));
            };
            binding = inner;
        }
        Ok(binding)
    }
}
