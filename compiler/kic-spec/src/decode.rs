//! Holds a tree against the schema: every unknown, missing, doubled or ill-typed thing is a diagnostic, all of
//! them in one pass, and what is left is known to have the declared shape.

use std::path::PathBuf;

use kic_base::{Digest, ImageReference, Platform, Span, Spanned, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node};

use crate::evaluate::is_marked;
use crate::image_source::ImageSource;
use crate::nodes;
use crate::schema::{Children, Count, NodeSchema, Occurs};
use crate::value::{self, Typed};

/// A node that has been held against its schema. What was wrong is left out.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    pub schema: &'static NodeSchema,
    pub node: &'a Node,
    /// The values of each declared argument, in order.
    arguments: Vec<Vec<Spanned<Typed>>>,
    properties: Vec<(&'static str, Spanned<Typed>)>,
    pub children: Vec<Decoded<'a>>,
}

/// Decodes `node`, whose name is that of `schema`.
pub(crate) fn decode<'a>(
    node: &'a Node,
    schema: &'static NodeSchema,
    diagnostics: &mut Diagnostics,
) -> Decoded<'a> {
    if let Some(annotation) = &node.annotation {
        diagnostics.push(unknown_annotation(annotation));
    }
    // In a flood of errors, there is no use in looking for more.
    if diagnostics.are_full() {
        return Decoded { schema, node, arguments: Vec::new(), properties: Vec::new(), children: Vec::new() };
    }
    let arguments = decode_arguments(node, schema, diagnostics);
    let properties = decode_properties(node, schema, diagnostics);
    let children = decode_children(node, schema, diagnostics);
    Decoded { schema, node, arguments, properties, children }
}

pub(crate) fn unknown_annotation(annotation: &Spanned<String>) -> Diagnostic {
    let help = match annotation.value.as_str() {
        "default" | "force" => {
            "a weight belongs to a node that stands directly in a spec or module, to a property of one, or to a field of an object"
        }
        "$" => "only the values of arguments and properties are marked",
        _ => "leave it out",
    };
    Diagnostic::new(
        &code::UNKNOWN_ANNOTATION,
        format!("the type annotation `({})` means nothing here", annotation.value),
    )
    .at(&annotation.span, "this one")
    .help(help)
}

fn decode_value(
    entry: &Entry,
    wanted: crate::schema::Type,
    diagnostics: &mut Diagnostics,
) -> Option<Spanned<Typed>> {
    // What is still marked has no known value, for a reason that has been reported.
    if is_marked(entry) {
        return None;
    }
    if let Some(annotation) = &entry.annotation {
        diagnostics.push(unknown_annotation(annotation));
    }
    match value::read(&entry.value, wanted, &entry.value_span) {
        Ok(typed) => Some(Spanned::new(typed, entry.value_span.clone())),
        Err(diagnostic) => {
            diagnostics.push(if is_within(&entry.value_span, &entry.span) {
                diagnostic
            } else {
                // The value came by a name.
                diagnostic.at(&entry.span, "used here")
            });
            None
        }
    }
}

pub(crate) fn is_within(inner: &Span, outer: &Span) -> bool {
    inner.source() == outer.source()
        && outer.range().start <= inner.range().start
        && inner.range().end <= outer.range().end
}

fn decode_arguments(
    node: &Node,
    schema: &'static NodeSchema,
    diagnostics: &mut Diagnostics,
) -> Vec<Vec<Spanned<Typed>>> {
    let mut given = node.arguments().peekable();
    let mut decoded = Vec::new();
    for argument in schema.arguments {
        let mut values = Vec::new();
        if matches!(argument.count, Count::One | Count::Some) && given.peek().is_none() {
            diagnostics.push(
                Diagnostic::new(
                    &code::MISSING_ARGUMENT,
                    format!("`{}` needs {}", schema.name, argument.value.describe()),
                )
                .at(&node.name.span, format!("{} is missing", argument.name))
                .help(format!(
                    "{} For example: `{}`",
                    argument.doc,
                    first_line(schema.example)
                )),
            );
        }
        let take = if matches!(argument.count, Count::Some | Count::Any) { usize::MAX } else { 1 };
        for entry in given.by_ref().take(take) {
            values.extend(decode_value(entry, argument.value, diagnostics));
        }
        decoded.push(values);
    }
    for entry in given {
        let help = match schema.arguments {
            [] if !schema.properties.is_empty() => {
                closest(entry.value_span.text(), schema.properties.iter().map(|p| p.name))
                    .map(|name| format!("did you mean the property `{name}=…`?"))
            }
            _ => None,
        };
        let takes = match schema.arguments.len() {
            0 => "takes no arguments".to_owned(),
            1 => "takes one argument".to_owned(),
            count => format!("takes {count} arguments"),
        };
        diagnostics.push(
            Diagnostic::new(&code::UNEXPECTED_ARGUMENT, format!("`{}` {takes}", schema.name))
                .at(&entry.span, "this one is too many")
                .help(help.unwrap_or_else(|| format!("for example: `{}`", first_line(schema.example)))),
        );
    }
    decoded
}

