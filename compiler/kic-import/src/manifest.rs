//! Kubernetes manifests as `object` nodes: JSON-in-KDL, as `object` reads it.
//!
//! | YAML | KDL |
//! |---|---|
//! | a scalar | one argument |
//! | a list of scalars that fits on a line | several arguments; `(array)` where there are fewer than two |
//! | another list | nodes named `-` |
//! | a short map of scalars, `labels` or an item of a list | properties |
//! | another map | nodes named as its keys; `(object)` where it is empty |

use std::collections::BTreeSet;

use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_manifest::{Object, Yaml, YamlError, YamlValue, read};
use kic_spec::is_name;
use kic_syntax::{Plain, Value, parse};

/// What fits on one line behind the name of a node, in characters.
const LINE: usize = 80;

/// What stands around the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping<'a> {
    /// Nothing: they are to be put into a `manifests` layer.
    None,
    /// A module of that name, with a layer of that name, to be used as it is.
    Module(&'a str),
}

/// The objects of a manifest as KDL, formatted, in the order of the text.
///
/// # Errors
/// `invalid-yaml` for what is no YAML, `invalid-object` for an object that `object` cannot stand for. All of them are
/// told.
pub fn manifest(source: &Source, wrapping: Wrapping<'_>) -> Result<String, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let (objects, errors) = read(source);
    diagnostics.extend(errors.into_iter().map(invalid_yaml));
    let mut nodes = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for object in &objects {
        let Some(node) = node(object, &mut diagnostics) else { continue };
        if !seen.insert(format!("{:?} {:?}", node.arguments, node.properties)) {
            diagnostics.push(
                Diagnostic::new(&code::INVALID_OBJECT, format!("`{}` stands twice", object.title()))
                    .at(&object.span, "here again")
                    .help("keep one of the two: the later one would replace the other"),
            );
        }
        nodes.push(node);
    }
    if objects.is_empty() && !diagnostics.has_errors() {
        diagnostics.push(
            Diagnostic::new(&code::INVALID_OBJECT, format!("`{}` holds no object", source.name()))
                .at(&source.span(0..0), "every document is empty")
                .help("give a file with Kubernetes objects"),
        );
    }
    let text = match wrapping {
        Wrapping::None => nodes.iter().map(Plain::to_readable).collect::<Vec<_>>().join("\n"),
        Wrapping::Module(name) => {
            let layer = Plain::new("manifests").argument(name).children(nodes);
            Plain::new("module").argument(name).child(layer).to_readable()
        }
    };
    // Whatever KDL has a bound to is told here, and not when the text is used.
    let (_, said) = parse(&Source::new(source.name(), text.as_str()));
    if !diagnostics.has_errors() && said.has_errors() {
        let message = said.iter().next().map_or_else(String::new, |one| one.message.clone());
        diagnostics.push(
            Diagnostic::new(
                &code::INVALID_OBJECT,
                format!("this manifest cannot be written as KDL: {message}"),
            )
            .at(&source.span(0..0), "in this file")
            .help("keep it as it is, and name it: `file \"…\"`"),
        );
    }
    diagnostics.or(text).map(|(text, _)| text)
}

fn invalid_yaml(error: YamlError) -> Diagnostic {
    let mut diagnostic = Diagnostic::new(&code::INVALID_YAML, error.message).at(&error.span, "here");
    if let Some(first) = &error.first {
        diagnostic = diagnostic.at(first, "first here");
    }
    match error.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic.help("mend the manifest: it is read as Kubernetes reads it"),
    }
}

