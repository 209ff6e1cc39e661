//! Kubernetes objects written as nodes: JSON-in-KDL 4.
//!
//! | node | JSON |
//! |---|---|
//! | one argument | the value itself |
//! | several arguments, or children that are all named `-`, or `(array)` | an array: arguments, then children |
//! | properties or other children, or `(object)` | an object: properties, then children by their names |

use kic_base::Span;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};
use serde_json::{Map, Number, Value as Json};

use crate::evaluate::is_marked;

/// The object that `node` (`object "GROUP/VERSION/KIND" name=… { … }`) stands for.
pub(crate) fn object(
    node: &Node,
    kind: &str,
    name: &str,
    namespace: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Json {
    let mut fields = Map::new();
    for child in node.children() {
        add_field(&mut fields, child, diagnostics);
    }
    let (api_version, kind) = kind.rsplit_once('/').unwrap_or(("v1", kind));
    for (field, value) in [("apiVersion", api_version), ("kind", kind)] {
        if fields.contains_key(field) {
            let child = node.children().iter().find(|child| child.name.value == field);
            diagnostics.push(
                Diagnostic::new(&code::INVALID_OBJECT, format!("`{field}` is said twice"))
                    .at(child.map_or(&node.span, |child| &child.span), "here")
                    .at(&node.head(), "and here")
                    .help("leave the inner one out: it follows from the kind"),
            );
        }
        fields.insert(field.to_owned(), Json::String(value.to_owned()));
    }
    let metadata = fields.entry("metadata").or_insert_with(|| Json::Object(Map::new()));
    match metadata {
        Json::Object(metadata) => {
            for (field, value) in [("name", Some(name)), ("namespace", namespace)] {
                let Some(value) = value else { continue };
                if metadata.insert(field.to_owned(), Json::String(value.to_owned())).is_some() {
                    diagnostics.push(
                        Diagnostic::new(&code::INVALID_OBJECT, format!("`metadata.{field}` is said twice"))
                            .at(&node.head(), "here, and inside `metadata`")
                            .help("keep one of the two"),
                    );
                }
            }
        }
        _ => {
            let child = node.children().iter().find(|child| child.name.value == "metadata");
            diagnostics.push(
                Diagnostic::new(&code::INVALID_OBJECT, "`metadata` must be an object")
                    .at(child.map_or(&node.span, |child| &child.span), "this is none")
                    .help("write `metadata { labels { app \"shop\"; }; }`"),
            );
        }
    }
    Json::Object(fields)
}

/// The map that the children of `node` (`values { … }`) stand for.
pub(crate) fn map(node: &Node, diagnostics: &mut Diagnostics) -> Json {
    let mut fields = Map::new();
    for child in node.children() {
        add_field(&mut fields, child, diagnostics);
    }
    Json::Object(fields)
}

fn add_field(fields: &mut Map<String, Json>, child: &Node, diagnostics: &mut Diagnostics) {
    let value = value(child, diagnostics);
    if fields.insert(child.name.value.clone(), value).is_some() {
        diagnostics.push(
            Diagnostic::new(&code::INVALID_OBJECT, format!("the field `{}` stands twice", child.name.value))
                .at(&child.name.span, "here again")
                .help("name the items of a list `-`"),
        );
    }
}

fn value(node: &Node, diagnostics: &mut Diagnostics) -> Json {
    let tag = node.annotation.as_ref().map(|tag| tag.value.as_str());
    let arguments: Vec<&Entry> = node.arguments().collect();
    let properties: Vec<&Entry> = node.properties().collect();
    let children = node.children();
    let items_only = !children.is_empty() && children.iter().all(|child| child.name.value == "-");
    let is_array = match tag {
        Some("array") => true,
        Some("object") => false,
        Some(other) => {
            let span = node.annotation.as_ref().map_or(&node.span, |tag| &tag.span);
            diagnostics.push(
                Diagnostic::new(
                    &code::UNKNOWN_ANNOTATION,
                    format!("the type annotation `({other})` means nothing here"),
                )
                .at(span, "")
                .help("the fields of an object take `(array)` and `(object)`"),
            );
            false
        }
        None => properties.is_empty() && (arguments.len() > 1 || items_only),
    };
    if is_array {
        if let Some(property) = properties.first() {
            diagnostics.push(mixed(&property.span, "an array has no properties"));
        }
        let mut items: Vec<Json> = arguments.iter().map(|entry| literal(entry, diagnostics)).collect();
        for child in children {
            if child.name.value != "-" {
                diagnostics.push(mixed(&child.name.span, "an item of an array is named `-`"));
            }
            items.push(value(child, diagnostics));
        }
        return Json::Array(items);
    }
    if tag == Some("object") || !properties.is_empty() || !children.is_empty() || node.children.is_some() {
        if let Some(argument) = arguments.first() {
            diagnostics
                .push(mixed(&argument.span, "an object has no arguments, and a value has nothing inside"));
        }
        let mut fields = Map::new();
        for property in properties {
            if let Some(name) = &property.name {
                fields.insert(name.value.clone(), literal(property, diagnostics));
            }
        }
        for child in children {
            add_field(&mut fields, child, diagnostics);
        }
        return Json::Object(fields);
    }
    match arguments.first() {
        Some(argument) => literal(argument, diagnostics),
        None => {
            diagnostics.push(
                Diagnostic::new(
                    &code::INVALID_OBJECT,
                    format!("the field `{}` has no value", node.name.value),
                )
                .at(&node.span, "")
                .help("give it one; for an empty list or map write `(array)` or `(object)` before its name"),
            );
            Json::Null
        }
    }
}

fn mixed(span: &Span, label: &str) -> Diagnostic {
    Diagnostic::new(&code::INVALID_OBJECT, "a field is a value, a list or a map")
        .at(span, label)
        .help("lists are arguments or nodes named `-`; maps are properties or named nodes")
}

fn literal(entry: &Entry, diagnostics: &mut Diagnostics) -> Json {
    // What is still marked has no known value, for a reason that has been reported.
    if is_marked(entry) {
        return Json::Null;
    }
    if let Some(annotation) = &entry.annotation {
        diagnostics.push(
            Diagnostic::new(
                &code::UNKNOWN_ANNOTATION,
                format!("the type annotation `({})` means nothing here", annotation.value),
            )
            .at(&annotation.span, "")
            .help("leave it out"),
        );
    }
    match &entry.value {
        Value::String(text) => Json::String(text.clone()),
        Value::Bool(bool) => Json::Bool(*bool),
        Value::Null => Json::Null,
        Value::Integer(number) => {
            let number = i64::try_from(*number)
                .map(Number::from)
                .or_else(|_| u64::try_from(*number).map(Number::from));
            match number {
                Ok(number) => Json::Number(number),
                Err(_) => {
                    diagnostics.push(
                        Diagnostic::new(&code::INVALID_OBJECT, "the number does not fit into 64 bits")
                            .at(&entry.value_span, "")
                            .help("Kubernetes keeps whole numbers in 64 bits; a longer one must be a text"),
                    );
                    Json::Null
                }
            }
        }
        Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None => {
                diagnostics.push(
                    Diagnostic::new(&code::INVALID_OBJECT, "JSON has no infinite numbers")
                        .at(&entry.value_span, "")
                        .help("write it as a text"),
                );
                Json::Null
            }
        },
    }
}
