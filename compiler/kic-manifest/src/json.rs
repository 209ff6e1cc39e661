use std::collections::BTreeMap;

use kic_base::{Source, Span};

use crate::{Style, Yaml, YamlError, YamlValue, scalar};

/// How deep collections may nest.
const MAXIMUM_DEPTH: usize = 256;

/// The values of a text that is JSON (RFC 8259), one behind the other; nothing where it is anything else. YAML
/// holds nearly all of JSON, but not pairs of `\u` escapes, nor several values behind each other, both of which
/// Kubernetes reads.
pub(crate) fn documents(source: &Source) -> Option<(Vec<Yaml>, Vec<YamlError>)> {
    let text = source.text();
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !body.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let mut reader =
        Reader { source, bytes: text.as_bytes(), at: text.len() - body.len(), errors: Vec::new() };
    let mut values = Vec::new();
    loop {
        reader.white_space();
        if reader.at == reader.bytes.len() {
            return Some((values, reader.errors));
        }
        values.push(reader.value(0)?);
    }
}

struct Reader<'s> {
    source: &'s Source,
    bytes: &'s [u8],
    at: usize,
    errors: Vec<YamlError>,
}

impl Reader<'_> {
    fn white_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Past `byte`, after white space; whether it was there.
    fn take(&mut self, byte: u8) -> bool {
        self.white_space();
        let there = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Option<Yaml> {
        self.white_space();
        let start = self.at;
        let (value, style) = match self.bytes.get(start)? {
            b'{' | b'[' if depth >= MAXIMUM_DEPTH => return None,
            b'{' => (self.object(depth)?, Style::Collection),
            b'[' => (self.array(depth)?, Style::Collection),
            b'"' => (YamlValue::String(self.string()?), Style::DoubleQuoted),
            _ => (self.word()?, Style::Plain),
        };
        Some(Yaml { value, span: self.source.span(start..self.at), style })
    }

    fn object(&mut self, depth: usize) -> Option<YamlValue> {
        self.at += 1;
        let mut entries: Vec<(Yaml, Yaml)> = Vec::new();
        let mut seen: BTreeMap<String, Span> = BTreeMap::new();
        if self.take(b'}') {
            return Some(YamlValue::Mapping(entries));
        }
        loop {
            self.white_space();
            let start = self.at;
            let name = self.string()?;
            let span = self.source.span(start..self.at);
            if let Some(first) = seen.get(&name) {
                self.errors.push(YamlError::key_twice(&name, &span, first));
            } else {
                seen.insert(name.clone(), span.clone());
            }
            let key = Yaml { value: YamlValue::String(name), span, style: Style::DoubleQuoted };
            if !self.take(b':') {
                return None;
            }
            entries.push((key, self.value(depth + 1)?));
            if self.take(b'}') {
                return Some(YamlValue::Mapping(entries));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<YamlValue> {
        self.at += 1;
        let mut items = Vec::new();
        if self.take(b']') {
            return Some(YamlValue::Sequence(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(b']') {
                return Some(YamlValue::Sequence(items));
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// `true`, `false`, `null`, or a number.
    fn word(&mut self) -> Option<YamlValue> {
        let start = self.at;
        while self
            .bytes
            .get(self.at)
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        {
            self.at += 1;
        }
        let word = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
        match word {
            "true" => Some(YamlValue::Bool(true)),
            "false" => Some(YamlValue::Bool(false)),
            "null" => Some(YamlValue::Null),
            _ => {
                let digits = word.strip_prefix('-').unwrap_or(word);
                let first = digits.bytes().next()?;
                let zero = first == b'0' && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
                if !first.is_ascii_digit()
                    || zero
                    || digits.bytes().any(|byte| matches!(byte, b'a'..=b'd' | b'f'..=b'z'))
                {
                    return None;
                }
                scalar::number(word)
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let run =
                self.bytes[self.at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F))?;
            text.push_str(std::str::from_utf8(&self.bytes[self.at..self.at + run]).ok()?);
            self.at += run + 1;
            match self.bytes[self.at - 1] {
                b'"' => return Some(text),
                b'\\' => text.push(self.escape()?),
                _ => return None,
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Option<char> {
        let letter = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hexadecimal()?;
                let pair = (0xD800..0xDC00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u");
                if pair {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hexadecimal()?;
                    if (0xDC00..0xE000).contains(&second) {
                        return char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00));
                    }
                    self.at = back;
                }
                // Half a pair is no character: Go's reader, too, replaces it.
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<serde_json::Value>> {
        documents(&Source::new("a", text)).map(|(values, _)| values.iter().map(Yaml::to_json).collect())
    }

    #[test]
    fn json_reads_as_the_reference_reader_does_and_anything_else_not_at_all() {
        for text in [
            r#"{"a":"\ud83d\ude00\/\u00e9\n","b":[1,-2,0,2.5e3,1E-2,true,false,null,{},[]],"c":{"d":18446744073709551615}}"#,
            " [ 1 , \"é\" ] ",
            "{\t\"a\"\r\n:\t1}",
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text), Some(vec![expected]), "{text}");
        }
        assert_eq!(read("{\"a\":1}\n{\"b\":2}{}").map(|values| values.len()), Some(3));
        assert_eq!(read("{\"a\":\"\\ud83d\"}"), Some(vec![serde_json::json!({"a": "\u{fffd}"})]));
        for text in [
            "",
            "a: 1",
            "{a: 1}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "{\"a\":nan}",
            "{\"a\":infinity}",
            "{\"a\":.5}",
            "{\"a\":\"\n\"}",
            "{\"a\"",
            "{",
            "[1",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{{ x }}",
            "{\"a\":1} # x",
            "{\"a\":+1}",
            "{\"a\":\"\\ud83d\\u",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), None);
    }

    #[test]
    fn duplicate_keys_are_labelled() {
        let (_, errors) = documents(&Source::new("a", r#"{"a": 1, "a": 2}"#)).unwrap();
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].span.range(), 9..12);
    }
}
