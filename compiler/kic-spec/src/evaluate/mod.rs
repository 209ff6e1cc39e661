//! From a tree with modules, parameters and values to a closed one: `use`, `let`, `when`, `for` and marked strings
//! are gone, and what several modules say of one thing is merged.
//!
//! **Invariant:** it always ends. There is no recursion: a module cannot use itself, and `for` goes over lists that
//! are there. What is left is bounded by [`MOST_NODES`].

mod binding;
mod interpolate;
mod merge;
mod module;
mod parameter;

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Platform, Source, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, File, Node, Value};

use crate::nodes;
use crate::schema::{Children, NodeSchema};
use crate::world::World;
use binding::{Binding, Scope};
pub(crate) use module::normalised;
pub use module::{ModuleDocumentation, documentation};
use parameter::{Given, bind, declared};

/// The most nodes that a spec may become.
pub(crate) const MOST_NODES: usize = 1_000_000;

/// The most modules inside each other.
const DEEPEST: usize = 64;

/// What decides the value of a spec beside its text.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for the parameters of the spec, as texts: `--set NAME=VALUE`.
    pub set: BTreeMap<String, String>,
}

/// A closed `cluster` node.
pub(crate) struct Evaluated {
    pub cluster: Node,
    /// Whether something in it depends on the platform.
    pub uses_platform: bool,
}

/// Evaluates the `cluster` node of a spec for one platform.
pub(crate) fn evaluate(
    cluster: &Node,
    platform: &Platform,
    settings: &Settings,
    world: &dyn World,
    diagnostics: &mut Diagnostics,
) -> Evaluated {
    let mut evaluator = Evaluator {
        world,
        diagnostics,
        built_in: built_in(cluster, platform),
        modules: BTreeMap::new(),
        stack: Vec::new(),
        callers: vec![None],
        count: 0,
        uses_platform: false,
    };
    let before = evaluator.diagnostics.iter().count();
    let parameters = declared(cluster.children(), evaluator.diagnostics);
    let mut given = Vec::new();
    for (name, text) in &settings.set {
        let source = Source::new("--set", format!("{name}={text}"));
        let span = source.span(name.len() + 1..source.text().len());
        let value = parameters
            .get(name)
            .map_or_else(|| Value::String(text.clone()), |one| from_text(text, &one.kind));
        given.push(Given {
            name: name.clone(),
            value: Binding::scalar(value, span),
            span: source.span(0..name.len()),
        });
    }
    let scope = bind("the spec", &parameters, given, &cluster.head(), evaluator.diagnostics);
    let scope = evaluator.with_built_in(&scope);
    let mut closed = Vec::new();
    if evaluator.diagnostics.iter().count() > before {
        // Everything that uses a parameter would only fail in turn.
        return Evaluated { cluster: Node { children: None, ..cluster.clone() }, uses_platform: false };
    }
    evaluator.body(cluster.children(), &scope, 0, Some(&nodes::CLUSTER), &mut closed);
    let mut node = evaluator.closed_head(cluster, &scope);
    let uses_platform = evaluator.uses_platform;
    let callers = std::mem::take(&mut evaluator.callers);
    node.children = Some(merge::merge(closed, &callers, diagnostics));
    Evaluated { cluster: node, uses_platform }
}

/// The text of `--set` as a value of the type that the parameter has. What does not fit stays a text, for
/// [`bind`] to say so.
fn from_text(text: &str, kind: &parameter::ParameterType) -> Value {
    use parameter::ParameterType;
    match kind {
        ParameterType::Int => text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Integer),
        ParameterType::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::String(text.to_owned()),
        },
        _ => Value::String(text.to_owned()),
    }
}

