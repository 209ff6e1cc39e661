//! Parameters: what `param` declares, and what a call gives for them.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Span, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::binding::Binding;
use super::parameter_type::ParameterType;
use super::shape::shape;
use crate::decode::{decode, is_within, list};
use crate::nodes;

/// A declared parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// Its name.
    pub name: String,
    /// What a value of it may be.
    pub kind: ParameterType,
    /// Its value where a call gives none; `#null` where it may be left out.
    pub default: Option<Binding>,
    /// What it says of itself.
    pub doc: String,
    /// The head of its declaration.
    pub span: Span,
}

/// The parameters that the `param` nodes among `nodes` declare.
pub(crate) fn declared(nodes: &[Node], diagnostics: &mut Diagnostics) -> BTreeMap<String, Parameter> {
    let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.name.value == "param") {
        let Some(parameter) = declare(node, diagnostics) else { continue };
        if let Some(first) = parameters.get(&parameter.name) {
            diagnostics.push(
                Diagnostic::new(
                    &code::DUPLICATE_NODE,
                    format!("the parameter `{}` is declared twice", parameter.name),
                )
                .at(&parameter.span, "here again")
                .at(&first.span, "first here")
                .help("give one of them another name"),
            );
        } else {
            parameters.insert(parameter.name.clone(), parameter);
        }
    }
    parameters
}

/// One with an error takes any value, so that no other error follows from it. `None` where it has no name.
fn declare(node: &Node, diagnostics: &mut Diagnostics) -> Option<Parameter> {
    let before = diagnostics.error_count();
    refuse_marks(node, diagnostics);
    // The default may have any shape; its type is checked below.
    let is_default = |child: &&Node| child.name.value == "default";
    let others =
        node.children.as_ref().map(|all| all.iter().filter(|child| !is_default(child)).cloned().collect());
    let plain = Node { children: others, ..node.clone() };
    let checked = decode(&plain, &nodes::PARAM, diagnostics);
    let name = checked.text(0)?.value;
    let child = |name: &str| node.children().iter().find(|child| child.name.value == name);
    let text = |name: &str| child(name).and_then(|node| node.arguments().next()).map(|entry| &entry.value);
    let doc = if let Some(Value::String(doc)) = text("doc") { doc.clone() } else { String::new() };
    let broken = |doc: String| Parameter {
        name: name.clone(),
        kind: ParameterType::Unknown,
        default: None,
        doc,
        span: node.head(),
    };
    let Some(kind) = checked.text_property("type").filter(|_| diagnostics.error_count() == before) else {
        return Some(broken(doc));
    };
    let one_of = child("one-of").into_iter().flat_map(Node::arguments);
    let choices: Vec<String> = one_of
        .filter_map(|entry| if let Value::String(text) = &entry.value { Some(text.clone()) } else { None })
        .collect();
    let parsed = match ParameterType::parse(&kind.value, &choices) {
        Ok(parsed) => parsed,
        Err((wrong, help)) => {
            diagnostics.push(
                Diagnostic::new(&code::UNKNOWN_TYPE, format!("there is no type `{wrong}`"))
                    .at(&kind.span, "unknown type")
                    .help(help),
            );
            return Some(broken(doc));
        }
    };
    if parsed.choices().is_some() == choices.is_empty() {
        let (span, message, help) = match child("one-of") {
            None => (node.head(), "an enum needs its words", "add `{ one-of \"a\" \"b\"; }`"),
            Some(words) => (
                words.span.clone(),
                "`one-of` belongs to an enum",
                "write `type=\"enum\"`, or leave `one-of` out",
            ),
        };
        diagnostics.push(Diagnostic::new(&code::UNKNOWN_TYPE, message).at(&span, "").help(help));
        return Some(broken(doc));
    }
    let defaults: Vec<&Node> = node.children().iter().filter(is_default).collect();
    let mut spans = node.property("default").into_iter().map(|entry| entry.span.clone()).collect::<Vec<_>>();
    spans.extend(defaults.iter().map(|default| default.head()));
    if let [first, again, ..] = spans.as_slice() {
        diagnostics.push(
            Diagnostic::new(&code::DUPLICATE_NODE, format!("the parameter `{name}` has two defaults"))
                .at(again, "here again")
                .at(first, "first here")
                .help("keep one of the two"),
        );
    }
    let default = match (node.property("default"), defaults.first()) {
        (Some(entry), _) => Some(Binding::scalar(entry.value.clone(), entry.value_span.clone())),
        (None, Some(node)) => Some(literal(node, diagnostics)),
        (None, None) => None,
    };
    let is_single = !matches!(parsed, ParameterType::List(_) | ParameterType::Map(_));
    let default = default.map(|default| {
        // One that may be left out has no value then.
        if default.is_null() && is_single {
            return default;
        }
        parsed.accept(&default).unwrap_or_else(|diagnostic| {
            diagnostics.push(diagnostic.at(&kind.span, format!("the type is `{}`", kind.value)));
            Binding::Unknown
        })
    });
    Some(Parameter { name, kind: parsed, default, doc, span: node.head() })
}

