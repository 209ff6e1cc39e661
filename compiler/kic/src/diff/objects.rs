//! Kubernetes objects and readiness checks, each by its identity, whatever file it stands in.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::Source;
use kic_manifest::Object;
use serde_json::Value as Json;

use super::json::fields;
use super::read::{CHECKS, File, OBJECTS};
use super::secrets::marked;
use super::{Change, Difference};

/// The differences, and the files that they tell all of.
pub(super) fn diff<'a>(
    left: &BTreeMap<&'a str, &'a File>,
    right: &BTreeMap<&'a str, &'a File>,
) -> (Vec<Difference>, BTreeSet<&'a str>) {
    let mut told = BTreeSet::new();
    let mut differences = Vec::new();
    for (folder, kind, name) in [(OBJECTS[0], "objects", "objects"), (OBJECTS[1], "policies", "policies")] {
        let (lefts, rights) = (objects(left, folder, &mut told), objects(right, folder, &mut told));
        differences.extend(Difference::group(kind, name, compare(&lefts, &rights, "object")));
    }
    let (lefts, rights) = (checks(left, &mut told), checks(right, &mut told));
    differences.extend(Difference::group("checks", "readiness checks", compare(&lefts, &rights, "check")));
    (differences, told)
}

fn compare(
    left: &BTreeMap<String, Json>,
    right: &BTreeMap<String, Json>,
    kind: &'static str,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        match (left.get(name), right.get(name)) {
            (Some(one), Some(other)) => {
                differences.extend(Difference::group(kind, name, fields(one, other)));
            }
            (Some(_), None) => differences.push(Difference::new(Change::Removed, kind, name)),
            (None, _) => differences.push(Difference::new(Change::Added, kind, name)),
        }
    }
    differences
}

/// The objects in the files below a folder. A file that cannot be read as such is not told here.
fn objects<'a>(
    files: &BTreeMap<&'a str, &'a File>,
    folder: &str,
    told: &mut BTreeSet<&'a str>,
) -> BTreeMap<String, Json> {
    let mut found: BTreeMap<String, Json> = BTreeMap::new();
    for (path, file) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
        let Some(text) = &file.text else { continue };
        let (objects, errors) = kic_manifest::read(&Source::new((*path).to_owned(), text.clone()));
        if !errors.is_empty() || objects.is_empty() {
            continue;
        }
        told.insert(path);
        for object in objects {
            let identity = identity(&object);
            let mut name = identity.clone();
            // Applied twice, the last one counts; both are shown.
            for count in 2.. {
                if !found.contains_key(&name) {
                    break;
                }
                name = format!("{identity} (number {count} of this name)");
            }
            found.insert(name, marked(object.root.to_json(), object.kind == "Secret"));
        }
    }
    found
}

fn identity(object: &Object) -> String {
    format!("{} {}", object.api_version, object.title())
}

/// The checks of each readiness layer, by the layer's name.
fn checks<'a>(files: &BTreeMap<&'a str, &'a File>, told: &mut BTreeSet<&'a str>) -> BTreeMap<String, Json> {
    let mut found = BTreeMap::new();
    for (path, file) in files {
        // The script says the same for machines without kic.
        if path.starts_with("scripts/wait-") && path.ends_with(".sh") {
            told.insert(path);
        }
        let name = path.strip_prefix(CHECKS).and_then(|name| name.strip_suffix(".json"));
        let json = file.text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        if let (Some(name), Some(json)) = (name, json) {
            told.insert(path);
            found.insert(name.to_owned(), json);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Value;

    fn file(text: &str) -> File {
        let text = Some(text.to_owned());
        File { kind: "file", mode: Some(0o644), size: 0, digest: None, link: None, text }
    }

    #[test]
    fn nothing_of_a_secret_is_shown() {
        let secret = |data: &str| {
            file(&format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: key\nstringData:\n{data}"))
        };
        let (one, other) = (secret("  a: one\n  b: same\n"), secret("  a: two\n  b: same\n  c: new\n"));
        let (bare, path) =
            (file("apiVersion: v1\nkind: Secret\nmetadata:\n  name: key\n"), "manifests/x/a.yaml");
        for (left, right, expected) in [
            (&one, &other, "stringData.a \"(hidden)\" \"(hidden)\"; stringData.c - \"(hidden)\""),
            (&bare, &one, "stringData - {\"a\":\"(hidden)\",\"b\":\"(hidden)\"}"),
        ] {
            let (found, told) = diff(&[(path, left)].into(), &[(path, right)].into());
            assert_eq!(told, [path].into());
            let text = |value: &Option<Value>| match value {
                Some(Value::Json(json)) => json.to_string(),
                _ => "-".to_owned(),
            };
            let one = |part: &Difference| format!("{} {} {}", part.name, text(&part.left), text(&part.right));
            let fields: Vec<String> = found[0].parts[0].parts.iter().map(one).collect();
            assert_eq!(fields.join("; "), expected);
        }
    }
}
