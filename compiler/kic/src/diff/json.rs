//! Values field by field.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::lines::lines;
use super::secrets::{HIDDEN, holds_secret, is_marked, marked, unmarked};
use super::sequence::{Step, steps};
use super::{Change, Difference, Value};

/// What differs between two values, a difference for each field. What is secret in them is hidden.
pub(super) fn fields(left: &Json, right: &Json) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (left, right) = (marked(left.clone(), false), marked(right.clone(), false));
    value("", Some(&left), Some(&right), &mut differences);
    differences
}

/// What differs between two maps of texts.
pub(super) fn maps(
    left: &BTreeMap<String, String>,
    right: &BTreeMap<String, String>,
    kind: &'static str,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let (one, other) = (left.get(name), right.get(name));
        if one != other {
            let text = |text: &String| {
                let shown = if holds_secret(text) { HIDDEN } else { text };
                Value::Json(shown.into())
            };
            differences.push(
                Difference::new(change(one, other), kind, name).between(one.map(text), other.map(text)),
            );
        }
    }
    differences
}

/// An object without some of its members.
pub(super) fn without(json: &Json, names: &[&str]) -> Json {
    let mut json = json.clone();
    if let Some(members) = json.as_object_mut() {
        members.retain(|name, _| !names.contains(&name.as_str()));
    }
    json
}

fn change<T>(left: Option<T>, right: Option<T>) -> Change {
    match (left.is_some(), right.is_some()) {
        (false, _) => Change::Added,
        (_, false) => Change::Removed,
        _ => Change::Changed,
    }
}

fn value(path: &str, left: Option<&Json>, right: Option<&Json>, differences: &mut Vec<Difference>) {
    if left == right {
        return;
    }
    match (left, right) {
        (Some(Json::Object(left)), Some(Json::Object(right))) => members(path, left, right, differences),
        (Some(Json::Array(left)), Some(Json::Array(right))) => items(path, left, right, differences),
        _ => {
            let name = if path.is_empty() { "(all of it)" } else { path };
            let shown = |json: &Json| Value::Json(unmarked(json));
            let difference = Difference::new(change(left, right), "field", name);
            let parts = match (left, right) {
                (Some(Json::String(one)), Some(Json::String(other)))
                    if (one.contains('\n') || other.contains('\n'))
                        && !is_marked(one)
                        && !is_marked(other) =>
                {
                    lines(one, other)
                }
                _ => Vec::new(),
            };
            differences.push(difference.between(left.map(shown), right.map(shown)).with(parts));
        }
    }
}

fn members(
    path: &str,
    left: &Map<String, Json>,
    right: &Map<String, Json>,
    differences: &mut Vec<Difference>,
) {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for name in names {
        // A name with a dot in it would read as a path.
        let step = if name.contains(['.', '[', '/']) { format!("[{name}]") } else { name.clone() };
        let place = match (path, step.starts_with('[')) {
            ("", _) => step,
            (_, true) => format!("{path}{step}"),
            (_, false) => format!("{path}.{step}"),
        };
        value(&place, left.get(name), right.get(name), differences);
    }
}