fn decode_properties(
    node: &Node,
    schema: &'static NodeSchema,
    diagnostics: &mut Diagnostics,
) -> Vec<(&'static str, Spanned<Typed>)> {
    let mut decoded = Vec::new();
    for entry in node.properties() {
        let Some(name) = &entry.name else { continue };
        match schema.properties.iter().find(|property| property.name == name.value) {
            Some(property) => {
                decoded.extend(
                    decode_value(entry, property.value, diagnostics).map(|value| (property.name, value)),
                );
            }
            None => diagnostics.push(unknown_property(schema, name)),
        }
    }
    for property in schema.properties {
        let is_said = |entry: &Entry| entry.name.as_ref().is_some_and(|name| name.value == property.name);
        if let Some(default) = property.default
            && !node.properties().any(is_said)
        {
            let span = node.head();
            let value = value::read(&default.value(), property.value, &span);
            decoded.extend(value.map(|value| (property.name, Spanned::new(value, span))));
        }
    }
    // A misspelt property is reported as such, and not again as a missing one.
    let known = || schema.properties.iter().map(|property| property.name);
    let is_meant = |name: &str| {
        node.properties().any(|entry| {
            entry
                .name
                .as_ref()
                .is_some_and(|own| own.value == name || closest(&own.value, known()) == Some(name))
        })
    };
    for property in schema.properties.iter().filter(|property| property.required) {
        if !is_meant(property.name) {
            diagnostics.push(
                Diagnostic::new(
                    &code::MISSING_PROPERTY,
                    format!("`{}` needs the property `{}`", schema.name, property.name),
                )
                .at(&node.head(), format!("`{}=` is missing", property.name))
                .help(format!(
                    "{} For example: `{}`",
                    property.doc,
                    first_line(schema.example)
                )),
            );
        }
    }
    decoded
}

fn unknown_property(schema: &NodeSchema, name: &Spanned<String>) -> Diagnostic {
    let known = || schema.properties.iter().map(|property| property.name);
    let child = match schema.children {
        Children::Nodes(nodes) => nodes.iter().find(|node| node.name == name.value),
        _ => None,
    };
    let help = if let Some(close) = closest(&name.value, known()) {
        format!("did you mean `{close}`?")
    } else if let Some(child) = child {
        format!("`{}` is a node that stands inside: `{}`", child.name, first_line(child.example))
    } else if schema.properties.is_empty() {
        format!("`{}` has no properties", schema.name)
    } else {
        format!("`{}` has {}", schema.name, list(known()))
    };
    Diagnostic::new(&code::UNKNOWN_PROPERTY, format!("`{}` has no property `{}`", schema.name, name.value))
        .at(&name.span, "unknown property")
        .help(help)
}

