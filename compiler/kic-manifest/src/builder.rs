use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use kic_base::Source;
use saphyr_parser::{ScalarStyle, Tag};

use crate::images::decode;
use crate::yaml_error::TEMPLATE_HELP;
use crate::{Style, Yaml, YamlError, YamlValue, scalar};

/// How deep collections may nest, aliases expanded. Everything that walks a document recurses at most so far.
const MAXIMUM_DEPTH: usize = 256;

/// How much aliases may add to one document: a node weighs 1 and every 64 bytes of its text 1 more.
const MAXIMUM_EXPANSION: usize = 200_000;

/// Builds one document from events that it is told in order.
pub(crate) struct Builder<'s> {
    source: &'s Source,
    stack: Vec<Frame>,
    root: Option<Yaml>,
    anchors: BTreeMap<usize, Anchored>,
    /// The weight of what aliases added.
    expanded: usize,
    /// The weight of what anchors keep.
    held: usize,
    errors: Vec<YamlError>,
}

/// A collection that is not closed yet.
struct Frame {
    children: Children,
    start: usize,
    end: usize,
    anchor: usize,
    size: Size,
}

enum Children {
    Items(Vec<Yaml>),
    /// The entries, and a key that waits for its value.
    Entries(Vec<(Yaml, Yaml)>, Option<Yaml>),
}

struct Anchored {
    node: Yaml,
    size: Size,
}

#[derive(Clone, Copy)]
struct Size {
    weight: usize,
    height: usize,
}

/// An error after which nothing more of the document can be read.
type Fatal = Result<(), YamlError>;

