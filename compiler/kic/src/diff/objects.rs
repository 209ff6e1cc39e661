//! Kubernetes objects and readiness checks, each by its identity, whatever file it stands in.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::Source;
use kic_manifest::Object;
use serde_json::Value as Json;

use super::json::fields;
use super::read::{CHECKS, File, OBJECTS};
use super::secrets::marked;
use super::{Change, Difference, unused};

/// An object or a check, and the file that it stands in.
struct Stands<'a> {
    path: &'a str,
    json: Json,
}

/// The files that objects and checks stand in.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    /// Those that hold something that differs: that tells their content.
    pub differing: BTreeSet<&'a str>,
    /// All of them.
    pub read: BTreeSet<&'a str>,
}

type ByName<'a> = BTreeMap<String, Stands<'a>>;

/// The differences, and the files that they tell of. A file of which no object differs is a file like any other: then it is written
/// otherwise, or lies elsewhere.
pub(super) fn diff<'a>(
    left: &BTreeMap<&'a str, &'a File>,
    right: &BTreeMap<&'a str, &'a File>,
) -> (Vec<Difference>, Told<'a>) {
    let mut told = Told::default();
    let mut differences = Vec::new();
    for (folder, kind) in [(OBJECTS[0], "objects"), (OBJECTS[1], "policies")] {
        let compared = compare(&objects(left, folder), &objects(right, folder), "object", &mut told);
        differences.extend(Difference::group(kind, kind, compared));
    }
    let compared = compare(&checks(left), &checks(right), "check", &mut told);
    // The scripts say the same for machines without kic.
    let scripts: BTreeSet<String> =
        compared.iter().map(|check| format!("scripts/wait-{}.sh", check.name)).collect();
    told.differing.extend(left.keys().chain(right.keys()).filter(|path| scripts.contains(**path)));
    differences.extend(Difference::group("checks", "readiness checks", compared));
    (differences, told)
}

fn compare<'a>(
    left: &ByName<'a>,
    right: &ByName<'a>,
    kind: &'static str,
    told: &mut Told<'a>,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    told.read.extend(left.values().chain(right.values()).map(|stands| stands.path));
    let mut differences = Vec::new();
    for name in names {
        let difference = match (left.get(name), right.get(name)) {
            (Some(one), Some(other)) => Difference::group(kind, name, fields(&one.json, &other.json)),
            (Some(_), None) => Some(Difference::new(Change::Removed, kind, name)),
            (None, _) => Some(Difference::new(Change::Added, kind, name)),
        };
        if difference.is_some() {
            told.differing
                .extend([left.get(name), right.get(name)].into_iter().flatten().map(|stands| stands.path));
        }
        differences.extend(difference);
    }
    differences
}

/// The objects in the files below a folder. A file that cannot be read as such is not told here.
fn objects<'a>(files: &BTreeMap<&'a str, &'a File>, folder: &str) -> ByName<'a> {
    let mut found = ByName::new();
    for (path, file) in files.iter().filter(|(path, _)| path.starts_with(folder)) {
        let Some(text) = &file.text else { continue };
        let (objects, errors) = kic_manifest::read(&Source::new((*path).to_owned(), text.clone()));
        if !errors.is_empty() {
            continue;
        }
        for object in objects {
            // Applied twice, the last one counts; both are shown.
            let name = unused(&found, identity(&object));
            let json = marked(object.root.to_json(), object.kind == "Secret");
            found.insert(name, Stands { path, json });
        }
    }
    found
}

fn identity(object: &Object) -> String {
    format!("{} {}", object.api_version, object.title())
}

/// The checks of each readiness layer, by the layer's name.
fn checks<'a>(files: &BTreeMap<&'a str, &'a File>) -> ByName<'a> {
    let mut found = ByName::new();
    for (path, file) in files {
        let name = path.strip_prefix(CHECKS).and_then(|name| name.strip_suffix(".json"));
        let json = file.text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        if let (Some(name), Some(json)) = (name, json) {
            found.insert(name.to_owned(), Stands { path, json });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Value;
    use crate::diff::read::tests::file;

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
            assert_eq!(told.differing, [path].into());
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
