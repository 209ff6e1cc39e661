//! Objects of one kind and name, said by several modules: their fields merge by name, lists append, and different
//! values are an error, unless one is marked: `(force)replicas 3`.

use std::collections::BTreeMap;

use kic_base::Spanned;
use kic_syntax::{Entry, Node, Value};

use super::Override;
use super::merge::{Merging, Weight, weight};
use super::merge_charts::{chart_key, merge_charts};

/// What tells two objects, or two charts, apart: kind, name and namespace. `None` for what is no whole one.
pub(super) fn object_key(node: &Node) -> Option<Vec<String>> {
    if node.name.value != "object" {
        return chart_key(node);
    }
    // One that is not well formed stays by itself, so that what is wrong with it is not lost.
    let is_known = |entry: &Entry| {
        entry.name.as_ref().is_some_and(|name| name.value == "name" || name.value == "namespace")
    };
    if node.arguments().count() != 1 || !node.properties().all(is_known) {
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

/// One object or chart of its parts, each with the instance that it came by; at least one.
pub(super) fn merge_objects(merging: &mut Merging<'_>, mut parts: Vec<(Node, usize)>) -> Node {
    if parts.len() == 1 {
        return parts.remove(0).0;
    }
    if parts[0].0.name.value == "chart" {
        return merge_charts(merging, parts);
    }
    let name = parts[0].0.property("name").map(|entry| entry.value_span.text().trim_matches('"').to_owned());
    let what = format!("of the object `{}`", name.unwrap_or_default());
    Fields { merging, what }.maps(parts, "")
}

pub(super) struct Fields<'a, 'b> {
    pub merging: &'a mut Merging<'b>,
    pub what: String,
}

#[derive(PartialEq)]
enum Shape {
    Scalar,
    List,
    Map,
}

impl Fields<'_, '_> {
    /// One map of several: its fields in the order in which they are first said.
    pub fn maps(&mut self, parts: Vec<(Node, usize)>, path: &str) -> Node {
        let mut whole: Option<Node> = None;
        let mut fields: Vec<Vec<(Node, usize)>> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for (mut node, instance) in parts {
            for field in node.children.take().into_iter().flatten() {
                match places.get(&field.name.value) {
                    // Said twice by one instance, it stays twice, for what comes later to report.
                    Some(place) if fields[*place].last().is_some_and(|(_, last)| *last != instance) => {
                        fields[*place].push((field, instance));
                    }
                    known => {
                        if known.is_none() {
                            places.insert(field.name.value.clone(), fields.len());
                        }
                        fields.push(vec![(field, instance)]);
                    }
                }
            }
            whole.get_or_insert(node);
        }
        let merged = fields.into_iter().map(|parts| {
            let name = parts.first().map(|(node, _)| node.name.value.clone()).unwrap_or_default();
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            self.values(parts, &path)
        });
        let children: Vec<Node> = merged.flatten().collect();
        // There is at least one part.
        let mut whole = whole.unwrap_or_else(|| children[0].clone());
        whole.children = Some(children);
        whole
    }

    /// One value of several for the field at `path`.
    fn values(&mut self, mut parts: Vec<(Node, usize)>, path: &str) -> Option<Node> {
        if parts.len() == 1 {
            return parts.pop().map(|(node, _)| node);
        }
        let of = |node: &Node| weight(node.annotation.as_ref()).unwrap_or(Weight::Plain);
        let heaviest = parts.iter().map(|(node, _)| of(node)).max()?;
        let kept = parts.iter().find(|(node, _)| of(node) == heaviest)?.0.head();
        for (lighter, _) in parts.iter().filter(|(node, _)| of(node) < heaviest) {
            self.merging.overrides.push(Override { kept: kept.clone(), instead_of: lighter.head() });
        }
        parts.retain(|(node, _)| of(node) == heaviest);
        if parts.len() == 1 {
            return parts.pop().map(|(node, _)| node);
        }
        let first_shape = shape(&parts[0].0);
        let same_shape = parts.iter().all(|(node, _)| shape(node) == first_shape);
        match first_shape {
            Shape::Map if same_shape => {
                let parts = parts.into_iter().map(|(node, instance)| (as_map(node), instance)).collect();
                Some(self.maps(parts, path))
            }
            Shape::List if same_shape => {
                let mut lists = parts.into_iter().map(|(node, _)| as_list(node));
                let mut whole = lists.next()?;
                whole
                    .children
                    .get_or_insert_default()
                    .extend(lists.flat_map(|list| list.children.unwrap_or_default()));
                Some(whole)
            }
            _ => {
                let value = |node: &Node| node.arguments().next().map(|entry| entry.value.clone());
                let (first, instance) = &parts[0];
                let differs = |other: &&(Node, usize)| {
                    !same_shape && shape(&other.0) != first_shape || value(&other.0) != value(first)
                };
                if let Some((other, second)) = parts.iter().find(differs) {
                    let what = format!("`{path}` {}", self.what);
                    self.merging.conflict(
                        &what,
                        (&first.head(), *instance),
                        (&other.head(), *second),
                        heaviest,
                    );
                }
                parts.into_iter().next().map(|(node, _)| node)
            }
        }
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
