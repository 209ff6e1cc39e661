use kic_base::Source;

use super::walk::Walk;
use super::{Confidence, Parts};
use crate::stream::documents;
use crate::{Style, Yaml};

/// Longer values are archives and binaries.
const MAXIMUM_LENGTH: usize = 1 << 20;

/// The `data` of a Secret, written in base64: YAML and JSON in it, such as the values that an operator or a hub
/// reads, are looked at like those in a ConfigMap. Other texts are secrets, and nobody's business. The place of what is
/// found is the object's `kind`: messages show lines, and the line of the value would show the secret.
pub(crate) fn secret(walk: &mut Walk, root: &Yaml) {
    let Some(place) = root.get("kind") else { return };
    member(walk, root, "data", Some(place), "in the data of a secret, written in base64");
}

/// The `binaryData` of a ConfigMap, in the same way. Nothing in it is a secret.
pub(crate) fn binary_data(walk: &mut Walk, root: &Yaml) {
    member(walk, root, "binaryData", None, "in binary data, written in base64");
}

/// Looks at the values of a member; what is found stands at `place`, else at its value.
fn member(walk: &mut Walk, root: &Yaml, name: &str, place: Option<&Yaml>, because: &'static str) {
    let data = root.get(name).map(Yaml::entries).unwrap_or_default();
    walk.entry(name, |walk| {
        for (key, value) in data {
            let key = key.key();
            let decoded = value.as_str().and_then(decode);
            let Some(text) = decoded.filter(|text| text.contains([':', '{'])) else { continue };
            walk.entry(&key, |walk| inside(walk, place.unwrap_or(value), &text, &key, because));
        }
    });
}

fn inside(walk: &mut Walk, place: &Yaml, text: &str, key: &str, because: &'static str) {
    let source = Source::new(walk.path.clone(), text);
    let (documents, _) = documents(&source);
    for root in documents.iter().filter(|root| root.style == Style::Collection) {
        let mut inside = Walk::new(walk.title.clone(), walk.cap, walk.because);
        inside.at_most(Confidence::Likely, because);
        inside.level = walk.level + 1;
        inside.path = format!("{} > ", walk.path);
        let field = |key: &str| root.get(key).and_then(Yaml::as_str);
        match (field("apiVersion"), field("kind")) {
            (Some(api_version), Some(kind)) => inside.object(root, api_version, kind),
            _ => inside.node(root, key),
        }
        for mut found in inside.found {
            found.span = place.span.clone();
            found.parts = Parts::Derived;
            walk.found.push(found);
        }
    }
}

/// The text that a value in base64 stands for, where it is one. White space in it is of no meaning.
pub(crate) fn decode(value: &str) -> Option<String> {
    if value.len() > MAXIMUM_LENGTH {
        return None;
    }
    let mut bytes = Vec::with_capacity(value.len() / 4 * 3);
    let mut bits = 0_u32;
    let mut count = 0_u32;
    let mut padding = 0;
    for byte in value.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    if padding > 2 {
        return None;
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_and_nothing_else_is() {
        for (value, text) in [
            ("YTogMQ==", Some("a: 1")),
            ("YTog\nMQ==", Some("a: 1")),
            ("YTogMTI=", Some("a: 12")),
            ("", Some("")),
            ("a b:", None),
            ("=YTo", None),
            ("/w==", None),
        ] {
            assert_eq!(decode(value).as_deref(), text, "{value}");
        }
    }
}
