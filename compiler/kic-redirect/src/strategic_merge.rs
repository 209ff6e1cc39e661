//! Strategic merges of pods: lists whose items bear names are merged by them, all other lists are replaced.

use serde_json::{Map, Value as Json};

use crate::fault::Fault;

/// The lists that are merged by a key.
const KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("env", "name"),
    ("ephemeralContainers", "name"),
    ("hostAliases", "ip"),
    ("imagePullSecrets", "name"),
    ("initContainers", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// The object with the patch merged in.
pub(crate) fn merge(patch: &Json, object: &Json) -> Result<Json, Fault> {
    let (Json::Object(patch), Json::Object(object)) = (patch, object) else { return Ok(patch.clone()) };
    let mut merged = object.clone();
    match patch.get("$patch").map(Json::as_str) {
        None => {}
        Some(Some("replace")) => merged = Map::new(),
        Some(_) => return Err(Fault::unknown("kic does not evaluate `$patch` there")),
    }
    for (key, value) in patch {
        if key == "$patch" {
            continue;
        }
        if key.starts_with('$') {
            return Err(Fault::unknown(format!("kic does not evaluate `{key}` in a patch")));
        }
        if value.is_null() {
            merged.remove(key);
            continue;
        }
        let value = match (merged.get(key), value) {
            (Some(before @ Json::Object(_)), Json::Object(_)) => merge(value, before)?,
            (before, Json::Array(items)) => match KEYS.iter().find(|(list, _)| list == key) {
                Some((_, name)) => {
                    let before = before.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
                    Json::Array(merge_list(items, before, name)?)
                }
                None => value.clone(),
            },
            _ => without_nulls(value),
        };
        merged.insert(key.clone(), value);
    }
    Ok(Json::Object(merged))
}

fn merge_list(patch: &[Json], before: &[Json], key: &str) -> Result<Vec<Json>, Fault> {
    let mut merged = before.to_vec();
    for item in patch {
        let name =
            item.get(key).ok_or_else(|| Fault::fails(format!("an item of the patch has no `{key}`")))?;
        let place = merged.iter().position(|other| other.get(key) == Some(name));
        if item.get("$patch").and_then(Json::as_str) == Some("delete") {
            merged.retain(|other| other.get(key) != Some(name));
            continue;
        }
        match place.and_then(|place| merged.get_mut(place)) {
            Some(found) => *found = merge(item, found)?,
            None => merged.push(without_nulls(item)),
        }
    }
    Ok(merged)
}

fn without_nulls(value: &Json) -> Json {
    match value {
        Json::Object(fields) => Json::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