/// The names that are there without a declaration:
///
/// | name | value |
/// |---|---|
/// | `cluster.name` | the name of the cluster image |
/// | `cluster.version` | its version; `latest` where it has none |
/// | `platform.os` | the operating system of the platform that is built for, such as `linux` |
/// | `platform.arch` | its architecture, such as `amd64` |
/// | `platform.variant` | its variant, such as `v7`; empty where it has none |
/// | `platform.name` | all of it, such as `linux/amd64` |
fn built_in(cluster: &Node, platform: &Platform) -> BTreeMap<&'static str, Binding> {
    let head = cluster.head();
    let text = |text: &str| Binding::scalar(Value::String(text.to_owned()), head.clone());
    let map = |fields: Vec<(&str, Binding)>| {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Binding::Map(fields, head.clone())
    };
    let scalar = |entry: Option<&Entry>, default: &str| match entry {
        Some(Entry { value: Value::String(value), .. }) => text(value),
        _ => text(default),
    };
    let name = scalar(cluster.arguments().next(), "");
    let version = scalar(cluster.property("version"), "latest");
    BTreeMap::from([
        ("cluster", map(vec![("name", name), ("version", version)])),
        (
            "platform",
            map(vec![
                ("os", text(&platform.os)),
                ("arch", text(&platform.architecture)),
                ("variant", text(platform.variant.as_deref().unwrap_or_default())),
                ("name", text(&platform.to_string())),
            ]),
        ),
    ])
}

/// A node without anything to evaluate, and the use of a module that it came by.
pub(crate) struct Closed {
    pub node: Node,
    /// 0 for the spec itself, else a place in `callers`.
    pub instance: usize,
}

struct Evaluator<'a> {
    world: &'a dyn World,
    diagnostics: &'a mut Diagnostics,
    built_in: BTreeMap<&'static str, Binding>,
    /// Modules that were read, by identity; `None` for those with errors, which have been reported.
    modules: BTreeMap<String, Option<Arc<File>>>,
    /// The modules being evaluated, outermost first, and where each is used.
    stack: Vec<(String, Span)>,
    /// For each use of a module: where it is.
    callers: Vec<Option<Span>>,
    count: usize,
    uses_platform: bool,
}

