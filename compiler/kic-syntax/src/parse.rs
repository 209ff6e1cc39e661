use kdl::{KdlDocument, KdlEntry, KdlIdentifier, KdlNode, KdlValue};
use kic_base::{Source, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::{Entry, File, Node, Value};

/// Reads KDL 2. It never fails: there is always a tree, of as much as could be read, and the errors.
pub fn parse(source: &Source) -> (File, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    let nodes = match source.text().parse::<KdlDocument>() {
        Ok(document) => nodes(source, &document),
        Err(error) => {
            for one in error.diagnostics {
                let span = source.span(one.span.offset()..one.span.offset() + one.span.len());
                let message = one.message.unwrap_or_else(|| "this is not KDL".to_owned());
                diagnostics.push(
                    Diagnostic::new(&code::SYNTAX_ERROR, message)
                        .at(&span, one.label.unwrap_or_default())
                        .help_if(one.help),
                );
            }
            Vec::new()
        }
    };
    (File { source: source.clone(), nodes }, diagnostics)
}

fn nodes(source: &Source, document: &KdlDocument) -> Vec<Node> {
    document.nodes().iter().map(|node| self::node(source, node)).collect()
}

fn node(source: &Source, node: &KdlNode) -> Node {
    let range = node.span().offset()..node.span().offset() + node.span().len();
    Node {
        annotation: node.ty().map(|name| identifier(source, name)),
        name: identifier(source, node.name()),
        entries: node.entries().iter().map(|entry| self::entry(source, entry)).collect(),
        children: node.children().map(|children| nodes(source, children)),
        span: trimmed(source, range),
    }
}

fn entry(source: &Source, entry: &KdlEntry) -> Entry {
    let span = trimmed(source, entry.span().offset()..entry.span().offset() + entry.span().len());
    let length = entry.format().map_or(0, |format| format.value_repr.len());
    let end = span.range().end;
    Entry {
        name: entry.name().map(|name| identifier(source, name)),
        annotation: entry.ty().map(|name| identifier(source, name)),
        value: match entry.value() {
            KdlValue::String(text) => Value::String(text.clone()),
            KdlValue::Integer(value) => Value::Integer(*value),
            KdlValue::Float(value) => Value::Float(*value),
            KdlValue::Bool(value) => Value::Bool(*value),
            KdlValue::Null => Value::Null,
        },
        value_span: source.span(end.saturating_sub(length)..end),
        span,
    }
}

fn identifier(source: &Source, name: &KdlIdentifier) -> Spanned<String> {
    let span = source.span(name.span().offset()..name.span().offset() + name.span().len());
    Spanned::new(name.value().to_owned(), span)
}

fn trimmed(source: &Source, range: std::ops::Range<usize>) -> Span {
    let span = source.span(range);
    let text = span.text();
    let start = span.range().start + (text.len() - text.trim_start().len());
    let end = span.range().start + text.trim_end().trim_end_matches(';').trim_end().len();
    source.span(start..end)
}
