//! One chart that several modules say: its properties are values, its inline `values` merge by their fields, and what
//! else stands inside is appended.

use kic_base::Span;
use kic_syntax::{Entry, Node, Value};

use super::merge::Merging;
use super::merge_data::Fields;

/// What tells two charts apart: where each is from, its release and namespace. `None` for what is no whole chart.
pub(super) fn chart_key(node: &Node) -> Option<Vec<String>> {
    if node.name.value != "chart" || node.arguments().count() != 1 {
        return None;
    }
    let text = |entry: &Entry| match &entry.value {
        Value::String(text) if entry.annotation.is_none() => Some(text.clone()),
        _ => None,
    };
    let argument = node.arguments().next()?;
    let source = text(argument)?;
    let property = |name: &str| match node.property(name) {
        Some(entry) => text(entry),
        None => Some(String::new()),
    };
    let repo = property("repo")?;
    // A path is relative to the file that says it.
    let file =
        if repo.is_empty() && !source.contains("://") { folder(&argument.value_span) } else { String::new() };
    Some(vec!["chart".to_owned(), file, repo, source, property("name")?, property("namespace")?])
}

fn folder(span: &Span) -> String {
    let name = span.source().name();
    name.rfind('/').map_or_else(String::new, |end| name[..end].to_owned())
}

/// One chart of its parts, each with the instance that it came by; at least one.
pub(super) fn merge_charts(merging: &mut Merging<'_>, mut parts: Vec<(Node, usize)>) -> Node {
    let (mut whole, first_instance) = parts.remove(0);
    let mut values: Vec<(Node, usize)> = Vec::new();
    let mut others: Vec<Node> = Vec::new();
    let mut sort = |children: Option<Vec<Node>>, instance: usize| {
        for child in children.into_iter().flatten() {
            if child.name.value == "values" && child.entries.is_empty() && child.children.is_some() {
                values.push((child, instance));
            } else {
                others.push(child);
            }
        }
    };
    sort(whole.children.take(), first_instance);
    for (mut part, instance) in parts {
        sort(part.children.take(), instance);
        for entry in part.entries.into_iter().filter(|entry| entry.name.is_some()) {
            let name = entry.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
            match whole.property(&name) {
                None => whole.entries.push(entry),
                Some(own) if own.value == entry.value => {}
                Some(own) => {
                    let own = own.span.clone();
                    merging.conflict(
                        &format!("`{name}` of `chart`"),
                        (&own, first_instance),
                        (&entry.span, instance),
                        super::merge::Weight::Plain,
                    );
                }
            }
        }
    }
    let mut children = others;
    if !values.is_empty() {
        let what = "of the values of the chart".to_owned();
        children.push(Fields { merging, what }.maps(values, ""));
    }
    whole.children = (!children.is_empty()).then_some(children);
    whole
}
