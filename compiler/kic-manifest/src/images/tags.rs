//! Tags that stand deeper than their repository: `tags: {major: {minor: TAG}}`, `versions: [{version: …, imageTag: TAG}]`.

use super::group::version_text;
use super::words::words;
use crate::{Style, Yaml};

/// So many tags are taken of one repository.
const MAXIMUM: usize = 500;

/// How deep the tags may stand below their key.
const MAXIMUM_DEPTH: usize = 4;

/// Below which keys tags stand.
const KEYS: &[&str] = &["tag", "tags", "versions"];

/// The fields that hold a tag, among others of one version.
const FIELDS: &[&str] = &["imageTag", "tag", "image_tag"];

/// Fields with which a mapping is an image of its own.
const REPOSITORIES: &[&str] = &["repository", "repo", "image"];

/// The tags that stand in lists and mappings of `node`, a mapping with a repository: the path to each, and the tag.
pub(crate) fn beneath(node: &Yaml) -> Vec<(String, &Yaml)> {
    let mut found = Vec::new();
    for (key, value) in node.entries().iter().filter(|(_, value)| value.style == Style::Collection) {
        let key = key.key();
        if words(&key).last().is_some_and(|word| KEYS.contains(&word.as_str())) {
            collect(value, key.into_owned(), 0, &mut found);
        }
    }
    found
}

fn collect<'a>(node: &'a Yaml, path: String, depth: usize, found: &mut Vec<(String, &'a Yaml)>) {
    if depth > MAXIMUM_DEPTH || found.len() >= MAXIMUM {
        return;
    }
    if node.style != Style::Collection {
        if version_text(node).is_some_and(|text| is_version(&text)) {
            found.push((path, node));
        }
        return;
    }
    for (place, item) in node.items().iter().enumerate() {
        collect(item, format!("{path}[{place}]"), depth + 1, found);
    }
    let has = |key: &&str| node.get(key).and_then(Yaml::as_str).is_some_and(|text| !text.is_empty());
    if REPOSITORIES.iter().any(has) {
        return;
    }
    if let Some((key, tag)) = FIELDS.iter().find_map(|key| Some((key, node.get(key)?))) {
        collect(tag, format!("{path}.{key}"), depth + 1, found);
        return;
    }
    for (key, value) in node.entries() {
        collect(value, format!("{path}.{}", key.key()), depth + 1, found);
    }
}

/// Whether a text reads like the version of something: `12.14.0-alpine`, `v1`, `latest`.
fn is_version(text: &str) -> bool {
    let number = text.strip_prefix('v').unwrap_or(text);
    text == "latest" || number.starts_with(|first: char| first.is_ascii_digit())
}
