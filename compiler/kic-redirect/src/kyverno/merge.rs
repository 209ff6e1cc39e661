//! `patchStrategicMerge`: a strategic merge, after Kyverno's anchors have had their say.
//!
//! | anchor | means |
//! |---|---|
//! | `(key): pattern` | the mapping is merged only where the object matches |
//! | `<(key): pattern` | the whole patch is left out where nothing matches |
//! | `+(key): value` | added only where the object has no such key |

use serde_json::{Map, Value as Json};

use crate::fault::Fault;
use crate::strategic_merge;
use crate::text::wildcard;

/// The object after the overlay.
pub(super) fn merge(overlay: &Json, object: &Json) -> Result<Json, Fault> {
    match prepare(overlay, Some(object))? {
        Some(patch) => strategic_merge::merge(&patch, object),
        None => Ok(object.clone()),
    }
}

/// The overlay without its anchors; `None` where its conditions do not hold.
fn prepare(overlay: &Json, object: Option<&Json>) -> Result<Option<Json>, Fault> {
    match overlay {
        Json::Object(fields) => prepare_map(fields, object),
        Json::Array(items) if items.iter().all(Json::is_object) && items.iter().any(has_anchors) => {
            prepare_list(items, object).map(Some)
        }
        other => Ok(Some(other.clone())),
    }
}

fn prepare_map(fields: &Map<String, Json>, object: Option<&Json>) -> Result<Option<Json>, Fault> {
    for (key, pattern) in fields {
        if let Some((Anchor::Condition | Anchor::Global, name)) = anchor(key)?
            && !object
                .and_then(|object| object.get(name))
                .is_some_and(|found| holds(pattern, found).unwrap_or(false))
        {
            // A pattern that is not understood must not pass for one that does not match.
            if let Some(found) = object.and_then(|object| object.get(name)) {
                holds(pattern, found)?;
            }
            return Ok(None);
        }
    }
    let mut patch = Map::new();
    for (key, value) in fields {
        match anchor(key)? {
            Some((Anchor::Condition | Anchor::Global, _)) => {}
            Some((Anchor::IfAbsent, name)) => {
                if object.and_then(|object| object.get(name)).is_none() {
                    patch.insert(name.to_owned(), value.clone());
                }
            }
            None => match prepare(value, object.and_then(|object| object.get(key)))? {
                Some(value) => {
                    patch.insert(key.clone(), value);
                }
                None => return Ok(None),
            },
        }
    }
    Ok(Some(Json::Object(patch)))
}

/// A list of mappings with anchors: each is merged with those items of the object that match, by their names.
fn prepare_list(items: &[Json], object: Option<&Json>) -> Result<Json, Fault> {
    let mut patch = Vec::new();
    for item in items {
        if !has_anchors(item) {
            patch.push(item.clone());
            continue;
        }
        for found in object.and_then(Json::as_array).into_iter().flatten() {
            let Some(name) = found.get("name") else { continue };
            if item.get("name").is_some_and(|wanted| wanted != name) {
                continue;
            }
            if let Some(Json::Object(mut fields)) = prepare(item, Some(found))? {
                fields.insert("name".to_owned(), name.clone());
                patch.push(Json::Object(fields));
            }
        }
    }
    Ok(Json::Array(patch))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Condition,
    Global,
    IfAbsent,
}

fn anchor(key: &str) -> Result<Option<(Anchor, &str)>, Fault> {
    let Some(inner) = key.strip_suffix(')') else { return Ok(None) };
    let Some((sign, name)) = inner.split_once('(') else { return Ok(None) };
    match sign {
        "" => Ok(Some((Anchor::Condition, name))),
        "<" => Ok(Some((Anchor::Global, name))),
        "+" => Ok(Some((Anchor::IfAbsent, name))),
        "=" | "^" | "X" => {
            Err(Fault::unknown(format!("kic does not evaluate the anchor `{key}` in a patch")))
        }
        _ => Ok(None),
    }
}

fn has_anchors(value: &Json) -> bool {
    match value {
        Json::Object(fields) => fields
            .iter()
            .any(|(key, value)| anchor(key).map_or(true, |found| found.is_some()) || has_anchors(value)),
        Json::Array(items) => items.iter().any(has_anchors),
        _ => false,
    }
}

/// Whether a value matches the pattern of a condition.
fn holds(pattern: &Json, found: &Json) -> Result<bool, Fault> {
    Ok(match (pattern, found) {
        (Json::Object(fields), _) => {
            for (key, pattern) in fields {
                let name = anchor(key)?.map_or(key.as_str(), |(_, name)| name);
                match found.get(name) {
                    Some(found) if holds(pattern, found)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Json::String(pattern), _) => {
            let found = match found {
                Json::String(text) => text.clone(),
                Json::Null | Json::Array(_) | Json::Object(_) => return Ok(false),
                other => other.to_string(),
            };
            text_holds(pattern, &found)?
        }
        (Json::Array(_), _) => {
            return Err(Fault::unknown("kic does not evaluate lists in conditions of a patch"));
        }
        _ => pattern == found,
    })
}

/// `a | b`, `a & b`, `!a`, with wildcards.
fn text_holds(pattern: &str, found: &str) -> Result<bool, Fault> {
    for alternative in pattern.split('|') {
        let mut all = true;
        for part in alternative.split('&') {
            let part = part.trim();
            all &= match part.strip_prefix('!') {
                Some(not) => !wildcard(not, found),
                None if part.starts_with(['<', '>']) => {
                    return Err(Fault::unknown(format!("kic does not evaluate the pattern `{part}`")));
                }
                None => wildcard(part, found),
            };
        }
        if all {
            return Ok(true);
        }
    }
    Ok(false)
}