impl<'s> Builder<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self {
            source,
            stack: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            expanded: 0,
            held: 0,
            errors: Vec::new(),
        }
    }

    /// The document, and the errors that did not stop it.
    pub(crate) fn finish(self) -> (Option<Yaml>, Vec<YamlError>) {
        (self.root, self.errors)
    }

    pub(crate) fn scalar(
        &mut self,
        text: String,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        range: Range<usize>,
    ) -> Fatal {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let properties = anchor != 0 || tag.is_some();
        let mut text = text;
        let whole = self.source.text();
        // The parser ends the last line of a block scalar even where the text ends without a newline.
        if matches!(style, Style::Literal | Style::Folded)
            && range.end == whole.len()
            && text.ends_with('\n')
            && !whole.ends_with(|last: char| last.is_whitespace())
        {
            text.pop();
        }
        let key = matches!(self.stack.last(), Some(Frame { children: Children::Entries(_, None), .. }));
        let range = if key && range.is_empty() && !properties {
            range
        } else {
            exact(whole, range, style, properties, text.is_empty())
        };
        let span = self.source.span(range);
        if key && tag.is_some() && text == "<<" {
            self.errors.push(YamlError {
                message: "a key `<<` with a tag: readers differ on whether it merges".to_owned(),
                span: span.clone(),
                first: None,
                help: Some("leave the tag away".to_owned()),
            });
        }
        let value = match tag {
            None if style == Style::Plain => scalar::resolve(&text),
            None => YamlValue::String(text),
            Some(tag) => tagged(tag, text).map_err(|message| YamlError {
                message,
                span: span.clone(),
                first: None,
                help: Some("leave the tag away, or write a value of that type".to_owned()),
            })?,
        };
        if matches!(value, YamlValue::Float(number) if !number.is_finite()) {
            self.errors.push(YamlError {
                message: format!("`{}` is a number that Kubernetes does not have", span.text()),
                span: span.clone(),
                first: None,
                help: Some("write a finite number, or put it in quotes where a text is meant".to_owned()),
            });
        }
        let weight = match &value {
            YamlValue::String(text) => 1 + text.len() / 64,
            _ => 1,
        };
        self.push(Yaml { value, span, style }, anchor, Size { weight, height: 0 })
    }

    /// Opens a collection at `start`, which has an anchor or a tag before it where `properties` says so.
    pub(crate) fn open(&mut self, mapping: bool, anchor: usize, properties: bool, start: usize) -> Fatal {
        if self.stack.len() >= MAXIMUM_DEPTH {
            return Err(too_deep(self.source, start..start + 1));
        }
        let bytes = self.source.text().as_bytes();
        let mut start = if properties { after_properties(bytes, start, bytes.len()) } else { start };
        // A list that is indented no deeper than its key begins behind its first dash.
        if !mapping && !matches!(bytes.get(start), Some(b'-' | b'[')) {
            let before = bytes[..start].iter().rposition(|byte| !byte.is_ascii_whitespace());
            start = before.filter(|at| bytes[*at] == b'-').unwrap_or(start);
        }
        let children =
            if mapping { Children::Entries(Vec::new(), None) } else { Children::Items(Vec::new()) };
        let size = Size { weight: 1, height: 0 };
        self.stack.push(Frame { children, start, end: start, anchor, size });
        Ok(())
    }

    /// Closes the innermost collection; `end` is the end of its bracket where it has one.
    pub(crate) fn close(&mut self, end: Option<usize>) -> Fatal {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let span = self.source.span(frame.start..end.unwrap_or(frame.end));
        let value = match frame.children {
            Children::Items(items) => YamlValue::Sequence(items),
            Children::Entries(entries, _) => YamlValue::Mapping(self.unique(entries)?),
        };
        let size = Size { weight: frame.size.weight, height: frame.size.height + 1 };
        self.push(Yaml { value, span, style: Style::Collection }, frame.anchor, size)
    }

    pub(crate) fn alias(&mut self, anchor: usize, range: Range<usize>) -> Fatal {
        let fail = |message: &str| YamlError {
            message: message.to_owned(),
            span: self.source.span(range.clone()),
            first: None,
            help: Some("write the value out where it is used".to_owned()),
        };
        let Some(Anchored { node, size }) = self.anchors.get(&anchor) else {
            return Err(fail("this alias names no finished node of its document"));
        };
        let size = *size;
        self.expanded += size.weight;
        if self.expanded > MAXIMUM_EXPANSION {
            return Err(fail("the aliases of this document expand to more than kic is willing to read"));
        }
        if self.stack.len() + size.height > MAXIMUM_DEPTH {
            return Err(too_deep(self.source, range));
        }
        let node = node.clone();
        // The alias, not the anchored node, decides where the collection around it ends.
        if let Some(frame) = self.stack.last_mut() {
            frame.end = frame.end.max(range.end);
        }
        self.push(node, 0, size)
    }

    fn push(&mut self, node: Yaml, anchor: usize, size: Size) -> Fatal {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
            // A copy is kept: an anchor on every level of a deep document would keep its square.
            self.held += size.weight;
            if self.held > MAXIMUM_EXPANSION * 4 {
                return Err(YamlError {
                    message: "the anchors of this document hold more than kic is willing to read".to_owned(),
                    span: node.span,
                    first: None,
                    help: None,
                });
            }
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.size.weight += size.weight;
        frame.size.height = frame.size.height.max(size.height);
        let range = node.span.range();
        // What came through an alias lies before the collection.
        if range.start >= frame.start {
            frame.end = frame.end.max(range.end);
        }
        match &mut frame.children {
            Children::Items(items) => items.push(node),
            Children::Entries(entries, waiting) => match waiting.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    if matches!(node.value, YamlValue::Sequence(_) | YamlValue::Mapping(_)) {
                        let template = node.span.text().starts_with('{')
                            && node.span.range().start > 0
                            && self.source.text().as_bytes()[node.span.range().start - 1] == b'{';
                        self.errors.push(YamlError {
                            message: "a key of a mapping is one word or string, not a collection".to_owned(),
                            span: node.span.clone(),
                            first: None,
                            help: template.then(|| TEMPLATE_HELP.to_owned()),
                        });
                    }
                    if node.value == YamlValue::Null {
                        self.errors.push(YamlError {
                            message: "a key of a mapping is missing, or `null`".to_owned(),
                            span: node.span.clone(),
                            first: None,
                            help: Some("write a name before the colon".to_owned()),
                        });
                    }
                    *waiting = Some(node);
                }
            },
        }
        Ok(())
    }

    /// Reports the second of equal keys, and carries out merges.
    fn unique(&mut self, entries: Vec<(Yaml, Yaml)>) -> Result<Vec<(Yaml, Yaml)>, YamlError> {
        if let Some((first, second)) = duplicate(&entries) {
            self.errors.push(YamlError::key_twice(&second.key(), &second.span, &first.span));
        }
        if !entries.iter().any(|(key, _)| is_merge(key)) {
            return Ok(entries);
        }
        self.errors.extend(disputed(&entries));
        merge(entries)
    }
}

