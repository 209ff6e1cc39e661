use serde::Serialize;
use serde_json::Value;

/// The one JSON text of a value: keys sorted by their bytes at every depth, no spaces, no line break at the
/// end. Numbers and strings are as serde_json writes them, so only what JSON must escape is escaped.
///
/// It sorts by itself, because serde_json keeps the order of insertion as soon as any crate of the build
/// switches its `preserve_order` on.
///
/// # Panics
///
/// On a value that has no JSON at all, such as a map whose keys are no strings: a mistake in the program.
pub fn canonical_json(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    match serde_json::to_value(value) {
        Ok(value) => canonical_value(&value),
        Err(error) => unreachable!("a value without JSON: {error}"),
    }
}

/// The same for what is JSON already.
pub fn canonical_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (place, (key, member)) in members.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Few have anything to escape: what is between comes in one piece.
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => &format!("\\u{byte:04x}"),
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(escaped.as_bytes());
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_nothing_is_padded() {
        let value: Value =
            serde_json::from_str(r#"{ "b": [ {"z": 1, "a": null} ], "a": -1.5, "B": true }"#).unwrap();
        assert_eq!(canonical_json(&value), br#"{"B":true,"a":-1.5,"b":[{"a":null,"z":1}]}"#);
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        let text: String = (0..0x180).filter_map(char::from_u32).chain(['\u{2028}', '😀']).collect();
        assert_eq!(canonical_json(&text), serde_json::to_vec(&text).unwrap());
        for cut in text.char_indices().map(|(at, _)| at) {
            assert_eq!(canonical_json(&text[cut..]), serde_json::to_vec(&text[cut..]).unwrap());
        }
        assert_eq!(canonical_json(&u64::MAX), b"18446744073709551615");
    }
}
