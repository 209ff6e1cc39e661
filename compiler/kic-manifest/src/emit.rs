use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::{YamlValue, scalar};

/// The column up to which a key may go without `?`: YAML readers look 1024 characters ahead.
const MAXIMUM_SIMPLE_KEY: usize = 1000;

/// One YAML document in block style, ending with a newline, without `---`. The same value always gives the
/// same text; keys come in the order of the map.
///
/// A string goes without quotes only where no reader of YAML 1.1 or 1.2 takes it for anything else: words
/// such as `yes` or `null` in any case, what begins like a number or a date, and what holds an indicator of
/// YAML are quoted. Strings of several lines become literal block scalars where that is exact.
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        Value::Object(entries) if !entries.is_empty() => mapping(&mut out, entries, 0),
        _ => {
            inline(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

/// The items, each on a line of its own; the first one goes where `out` stands.
fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Array(items) if !items.is_empty() => sequence(out, items, indent + 2),
            Value::Object(entries) if !entries.is_empty() => mapping(out, entries, indent + 2),
            _ => {
                inline(out, item, indent);
                end_line(out);
            }
        }
    }
}

fn mapping(out: &mut String, entries: &serde_json::Map<String, Value>, indent: usize) {
    for (place, (key, value)) in entries.iter().enumerate() {
        if place > 0 {
            pad(out, indent);
        }
        let key = quoted_if_needed(key);
        if key.len() > MAXIMUM_SIMPLE_KEY {
            let _ = write!(out, "? {key}\n{:indent$}:", "");
        } else {
            let _ = write!(out, "{key}:");
        }
        match value {
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                sequence(out, items, indent + 2);
            }
            Value::Object(entries) if !entries.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                mapping(out, entries, indent + 2);
            }
            _ => {
                out.push(' ');
                inline(out, value, indent);
                end_line(out);
            }
        }
    }
}

/// A scalar or an empty collection; `indent` is that of the line it stands on.
fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => match literal(text, indent + 2) {
            Some(block) => out.push_str(&block),
            None => out.push_str(&quoted_if_needed(text)),
        },
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// YAML 1.1 wants a point before an exponent, and a sign in it.
fn number_text(number: &Number) -> String {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

/// `text` as a block scalar whose lines stand at `indent`, without the newline at its end where `text` has
/// none; nothing where a reader could take it differently.
fn literal(text: &str, indent: usize) -> Option<String> {
    if !text.contains('\n') || text.contains(|character| character != '\n' && !printable(character)) {
        return None;
    }
    let body = text.trim_end_matches('\n');
    let first = body.trim_start_matches('\n');
    let last = body.rsplit('\n').next().unwrap_or_default();
    // Lines of nothing but white space at either end are where readers disagree.
    if first.is_empty()
        || first.split('\n').next().is_some_and(|line| line.trim().is_empty())
        || last.trim().is_empty()
    {
        return None;
    }
    let mut out = String::from("|");
    if first.starts_with([' ', '\t']) || body.starts_with('\n') {
        out.push('2');
    }
    match text.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(&mut out, indent);
            out.push_str(line);
        }
    }
    for _ in 1..(text.len() - body.len()).max(1) {
        out.push('\n');
    }
    Some(out)
}

fn quoted_if_needed(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.contains(['"', '\\']) && text.chars().all(printable) {
        format!("'{}'", text.replace('\'', "''"))
    } else {
        double_quoted(text)
    }
}