/// Items that have names, as containers and ports do, are told by these; others by their order.
fn items(path: &str, left: &[Json], right: &[Json], differences: &mut Vec<Difference>) {
    if let (Some(lefts), Some(rights)) = (named(left), named(right)) {
        let names: BTreeSet<&str> = lefts.keys().chain(rights.keys()).copied().collect();
        let count = differences.len();
        for name in names {
            value(
                &format!("{path}[{name}]"),
                lefts.get(name).copied(),
                rights.get(name).copied(),
                differences,
            );
        }
        if differences.len() == count {
            let order = |items: &BTreeMap<&str, &Json>, list: &[Json]| {
                let name = |item: &Json| {
                    items.iter().find(|(_, own)| **own == item).map(|(name, _)| (*name).to_owned())
                };
                list.iter().filter_map(name).collect::<Vec<_>>().join(", ")
            };
            let difference = Difference::new(Change::Moved, "field", path);
            differences.push(
                difference.between(
                    Some(Value::Text(order(&lefts, left))),
                    Some(Value::Text(order(&rights, right))),
                ),
            );
        }
        return;
    }
    // One that goes and one that comes in its place is one that changed.
    let mut gone: Vec<usize> = Vec::new();
    let mut all: Vec<Step> = steps(left, right);
    all.push(Step::Both(left.len(), right.len()));
    let mut come: Vec<usize> = Vec::new();
    for step in all {
        match step {
            Step::Left(at) => gone.push(at),
            Step::Right(at) => come.push(at),
            Step::Both(..) => {
                let pairs = gone.len().max(come.len());
                for pair in 0..pairs {
                    let (one, other) = (gone.get(pair), come.get(pair));
                    let at = one.or(other).copied().unwrap_or_default();
                    value(
                        &format!("{path}[{at}]"),
                        one.map(|at| &left[*at]),
                        other.map(|at| &right[*at]),
                        differences,
                    );
                }
                gone.clear();
                come.clear();
            }
        }
    }
}

/// The items of a list by their names, where each has one of its own.
fn named(items: &[Json]) -> Option<BTreeMap<&str, &Json>> {
    let mut named = BTreeMap::new();
    for item in items {
        let name = item.get("name")?.as_str()?;
        if named.insert(name, item).is_some() {
            return None;
        }
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(left: Json, right: Json) -> Vec<String> {
        let one = |difference: Difference| {
            let text = |value: Option<Value>| match value {
                None => "-".to_owned(),
                Some(Value::Json(json)) => json.to_string(),
                Some(Value::Text(text)) => text,
                Some(other) => format!("{other:?}"),
            };
            format!("{} {} {}", difference.name, text(difference.left), text(difference.right))
        };
        fields(&left, &right).into_iter().map(one).collect()
    }

    #[test]
    fn fields_are_told_by_their_paths() {
        assert!(told(json!({ "a": [1] }), json!({ "a": [1] })).is_empty());
        assert_eq!(
            told(
                json!({ "a": { "b": 1, "c": 2, "x.y/z": 1 } }),
                json!({ "a": { "b": 2, "d": null, "x.y/z": 2 } })
            ),
            ["a.b 1 2", "a.c 2 -", "a.d - null", "a[x.y/z] 1 2"]
        );
        assert_eq!(told(json!({ "a": 1 }), json!(1)), [r#"(all of it) {"a":1} 1"#]);
    }

    #[test]
    fn items_are_told_by_name_or_by_order() {
        let container = |name: &str, image: &str| json!({ "name": name, "image": image });
        assert_eq!(
            told(
                json!([container("a", "1"), container("b", "1")]),
                json!([container("b", "2"), container("c", "1")])
            ),
            [
                r#"[a] {"image":"1","name":"a"} -"#,
                r#"[b].image "1" "2""#,
                r#"[c] - {"image":"1","name":"c"}"#
            ]
        );
        assert_eq!(
            told(
                json!([container("a", "1"), container("b", "1")]),
                json!([container("b", "1"), container("a", "1")])
            ),
            [" a, b b, a"]
        );
        assert_eq!(
            told(json!(["a", "b", "c"]), json!(["a", "x", "c", "d"])),
            [r#"[1] "b" "x""#, r#"[3] - "d""#]
        );
        assert_eq!(told(json!(["a", "b"]), json!(["b"])), [r#"[0] "a" -"#]);
    }

    #[test]
    fn texts_of_lines_are_told_by_line_and_those_that_hold_secrets_are_not() {
        let parts = |one: &str, other: &str| {
            let told = fields(&json!({ "a": one }), &json!({ "a": other }));
            told[0].parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(parts("one\ntwo\n", "one\n2\n"), ["one", "two", "2"]);
        assert!(parts("one", "two").is_empty());
        assert!(parts("kind: Secret\na: one\n", "one\ntwo\n").is_empty());
    }
}
