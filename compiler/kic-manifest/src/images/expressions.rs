use std::ops::Range;

use super::Confidence;
use super::candidate::{Candidate, Position};
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, words};
use crate::Yaml;

/// Policies in CEL that change or make objects: what their expressions put in may be an image. Whether nothing else
/// of the object is to be looked at.
pub(crate) fn object(walk: &mut Walk, root: &Yaml, kind: &str) -> bool {
    let own = kind == "MutatingAdmissionPolicy";
    if !(own || kind.ends_with("MutatingPolicy") || kind.ends_with("GeneratingPolicy")) {
        return false;
    }
    walk.entry("spec", |walk| {
        walk.at_most(Confidence::Likely, "in a policy");
        for (list, fields) in [
            ("mutations", &["applyConfiguration", "jsonPatch"][..]),
            ("variables", &[""]),
            ("generate", &[""]),
        ] {
            let items = root.at(&["spec", list]).map(Yaml::items).unwrap_or_default();
            walk.entry(list, |walk| {
                for (place, item) in items.iter().enumerate() {
                    walk.item(place, |walk| {
                        for field in fields {
                            let holder = if field.is_empty() { Some(item) } else { item.get(field) };
                            let Some(node) = holder.and_then(|holder| holder.get("expression")) else {
                                continue;
                            };
                            match field.is_empty() {
                                true => walk.entry("expression", |walk| expression(walk, node)),
                                false => walk.entry(field, |walk| {
                                    walk.entry("expression", |walk| expression(walk, node));
                                }),
                            }
                        }
                    });
                }
            });
        }
    });
    own
}

/// The string literals of an expression that are references: surer behind a key that is named for an image.
fn expression(walk: &mut Walk, node: &Yaml) {
    let Some(text) = node.as_str() else { return };
    for literal in literals(text) {
        let Some(candidate) = Candidate::read(&text[literal.range.clone()]) else { continue };
        let position = if literal.image { Position::Field } else { Position::Neutral };
        if candidate.is_bare_word() && !literal.image {
            continue;
        }
        let Some(confidence) = candidate.judge(position) else { continue };
        let confidence = if literal.image { confidence } else { Confidence::Possible };
        let reason = if literal.image {
            "what an expression sets as an image".to_owned()
        } else {
            "a full reference in an expression".to_owned()
        };
        walk.record(Find { candidate, node, part: literal.range, confidence, reason });
    }
}

/// A string literal that is not compared with anything.
struct Literal {
    /// Without its quotes.
    range: Range<usize>,
    /// Whether it belongs to the value of a key that is named for an image.
    image: bool,
}

/// The literals of a CEL expression. Never fails: an open quote ends with the text.
fn literals(text: &str) -> Vec<Literal> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    // For each open bracket: whether an image is being set, and whether the key of the entry is known.
    let mut open = vec![(false, false)];
    let mut last = "";
    let mut before = [0_u8; 2];
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'/' if bytes.get(at) == Some(&b'/') => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' | b'\'' => {
                while let Some(&inner) = bytes.get(at) {
                    at += if inner == b'\\' { 2 } else { 1 };
                    if inner == byte {
                        break;
                    }
                }
                let end = at.min(bytes.len());
                let range = start + 1..end.saturating_sub(1).max(start + 1);
                last = text.get(range.clone()).unwrap_or_default();
                let compared = matches!(&before, b"==" | b"!=");
                let image = open.last().is_some_and(|(image, _)| *image);
                if !compared && !last.is_empty() {
                    found.push(Literal { range, image });
                }
            }
            b'{' | b'[' => open.push((false, false)),
            b'(' => open.push((open.last().is_some_and(|(image, _)| *image), true)),
            b'}' | b']' | b')' if open.len() > 1 => {
                open.pop();
            }
            b',' => {
                if let Some(entry) = open.last_mut() {
                    *entry = (false, false);
                }
            }
            b':' => {
                if let Some((image, keyed @ false)) = open.last_mut() {
                    *image = key_hint(&words(last)) == Hint::Image;
                    *keyed = true;
                }
            }
            _ if byte.is_ascii_alphabetic() || byte == b'_' => {
                while bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    at += 1;
                }
                last = &text[start..at];
            }
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = [before[1], byte];
        }
    }
    found
}
