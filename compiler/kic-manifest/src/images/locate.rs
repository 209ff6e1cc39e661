use std::ops::Range;

use kic_base::Span;

use super::Part;
use super::group::version_text;
use crate::{Style, Yaml};

/// The span of a part of a string: `part` is a range of bytes in the node's value `text`. Where the scalar is
/// written with escapes or folds, and the part does not stand in it exactly once, it is the whole scalar's.
pub(crate) fn locate(node: &Yaml, text: &str, part: Range<usize>) -> Span {
    let wanted = text.get(part.clone()).unwrap_or_default();
    let raw = node.span.text();
    let source = node.span.source();
    let start = node.span.range().start;
    let direct = match node.style {
        Style::Plain => Some(start + part.start),
        Style::SingleQuoted | Style::DoubleQuoted => Some(start + 1 + part.start),
        Style::Literal => in_block(node, text, part.start),
        Style::Folded | Style::Collection => None,
    };
    if let Some(at) = direct
        && source.text().get(at..at + wanted.len()) == Some(wanted)
        && at + wanted.len() <= node.span.range().end
    {
        return source.span(at..at + wanted.len());
    }
    let mut places = raw.match_indices(wanted).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) if !wanted.is_empty() => source.span(start + at..start + at + wanted.len()),
        _ => node.span.clone(),
    }
}

impl Part {
    /// A scalar that is a part of references: a string that is not empty, or a number.
    pub(crate) fn of(node: &Yaml) -> Option<Self> {
        let text = version_text(node)?;
        let span = match node.as_str() {
            Some(text) => locate(node, text, 0..text.len()),
            None => node.span.clone(),
        };
        Some(Self { text, span })
    }
}

/// The offset in the source of the byte `at` of a literal block scalar.
fn in_block(node: &Yaml, text: &str, at: usize) -> Option<usize> {
    let source = node.span.source().text();
    let start = node.span.range().start;
    let indent = start - source[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let leading = text.bytes().take_while(|byte| *byte == b'\n').count();
    let before = text.as_bytes().get(leading..at)?;
    let line = before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    if line == 0 {
        return Some(start + column);
    }
    let (newline, _) = source[start..].match_indices('\n').nth(line - 1)?;
    Some(start + newline + 1 + indent + column)
}
