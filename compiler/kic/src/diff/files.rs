//! Files by path: kind, mode, content; of small texts, line by line.

use std::collections::{BTreeMap, BTreeSet};

use super::read::File;
use super::secrets::{HIDDEN, holds_secret};
use super::sequence::{Step, steps};
use super::{Change, Difference};

/// Lines around one that differs.
const AROUND: usize = 2;
/// Longer differences are told by digest alone.
const LINES: usize = 1000;

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
                    .push(Difference::new(Change::Removed, "file", path).between(Some(described(one)), None));
            }
            (None, Some(other)) if other.kind != "folder" => {
                differences
                    .push(Difference::new(Change::Added, "file", path).between(None, Some(described(other))));
            }
            _ => {}
        }
    }
    differences
}

fn described(file: &File) -> String {
    if is_secret(file) {
        return HIDDEN.to_owned();
    }
    match (&file.link, &file.digest) {
        (Some(link), _) => format!("{} to {link}", file.kind),
        (None, Some(digest)) => format!("{} bytes, {}", file.size, digest.short()),
        (None, None) => file.kind.to_owned(),
    }
}

/// Whether the file holds a Secret, so that nothing of it may be shown.
fn is_secret(file: &File) -> bool {
    file.text.as_deref().is_some_and(holds_secret)
}

fn changed(path: &str, left: &File, right: &File) -> Difference {
    let mut parts = Vec::new();
    let mut part = |name: &str, one: String, other: String| {
        if one != other {
            parts.push(Difference::new(Change::Changed, "field", name).between(Some(one), Some(other)));
        }
    };
    let mode = |file: &File| file.mode.map_or_else(|| "unreadable".to_owned(), |mode| format!("{mode:o}"));
    part("kind", left.kind.to_owned(), right.kind.to_owned());
    part("mode", mode(left), mode(right));
    let link = |file: &File| file.link.clone().unwrap_or_default();
    part("link to", link(left), link(right));
    if left.digest != right.digest {
        let is_hidden = is_secret(left) || is_secret(right);
        let lines = match (&left.text, &right.text) {
            (Some(one), Some(other)) if !is_hidden => lines(one, other),
            _ => Vec::new(),
        };
        let described = |file| if is_hidden { HIDDEN.to_owned() } else { described(file) };
        let content = Difference::new(Change::Changed, "content", "content")
            .between(Some(described(left)), Some(described(right)));
        parts.push(Difference { parts: lines, ..content });
    }
    Difference { parts, ..Difference::new(Change::Changed, "file", path) }
}

/// The lines that differ with some around them; none where there are too many.
fn lines(left: &str, right: &str) -> Vec<Difference> {
    let (lefts, rights): (Vec<&str>, Vec<&str>) = (left.lines().collect(), right.lines().collect());
    let steps = steps(&lefts, &rights);
    let differing: Vec<usize> = (0..steps.len()).filter(|at| !matches!(steps[*at], Step::Both(..))).collect();
    if differing.len() > LINES {
        return Vec::new();
    }
    let near: BTreeSet<usize> = differing
        .iter()
        .flat_map(|at| at.saturating_sub(AROUND)..=(at + AROUND).min(steps.len() - 1))
        .collect();
    near.into_iter()
        .map(|at| match steps[at] {
            Step::Both(one, _) => Difference::new(Change::Same, "line", lefts[one]),
            Step::Left(one) => Difference::new(Change::Removed, "line", lefts[one]),
            Step::Right(other) => Difference::new(Change::Added, "line", rights[other]),
        })
        .collect()
}
