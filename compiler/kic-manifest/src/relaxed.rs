//! YAML that Go's reader takes, and so `kubectl` and `helm`, and that YAML 1.2 forbids: brackets and quotes that are
//! closed, and items and lines that stand, further left than the key before them; tabs between a key and its value.
//!
//! Such a text is written anew with as many bytes, so that every place in it stays what it is: white space and
//! comments between the parts of a flow collection become spaces. A scalar in quotes with several lines becomes one of
//! one line, and what it says is kept beside the text; no other scalar changes.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser};

/// A text as a strict reader takes it.
#[derive(Debug, PartialEq)]
pub(crate) struct Relaxed {
    pub(crate) text: String,
    /// What the scalars say for which others stand in the text, by where they begin.
    pub(crate) scalars: BTreeMap<usize, String>,
}

/// The text of one document as a strict reader takes it; nothing where there is nothing to change.
pub(crate) fn relaxed(text: &str) -> Option<Relaxed> {
    let bytes = text.as_bytes().to_vec();
    let mut scanner = Scanner { text, bytes, at: 0, changed: false, scalars: BTreeMap::new() };
    scanner.document();
    let Scanner { bytes, changed, scalars, .. } = scanner;
    Some(Relaxed { text: String::from_utf8(bytes).ok().filter(|_| changed)?, scalars })
}