impl Evaluator<'_> {
    fn with_built_in(&self, scope: &Scope) -> Scope {
        // Parameters may have the name of what is built in, and hide it.
        let built_in = self
            .built_in
            .iter()
            .fold(Scope::default(), |scope, (name, value)| scope.with(*name, value.clone()));
        scope.on_top_of(&built_in)
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Evaluates nodes in order; what is left of them goes to `out`.
    fn body(
        &mut self,
        nodes: &[Node],
        scope: &Scope,
        instance: usize,
        parent: Option<&'static NodeSchema>,
        out: &mut Vec<Closed>,
    ) {
        let mut scope = scope.clone();
        let is_top = parent.is_some_and(|parent| std::ptr::eq(parent, &nodes::CLUSTER));
        for node in nodes {
            match node.name.value.as_str() {
                "param" | "doc" if is_top => {}
                "use" if is_top => self.use_module(node, &scope, out),
                "let" => {
                    if let Some((name, value)) = self.let_value(node, &scope) {
                        scope = scope.with(name, value);
                    }
                }
                "when" => {
                    if self.condition(node, &scope) == Some(true) {
                        self.body(node.children(), &scope, instance, parent, out);
                    }
                }
                "for" => self.each(node, &scope, instance, parent, out),
                _ => {
                    if self.count == MOST_NODES {
                        self.count += 1;
                        self.error(
                            Diagnostic::new(
                                &code::TOO_LARGE,
                                format!("the spec becomes more than {MOST_NODES} nodes"),
                            )
                            .at(&node.head(), "at this node")
                            .help("go over shorter lists, or put the data into files"),
                        );
                    }
                    if self.count > MOST_NODES {
                        return;
                    }
                    self.count += 1;
                    let schema = schema_of(parent, &node.name.value);
                    let node = self.close(node, &scope, instance, schema);
                    out.push(Closed { node, instance });
                }
            }
        }
    }

    /// A node with all its entries and children evaluated.
    fn close(
        &mut self,
        node: &Node,
        scope: &Scope,
        instance: usize,
        schema: Option<&'static NodeSchema>,
    ) -> Node {
        let mut closed = self.closed_head(node, scope);
        if let Some(children) = &node.children {
            // In data, `for` and `when` are fields like any other.
            closed.children =
                Some(if schema.is_some_and(|schema| matches!(schema.children, Children::Data)) {
                    children.iter().map(|child| self.close_data(child, scope)).collect()
                } else {
                    let mut out = Vec::new();
                    self.body(children, scope, instance, schema, &mut out);
                    out.into_iter().map(|closed| closed.node).collect()
                });
        }
        closed
    }

    /// A node of data. One that is a reference and nothing else may be a list or a map.
    fn close_data(&mut self, node: &Node, scope: &Scope) -> Node {
        self.count += 1;
        if let ([entry], None) = (node.entries.as_slice(), &node.children)
            && is_marked(entry)
            && entry.name.is_none()
        {
            let empty = || Binding::scalar(Value::Null, entry.value_span.clone());
            let binding = self.value(entry, scope).unwrap_or_else(empty);
            return data(node.name.clone(), node.annotation.clone(), &binding, &node.span);
        }
        let mut closed = self.closed_head(node, scope);
        closed.children = node
            .children
            .as_ref()
            .map(|children| children.iter().map(|child| self.close_data(child, scope)).collect());
        closed
    }

    /// The node without its children. A reference to a list becomes several arguments.
    fn closed_head(&mut self, node: &Node, scope: &Scope) -> Node {
        let mut entries = Vec::with_capacity(node.entries.len());
        for entry in &node.entries {
            if !is_marked(entry) {
                entries.push(entry.clone());
                continue;
            }
            let Some(binding) = self.value(entry, scope) else { continue };
            match binding {
                Binding::Scalar { value, span, .. } => {
                    entries.push(Entry { annotation: None, value, value_span: span, ..entry.clone() });
                }
                Binding::List(items, _) if entry.name.is_none() => {
                    for item in items {
                        match item {
                            Binding::Scalar { value, span, .. } => {
                                entries.push(Entry {
                                    annotation: None,
                                    value,
                                    value_span: span,
                                    ..entry.clone()
                                });
                            }
                            other => self.error(no_scalar(entry, &other)),
                        }
                    }
                }
                other => self.error(no_scalar(entry, &other)),
            }
        }
        Node {
            annotation: node.annotation.clone(),
            name: node.name.clone(),
            entries,
            children: None,
            span: node.span.clone(),
        }
    }

    /// The value of an entry, marked or not; `None` where it has an error, which is reported.
    fn value(&mut self, entry: &Entry, scope: &Scope) -> Option<Binding> {
        if !is_marked(entry) {
            return Some(Binding::scalar(entry.value.clone(), entry.value_span.clone()));
        }
        let Value::String(text) = &entry.value else {
            self.error(
                Diagnostic::new(&code::INVALID_REFERENCE, "only a string is marked with `($)`")
                    .at(&entry.span, "")
                    .help("leave the mark out"),
            );
            return None;
        };
        self.uses_platform |= text.contains("platform");
        match interpolate::interpolate(text, &entry.value_span, scope) {
            Ok(binding) => Some(binding),
            Err(diagnostic) => {
                self.error(diagnostic);
                None
            }
        }
    }

    fn let_value(&mut self, node: &Node, scope: &Scope) -> Option<(String, Binding)> {
        let mut arguments = node.arguments();
        let Some(Entry { value: Value::String(name), value_span, .. }) = arguments.next() else {
            self.error(shape_error(&nodes::LET, node));
            return None;
        };
        let named: Vec<Entry> =
            node.entries.iter().filter(|entry| entry.value_span != *value_span).cloned().collect();
        let rest = Node { entries: named, ..node.clone() };
        if rest.entries.is_empty() && rest.children.is_none() {
            self.error(shape_error(&nodes::LET, node));
            return None;
        }
        Some((name.clone(), self.shape(&rest, scope)))
    }

    /// The value of a node in a call or a `let`.
    fn shape(&mut self, node: &Node, scope: &Scope) -> Binding {
        let mut scalar = |entry: &Entry| {
            let empty = || Binding::scalar(Value::Null, entry.value_span.clone());
            self.value(entry, scope).unwrap_or_else(empty)
        };
        parameter::shape(node, &mut scalar)
    }

    /// Whether the condition of a `when` holds; `None` where it has an error.
    fn condition(&mut self, node: &Node, scope: &Scope) -> Option<bool> {
        let mut arguments = node.arguments();
        let (Some(Entry { value: Value::String(path), value_span, .. }), None) =
            (arguments.next(), arguments.next())
        else {
            self.error(shape_error(&nodes::WHEN, node));
            return None;
        };
        let properties: Vec<&Entry> = node.properties().collect();
        let [property] = properties.as_slice() else {
            self.error(shape_error(&nodes::WHEN, node));
            return None;
        };
        self.uses_platform |= path.starts_with("platform");
        let left = match scope.look_up(path, value_span) {
            Ok(binding) => binding.clone(),
            Err(diagnostic) => {
                self.error(diagnostic);
                return None;
            }
        };
        let Binding::Scalar { value: left, .. } = left else {
            self.error(
                Diagnostic::new(
                    &code::WRONG_TYPE,
                    format!("`{path}` is {}, and `when` compares single values", left.describe()),
                )
                .at(value_span, "")
                .at(left.span(), "its value is this")
                .help("compare one of its parts, or go over it with `for`"),
            );
            return None;
        };
        let right = self.value(property, scope)?;
        let name = property.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
        match (name, &right) {
            ("is", Binding::Scalar { value, .. }) => Some(left == *value),
            ("is-not", Binding::Scalar { value, .. }) => Some(left != *value),
            ("in", Binding::List(items, _)) => {
                Some(items.iter().any(|item| matches!(item, Binding::Scalar { value, .. } if *value == left)))
            }
            ("is" | "is-not" | "in", other) => {
                let wanted = if name == "in" { "a list" } else { "a single value" };
                self.error(
                    Diagnostic::new(
                        &code::WRONG_TYPE,
                        format!("`{name}=` takes {wanted}, and this is {}", other.describe()),
                    )
                    .at(&property.span, "")
                    .help(if name == "in" {
                        "name a list: `in=($)\"${engines}\"`"
                    } else {
                        "for one of several, name a list: `in=($)\"${engines}\"`"
                    }),
                );
                None
            }
            _ => {
                self.error(shape_error(&nodes::WHEN, node));
                None
            }
        }
    }

    fn each(
        &mut self,
        node: &Node,
        scope: &Scope,
        instance: usize,
        parent: Option<&'static NodeSchema>,
        out: &mut Vec<Closed>,
    ) {
        let mut arguments = node.arguments();
        let Some(Entry { value: Value::String(name), .. }) = arguments.next() else {
            self.error(shape_error(&nodes::FOR, node));
            return;
        };
        let items: Vec<&Entry> = arguments.collect();
        let list = match (node.property("in"), items.as_slice()) {
            (Some(entry), []) => self.value(entry, scope),
            (None, [_, ..]) => {
                let values = items.into_iter().filter_map(|entry| self.value(entry, scope)).collect();
                Some(Binding::List(values, node.head()))
            }
            _ => {
                self.error(shape_error(&nodes::FOR, node));
                None
            }
        };
        let items = match list {
            None => return,
            Some(Binding::List(items, _)) => items,
            Some(Binding::Map(fields, span)) => fields
                .into_iter()
                .map(|(key, value)| {
                    let key = Binding::scalar(Value::String(key), span.clone());
                    Binding::Map(
                        BTreeMap::from([("key".to_owned(), key), ("value".to_owned(), value)]),
                        span.clone(),
                    )
                })
                .collect(),
            Some(other) => {
                self.error(
                    Diagnostic::new(
                        &code::WRONG_TYPE,
                        format!("`for` goes over a list or a map, and this is {}", other.describe()),
                    )
                    .at(&node.head(), "")
                    .at(other.span(), "its value is this")
                    .help("name a list: `for \"host\" in=($)\"${hosts}\"`"),
                );
                return;
            }
        };
        for item in items {
            if self.count > MOST_NODES {
                return;
            }
            self.count += 1;
            self.body(node.children(), &scope.with(name.clone(), item), instance, parent, out);
        }
    }

    fn use_module(&mut self, node: &Node, scope: &Scope, out: &mut Vec<Closed>) {
        let mut arguments = node.arguments();
        let (Some(Entry { value: Value::String(name), value_span, .. }), None) =
            (arguments.next(), arguments.next())
        else {
            self.error(shape_error(&nodes::USE, node));
            return;
        };
        let called = Spanned::new(name.clone(), value_span.clone());
        let Some(identity) = module::identity(&called, self.diagnostics) else { return };
        if let Some(place) = self.stack.iter().position(|(outer, _)| *outer == identity) {
            let mut diagnostic =
                Diagnostic::new(&code::MODULE_CYCLE, format!("the module `{name}` uses itself"))
                    .at(value_span, "this leads back to it");
            let mut way = String::new();
            for (outer, span) in &self.stack[place..] {
                diagnostic = diagnostic.at(span, format!("`{outer}` is used here"));
                way.push_str(&format!("{outer} → "));
            }
            self.error(diagnostic.help("take one `use` of the circle out").note(format!("{way}{identity}")));
            return;
        }
        if self.stack.len() == DEEPEST {
            self.error(
                Diagnostic::new(&code::TOO_LARGE, format!("modules use each other more than {DEEPEST} deep"))
                    .at(value_span, "")
                    .help("use the inner modules side by side"),
            );
            return;
        }
        let file = match self.modules.get(&identity) {
            Some(file) => file.clone(),
            None => {
                let file = module::read(&identity, &called, self.world, self.diagnostics).map(Arc::new);
                self.modules.insert(identity.clone(), file.clone());
                file
            }
        };
        let Some(module) = file.as_ref().and_then(|file| file.nodes.first()) else { return };
        let before = self.diagnostics.iter().count();
        let mut given = Vec::new();
        for entry in node.properties() {
            let (Some(name), Some(value)) = (&entry.name, self.value(entry, scope)) else { continue };
            given.push(Given { name: name.value.clone(), value, span: name.span.clone() });
        }
        for child in node.children() {
            let value = self.shape(child, scope);
            given.push(Given { name: child.name.value.clone(), value, span: child.name.span.clone() });
        }
        if self.diagnostics.iter().count() > before {
            return;
        }
        let parameters = declared(module.children(), self.diagnostics);
        let inner = bind(&format!("the module `{name}`"), &parameters, given, &node.head(), self.diagnostics);
        if self.diagnostics.iter().count() > before {
            return;
        }
        let inner = self.with_built_in(&inner);
        self.callers.push(Some(node.head()));
        let instance = self.callers.len() - 1;
        self.stack.push((identity, node.head()));
        self.body(module.children(), &inner, instance, Some(&nodes::CLUSTER), out);
        self.stack.pop();
    }
}