/// A declaration is read before anything has a value.
fn refuse_marks(node: &Node, diagnostics: &mut Diagnostics) {
    for entry in node.entries.iter().filter(|entry| super::is_marked(entry)) {
        diagnostics.push(
            Diagnostic::new(&code::INVALID_CONTROL, "a declaration holds no marked strings")
                .at(&entry.span, "nothing has a value here yet")
                .help("write the value itself; `let` in the body can put it together with others"),
        );
    }
    for child in node.children() {
        refuse_marks(child, diagnostics);
    }
}

/// The value of a `default` node.
fn literal(node: &Node, diagnostics: &mut Diagnostics) -> Binding {
    let mut scalar = |entry: &Entry| Binding::scalar(entry.value.clone(), entry.value_span.clone());
    shape(node, &mut scalar, diagnostics)
}

/// What a call gives for a parameter.
#[derive(Debug)]
pub(crate) struct Given {
    pub name: String,
    pub value: Binding,
    /// Its name, where it is given.
    pub span: Span,
    /// All of it.
    pub place: Span,
}

/// The values of the `declared` parameters: what a call gives, and defaults for the rest; unknown where there is an
/// error. Every error labels both the call and the declaration.
pub(crate) fn bind(
    what: &str,
    declared: &BTreeMap<String, Parameter>,
    given: Vec<Given>,
    call: &Span,
    diagnostics: &mut Diagnostics,
) -> Vec<(String, Binding)> {
    let mut bound: BTreeMap<String, Binding> = BTreeMap::new();
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    // A misspelt parameter is reported as such, and not again as a missing one.
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for one in given {
        let Some(parameter) = declared.get(&one.name) else {
            let close = closest(&one.name, declared.keys().map(String::as_str));
            meant.extend(close);
            diagnostics.push(unknown(what, declared, &one, close));
            continue;
        };
        if let Some(first) = seen.get(&one.name) {
            diagnostics.push(
                Diagnostic::new(&code::DUPLICATE_NODE, format!("`{}` is given twice", one.name))
                    .at(&one.span, "here again")
                    .at(first, "first here")
                    .help("keep one of the two"),
            );
            continue;
        }
        seen.insert(one.name.clone(), one.span.clone());
        match parameter.kind.accept(&one.value) {
            Ok(value) => {
                bound.insert(one.name, value);
            }
            Err(diagnostic) => {
                // A value that came by a name was written elsewhere, or nowhere.
                let is_here = one.value.span().is_none_or(|written| is_within(written, &one.place));
                let diagnostic = if is_here { diagnostic } else { given_at(diagnostic, &one.span) };
                let declared = format!("`{}` is declared as `{}`", parameter.name, parameter.kind.name());
                diagnostics.push(diagnostic.at(&parameter.span, declared));
                bound.insert(one.name, Binding::Unknown);
            }
        }
    }
    for parameter in declared.values().filter(|parameter| !seen.contains_key(&parameter.name)) {
        let value = match &parameter.default {
            Some(default) => default.clone(),
            None => {
                if !meant.contains(parameter.name.as_str()) && parameter.kind != ParameterType::Unknown {
                    diagnostics.push(missing(what, parameter, call));
                }
                Binding::Unknown
            }
        };
        bound.insert(parameter.name.clone(), value);
    }
    bound.into_iter().collect()
}

/// Adds the place where a value is given that came by a name. What is built in is written nowhere: then that place is
/// the one that the diagnostic is about.
fn given_at(mut diagnostic: Diagnostic, place: &Span) -> Diagnostic {
    let is_built_in = |span: &Span| span.source().name() == super::BUILT_IN_SOURCE;
    if let Some(label) = diagnostic.labels.first_mut().filter(|label| is_built_in(&label.span)) {
        label.span = place.clone();
        return diagnostic;
    }
    diagnostic.at(place, "given here")
}

fn unknown(
    what: &str,
    declared: &BTreeMap<String, Parameter>,
    given: &Given,
    close: Option<&str>,
) -> Diagnostic {
    let diagnostic =
        Diagnostic::new(&code::UNKNOWN_PARAMETER, format!("{what} has no parameter `{}`", given.name))
            .at(&given.span, "unknown parameter");
    match close.and_then(|close| declared.get(close)) {
        Some(close) => {
            diagnostic.at(&close.span, "declared here").help(format!("did you mean `{}`?", close.name))
        }
        None if declared.is_empty() => diagnostic.help("leave it out: nothing is declared with `param`"),
        None => diagnostic.help(format!("it has {}", list(declared.keys().take(20).map(String::as_str)))),
    }
}

fn missing(what: &str, parameter: &Parameter, call: &Span) -> Diagnostic {
    let (name, kind) = (&parameter.name, parameter.kind.describe());
    let form = match parameter.kind {
        ParameterType::List(_) => format!("`{name} VALUE…` inside"),
        ParameterType::Map(_) => format!("`{name} {{ KEY VALUE; }}` inside"),
        _ => format!("`{name}=…`"),
    };
    let form = match what {
        "the spec" => format!("on the command line: `--set {name}=…`, or a default"),
        _ => form,
    };
    let doc = if parameter.doc.is_empty() { String::new() } else { format!(": {}", parameter.doc) };
    Diagnostic::new(&code::MISSING_PARAMETER, format!("{what} needs the parameter `{name}`"))
        .at(call, format!("`{name}` is missing"))
        .at(&parameter.span, "declared here, without a default")
        .help(format!("give it: {form}, {kind}{doc}"))
}
