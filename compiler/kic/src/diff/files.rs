//! Files by path: kind, mode, content; of texts, line by line.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::lines;
use super::read::File;
use super::secrets::{HIDDEN, holds_secret};
use super::{Change, Difference, FileValue, Value};

pub(super) fn diff(
    left: &BTreeMap<&str, &File>,
    right: &BTreeMap<&str, &File>,
    told: &BTreeSet<&str>,
) -> Vec<Difference> {
    let paths: BTreeSet<&str> = left.keys().chain(right.keys()).copied().collect();
    let mut differences = Vec::new();
    for path in paths.into_iter().filter(|path| !told.contains(path)) {
        match (left.get(path), right.get(path)) {
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => differences.push(changed(path, one, other)),
            // A folder comes and goes with what is in it.
            (Some(one), None) if one.kind != "folder" => {
                differences
                    .push(Difference::new(Change::Removed, "file", path).between(Some(value(one)), None));
            }
            (None, Some(other)) if other.kind != "folder" => {
                differences
                    .push(Difference::new(Change::Added, "file", path).between(None, Some(value(other))));
            }
            _ => {}
        }
    }
    differences
}

/// Whether the file holds a Secret, so that nothing of it may be shown.
fn is_secret(file: &File) -> bool {
    file.text.as_deref().is_some_and(holds_secret)
}

fn value(file: &File) -> Value {
    if is_secret(file) {
        return Value::Text(HIDDEN.to_owned());
    }
    Value::File(FileValue {
        kind: file.kind,
        mode: file.mode.map(mode),
        digest: file.digest,
        size: file.digest.map(|_| file.size),
        link: file.link.clone(),
    })
}

/// The permission bits as the language writes them.
fn mode(mode: u32) -> String {
    format!("{mode:04o}")
}

fn changed(path: &str, left: &File, right: &File) -> Difference {
    let mut parts = Vec::new();
    let mut part = |name: &str, one: String, other: String| {
        if one != other {
            parts.push(Difference::changed("field", name, Value::Text(one), Value::Text(other)));
        }
    };
    let mode = |file: &File| file.mode.map_or_else(|| "unreadable".to_owned(), mode);
    part("kind", left.kind.to_owned(), right.kind.to_owned());
    part("mode", mode(left), mode(right));
    let link = |file: &File| file.link.clone().unwrap_or_default();
    part("link", link(left), link(right));
    if left.digest != right.digest {
        parts.push(content(left, right));
    }
    Difference::new(Change::Changed, "file", path).with(parts)
}

fn content(left: &File, right: &File) -> Difference {
    if is_secret(left) || is_secret(right) {
        let hidden = || Value::Text(HIDDEN.to_owned());
        return Difference::changed("content", "content", hidden(), hidden());
    }
    let lines = match (&left.text, &right.text) {
        (Some(one), Some(other)) => lines(one, other),
        _ => Vec::new(),
    };
    Difference::changed("content", "content", value(left), value(right)).with(lines)
}
