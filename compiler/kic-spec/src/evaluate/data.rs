//! Values in the data of an `object` (JSON-in-KDL 4).

use kic_base::{Span, Spanned};
use kic_syntax::{Entry, Node, Value};

use super::binding::Binding;
use super::evaluator::Evaluator;
use super::interpolate::interpolate;
use super::is_marked;

impl Evaluator<'_> {
    /// A node of data. One that is a reference and nothing else may be a list or a map. `None` when there is too
    /// much.
    pub fn close_data(&mut self, node: &Node) -> Option<Node> {
        if !self.spend(1, &node.name.span) {
            return None;
        }
        if let ([entry], None) = (node.entries.as_slice(), &node.children)
            && is_marked(entry)
            && entry.name.is_none()
        {
            let binding = self.value(entry);
            if binding == Binding::Unknown {
                return Some(node.clone());
            }
            if !self.spend(binding.extent().size, &entry.span) {
                return None;
            }
            return Some(data(node.name.clone(), node.annotation.clone(), &binding, &node.span));
        }
        let mut closed = self.closed_head(node, true);
        closed.children = node
            .children
            .as_ref()
            .map(|children| children.iter().map_while(|child| self.close_data(child)).collect());
        Some(closed)
    }

    /// A node of the language that holds data, such as `values ($)"${settings}"`, where all that it says is a reference
    /// to a map: its fields stand inside.
    pub fn fields(&mut self, node: &Node) -> Option<Node> {
        let ([entry], None) = (node.entries.as_slice(), &node.children) else { return None };
        if !is_marked(entry) || entry.name.is_some() || self.is_checking() {
            return None;
        }
        let is_map = match &entry.value {
            Value::String(text) => interpolate(text, &entry.value_span, &self.scope)
                .is_ok_and(|found| matches!(found.binding, Binding::Map(_))),
            _ => false,
        };
        if !is_map {
            return None;
        }
        let binding = self.value(entry);
        if !self.spend(binding.extent().size, &entry.span) {
            return None;
        }
        let fields = data(node.name.clone(), None, &binding, &node.span).children;
        Some(Node { entries: Vec::new(), children: Some(fields.unwrap_or_default()), ..node.clone() })
    }
}

/// A value as a node of data. The annotation that was written stays, but where it would contradict the value.
fn data(name: Spanned<String>, written: Option<Spanned<String>>, binding: &Binding, span: &Span) -> Node {
    let tag = |text: &str, at: &Span| match &written {
        Some(written) if matches!(written.value.as_str(), "default" | "force") => Some(written.clone()),
        _ => Some(Spanned::new(text.to_owned(), at.clone())),
    };
    let mut node =
        Node { annotation: written.clone(), name, entries: Vec::new(), children: None, span: span.clone() };
    match binding {
        Binding::Scalar(scalar) => node.entries.push(Entry {
            name: None,
            annotation: None,
            value: scalar.value.clone(),
            value_span: scalar.span.clone(),
            span: scalar.span.clone(),
        }),
        Binding::List(list) => {
            let item = |one: &Binding| {
                let at = one.span().unwrap_or(&list.span);
                data(Spanned::new("-".to_owned(), at.clone()), None, one, at)
            };
            node.annotation = tag("array", &list.span);
            node.children = Some(list.items.iter().map(item).collect());
        }
        Binding::Map(map) => {
            let field = |(name, one): (&String, &Binding)| {
                let at = one.span().unwrap_or(&map.span);
                data(Spanned::new(name.clone(), at.clone()), None, one, at)
            };
            node.annotation = tag("object", &map.span);
            node.children = Some(map.fields.iter().map(field).collect());
        }
        // An error that has been reported: a mark that stays says so.
        Binding::Unknown => node.entries.push(Entry {
            name: None,
            annotation: Some(Spanned::new("$".to_owned(), span.clone())),
            value: Value::Null,
            value_span: span.clone(),
            span: span.clone(),
        }),
    }
    node
}
