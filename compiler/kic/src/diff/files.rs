//! Files by path: kind, mode, owner, time, content; of texts, line by line.

use std::collections::BTreeSet;

use super::lines::lines;
use super::objects::Told;
use super::read::{File, UNREADABLE};
use super::secrets::{HIDDEN, holds_secret};
use super::tree::Tree;
use super::{Change, Difference, FileValue, Value};

/// The differences of files, without the content of those that are told as something else.
pub(super) fn diff(left: &Tree<'_>, right: &Tree<'_>, told: &Told<'_>) -> Vec<Difference> {
    let paths: BTreeSet<&str> = left.files.keys().chain(right.files.keys()).copied().collect();
    let mut differences = Vec::new();
    for path in paths {
        match (left.files.get(path), right.files.get(path)) {
            (Some(one), Some(other)) => {
                differences.extend(changed(path, one, other, told));
            }
            (Some(one), None) if comes_alone(one, path, left) && !told.differing.contains(path) => {
                let removed = Difference::new(Change::Removed, "file", shown(path));
                differences.push(removed.between(Some(value(one)), None));
            }
            (None, Some(other)) if comes_alone(other, path, right) && !told.differing.contains(path) => {
                let added = Difference::new(Change::Added, "file", shown(path));
                differences.push(added.between(None, Some(value(other))));
            }
            _ => {}
        }
    }
    differences.extend(deletions(left, right));
    differences.sort_by(|one, other| one.name.cmp(&other.name));
    let (times, mut differences): (Vec<_>, Vec<_>) = differences.into_iter().partition(is_time_alone);
    // Where an image is built anew, that is often so of every file.
    let times = times.into_iter().map(|mut file| match file.parts.pop() {
        Some(time) => file.between(time.left, time.right),
        None => file,
    });
    differences.extend(Difference::group("times", "of these, the times alone", times.collect()));
    differences
}

/// What later layers delete of layers that both sides have, which are not read.
fn deletions(left: &Tree<'_>, right: &Tree<'_>) -> Vec<Difference> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    let is_told =
        |tree: &Tree<'_>, path: &str| tree.files.get(path).is_some_and(|file| file.kind != "folder");
    let mut differences = Vec::new();
    for path in right.hidden.difference(&left.hidden).filter(|path| !is_told(left, path)) {
        let removed = Difference::new(Change::Removed, "whiteout", shown(path));
        differences.push(removed.between(None, text("deleted by a whiteout")));
    }
    for path in left.hidden.difference(&right.hidden).filter(|path| !is_told(right, path)) {
        let added = Difference::new(Change::Added, "whiteout", shown(path));
        differences.push(added.between(None, text("no longer deleted by a whiteout")));
    }
    for path in right.emptied.difference(&left.emptied) {
        let changed = Difference::new(Change::Changed, "whiteout", shown(path));
        differences.push(changed.between(None, text("emptied by an opaque whiteout")));
    }
    for path in left.emptied.difference(&right.emptied) {
        let changed = Difference::new(Change::Changed, "whiteout", shown(path));
        differences.push(changed.between(None, text("no longer emptied by an opaque whiteout")));
    }
    differences
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// A folder comes and goes with what is in it.
fn comes_alone(file: &File, path: &str, tree: &Tree<'_>) -> bool {
    file.kind != "folder" || !tree.has_below(path)
}

fn is_time_alone(difference: &Difference) -> bool {
    matches!(&difference.parts[..], [part] if part.name == "time")
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

fn changed(path: &str, left: &File, right: &File, told: &Told<'_>) -> Option<Difference> {
    if left == right {
        return None;
    }
    let mut parts = Vec::new();
    let mut part = |name: &str, text: &dyn Fn(&File) -> String| {
        let (one, other) = (text(left), text(right));
        if one != other {
            parts.push(Difference::changed("field", name, Value::Text(one), Value::Text(other)));
        }
    };
    let or = |text: Option<String>| text.unwrap_or_else(|| UNREADABLE.to_owned());
    let quoted = |text: &str| format!("{text:?}");
    part("kind", &|file| file.kind.to_owned());
    part("mode", &|file| or(file.mode.map(mode)));
    part("link", &|file| file.link.clone().unwrap_or_default());
    part("user", &|file| or(file.user.map(|user| user.to_string())));
    part("group", &|file| or(file.group.map(|group| group.to_string())));
    part("user's name", &|file| quoted(&file.user_name));
    part("group's name", &|file| quoted(&file.group_name));
    let device =
        |file: &File| file.device.map_or_else(String::new, |(major, minor)| format!("{major}:{minor}"));
    part("device", &device);
    part("time", &|file| file.time.clone());
    let records: BTreeSet<&String> = left.records.keys().chain(right.records.keys()).collect();
    for key in records {
        let record =
            |file: &File| file.records.get(key).map_or_else(|| "nothing".to_owned(), |value| quoted(value));
        part(&format!("extended header {key}"), &record);
    }
    if left.digest != right.digest && !told.differing.contains(path) {
        let mut content = content(left, right);
        if told.read.contains(path) {
            content.parts.insert(0, Difference::form("the same objects, written otherwise"));
        }
        parts.push(content);
    }
    Difference::group("file", shown(path), parts)
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
