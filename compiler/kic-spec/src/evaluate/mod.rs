//! From a tree with modules, parameters and values to a closed one: `use`, `let`, `when`, `for` and marked strings
//! are gone, and what several modules say of one thing is merged.
//!
//! **Invariant:** it always ends. There is no recursion: a module cannot use itself, and `for` goes over lists that
//! are there. What is left is bounded by [`MOST_NODES`].
//!
//! What stands in a `when` that does not hold, or in a `for` over nothing, is checked as far as it can be without
//! values: unknown nodes, properties and names are errors there, too.

mod binding;
mod call;
mod control;
mod data;
mod evaluator;
mod interpolate;
mod merge;
mod merge_charts;
mod merge_data;
mod module;
mod parameter;
mod parameter_type;
mod scope;
mod shape;
mod version;

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Platform, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use crate::nodes;
use crate::value::{PROCESSORS, SYSTEMS};
use crate::world::World;
use binding::{Binding, Form, Scalar};
use evaluator::Evaluator;
pub(crate) use module::{Library, normalised};
pub use module::{ModuleDocumentation, ParameterDocumentation, documentation, documentation_of};
use parameter::{Given, Parameter, bind, declared};
use parameter_type::ParameterType;
pub(crate) use parameter_type::TYPES as PARAMETER_TYPES;
use scope::Scope;

/// The most nodes, and parts of data, that a spec may become.
pub(crate) const MOST_NODES: usize = 1_000_000;

/// The name of the source in which built-in values are written.
pub(crate) const BUILT_IN_SOURCE: &str = "built-in";

/// What decides the value of a spec beside its text.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for the parameters of the spec, as texts, in the order in which they are given: `--set NAME=VALUE`. A name
    /// that is given twice is an error.
    pub set: Vec<(String, String)>,
}

/// A value that another one took the place of, when modules were merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Where the value is written that stays.
    pub kept: Span,
    /// Where the one is written that went.
    pub instead_of: Span,
}

/// A closed `cluster` node.
pub(crate) struct Evaluated {
    pub cluster: Node,
    /// Whether something in it depends on the platform.
    pub uses_platform: bool,
    /// Whether nodes may be missing in it because of an error: what is not found may be among them.
    pub is_incomplete: bool,
    pub overrides: Vec<Override>,
    /// For each module, by the name of its source: where it is used.
    pub uses: BTreeMap<String, Vec<Span>>,
}

/// Evaluates the `cluster` node of a spec for one platform.
pub(crate) fn evaluate(
    cluster: &Node,
    platform: &Platform,
    settings: &Settings,
    world: &dyn World,
    library: &mut Library,
    diagnostics: &mut Diagnostics,
) -> Evaluated {
    let head = cluster.head();
    let built_in = BTreeMap::from([("platform", platform_value(platform))]);
    let mut evaluator = Evaluator::new(world, library, diagnostics, Scope::new(Arc::new(built_in)));
    module::check_documentation(cluster.children(), evaluator.diagnostics);
    let parameters = declared(cluster.children(), evaluator.diagnostics);
    let given = settings.set.iter().map(|(name, text)| set(name, text, &parameters)).collect();
    for (name, value) in bind("the spec", &parameters, given, &head, evaluator.diagnostics) {
        evaluator.scope.add(name, value);
    }
    let mut closed_cluster = evaluator.closed_head(cluster, false);
    let of_cluster = cluster_value(&closed_cluster, &head);
    evaluator.scope.add_built_in("cluster", of_cluster);
    let mut closed = Vec::new();
    evaluator.children(cluster.children(), 0, Some(&nodes::CLUSTER), true, &mut closed);
    let (uses_platform, is_incomplete) = (evaluator.uses_platform, evaluator.is_incomplete);
    let callers = std::mem::take(&mut evaluator.callers);
    let uses = std::mem::take(&mut evaluator.uses);
    let (children, overrides) = merge::merge(closed, &callers, diagnostics);
    closed_cluster.children = Some(children);
    Evaluated { cluster: closed_cluster, uses_platform, is_incomplete, overrides, uses }
}