struct Scanner<'a> {
    text: &'a str,
    bytes: Vec<u8>,
    at: usize,
    changed: bool,
    scalars: BTreeMap<usize, String>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank_at(&self, at: usize) -> bool {
        self.bytes.get(at).is_none_or(u8::is_ascii_whitespace)
    }

    fn document(&mut self) {
        // The first column of the lines that go on with a block scalar or a plain one, while one is open.
        let mut block: Option<usize> = None;
        while self.at < self.bytes.len() {
            let line = self.at;
            while self.peek() == Some(b' ') {
                self.at += 1;
            }
            let column = self.at - line;
            let empty = matches!(self.peek(), None | Some(b'\n' | b'\r'));
            if empty || block.is_some_and(|parent| column >= parent) {
                self.skip_line();
                continue;
            }
            block = self.line(line);
            self.skip_line();
        }
    }

    /// The rest of a line that begins a node; the first column of the lines that go on with the scalar that ends it.
    fn line(&mut self, line: usize) -> Option<usize> {
        let mut parent = 0;
        let column = self.at - line;
        if self.bytes[self.at..].starts_with(b"---") && self.at == line && self.blank_at(self.at + 3) {
            self.at += 3;
        }
        loop {
            while matches!(self.peek(), Some(b' ' | b'\t')) {
                self.at += 1;
            }
            let start = self.at;
            let mut open = None;
            match self.peek()? {
                b'-' | b'?' if self.blank_at(start + 1) => {
                    parent = start - line + 1;
                    self.at += 1;
                    continue;
                }
                b'&' | b'!' => {
                    while !self.blank_at(self.at) {
                        self.at += 1;
                    }
                    continue;
                }
                b'|' | b'>' => return Some(parent),
                b'#' | b'\n' | b'\r' => return None,
                b'[' | b'{' => self.flow(),
                quote @ (b'"' | b'\'') => self.quoted(quote, false),
                _ => {
                    self.plain();
                    open = Some(parent.max(column));
                }
            }
            // Only a key has more behind it.
            let end = self.at;
            while matches!(self.peek(), Some(b' ' | b'\t')) {
                self.at += 1;
            }
            if self.peek() != Some(b':') || !self.blank_at(self.at + 1) {
                self.at = end;
                return open;
            }
            parent = start.saturating_sub(line) + 1;
            self.at += 1;
            let gap = self.at;
            while matches!(self.peek(), Some(b' ' | b'\t')) {
                self.at += 1;
            }
            self.spaces(gap);
        }
    }

    /// A plain scalar, up to the `:` behind a key, a comment, or the end of the line.
    fn plain(&mut self) {
        while let Some(byte) = self.peek() {
            let ends = match byte {
                b'\n' | b'\r' => true,
                b':' => self.blank_at(self.at + 1),
                b'#' => self.at > 0 && self.blank_at(self.at - 1),
                _ => false,
            };
            if ends {
                return;
            }
            self.at += 1;
        }
    }

    /// A scalar in quotes, `inside` a flow collection or not. One of several lines may have some further left than a
    /// strict reader wants them: by itself it may.
    fn quoted(&mut self, quote: u8, inside: bool) {
        let start = self.at;
        if !self.skip_quoted(quote) {
            return;
        }
        let range = start..self.at;
        let after = self.bytes[self.at..].iter().position(|byte| !matches!(byte, b' ' | b'\t'));
        let ends = match after.map(|gap| self.bytes[self.at + gap]) {
            None | Some(b'\n' | b'\r') => true,
            Some(b'#') => after != Some(0),
            Some(b',' | b']' | b'}') => inside,
            // A key stands on one line, and what else follows is no YAML.
            _ => false,
        };
        if !ends || !self.bytes[range.clone()].contains(&b'\n') {
            return;
        }
        let scalar = Parser::new_from_str(&self.text[range.clone()]).find_map(|event| match event {
            Ok((Event::Scalar(text, ..), _)) => Some(Some(text.into_owned())),
            Ok(_) => None,
            Err(_) => Some(None),
        });
        if let Some(Some(scalar)) = scalar {
            self.scalars.insert(start, scalar);
            self.bytes[start + 1..range.end - 1].fill(b'x');
            self.changed = true;
        }
    }

    /// Goes behind the closing quote; whether there is one.
    fn skip_quoted(&mut self, quote: u8) -> bool {
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\\' && quote == b'"' {
                self.at += 1;
            } else if byte == quote {
                if quote == b'\'' && self.peek() == Some(quote) {
                    self.at += 1;
                } else {
                    return true;
                }
            }
        }
        false
    }

    /// A flow collection, put on one line where no plain scalar goes from one line to the next.
    fn flow(&mut self) {
        let mut depth = 0_usize;
        // The last byte that was neither white space nor part of a comment.
        let mut before = b'[';
        while let Some(byte) = self.peek() {
            match byte {
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b']' | b'}' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                    if depth == 0 {
                        return;
                    }
                }
                b'"' | b'\'' if matches!(before, b'[' | b'{' | b',' | b':') => self.quoted(byte, true),
                _ if byte.is_ascii_whitespace() => {
                    self.gap(before);
                    continue;
                }
                _ => self.at += 1,
            }
            before = byte;
        }
    }

    /// White space and comments inside a flow collection.
    fn gap(&mut self, before: u8) {
        let start = self.at;
        while let Some(byte) = self.peek() {
            if byte == b'#' {
                while self.peek().is_some_and(|byte| byte != b'\n') {
                    self.at += 1;
                }
            } else if byte.is_ascii_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
        let after = self.peek();
        let between = matches!(before, b'[' | b'{' | b',' | b':' | b']' | b'}' | b'"' | b'\'')
            || matches!(after, Some(b']' | b'}' | b','));
        if between && after.is_some() {
            self.spaces(start);
        }
    }

    /// Makes spaces of everything from `start` up to here.
    fn spaces(&mut self, start: usize) {
        for byte in &mut self.bytes[start..self.at] {
            self.changed |= *byte != b' ';
            *byte = b' ';
        }
    }

    fn skip_line(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |newline| newline + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::stream::documents;
    use crate::{Yaml, YamlValue};
    use kic_base::Source;
    use serde_json::json;

    /// The values alone, without their places.
    fn plain(node: &Yaml) -> String {
        match &node.value {
            YamlValue::Mapping(entries) => {
                let entries = entries.iter().map(|(key, value)| format!("{}: {}", plain(key), plain(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            YamlValue::Sequence(items) => {
                format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
            }
            scalar => format!("{scalar:?}"),
        }
    }

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }

    #[test]
    fn what_a_strict_reader_takes_means_the_same_afterwards() {
        let mut paths = Vec::new();
        files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests"), &mut paths);
        let mut changed = 0;
        for path in paths {
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let Some(anew) = relaxed(&text) else { continue };
            let read = |text: String| {
                let (documents, errors) = documents(&Source::new("a.yaml", text));
                errors.is_empty().then(|| documents.iter().map(plain).collect::<Vec<_>>())
            };
            if !anew.scalars.is_empty() {
                continue;
            }
            if let Some(before) = read(text) {
                assert_eq!(read(anew.text), Some(before), "{}", path.display());
                changed += 1;
            }
        }
        assert!(changed > 2, "only {changed} files were written anew");
    }

    #[test]
    fn flow_collections_come_onto_one_line_and_tabs_become_spaces() {
        for (text, expected) in [
            ("a: [\n1,\n2\n]\nb: 1\n", Some("a: [ 1, 2 ]\nb: 1\n")),
            ("a: {\nb: c # d ]\n}\n", Some("a: { b: c       }\n")),
            ("a:\tb\n", Some("a: b\n")),
            ("'a b':\t[\n]\n", Some("'a b': [ ]\n")),
            // A plain scalar of several lines keeps them.
            ("a: [b\n  c, d]\n", None),
            // What stands in scalars stays.
            ("a: |\n  b:\tc [\n  ]\nd: 1\n", None),
            ("- |\n  b:\tc\n", None),
            ("- a: >\n    b:\tc\n  d:\te\n", Some("- a: >\n    b:\tc\n  d: e\n")),
            ("a: \"b:\tc\"\n", None),
            ("a: b [\n", None),
            ("a: 'it''s [\n  x'\n", Some("a: 'xxxxxxxxxxx'\n")),
            ("a: 'b\n  c\n", None),
            ("# a:\tb\n", None),
            ("a: [\"\\\"]\",\n'x']\n", Some("a: [\"\\\"]\", 'x']\n")),
            ("a: [\n", None),
            ("", None),
            ("a: \"\\", None),
        ] {
            let found = relaxed(text);
            assert_eq!(found.as_ref().map(|found| found.text.as_str()), expected, "{text:?}");
            assert!(found.is_none_or(|found| found.text.len() == text.len()));
        }
    }

    #[test]
    fn lines_in_quotes_may_stand_anywhere() {
        for (text, expected) in [
            ("a:\n  b: 'c\nd'\ne: 1\n", Some(json!({"a": {"b": "c d"}, "e": 1}))),
            ("a:\n  b: \"c\n\nd \\\n e\\t\"  # f\ne: 1\n", Some(json!({"a": {"b": "c\nd e\t"}, "e": 1}))),
            (
                "a:\n  - b: ['sh', '-c', 'é;\n      f ''g''\n    '] # h\n    i: 1\n",
                Some(json!({"a": [{"b": ["sh", "-c", "é; f 'g' "], "i": 1}]})),
            ),
            ("- - &x 'a\nb'\n  - *x\n", Some(json!([["a b", "a b"]]))),
            ("a: {b: \"c\nd\", e: 'f'}\n", Some(json!({"a": {"b": "c d", "e": "f"}}))),
            (
                "a:\n b: it is\n  'c d\n  e'\n f: 'g\nh'\n",
                Some(json!({"a": {"b": "it is 'c d e'", "f": "g h"}})),
            ),
            // A plain scalar may go on with quotes in it.
            ("a: b\n  'c\nd: 'e'\n:\n", None),
            // No key stands on two lines, and no document in quotes.
            ("a:\n  'b\nc': 1\n", None),
            ("a:\n  b: 'c\n---\nd'\n", None),
            ("a:\n  b: 'c\nd' e\n", None),
            ("a:\n  b: 'c\nd\n", None),
        ] {
            let (documents, errors) = documents(&Source::new("a.yaml", text));
            let found = documents.first().filter(|_| errors.is_empty()).map(Yaml::to_json);
            assert_eq!(found, expected, "{text:?}: {errors:?}");
        }
    }
}
