//! Images that what stands around completes: a folder or registry for all, a version of the whole.

use super::candidate::Candidate;
use super::group::version_text;
use super::locate::locate;
use super::walk::Walk;
use super::{Confidence, Part, Parts};
use crate::Yaml;

/// The folder of a registry that an object gives for all its images: one with a host and a path.
pub(crate) fn folder(root: &Yaml) -> Option<String> {
    let paths: [&[&str]; 4] =
        [&["spec", "global", "registry"], &["spec", "registry"], &["global", "registry"], &["registry"]];
    let text = paths.iter().find_map(|path| root.at(path).and_then(Yaml::as_str))?;
    let candidate = Candidate::read(text)?;
    (candidate.is_path() && !candidate.is_short_path() && !candidate.has_version())
        .then(|| text.trim_end_matches('/').to_owned())
}

/// The registry that a mapping gives for the images in it and below: a host.
pub(crate) fn registry(node: &Yaml) -> Option<Part> {
    let part = Part::of(node.get("registry")?)?;
    let text = part.text.trim_end_matches('/');
    let is_host = text.contains(['.', ':'])
        && Candidate::read(&format!("{text}/a")).is_some_and(|found| found.names_registry());
    is_host.then_some(part)
}

/// A list of components with one `base` for all, below which each has an `image` and a `tag`.
pub(crate) fn components(walk: &mut Walk, node: &Yaml) {
    if node.get("components").is_some()
        && let Some(base) = node.get("base").and_then(Part::of)
        && Candidate::read(&base.text).is_some_and(|found| found.is_path() && !found.has_version())
    {
        walk.base = Some(base);
    }
    if let (Some(base), Some(tag)) = (&walk.base, node.get("tag").and_then(version_text)) {
        walk.hub = Some((base.clone(), tag));
    }
}

/// A base image, whose version is that of the whole that it is the base of.
pub(crate) fn base_image(walk: &mut Walk, node: &Yaml, text: &str, version: &str) -> bool {
    if Candidate::read(text).is_none_or(|candidate| candidate.has_version() || !candidate.is_path()) {
        return false;
    }
    let written = format!("{text}:{version}");
    let Some(candidate) = Candidate::read(&written) else { return false };
    let span = locate(node, text, 0..text.len());
    let reason = "a base image, whose tag is the `version` around it".to_owned();
    walk.push(candidate, written, span, Parts::repository(), Confidence::Likely, reason);
    true
}

/// A short name below Istio's `hub` and `tag`.
pub(crate) fn in_hub(walk: &mut Walk, node: &Yaml, text: &str) -> bool {
    let Some((hub, tag)) = &walk.hub else { return false };
    if text.contains(['/', ':', '@']) || text == "auto" {
        return false;
    }
    let written = format!("{}/{text}:{tag}", hub.text.trim_end_matches('/'));
    let parts = Parts::in_folder(&hub.span);
    let Some(candidate) = Candidate::read(&written) else { return false };
    let span = locate(node, text, 0..text.len());
    let reason = "a short name, meant under the folder and the tag that stand around it".to_owned();
    walk.push(candidate, written, span, parts, Confidence::Likely, reason);
    true
}

/// An image without a version in an object that gives it one.
pub(crate) fn in_plan(walk: &mut Walk, node: &Yaml, text: &str) -> bool {
    let Some(tag) = &walk.default_tag else { return false };
    let whole = format!("{text}:{tag}");
    let Some(candidate) = Candidate::read(text).filter(|candidate| !candidate.has_version()) else {
        return false;
    };
    let span = locate(node, text, 0..text.len());
    let known = (!tag.is_empty()).then(|| Candidate::read(&whole)).flatten();
    match known {
        Some(candidate) => {
            let reason = "an image whose tag is the version of the plan".to_owned();
            walk.push(candidate, whole, span, Parts::repository(), Confidence::Likely, reason);
        }
        None => {
            let reason = "an image whose tag is the newest release of a channel".to_owned();
            walk.push(candidate, text.to_owned(), span, Parts::repository(), Confidence::Possible, reason);
        }
    }
    true
}

/// A repository whose mapping gives no tag, with the version of what it belongs to: operators take that one.
pub(crate) fn version_around(walk: &mut Walk, node: &Yaml, text: &str, name: &str) -> bool {
    let Some(version) = walk.version.clone() else { return false };
    let written = format!("{text}:{version}");
    let Some(candidate) = Candidate::read(&written).filter(Candidate::is_path) else { return false };
    let span = locate(node, text, 0..text.len());
    let reason = "a repository without a tag, and the `version` around it, which may be its tag".to_owned();
    walk.entry(name, |walk| {
        walk.push(candidate, written, span, Parts::repository(), Confidence::Possible, reason);
    });
    true
}