fn decode_children<'a>(
    node: &'a Node,
    schema: &'static NodeSchema,
    diagnostics: &mut Diagnostics,
) -> Vec<Decoded<'a>> {
    let allowed = match schema.children {
        Children::Data => return Vec::new(),
        Children::None => {
            if let Some(child) = node.children.as_ref().and_then(|children| children.first()) {
                diagnostics.push(
                    Diagnostic::new(
                        &code::UNEXPECTED_CHILDREN,
                        format!("`{}` has no nodes inside", schema.name),
                    )
                    .at(&child.name.span, "")
                    .help(format!("for example: `{}`", first_line(schema.example))),
                );
            }
            return Vec::new();
        }
        Children::Nodes(allowed) => allowed,
    };
    let mut decoded: Vec<Decoded<'a>> = Vec::new();
    for child in node.children() {
        if diagnostics.are_full() {
            break;
        }
        let Some(child_schema) = allowed.iter().find(|schema| schema.name == child.name.value) else {
            diagnostics.push(unknown_node(schema, allowed, child));
            continue;
        };
        if child_schema.occurs != Occurs::Many
            && let Some(first) = decoded.iter().find(|sibling| sibling.schema.name == child_schema.name)
        {
            diagnostics.push(
                Diagnostic::new(
                    &code::DUPLICATE_NODE,
                    format!("`{}` stands twice in `{}`", child_schema.name, schema.name),
                )
                .at(&child.head(), "here again")
                .at(&first.node.head(), "first here")
                .help("keep one of the two"),
            );
            continue;
        }
        decoded.push(decode(child, child_schema, diagnostics));
    }
    for wanted in allowed.iter().filter(|wanted| wanted.occurs == Occurs::Once) {
        let is_meant = |child: &Node| {
            child.name.value == wanted.name
                || closest(&child.name.value, allowed.iter().map(|schema| schema.name)) == Some(wanted.name)
        };
        if !node.children().iter().any(is_meant) {
            diagnostics.push(
                Diagnostic::new(
                    &code::MISSING_NODE,
                    format!("`{}` needs a `{}` node", schema.name, wanted.name),
                )
                .at(&node.head(), format!("`{}` is missing inside", wanted.name))
                .help(format!(
                    "{} For example: `{}`",
                    wanted.doc,
                    first_line(wanted.example)
                )),
            );
        }
    }
    decoded
}

/// Holds nodes that are left open in parts against what may stand in `parent`, whatever else stands there.
pub(crate) fn check_nodes(nodes: &[Node], parent: &'static NodeSchema, diagnostics: &mut Diagnostics) {
    let Children::Nodes(allowed) = parent.children else { return };
    for node in nodes {
        match allowed.iter().find(|schema| schema.name == node.name.value) {
            Some(schema) => drop(decode(node, schema, diagnostics)),
            None => diagnostics.push(unknown_node(parent, allowed, node)),
        }
    }
}

