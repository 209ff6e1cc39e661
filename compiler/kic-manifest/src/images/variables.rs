use std::collections::BTreeMap;
use std::ops::Range;

use super::candidate::Candidate;
use super::locate::locate;
use super::walk::Walk;
use super::words::{Hint, variable_hint, words};
use super::{Confidence, GroupParts, Part, Parts};
use crate::Yaml;

/// The variables or parameters of a list, where any of them speaks of an image: words and values.
pub(crate) fn of_list(items: &[Yaml]) -> BTreeMap<String, Part> {
    let named = |item: &Yaml| Some((item.get("name")?.as_str()?.to_owned(), Part::of(item.get("value")?)?));
    let of_image = |item: &Yaml| {
        let name = item.get("name").and_then(Yaml::as_str).unwrap_or_default();
        name.contains("mage") || name.contains("IMAGE")
    };
    if !items.iter().any(of_image) {
        return BTreeMap::new();
    }
    items.iter().filter_map(named).map(|(name, value)| (words(&name).join(" "), value)).collect()
}

/// The same of arguments: `--name=value`, and `--name` before `value`.
pub(crate) fn flags(items: &[Yaml]) -> BTreeMap<String, Part> {
    if !items.iter().any(|item| item.as_str().is_some_and(|text| text.contains("mage"))) {
        return BTreeMap::new();
    }
    let mut flags = BTreeMap::new();
    let mut before: Option<&str> = None;
    for item in items {
        let Some(text) = item.as_str() else { continue };
        match (text.split_once('='), before.take()) {
            (Some((name, value)), _) if name.starts_with('-') => {
                let span = locate(item, text, name.len() + 1..text.len());
                flags.insert(words(name).join(" "), Part { text: value.to_owned(), span });
            }
            (_, Some(name)) if !text.starts_with('-') => {
                let span = locate(item, text, 0..text.len());
                flags.insert(words(name).join(" "), Part { text: text.to_owned(), span });
            }
            _ if text.starts_with('-') => before = Some(text),
            _ => {}
        }
    }
    flags
}

/// An image without a tag, whose tag another variable of the list gives: `X_IMAGE` and `X_VERSION`,
/// `image.repository` and `image.tag`, `--x-base-image` and `--x-tag`. `range` is that of the value in `text`.
pub(crate) fn versioned(walk: &mut Walk, node: &Yaml, text: &str, range: Range<usize>, name: &str) -> bool {
    if walk.variables.is_empty() {
        return false;
    }
    let words = words(name);
    let Some((last, stem)) = words.split_last() else { return false };
    let repository = matches!(last.as_str(), "repository" | "repo");
    if !(last.ends_with("image") || (repository && variable_hint(stem) == Hint::Image)) {
        return false;
    }
    let value = text.get(range.clone()).unwrap_or_default();
    let Some(plain) = Candidate::read(value).filter(|candidate| !candidate.has_version()) else {
        return false;
    };
    // `A_IMAGE_REPOSITORY` goes with `A_IMAGE_TAG` and with `A_VERSION`; `--a-base-image` with `--a-tag`.
    let mut stems = vec![words.as_slice(), stem];
    if let Some((end, before)) = stem.split_last()
        && (end == "base" || (repository && end == "image"))
    {
        stems.push(before);
    }
    let stems: Vec<String> = stems.iter().map(|stem| stem.join(" ")).collect();
    let beside = |ends: &[&str]| {
        let found = stems
            .iter()
            .find_map(|stem| ends.iter().find_map(|end| walk.variables.get(format!("{stem} {end}").trim())));
        found.filter(|part| !part.text.is_empty()).cloned()
    };
    let tag = beside(&["tag", "version", "image tag", "image version"]);
    // `A_B_DATABASE_IMAGE` may go with `DATABASE_VERSION`.
    let loose = tag.is_none().then(|| {
        let stem = if repository { stem.split_last().map_or(stem, |(_, before)| before) } else { stem };
        (1..stem.len()).find_map(|from| walk.variables.get(&format!("{} version", stem[from..].join(" "))))
    });
    let loose = loose.flatten().filter(|part| !part.text.is_empty()).map(|part| part.text.clone());
    let registry = beside(&["registry", "image registry"])
        .or_else(|| beside(&["repo url", "repository url"]).filter(|_| !plain.names_registry()));
    let tag = tag.map(|part| part.text);
    let before = registry.as_ref().map(|part| part.text.as_str());
    let (written, confidence) = match (before, tag) {
        (None, None) if plain.is_path() && loose.is_some() => {
            (format!("{value}:{}", loose.unwrap_or_default()), Confidence::Possible)
        }
        (Some(registry), Some(tag)) => (format!("{registry}/{value}:{tag}"), Confidence::Likely),
        (None, Some(tag)) => (format!("{value}:{tag}"), Confidence::Likely),
        (Some(registry), None) => (format!("{registry}/{value}"), Confidence::Possible),
        (None, None) => return false,
    };
    let Some(candidate) = Candidate::read(&written) else { return false };
    let loosely = match confidence {
        Confidence::Possible if candidate.has_version() => ", of which one may give its tag",
        Confidence::Possible => ", none of which gives a tag",
        _ => "",
    };
    let reason = format!("put together from the variable `{name}` and those beside it{loosely}");
    let registry = registry.map(|part| part.span);
    let parts = Parts::Group(GroupParts { registry, ..GroupParts::default() });
    walk.push(candidate, written, locate(node, text, range), parts, confidence, reason);
    true
}

/// The checksums in the variables of a container whose own image is named by one of them: `A_B_SHASUM` beside an
/// image `…/a-b@DIGEST` says that `C_D_SHASUM` is that of `…/c-d`.
pub(crate) fn digests(walk: &mut Walk, image: &Yaml, field: &str, variables: &Yaml) {
    let Some((own, folder, base)) = image.as_str().and_then(|own| {
        let name = own.split('@').next()?;
        let (folder, base) = name.rsplit_once('/')?;
        Some((own, folder, base.split(':').next()?))
    }) else {
        return;
    };
    let sums: Vec<(usize, String, &Yaml, &str)> = variables
        .items()
        .iter()
        .enumerate()
        .filter_map(|(place, item)| {
            let name = words(item.get("name")?.as_str()?);
            let (last, stem) = name.split_last()?;
            let value = item.get("value")?;
            let digest = value.as_str().filter(|text| text.starts_with("sha256:"))?;
            matches!(last.as_str(), "shasum" | "digest" | "sha")
                .then(|| (place, stem.join("-"), value, digest))
        })
        .collect();
    if !sums.iter().any(|(_, name, ..)| name == base) {
        return;
    }
    for (place, name, value, digest) in sums {
        let written = format!("{folder}/{name}@{digest}");
        if own.split_once('@').is_some_and(|(_, own)| name == base && own == digest) {
            continue;
        }
        let Some(candidate) = Candidate::read(&written) else { continue };
        let reason = "an image beside the container's own, whose checksum a variable gives".to_owned();
        let span = locate(value, digest, 0..digest.len());
        walk.entry(field, |walk| {
            walk.item(place, |walk| {
                walk.entry("value", |walk| {
                    walk.push(candidate, written, span, Parts::Derived, Confidence::Possible, reason);
                });
            });
        });
    }
}
