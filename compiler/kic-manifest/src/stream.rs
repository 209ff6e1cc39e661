use std::collections::BTreeMap;

use kic_base::Source;
use saphyr_parser::{Event, Parser, ScanError};

use crate::builder::{Builder, too_deep};
use crate::line_breaks::line_breaks;
use crate::offsets::Offsets;
use crate::relaxed::{Relaxed, relaxed};
use crate::yaml_error::TEMPLATE_HELP;
use crate::{Yaml, YamlError, json};

/// After so many documents that cannot be read, the rest is not looked at.
const MAXIMUM_BROKEN: usize = 50;

/// Every document of a YAML stream (YAML 1.2, with the scalars of [`crate::read`]), or every value of a JSON text. A document that cannot be
/// read gives one error, and reading goes on at the next line that begins with `---`.
pub fn documents(source: &Source) -> (Vec<Yaml>, Vec<YamlError>) {
    if let Some(read) = json::documents(source) {
        return read;
    }
    let mut documents = Vec::new();
    let mut errors: Vec<YamlError> = Vec::new();
    let ascii = source.text().is_ascii();
    let text = source.text();
    let mut base = 0;
    let mut broken = 0;
    let none = BTreeMap::new();
    while let Err(Break { error, document, begin }) = section(
        source,
        &Section { text: &text[base..], base, ascii, scalars: &none },
        &mut documents,
        &mut errors,
    ) {
        // What a strict reader refuses may be what Go's reader takes.
        let end = next_document(text, begin + 1).unwrap_or(text.len());
        if let Some(Relaxed { text, scalars }) = relaxed(&text[begin..end]) {
            let (mut read, mut told) = (Vec::new(), Vec::new());
            let anew = Section { text: &text, base: begin, ascii, scalars: &scalars };
            if section(source, &anew, &mut read, &mut told).is_ok() {
                documents.append(&mut read);
                errors.append(&mut told);
                base = end;
                continue;
            }
        }
        let template = error.help.as_deref() == Some(TEMPLATE_HELP);
        if !errors.iter().any(|other| other.span == error.span || (template && other.help == error.help)) {
            errors.push(error);
        }
        broken += 1;
        match next_document(text, document.max(base + 1)) {
            Some(next) if broken < MAXIMUM_BROKEN => base = next,
            _ => break,
        }
    }
    errors.extend(line_breaks(source, &documents));
    errors.sort_by_key(|error| error.span.range().start);
    (documents, errors)
}

/// Why reading stopped, and where to look for the next document from.
struct Break {
    error: YamlError,
    document: usize,
    /// The start of the line in which the document begins.
    begin: usize,
}

/// A part of a text, as it is to be read.
struct Section<'a> {
    text: &'a str,
    /// Where it stands.
    base: usize,
    ascii: bool,
    /// What scalars say for which others stand in it, by where they begin in it.
    scalars: &'a BTreeMap<usize, String>,
}

/// Reads documents up to the end of the section, or to the first that cannot be read.
fn section(
    source: &Source,
    section: &Section<'_>,
    documents: &mut Vec<Yaml>,
    errors: &mut Vec<YamlError>,
) -> Result<(), Break> {
    let Section { text, base, ascii, scalars } = *section;
    let line_of = |at: usize| source.text()[..at].rfind('\n').map_or(0, |newline| newline + 1).max(base);
    let mut offsets = Offsets::new(text, ascii);
    let mut builder = Builder::new(source);
    let (mut document, mut begin) = (base, base);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = base + offsets.byte(error.marker().index());
                let error = describe(source, document, at, &error);
                return Err(Break { error, document, begin });
            }
        };
        let start = base + offsets.byte(span.start.index());
        let end = base + offsets.byte(span.end.index());
        let told = match event {
            Event::DocumentStart(_) => {
                builder = Builder::new(source);
                (document, begin) = (start + 1, line_of(start));
                Ok(())
            }
            Event::DocumentEnd => {
                let (root, found) = std::mem::replace(&mut builder, Builder::new(source)).finish();
                documents.extend(root);
                for error in found {
                    let template = error.help.as_deref() == Some(TEMPLATE_HELP);
                    if !(template && errors.iter().any(|other| other.help == error.help)) {
                        errors.push(error);
                    }
                }
                (document, begin) = (start, line_of(start));
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let meant = scalars.range(start - base..end - base).next();
                let text = meant.map_or_else(|| text.into_owned(), |(_, meant)| meant.clone());
                builder.scalar(text, style, anchor, tag.as_deref(), start..end)
            }
            Event::Alias(anchor) => builder.alias(anchor, start..end),
            Event::SequenceStart(anchor, tag) => {
                builder.open(false, anchor, anchor != 0 || tag.is_some(), start)
            }
            Event::MappingStart(anchor, tag) => {
                builder.open(true, anchor, anchor != 0 || tag.is_some(), start)
            }
            Event::SequenceEnd | Event::MappingEnd => builder.close((end > start).then_some(end)),
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
        };
        told.map_err(|error| Break { error, document, begin })?;
    }
    Ok(())
}

/// The start of the first line at or after `from` that begins a document.
fn next_document(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    loop {
        if at >= bytes.len() {
            return None;
        }
        let line = at == 0 || bytes[at - 1] == b'\n';
        if line
            && bytes[at..].starts_with(b"---")
            && bytes.get(at + 3).is_none_or(|byte| byte.is_ascii_whitespace())
        {
            return Some(at);
        }
        at += bytes[at..].iter().position(|byte| *byte == b'\n')? + 1;
    }
}

/// The parser's error in the user's words.
fn describe(source: &Source, document: usize, at: usize, error: &ScanError) -> YamlError {
    let text = source.text();
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let document = document.min(text.len());
    let end = next_document(text, document + 1).unwrap_or(text.len());
    // A document begins on a character boundary, but `document` may be one byte into its first character.
    let whole = source.span(document..end.max(document));
    let templated = line.contains("{{")
        || whole.text().lines().any(|line| line.trim_start().starts_with("{{") || line.contains(": {{"));
    let info = error.info();
    if info.contains("recursion limit") {
        return too_deep(source, at..at + 1);
    }
    let help = if templated {
        Some(TEMPLATE_HELP)
    } else if line.bytes().take_while(u8::is_ascii_whitespace).any(|byte| byte == b'\t') {
        Some("indent with spaces: YAML takes no tabs there")
    } else if info.contains("mapping values") {
        Some("put quotes around a value that holds `: `, or look at the indentation of this line")
    } else if info.contains("unknown anchor") {
        Some("an alias `*name` needs an anchor `&name` before it, in the same document")
    } else if info.contains("indentation in quoted scalar") {
        Some("indent every line of a text in quotes further than the key before it")
    } else if info.contains("quoted scalar") {
        Some("close the quotes")
    } else if info.contains("expected key") || info.contains("'-' indicator") || info.contains("indent") {
        Some("look at the indentation of this line and the one before")
    } else if info.contains("flow") {
        Some("close the bracket, and separate what stands in it by commas")
    } else {
        None
    };
    let width = text[at..]
        .chars()
        .next()
        .map_or(0, |character| if character == '\n' { 0 } else { character.len_utf8() });
    YamlError {
        message: format!("this is no YAML: {}", plain(info)),
        span: source.span(at..at + width),
        first: None,
        help: help.map(str::to_owned),
    }
}

/// Without the parser's own view of where it was.
fn plain(info: &str) -> &str {
    info.split_once(", ").filter(|(before, _)| before.starts_with("while ")).map_or(info, |(_, after)| after)
}