fn unknown_node(parent: &NodeSchema, allowed: &[&'static NodeSchema], child: &Node) -> Diagnostic {
    let name = child.name.value.as_str();
    let is_top = std::ptr::eq(parent, &nodes::CLUSTER);
    let names = || allowed.iter().map(|schema| schema.name);
    let control = || {
        let everywhere =
            |schema: &&NodeSchema| is_top || ["let", "when", "for", "fail"].contains(&schema.name);
        nodes::CONTROL
            .iter()
            .copied()
            .filter(everywhere)
            .map(|schema| schema.name)
            .filter(|name| !["module", "example"].contains(name))
    };
    let property = parent.properties.iter().find(|property| property.name == name);
    let help = if !is_top && ["use", "param", "doc", "example"].contains(&name) {
        format!("`{name}` stands beside the layers, directly in the spec or module")
    } else if let Some(close) = closest(name, names().chain(control())) {
        format!("did you mean `{close}`?")
    } else if let Some(property) = property {
        format!("`{0}` is a property of `{1}`: write `{0}=…` behind its name", property.name, parent.name)
    } else if name == "module" {
        "a module stands in a file of its own, and `use` puts it here".to_owned()
    } else if is_top {
        let others = names().chain(control()).collect::<Vec<_>>();
        format!("`cluster` holds {}", list(others.into_iter()))
    } else {
        match nodes::parent_of(name) {
            Some(other) if other.name != parent.name => {
                format!("`{name}` stands in `{}`; `{}` holds {}", other.name, parent.name, list(names()))
            }
            _ => format!("`{}` holds {}", parent.name, list(names())),
        }
    };
    Diagnostic::new(&code::UNKNOWN_NODE, format!("`{}` has no node `{name}`", parent.name))
        .at(&child.name.span, "unknown node")
        .help(help)
}

/// `` `a`, `b` and `c` ``
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

fn first_line(example: &str) -> &str {
    example.lines().next().unwrap_or(example).trim_end_matches(" {")
}

/// Typed access to what was decoded, or to its declared default; `None` where it was absent without one, or wrong and
/// reported.
impl Decoded<'_> {
    fn property(&self, name: &str) -> Option<&Spanned<Typed>> {
        self.properties.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn argument(&self, index: usize) -> Option<&Spanned<Typed>> {
        self.arguments.get(index).and_then(|values| values.first())
    }

    fn arguments(&self, index: usize) -> &[Spanned<Typed>] {
        self.arguments.get(index).map_or(&[], Vec::as_slice)
    }

    pub fn span(&self) -> &Span {
        &self.node.span
    }

    pub fn children_named(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.schema.name == name)
    }

    pub fn text(&self, index: usize) -> Option<Spanned<String>> {
        self.argument(index).and_then(as_text)
    }

    pub fn texts(&self, index: usize) -> Vec<Spanned<String>> {
        self.arguments(index).iter().filter_map(as_text).collect()
    }

    pub fn text_property(&self, name: &str) -> Option<Spanned<String>> {
        self.property(name).and_then(as_text)
    }

    pub fn path(&self, index: usize) -> Option<Spanned<PathBuf>> {
        self.argument(index).and_then(as_path)
    }

    pub fn paths(&self, index: usize) -> Vec<Spanned<PathBuf>> {
        self.arguments(index).iter().filter_map(as_path).collect()
    }

    pub fn path_property(&self, name: &str) -> Option<Spanned<PathBuf>> {
        self.property(name).and_then(as_path)
    }

    pub fn image(&self, index: usize) -> Option<Spanned<ImageSource>> {
        self.argument(index).and_then(|value| match &value.value {
            Typed::Image(image) => Some(Spanned::new(image.clone(), value.span.clone())),
            _ => None,
        })
    }

    pub fn references(&self, index: usize) -> Vec<Spanned<ImageReference>> {
        self.arguments(index).iter().filter_map(as_reference).collect()
    }

    pub fn reference_property(&self, name: &str) -> Option<Spanned<ImageReference>> {
        self.property(name).and_then(as_reference)
    }

    pub fn platforms(&self, index: usize) -> Vec<Spanned<Platform>> {
        let platform = |value: &Spanned<Typed>| match &value.value {
            Typed::Platform(platform) => Some(Spanned::new(platform.clone(), value.span.clone())),
            _ => None,
        };
        self.arguments(index).iter().filter_map(platform).collect()
    }

    pub fn image_path(&self, index: usize) -> Option<Spanned<String>> {
        self.argument(index).and_then(as_image_path)
    }

    pub fn image_path_property(&self, name: &str) -> Option<Spanned<String>> {
        self.property(name).and_then(as_image_path)
    }

    pub fn checksum_property(&self, name: &str) -> Option<Spanned<Digest>> {
        self.property(name).and_then(|value| match value.value {
            Typed::Checksum(digest) => Some(Spanned::new(digest, value.span.clone())),
            _ => None,
        })
    }

    pub fn mode_property(&self) -> Option<u32> {
        self.property("mode").and_then(|value| match value.value {
            Typed::Mode(mode) => Some(mode),
            _ => None,
        })
    }

    pub fn seconds_property(&self, name: &str) -> Option<u32> {
        self.property(name).and_then(|value| match value.value {
            Typed::Seconds(seconds) => Some(seconds),
            _ => None,
        })
    }

    pub fn number_property(&self, name: &str) -> Option<u32> {
        self.property(name).and_then(|value| match value.value {
            Typed::Number(number) => Some(number),
            _ => None,
        })
    }

    pub fn bool_property(&self, name: &str) -> Option<bool> {
        self.property(name).and_then(|value| match value.value {
            Typed::Bool(bool) => Some(bool),
            _ => None,
        })
    }
}

fn as_text(value: &Spanned<Typed>) -> Option<Spanned<String>> {
    match &value.value {
        Typed::Text(text) => Some(Spanned::new(text.clone(), value.span.clone())),
        _ => None,
    }
}

fn as_path(value: &Spanned<Typed>) -> Option<Spanned<PathBuf>> {
    match &value.value {
        Typed::Path(path) => Some(Spanned::new(path.clone(), value.span.clone())),
        _ => None,
    }
}

fn as_image_path(value: &Spanned<Typed>) -> Option<Spanned<String>> {
    match &value.value {
        Typed::ImagePath(path) => Some(Spanned::new(path.clone(), value.span.clone())),
        _ => None,
    }
}

fn as_reference(value: &Spanned<Typed>) -> Option<Spanned<ImageReference>> {
    match &value.value {
        Typed::Reference(reference) => Some(Spanned::new(reference.clone(), value.span.clone())),
        _ => None,
    }
}
