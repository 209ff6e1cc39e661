use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Span, closest};
use kic_diag::{Diagnostic, declared as code};

use super::binding::Binding;
use crate::decode::list;

/// So many names are looked through for one that is close to an unknown one.
const MOST_COMPARED: usize = 1000;

/// The names that can be used at a place. An inner part of a text sees the names of the outer ones, and may take
/// them for itself.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// What is there without a declaration. Everything else hides it.
    built_in: Arc<BTreeMap<&'static str, Binding>>,
    named: BTreeMap<String, Vec<Binding>>,
    /// The names in the order in which they came.
    order: Vec<String>,
}

/// Why a name has no value.
#[derive(Debug)]
pub(crate) enum Missing {
    /// It has one that is not known, which needs no further word.
    Unknown,
    /// It has none.
    Error(Diagnostic),
}

/// A value that was looked up.
#[derive(Debug)]
pub(crate) struct Found {
    pub binding: Binding,
    /// Whether it is one of the platform that is built for.
    pub is_of_platform: bool,
}

impl Scope {
    pub fn new(built_in: Arc<BTreeMap<&'static str, Binding>>) -> Self {
        Self { built_in, ..Self::default() }
    }

    pub fn built_in(&self) -> &Arc<BTreeMap<&'static str, Binding>> {
        &self.built_in
    }

    pub fn add_built_in(&mut self, name: &'static str, binding: Binding) {
        Arc::make_mut(&mut self.built_in).insert(name, binding);
    }

    /// A place to come [`back_to`](Self::back_to).
    pub fn mark(&self) -> usize {
        self.order.len()
    }

    pub fn add(&mut self, name: impl Into<String>, binding: Binding) {
        let name = name.into();
        self.named.entry(name.clone()).or_default().push(binding);
        self.order.push(name);
    }

    /// Forgets every name that came after the mark.
    pub fn back_to(&mut self, mark: usize) {
        for name in self.order.drain(mark..) {
            if let Some(bindings) = self.named.get_mut(&name) {
                bindings.pop();
                if bindings.is_empty() {
                    self.named.remove(&name);
                }
            }
        }
    }

    fn get(&self, name: &str) -> Option<&Binding> {
        self.named.get(name).and_then(|bindings| bindings.last()).or_else(|| self.built_in.get(name))
    }

    /// The value of `NAME` or `NAME.KEY…`, written at `span`.
    pub fn look_up(&self, path: &str, span: &Span) -> Result<Found, Missing> {
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default();
        let Some(mut binding) = self.get(first) else {
            return Err(Missing::Error(self.unknown(first, span)));
        };
        let is_of_platform = first == "platform" && !self.named.contains_key(first);
        let mut walked = first.to_owned();
        for part in parts {
            let map = match binding {
                Binding::Map(map) => map,
                Binding::Unknown => return Err(Missing::Unknown),
                other => return Err(Missing::Error(nothing_inside(&walked, other, span))),
            };
            let Some(inner) = map.fields.get(part) else {
                let help = match closest(part, map.fields.keys().map(String::as_str)) {
                    Some(close) => format!("did you mean `{walked}.{close}`?"),
                    None => format!("it has {}", list(map.fields.keys().take(20).map(String::as_str))),
                };
                let diagnostic =
                    Diagnostic::new(&code::UNKNOWN_VARIABLE, format!("`{walked}` has no `{part}`"))
                        .at(span, "unknown name");
                // What is built in has no place to show.
                let diagnostic = if self.named.contains_key(first) {
                    diagnostic.at(&map.span, format!("the value of `{walked}`"))
                } else {
                    diagnostic
                };
                return Err(Missing::Error(diagnostic.help(help)));
            };
            binding = inner;
            walked.push('.');
            walked.push_str(part);
        }
        match binding {
            Binding::Unknown => Err(Missing::Unknown),
            binding => Ok(Found { binding: binding.clone(), is_of_platform }),
        }
    }

    /// The diagnostic of the first part of `path`, where nothing has that name.
    pub fn check(&self, path: &str, span: &Span) -> Result<(), Diagnostic> {
        let first = path.split('.').next().unwrap_or_default();
        if self.get(first).is_some() { Ok(()) } else { Err(self.unknown(first, span)) }
    }

    fn unknown(&self, name: &str, span: &Span) -> Diagnostic {
        let names = || {
            let named = self.named.keys().map(String::as_str).take(MOST_COMPARED);
            named.chain(self.built_in.keys().copied())
        };
        let help = match closest(name, names()) {
            Some(close) => format!("did you mean `{close}`?"),
            None => {
                format!("the names here are {}; `param` and `let` declare others", list(names().take(20)))
            }
        };
        Diagnostic::new(&code::UNKNOWN_VARIABLE, format!("there is no value named `{name}`"))
            .at(span, "unknown name")
            .help(help)
    }
}

fn nothing_inside(walked: &str, binding: &Binding, span: &Span) -> Diagnostic {
    let what = binding.describe();
    let diagnostic =
        Diagnostic::new(&code::UNKNOWN_VARIABLE, format!("`{walked}` is {what}, and has no names inside"))
            .at(span, "this looks into it");
    let diagnostic = match binding.span() {
        Some(written) => diagnostic.at(written, "its value is this"),
        None => diagnostic,
    };
    diagnostic.help(match binding {
        Binding::List(_) => format!("go over it: `for \"one\" in=($)\"${{{walked}}}\" {{ … }}`"),
        _ => format!("write `${{{walked}}}`"),
    })
}