/// What `--set NAME=TEXT` gives: a value of the type that the parameter has. What does not fit stays a text, for
/// [`bind`] to say so.
fn set(name: &str, text: &str, parameters: &BTreeMap<String, Parameter>) -> Given {
    let source = Source::new("--set", format!("{name}={text}"));
    let span = source.span(name.len() + 1..source.text().len());
    let mut kind = parameters.get(name).map(|parameter| &parameter.kind);
    // A list of one is written as the one.
    while let Some(ParameterType::List(item)) = kind {
        kind = Some(item);
    }
    let text_value = || Value::String(text.to_owned());
    let value = match kind {
        Some(ParameterType::Int) => text.parse().map_or_else(|_| text_value(), Value::Integer),
        Some(ParameterType::Bool) => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => text_value(),
        },
        _ => text_value(),
    };
    let (value, place) = (Binding::scalar(value, span), source.span(0..source.text().len()));
    Given { name: name.to_owned(), value, span: source.span(0..name.len()), place }
}

/// The names that are there without a declaration, and what they are, for the reference.
pub(crate) const BUILT_IN: [(&str, &str); 6] = [
    ("cluster.name", "The name of the cluster image."),
    ("cluster.version", "Its version; `latest` where it has none."),
    ("platform.name", "The platform that is built for, such as `linux/amd64`."),
    ("platform.os", "Its operating system, such as `linux`."),
    ("platform.arch", "Its processor architecture, such as `amd64`."),
    ("platform.variant", "The variant of the architecture, such as `v7`; empty where it has none."),
];

fn platform_value(platform: &Platform) -> Binding {
    // What is built in is written nowhere; messages show its name.
    let span = |name: &str| Source::new(BUILT_IN_SOURCE, name).span(0..name.len());
    let text = |name: &str, text: &str| Binding::scalar(text, span(name));
    let one_of = |name: &str, text: &str, words: &[&str]| {
        let form = Form::OneOf(words.iter().map(|word| (*word).to_owned()).collect());
        Binding::Scalar(Scalar { value: text.into(), span: span(name), form })
    };
    let fields = BTreeMap::from([
        ("name".to_owned(), text("platform.name", &platform.to_string())),
        ("os".to_owned(), one_of("platform.os", &platform.os, &SYSTEMS)),
        ("arch".to_owned(), one_of("platform.arch", &platform.architecture, &PROCESSORS)),
        ("variant".to_owned(), text("platform.variant", platform.variant.as_deref().unwrap_or_default())),
    ]);
    Binding::map(fields, span("platform"))
}

fn cluster_value(cluster: &Node, head: &Span) -> Binding {
    let scalar = |entry: Option<&Entry>, default: &str| match entry {
        Some(entry) if is_marked(entry) => Binding::Unknown,
        Some(Entry { value: Value::String(value), value_span, .. }) => {
            Binding::scalar(value.as_str(), value_span.clone())
        }
        _ => Binding::scalar(default, head.clone()),
    };
    let fields = BTreeMap::from([
        ("name".to_owned(), scalar(cluster.arguments().next(), "")),
        ("version".to_owned(), scalar(cluster.property("version"), "latest")),
    ]);
    Binding::map(fields, head.clone())
}

/// Whether an entry is to be evaluated. One that still is afterwards has no known value, for a reason that has been
/// reported, or that needs no report.
pub(crate) fn is_marked(entry: &Entry) -> bool {
    entry.annotation.as_ref().is_some_and(|annotation| annotation.value == "$")
}

/// The diagnostic of a value where only a single one can stand.
fn no_scalar(entry: &Entry, binding: &Binding) -> Diagnostic {
    let what = binding.describe();
    let diagnostic =
        Diagnostic::new(&code::WRONG_TYPE, format!("a single value stands here, and this is {what}"))
            .at(&entry.span, "used here");
    let diagnostic = match binding.span() {
        Some(written) => diagnostic.at(written, "its value is this"),
        None => diagnostic,
    };
    diagnostic.help("go over it with `for`, or name one part of it")
}