fn node(object: &Object, diagnostics: &mut Diagnostics) -> Option<Plain> {
    let mut wrong = |message: String, help: &str| {
        diagnostics
            .push(Diagnostic::new(&code::INVALID_OBJECT, message).at(&object.span, "this object").help(help));
    };
    let kind = format!("{}/{}", object.api_version, object.kind);
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    };
    // `v1` and `a/b` read together as the version `v1/a` of `b`, which is another object.
    let is_version = object.api_version.split('/').count() <= 2 && object.api_version.split('/').all(is_word);
    if !is_version || !is_word(&object.kind) {
        wrong(
            format!("`{kind}` is no kind"),
            "write `apiVersion` as `VERSION` or `GROUP/VERSION`, and `kind` as one word",
        );
        return None;
    }
    let metadata = object.root.get("metadata");
    let name = metadata.and_then(|metadata| metadata.get("name")).and_then(Yaml::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let is_generated = metadata.is_some_and(|metadata| metadata.get("generateName").is_some());
        wrong(
            format!("this {} has no name", object.kind),
            if is_generated {
                "with `generateName` each start would make another one: give it a `metadata.name`, or create it by a command: `run \"kubectl create -f …\"`"
            } else {
                "give it a `metadata.name` that is a text"
            },
        );
        return None;
    };
    let namespace = metadata.and_then(|metadata| metadata.get("namespace")).and_then(Yaml::as_str);
    let namespace = namespace.filter(|namespace| is_name(namespace));
    let mut node = Plain::new("object").argument(kind).property("name", name);
    if let Some(namespace) = namespace {
        node = node.property("namespace", namespace);
    }
    for (key, value) in object.root.entries() {
        let field = match key.key().as_ref() {
            "apiVersion" | "kind" => continue,
            "metadata" => {
                let is_said = |key: &str| key == "name" || (key == "namespace" && namespace.is_some());
                let rest: Vec<&(Yaml, Yaml)> =
                    value.entries().iter().filter(|(key, _)| !is_said(&key.key())).collect();
                if rest.is_empty() {
                    continue;
                }
                map("metadata", &rest, false)
            }
            key => field(key, value, false),
        };
        node = node.child(field);
    }
    Some(node)
}

/// The node of a field, or of an item of a list.
fn field(name: &str, yaml: &Yaml, is_item: bool) -> Plain {
    match &yaml.value {
        YamlValue::Sequence(items) => list(name, items),
        YamlValue::Mapping(entries) => {
            map(name, &entries.iter().collect::<Vec<_>>(), is_item || name == "labels")
        }
        _ => Plain::new(name).argument(scalar(yaml).unwrap_or(Value::Null)),
    }
}

fn list(name: &str, items: &[Yaml]) -> Plain {
    let scalars: Option<Vec<Value>> = items.iter().map(scalar).collect();
    let node = Plain::new(name);
    match scalars {
        Some(scalars) if scalars.iter().all(is_short) && width(scalars.iter()) <= LINE => {
            let node = if scalars.len() < 2 { node.annotation("array") } else { node };
            scalars.into_iter().fold(node, Plain::argument)
        }
        _ => node.children(items.iter().map(|item| field("-", item, true))),
    }
}

fn map(name: &str, entries: &[&(Yaml, Yaml)], is_compact: bool) -> Plain {
    let node = Plain::new(name);
    // Nodes that are all named `-` would be a list.
    let is_ambiguous = entries.iter().all(|(key, _)| key.key() == "-");
    let node = if is_ambiguous { node.annotation("object") } else { node };
    let scalars: Option<Vec<Value>> = entries.iter().map(|(_, value)| scalar(value)).collect();
    let names: usize = entries.iter().map(|(key, _)| key.key().chars().count() + 2).sum();
    match scalars {
        Some(scalars)
            if is_compact
                && !is_ambiguous
                && scalars.iter().all(is_short)
                && names + width(scalars.iter()) <= LINE =>
        {
            entries.iter().zip(scalars).fold(node, |node, ((key, _), value)| node.property(key.key(), value))
        }
        _ => entries.iter().fold(node, |node, (key, value)| node.child(field(&key.key(), value, false))),
    }
}

/// The value of a scalar, as JSON would have it; `None` for a list or map.
fn scalar(yaml: &Yaml) -> Option<Value> {
    Some(match &yaml.value {
        YamlValue::Null => Value::Null,
        YamlValue::Bool(bool) => Value::Bool(*bool),
        YamlValue::Integer(number) if i64::try_from(*number).is_ok() || u64::try_from(*number).is_ok() => {
            Value::Integer(*number)
        }
        YamlValue::Float(number) if number.is_finite() => Value::Float(*number),
        // JSON has no such numbers.
        YamlValue::Integer(number) => Value::String(number.to_string()),
        YamlValue::Float(number) => Value::String(number.to_string()),
        YamlValue::String(text) => Value::String(text.clone()),
        YamlValue::Sequence(_) | YamlValue::Mapping(_) => return None,
    })
}

/// Whether a value may stand beside others on a line.
fn is_short(value: &Value) -> bool {
    !matches!(value, Value::String(text) if text.contains('\n'))
}

fn width<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    values.map(|value| value.to_string().chars().count() + 1).sum()
}
