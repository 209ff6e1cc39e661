use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// The one JSON text of a value: keys sorted by their bytes at every depth, no spaces, no line break at the
/// end. Numbers and strings are as serde_json writes them, so only what JSON must escape is escaped.
///
/// What gives its keys in that order already is written as it comes: the members of the documents in this module do, and those of
/// maps that are sorted. All else is sorted here, because serde_json keeps the order of insertion as soon as any crate of the build
/// switches its `preserve_order` on.
///
/// # Panics
///
/// On a value that has no JSON at all, such as a map whose keys are no strings: a mistake in the program.
pub fn canonical_json(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    if let Some(bytes) = straight(value) {
        return bytes;
    }
    match serde_json::to_value(value) {
        Ok(value) => canonical_value(&value),
        Err(error) => unreachable!("a value without JSON: {error}"),
    }
}

/// The JSON of a value as it comes, where that is canonical.
fn straight(value: &(impl Serialize + ?Sized)) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(1024);
    let mut is_sorted = true;
    let formatter = Watching { is_sorted: &mut is_sorted, objects: Vec::new(), keys: Vec::new(), key: None };
    value.serialize(&mut Serializer::with_formatter(&mut out, formatter)).ok()?;
    is_sorted.then_some(out)
}

/// Writes JSON without spaces, and notices keys that are not in their order, or of which it does not know that they are.
struct Watching<'a> {
    is_sorted: &'a mut bool,
    /// Of each object that is open, where its last key begins among the `keys`: it ends where the next one begins.
    objects: Vec<usize>,
    keys: Vec<u8>,
    /// Where the key begins that is being written.
    key: Option<usize>,
}

impl Formatter for Watching<'_> {
    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.objects.push(self.keys.len());
        CompactFormatter.begin_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, is_first: bool) -> io::Result<()> {
        self.key = Some(self.keys.len());
        CompactFormatter.begin_object_key(out, is_first)
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        if self.key.is_some() {
            self.keys.extend_from_slice(fragment.as_bytes());
        }
        CompactFormatter.write_string_fragment(out, fragment)
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        *self.is_sorted &= self.key.is_none();
        CompactFormatter.write_char_escape(out, escape)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        if let (Some(last), Some(key)) = (self.objects.last(), self.key.take()) {
            // The first key comes after nothing; one that is empty, or no text, does not.
            *self.is_sorted &= self.keys[*last..key] < self.keys[key..];
            self.keys.drain(*last..key);
        }
        CompactFormatter.end_object_key(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.keys.truncate(self.objects.pop().unwrap_or_default());
        CompactFormatter.end_object(out)
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
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::model::{Descriptor, DescriptorPlatform, History, ImageConfig, Index, Manifest, RunConfig};

    #[test]
    fn keys_are_sorted_at_every_depth_and_nothing_is_padded() {
        let value: Value =
            serde_json::from_str(r#"{ "b": [ {"z": 1, "a": null} ], "a": -1.5, "B": true }"#).unwrap();
        assert_eq!(canonical_json(&value), br#"{"B":true,"a":-1.5,"b":[{"a":null,"z":1}]}"#);
    }

    /// Members that are declared in another order than that of their names.
    #[derive(Serialize)]
    struct Unsorted {
        b: u32,
        a: u32,
    }

    #[test]
    fn what_is_written_as_it_comes_is_what_is_sorted() {
        fn check(value: &impl Serialize, is_straight: bool) {
            let sorted = canonical_value(&serde_json::to_value(value).unwrap());
            assert_eq!(canonical_json(value), sorted);
            assert_eq!(straight(value), is_straight.then_some(sorted));
        }
        let unsorted = || Unsorted { b: 1, a: 2 };
        check(
            &json!({ "a": { "x": 1, "y": [{ "b": 1, "c": {} }, { "a": 2 }] }, "b": { "a": [], "aa": "" }, "ba": null }),
            true,
        );
        check(&json!({ "ä": 1, "😀": 2 }), true);
        check(&json!(["b", "a", 1.5, -0.0, 1e300]), true);
        check(&unsorted(), false);
        check(&BTreeMap::from([("a", unsorted()), ("b", unsorted())]), false);
        check(&BTreeMap::from([("a", [unsorted()])]), false);
        // Not known to be in order: one that is escaped, one that is empty, one that is no text.
        check(&BTreeMap::from([("a\"b", 1), ("a#", 2)]), false);
        check(&BTreeMap::from([("", 1), ("a", 2)]), false);
        check(&BTreeMap::from([(2, "b"), (10, "a")]), false);
        assert_eq!(canonical_json(&BTreeMap::from([(2, "b"), (10, "a")])), br#"{"10":"a","2":"b"}"#);
    }

    #[test]
    fn the_members_of_documents_are_declared_in_their_order() {
        let descriptor = Descriptor {
            urls: vec!["a".to_owned()],
            platform: Some(DescriptorPlatform {
                os_version: Some("1".to_owned()),
                os_features: vec!["a".to_owned()],
                features: vec!["a".to_owned()],
                ..DescriptorPlatform::from(&"linux/arm/v7".parse().unwrap())
            }),
            artifact_type: Some("a".to_owned()),
            data: Some("a".to_owned()),
            ..Descriptor::of("a", b"")
        }
        .annotated("a", "b");
        let annotations = descriptor.annotations.clone();
        let manifest = Manifest {
            artifact_type: Some("a".to_owned()),
            subject: Some(Box::new(descriptor.clone())),
            annotations: annotations.clone(),
            ..Manifest::new(descriptor.clone(), vec![descriptor.clone()])
        };
        let index = Index {
            artifact_type: Some("a".to_owned()),
            subject: Some(Box::new(descriptor.clone())),
            annotations: annotations.clone(),
            ..Index::new(vec![descriptor])
        };
        let text = || Some("a".to_owned());
        let config = ImageConfig {
            os_version: text(),
            os_features: vec!["a".to_owned()],
            created: text(),
            author: text(),
            config: RunConfig {
                user: text(),
                exposed_ports: [("a".to_owned(), Value::Null)].into(),
                env: vec!["a".to_owned()],
                entrypoint: Some(Vec::new()),
                cmd: Some(Vec::new()),
                volumes: [("a".to_owned(), Value::Null)].into(),
                working_dir: text(),
                labels: annotations,
                stop_signal: text(),
                ..RunConfig::default()
            },
            history: vec![History {
                created: text(),
                created_by: text(),
                author: text(),
                comment: text(),
                empty_layer: true,
            }],
            ..ImageConfig::new(&"linux/arm/v7".parse().unwrap())
        };
        assert!(straight(&manifest).is_some());
        assert!(straight(&index).is_some());
        assert!(straight(&config).is_some());
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
