use super::candidate::{Candidate, Position};
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, words};
use super::{Confidence, group};
use crate::{Style, Yaml};

/// The keywords under which more schemas stand.
const SCHEMAS: &[&str] = &["items", "additionalProperties"];

/// A schema names no images but in the defaults of its properties: an operator gives them to objects that
/// say nothing else.
pub(crate) fn defaults(walk: &mut Walk, schema: &Yaml) {
    walk.at_most(Confidence::Possible, "the default of a schema");
    inside(walk, schema, "");
}

fn inside(walk: &mut Walk, schema: &Yaml, name: &str) {
    if let Some(value) = schema.get("default") {
        walk.entry("default", |walk| default(walk, value, name));
    }
    for (property, schema) in schema.get("properties").map(Yaml::entries).unwrap_or_default() {
        let property = property.key();
        walk.entry("properties", |walk| walk.entry(&property, |walk| inside(walk, schema, &property)));
    }
    for key in SCHEMAS {
        if let Some(schema) = schema.get(key).filter(|schema| schema.style == Style::Collection) {
            walk.entry(key, |walk| inside(walk, schema, name));
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        for (place, schema) in schema.get(key).map(Yaml::items).unwrap_or_default().iter().enumerate() {
            walk.entry(key, |walk| walk.item(place, |walk| inside(walk, schema, name)));
        }
    }
}

fn default(walk: &mut Walk, value: &Yaml, name: &str) {
    if value.style == Style::Collection {
        if group::find(walk, value, name).is_empty() {
            walk.node(value, name);
        }
        return;
    }
    let Some(text) = value.as_str() else { return };
    let position = if key_hint(&words(name)) == Hint::Image { Position::Field } else { Position::Neutral };
    let Some(candidate) = Candidate::read(text) else { return };
    if candidate.is_bare_word() || candidate.judge(position).is_none() {
        return;
    }
    walk.record(Find::whole(
        candidate,
        value,
        Confidence::Possible,
        &format!("what the property `{name}` is where nothing is said"),
    ));
}