/// The error for nesting past the bound.
pub(crate) fn too_deep(source: &Source, range: Range<usize>) -> YamlError {
    YamlError {
        message: format!("this document nests more than {MAXIMUM_DEPTH} levels deep"),
        span: source.span(range),
        first: None,
        help: None,
    }
}

/// The first key that an earlier entry has as well, behind the earlier one. Collections as keys are errors already.
fn duplicate(entries: &[(Yaml, Yaml)]) -> Option<(&Yaml, &Yaml)> {
    let mut names = entries
        .iter()
        .map(|(key, _)| key)
        .filter(|key| !is_merge(key) && key.style != Style::Collection)
        .enumerate();
    if entries.len() <= 12 {
        return names.clone().find_map(|(at, key)| {
            let mut earlier = names.clone().take(at).map(|(_, other)| other);
            let first = earlier.find(|other| match (&other.value, &key.value) {
                (YamlValue::String(other), YamlValue::String(key)) => other == key,
                _ => other.key() == key.key(),
            });
            first.map(|first| (first, key))
        });
    }
    let mut seen = BTreeMap::new();
    names.find_map(|(_, key)| seen.insert(key.key(), key).map(|first| (first, key)))
}

fn is_merge(key: &Yaml) -> bool {
    key.style == Style::Plain && matches!(&key.value, YamlValue::String(text) if text == "<<")
}

/// What a mapping says itself wins over what it merges; of several that it merges, the first one wins.
fn merge(entries: Vec<(Yaml, Yaml)>) -> Result<Vec<(Yaml, Yaml)>, YamlError> {
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_merge(key));
    let mut seen: BTreeSet<String> = own.iter().map(|(key, _)| key.key().into_owned()).collect();
    for (key, value) in merges {
        let sources = match value.value {
            YamlValue::Mapping(_) => vec![value],
            YamlValue::Sequence(items) => items,
            _ => vec![value],
        };
        for source in sources {
            let YamlValue::Mapping(entries) = source.value else {
                return Err(YamlError {
                    message: "a merge `<<` takes a mapping or a list of mappings".to_owned(),
                    span: key.span,
                    first: None,
                    help: None,
                });
            };
            for (key, value) in entries {
                if seen.insert(key.key().into_owned()) {
                    own.push((key, value));
                }
            }
        }
    }
    Ok(own)
}

/// The first key whose value depends on who reads the mapping: for Go's reader, and so for `kubectl`, a merge wins over the keys
/// and merges that stand before it.
fn disputed(entries: &[(Yaml, Yaml)]) -> Option<YamlError> {
    let mut so_far: BTreeMap<Cow<'_, str>, (&Yaml, &Yaml)> = BTreeMap::new();
    for (key, value) in entries {
        if !is_merge(key) {
            so_far.insert(key.key(), (key, value));
            continue;
        }
        let sources = if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
        let mut merged: BTreeMap<Cow<'_, str>, &Yaml> = BTreeMap::new();
        for (name, value) in sources.iter().flat_map(Yaml::entries) {
            merged.entry(name.key()).or_insert(value);
        }
        for (name, value) in merged {
            if let Some((first, other)) = so_far.get(&name)
                && other.to_json() != value.to_json()
            {
                return Some(YamlError {
                    message: format!(
                        "`{name}` stands before a merge `<<` that has it, too: for `kubectl`, the merge wins, in YAML it does not"
                    ),
                    span: key.span.clone(),
                    first: Some(first.span.clone()),
                    help: Some("write the merge first, or say the key once".to_owned()),
                });
            }
            so_far.insert(name, (key, value));
        }
    }
    None
}

