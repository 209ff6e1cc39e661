//! Objects of one kind and name, said by several modules: their fields merge by name, lists append, and different
//! values are an error, unless one is marked: `(force)replicas 3`.

use std::collections::BTreeMap;

use kic_base::Spanned;
use kic_syntax::{Entry, Node, Value};

use super::Override;
use super::merge::{Merging, Weight, weight};

/// What tells two objects apart: kind, name and namespace. `None` for what is no whole object.
pub(super) fn object_key(node: &Node) -> Option<Vec<String>> {
    if node.name.value != "object" {
        return None;
    }
    let text = |entry: &Entry| match &entry.value {
        Value::String(text) if entry.annotation.is_none() => Some(text.clone()),
        _ => None,
    };
    let kind = node.arguments().next().and_then(text)?;
    let name = node.property("name").and_then(text)?;
    let namespace = match node.property("namespace") {
        Some(entry) => text(entry)?,
        None => String::new(),
    };
    Some(vec![kind, name, namespace])
}

/// Adds the fields of `other` to those of `object`; each comes with its instance.
pub(super) fn merge_objects(merging: &mut Merging<'_>, object: (&mut Node, usize), other: (Node, usize)) {
    let (into, first) = object;
    let (other, second) = other;
    let name = into.property("name").map(|entry| entry.value_span.text().trim_matches('"').to_owned());
    let what = format!("of the object `{}`", name.unwrap_or_default());
    let mut fields = Fields { merging, what, first, second };
    fields.maps(into, other, "");
}

struct Fields<'a, 'b> {
    merging: &'a mut Merging<'b>,
    what: String,
    first: usize,
    second: usize,
}

#[derive(PartialEq)]
enum Shape {
    Scalar,
    List,
    Map,
}

impl Fields<'_, '_> {
    /// Adds what `other` holds to `into`; both are maps, or objects themselves.
    fn maps(&mut self, into: &mut Node, other: Node, path: &str) {
        let own = into.children.get_or_insert_default();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (index, child) in own.iter().enumerate() {
            places.entry(child.name.value.clone()).or_insert(index);
        }
        for child in other.children.into_iter().flatten() {
            match places.get(&child.name.value) {
                None => {
                    // One that is said twice by the other stays twice, for decoding to report.
                    own.push(child);
                }
                Some(index) => {
                    let path = if path.is_empty() {
                        child.name.value.clone()
                    } else {
                        format!("{path}.{}", child.name.value)
                    };
                    self.values(&mut own[*index], child, &path);
                }
            }
        }
    }

    fn values(&mut self, into: &mut Node, other: Node, path: &str) {
        let of = |node: &Node| weight(node.annotation.as_ref()).unwrap_or(Weight::Plain);
        let (own_weight, other_weight) = (of(into), of(&other));
        if own_weight != other_weight {
            let (kept, instead_of) =
                if own_weight > other_weight { (&*into, &other) } else { (&other, &*into) };
            self.merging.overrides.push(Override { kept: kept.head(), instead_of: instead_of.head() });
            if other_weight > own_weight {
                *into = other;
            }
            return;
        }
        match (shape(into), shape(&other)) {
            (Shape::Map, Shape::Map) => {
                let other = as_map(other);
                let own = as_map(into.clone());
                *into = own;
                self.maps(into, other, path);
            }
            (Shape::List, Shape::List) => {
                let mut own = as_list(into.clone());
                own.children.get_or_insert_default().extend(as_list(other).children.into_iter().flatten());
                *into = own;
            }
            (Shape::Scalar, Shape::Scalar) => {
                let value = |node: &Node| node.arguments().next().map(|entry| entry.value.clone());
                if value(into) != value(&other) {
                    self.conflict(into, &other, path, own_weight);
                }
            }
            _ => self.conflict(into, &other, path, own_weight),
        }
    }

    fn conflict(&mut self, into: &Node, other: &Node, path: &str, weight: Weight) {
        let what = format!("`{path}` {}", self.what);
        self.merging.conflict(&what, (&into.head(), self.first), (&other.head(), self.second), weight);
    }
}

fn shape(node: &Node) -> Shape {
    let tag = node.annotation.as_ref().map(|tag| tag.value.as_str());
    let children = node.children();
    let items_only = !children.is_empty() && children.iter().all(|child| child.name.value == "-");
    let has_properties = node.properties().next().is_some();
    if tag == Some("array")
        || (tag != Some("object") && !has_properties && (node.arguments().count() > 1 || items_only))
    {
        Shape::List
    } else if tag == Some("object") || has_properties || node.children.is_some() {
        Shape::Map
    } else {
        Shape::Scalar
    }
}

/// The same map with every property as a child.
fn as_map(mut node: Node) -> Node {
    let entries = std::mem::take(&mut node.entries);
    let (properties, arguments): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.name.is_some());
    node.entries = arguments;
    let mut fields: Vec<Node> = properties.into_iter().filter_map(field).collect();
    fields.append(node.children.get_or_insert_default());
    node.children = Some(fields);
    node.annotation = Some(Spanned::new("object".to_owned(), node.name.span.clone()));
    node
}

fn field(entry: Entry) -> Option<Node> {
    let name = entry.name?;
    // A mark for a value, such as `($)`, stays with the value; a weight is the field's.
    let (annotation, own) = match weight(entry.annotation.as_ref()) {
        Some(_) => (entry.annotation, None),
        None => (None, entry.annotation),
    };
    let span = entry.span.clone();
    let value = Entry {
        name: None,
        annotation: own,
        value: entry.value,
        value_span: entry.value_span,
        span: entry.span,
    };
    Some(Node { annotation, name, entries: vec![value], children: None, span })
}

/// The same list with every item as a child.
fn as_list(mut node: Node) -> Node {
    let item = |entry: Entry| Node {
        annotation: None,
        name: Spanned::new("-".to_owned(), entry.span.clone()),
        span: entry.span.clone(),
        children: None,
        entries: vec![entry],
    };
    let (arguments, others): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(&mut node.entries).into_iter().partition(|entry| entry.name.is_none());
    node.entries = others;
    let mut items: Vec<Node> = arguments.into_iter().map(item).collect();
    items.append(node.children.get_or_insert_default());
    node.children = Some(items);
    node.annotation = Some(Spanned::new("array".to_owned(), node.name.span.clone()));
    node
}