/// A value as a node of data (JSON-in-KDL 4).
fn data(name: Spanned<String>, annotation: Option<Spanned<String>>, binding: &Binding, span: &Span) -> Node {
    let tag = |text: &str| Some(Spanned::new(text.to_owned(), binding.span().clone()));
    let mut node = Node { annotation, name, entries: Vec::new(), children: None, span: span.clone() };
    match binding {
        Binding::Scalar { value, span, .. } => node.entries.push(Entry {
            name: None,
            annotation: None,
            value: value.clone(),
            value_span: span.clone(),
            span: span.clone(),
        }),
        Binding::List(items, _) => {
            let item =
                |one: &Binding| data(Spanned::new("-".to_owned(), one.span().clone()), None, one, one.span());
            node.annotation = tag("array");
            node.children = Some(items.iter().map(item).collect());
        }
        Binding::Map(fields, _) => {
            let field = |(name, one): (&String, &Binding)| {
                data(Spanned::new(name.clone(), one.span().clone()), None, one, one.span())
            };
            node.annotation = tag("object");
            node.children = Some(fields.iter().map(field).collect());
        }
    }
    node
}

fn is_marked(entry: &Entry) -> bool {
    entry.annotation.as_ref().is_some_and(|annotation| annotation.value == "$")
}

fn no_scalar(entry: &Entry, binding: &Binding) -> Diagnostic {
    Diagnostic::new(
        &code::WRONG_TYPE,
        format!("a single value stands here, and this is {}", binding.describe()),
    )
    .at(&entry.span, "")
    .at(binding.span(), "its value is this")
    .help("go over it with `for`")
}

fn shape_error(schema: &NodeSchema, node: &Node) -> Diagnostic {
    Diagnostic::new(&code::INVALID_CONTROL, format!("this `{}` is not well formed", schema.name))
        .at(&node.head(), "")
        .help(format!(
            "{} For example: `{}`",
            schema.doc,
            schema.example.lines().next().unwrap_or_default().trim_end_matches(" {")
        ))
}

fn schema_of(parent: Option<&'static NodeSchema>, name: &str) -> Option<&'static NodeSchema> {
    match parent?.children {
        Children::Nodes(nodes) => nodes.iter().find(|schema| schema.name == name).copied(),
        _ => None,
    }
}