/// A scalar whose type the text gives by a tag. Tags that YAML does not define leave it a string.
fn tagged(tag: &Tag, text: String) -> Result<YamlValue, String> {
    if !tag.is_yaml_core_schema() {
        return Ok(YamlValue::String(text));
    }
    let value = match tag.suffix.as_str() {
        "null" => matches!(scalar::resolve(&text), YamlValue::Null).then_some(YamlValue::Null),
        "bool" => scalar::boolean(&text).map(YamlValue::Bool),
        "int" => scalar::number(&text).filter(|value| matches!(value, YamlValue::Integer(_))),
        "float" => scalar::number(&text).map(|value| match value {
            #[expect(clippy::cast_precision_loss, reason = "a float is what the tag asks for")]
            YamlValue::Integer(number) => YamlValue::Float(number as f64),
            other => other,
        }),
        // As Kubernetes reads it: the bytes, which must be a text.
        "binary" => decode(&text).map(YamlValue::String),
        _ => return Ok(YamlValue::String(text)),
    };
    // The value is not repeated: it may be that of a Secret.
    value.ok_or_else(|| format!("this is no value of the type `!!{}`", tag.suffix))
}

/// The bytes of a scalar alone: the parser's range begins at an anchor or tag, that of a block scalar ends
/// anywhere before the next token, and that of a value left out is the token after it.
fn exact(text: &str, range: Range<usize>, style: Style, properties: bool, empty: bool) -> Range<usize> {
    let Range { mut start, mut end } = range;
    let bytes = text.as_bytes();
    if properties {
        start = after_properties(bytes, start, end);
    }
    match style {
        Style::Plain if empty => {
            // `key:` and `-` have nothing after them.
            let at = if properties {
                start
            } else if bytes.get(start) == Some(&b':') {
                start + 1
            } else {
                let before = bytes[..start].iter().rposition(|byte| !byte.is_ascii_whitespace());
                before.map_or(start, |at| at + 1)
            };
            return at..at;
        }
        Style::Literal | Style::Folded => {
            if properties {
                start = after_header(bytes, start, end);
            }
            while end > start && bytes[end - 1].is_ascii_whitespace() {
                end -= 1;
            }
        }
        Style::SingleQuoted | Style::DoubleQuoted => end = after_quotes(bytes, start, end),
        Style::Plain | Style::Collection => {}
    }
    start..end.max(start)
}

/// Past the closing quote of the scalar that begins at `start`: the parser takes white space and a comment
/// behind it along.
fn after_quotes(bytes: &[u8], start: usize, end: usize) -> usize {
    let quote = bytes.get(start).copied();
    let mut at = start + 1;
    while at < end {
        match bytes[at] {
            b'\\' if quote == Some(b'"') => at += 2,
            byte if Some(byte) == quote => {
                if quote == Some(b'\'') && bytes.get(at + 1) == Some(&b'\'') {
                    at += 2;
                } else {
                    return at + 1;
                }
            }
            _ => at += 1,
        }
    }
    end
}

/// Past `&anchor`, `!tag`, white space and comments.
fn after_properties(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end {
        match bytes[at] {
            b'&' | b'!' => {
                while at < end && !bytes[at].is_ascii_whitespace() {
                    at += 1;
                }
            }
            b'#' => {
                while at < end && bytes[at] != b'\n' {
                    at += 1;
                }
            }
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => break,
        }
    }
    at
}

/// From the `|` or `>` of a block scalar to its first character.
fn after_header(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && bytes[at] != b'\n' {
        at += 1;
    }
    while at < end && bytes[at].is_ascii_whitespace() {
        at += 1;
    }
    at
}
