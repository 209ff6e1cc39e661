//! Characters that end a line for Go's reader, and so for `kubectl`, which goes by YAML 1.1, and that are characters like
//! others in YAML 1.2: U+0085, U+2028 and U+2029. What stands behind one in a comment may be a field to `kubectl`.

use std::ops::Range;

use kic_base::Source;

use crate::{Style, Yaml, YamlError, YamlValue};

const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// An error for the first such character that readers differ on. In quotes it is text to all of them; at the end of a line it
/// changes nothing in a comment, and little in the midst of a block scalar.
pub(crate) fn line_breaks(source: &Source, documents: &[Yaml]) -> Option<YamlError> {
    let text = source.text();
    if text.is_ascii() || !text.contains(BREAKS) {
        return None;
    }
    let mut scalars = Vec::new();
    documents.iter().for_each(|document| collect(document, &mut scalars));
    scalars.sort_by_key(|(range, _)| range.start);
    let differs = |at: usize, character: char| {
        let end = at + character.len_utf8();
        let ends_line = text[end..].chars().next().is_none_or(is_break);
        // Scalars do not overlap, but one that came through an alias is there more than once.
        let before = scalars.partition_point(|(range, _)| range.start <= at);
        match before.checked_sub(1).map(|last| &scalars[last]).filter(|(range, _)| range.contains(&at)) {
            Some((_, Style::SingleQuoted | Style::DoubleQuoted)) => false,
            Some((range, Style::Literal | Style::Folded)) => !ends_line || range.end == end,
            Some(_) => true,
            None => !ends_line,
        }
    };
    let (at, character) =
        text.char_indices().find(|(at, character)| BREAKS.contains(character) && differs(*at, *character))?;
    Some(YamlError {
        message: format!("U+{:04X} ends the line for `kubectl`, and not in YAML 1.2", u32::from(character)),
        span: source.span(at..at + character.len_utf8()),
        first: None,
        help: Some(
            "take it out, or put a line end in its place; in a text in double quotes, it can be written `\\u…`"
                .to_owned(),
        ),
    })
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r') || BREAKS.contains(&character)
}

/// Where the scalars of a document stand, and how they are written.
fn collect(node: &Yaml, scalars: &mut Vec<(Range<usize>, Style)>) {
    match &node.value {
        YamlValue::Sequence(items) => items.iter().for_each(|item| collect(item, scalars)),
        YamlValue::Mapping(entries) => {
            for (key, value) in entries {
                collect(key, scalars);
                collect(value, scalars);
            }
        }
        _ => scalars.push((node.span.range(), node.style)),
    }
}