/// Whether every reader takes `text` without quotes for that very string.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let body = |character: char| {
        character.is_ascii_alphanumeric()
            || matches!(
                character,
                ' ' | '_' | '.' | '/' | ':' | '@' | '+' | '=' | '(' | ')' | '-' | '~' | ';' | '$'
            )
    };
    if !(first.is_ascii_alphanumeric() || matches!(first, '/' | '_' | '('))
        || !text.chars().all(body)
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.len() > 1000
    {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "y" | "n"
            | "yes"
            | "no"
            | "on"
            | "off"
            | "true"
            | "false"
            | "null"
            | "none"
            | "nil"
            | "nan"
            | "inf"
            | "infinity"
    );
    // Numbers of any base, with an exponent, with `_` or `:` (base 60), and dates: they begin with a digit,
    // and all that they are made of is here.
    let number = (first.is_ascii_digit() || first == '_')
        && lower.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'x' | b'o' | b't' | b'z' | b'_' | b'.' | b':' | b'+' | b'-' | b' ' | b'/'));
    !word && !number && matches!(scalar::resolve(text), YamlValue::String(_))
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            _ if printable(character) => out.push(character),
            _ => {
                let code = u32::from(character);
                let _ = match code {
                    0..=0xFF => write!(out, "\\x{code:02X}"),
                    0x100..=0xFFFF => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Whether a character may stand as it is in a quoted or block scalar, for every reader. A tab may not: some
/// take it for indentation.
fn printable(character: char) -> bool {
    matches!(u32::from(character), 0x20..=0x7E | 0xA0..=0x2027 | 0x202A..=0xD7FF | 0xE000..=0xFEFE | 0xFF00..=0xFFFD | 0x1_0000..=0x10_FFFF)
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn end_line(out: &mut String) {
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stream::documents;

    fn back(text: &str) -> Value {
        let (mut documents, errors) = documents(&kic_base::Source::new("test", text));
        assert_eq!(errors, [], "{text}");
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).to_json()
    }

    #[test]
    fn objects_come_out_in_block_style() {
        let value = json!({
            "apiVersion": "v1",
            "data": {"a.txt": "one\ntwo\n", "b": "x\n\n", "c": "no\nend"},
            "empty": {}, "list": [], "nested": [[1, 2], {"a": null, "b": [true]}], "port": "8080"
        });
        let text = emit(&value);
        let expected = "\
apiVersion: v1
data:
  a.txt: |
    one
    two
  b: |+
    x

  c: |-
    no
    end
empty: {}
list: []
nested:
  - - 1
    - 2
  - a: null
    b:
      - true
port: \"8080\"
";
        assert_eq!(text, expected);
        assert_eq!(back(&text), value);
    }

    #[test]
    fn strings_that_any_reader_could_take_for_something_else_are_quoted() {
        for text in [
            "",
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "NULL",
            "~",
            "null",
            "0123",
            "0o7",
            "1e3",
            "1_000",
            "0x1F",
            "12",
            "1.5",
            ".5",
            "-1",
            "+1",
            ".inf",
            "2001-01-01",
            "2001-12-14t21:59:43.10-05:00",
            "1:30",
            "190:20:30",
            " a",
            "a ",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "?",
            "? a",
            ":",
            "a:",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a`",
            "{a}",
            "[a]",
            "a, b",
            "|",
            ">",
            "'a'",
            "\"a\"",
            "<<",
            "=",
            "---",
            "...",
            "\u{feff}a",
            "a\tb",
            "inf",
            "NaN",
            "0b11",
            "1__0",
            "_1",
            "1.2.3",
            "é: b",
            "10.0.0.0/8",
            "0.0.0.0:8080",
        ] {
            let rendered = emit(&Value::String(text.into()));
            assert!(rendered.starts_with(['"', '\'']), "{text} → {rendered}");
            assert_eq!(back(&rendered), Value::String(text.into()));
        }
        for text in [
            "nginx",
            "v1",
            "apps/v1",
            "ghcr.io/a/b:v1",
            "100m",
            "128Mi",
            "a b",
            "/bin/sh",
            "system:masters",
            "nope",
            "yesterday",
        ] {
            assert_eq!(emit(&Value::String(text.into())), format!("{text}\n"));
        }
    }

    #[test]
    fn every_string_and_number_reads_back() {
        for text in [
            "a\nb",
            "a\nb\n",
            "a\n\n\nb\n\n\n",
            " a\nb",
            "\n a\nb",
            "\n\na",
            "\ta\nb",
            "a\n  b\n",
            "a \nb ",
            "a\r\nb",
            "\n",
            "\n\n",
            "a\n ",
            " \na",
            "a\u{2028}b\nc",
            "\u{1}",
            "\u{85}",
            "\u{1F980}",
            "it's \"so\" \\",
            "a: b\n# c\n--- d\n",
            "---\na\n",
            "é\nü\n",
            "a\n\n  b\nc",
            "a\n   \nb",
            "a\\\nb",
            "\u{fffe}",
            "\u{10ffff}",
        ] {
            for value in [json!(text), json!({"k": text, "l": [text, [text]], "m": 1}), json!({text: text})] {
                let rendered = emit(&value);
                assert_eq!(back(&rendered), value, "{rendered}");
            }
        }
        for value in [json!(1e100), json!(1.5e-9), json!(-0.25), json!(u64::MAX), json!(i64::MIN), json!(1.0)]
        {
            assert_eq!(back(&emit(&value)), value, "{}", emit(&value));
        }
        let key = "k".repeat(5000);
        let value = json!({key: {"a": 1}, "z": [2]});
        assert_eq!(back(&emit(&value)), value);
    }
}
