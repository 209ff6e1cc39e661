//! What manifests leave open: containers whose image cannot be read, and objects whose images only their operator
//! knows.

use super::group::version_text;
use super::kinds::{CONFIGURED_VERSIONS, GROUPS_WITH_OTHER_VERSIONS, KINDS_WITH_OTHER_VERSIONS};
use super::walk::Walk;
use super::words::{Hint, key_hint, words};
use super::{Confidence, Found, Gap, GapKind};
use crate::{Object, Yaml};

/// A container's image that is no reference. What a policy or a text inside a string has is not yet a container.
pub(crate) fn unreadable(walk: &mut Walk, node: &Yaml, text: &str) {
    // An operator may fill in what an object of its own leaves empty.
    let is_left_out = text.trim().is_empty() && !walk.own;
    if walk.level > 0 || walk.cap < Confidence::Certain || walk.is_template || is_left_out {
        return;
    }
    walk.gaps.push(Gap {
        kind: GapKind::Unreadable,
        written: text.to_owned(),
        span: node.span.clone(),
        object: walk.title.clone(),
        path: walk.path.clone(),
    });
}

/// The version in an object of another project's kind that names no image: its operator makes the names. Versions of
/// clusters, charts and protocols are none.
pub(crate) fn versioned(object: &Object) -> Option<Gap> {
    let group = object.api_version.split_once('/')?.0;
    let known = |endings: &[&str]| {
        endings.iter().any(|ending| group == *ending || group.ends_with(&format!(".{ending}")))
    };
    if !group.contains('.')
        || known(GROUPS_WITH_OTHER_VERSIONS)
        || KINDS_WITH_OTHER_VERSIONS.iter().any(|word| object.kind.contains(word))
    {
        return None;
    }
    let spec = object.root.get("spec")?;
    let parts = || spec.entries().iter().filter_map(|(key, part)| Some((key.as_str()?, part)));
    let (path, node, written) = parts().find_map(|(key, node)| version(key, node)).or_else(|| {
        parts().filter(|(key, _)| may_run(&words(key))).find_map(|(key, part)| {
            let (path, node, written) = version_of_part(key, part)?;
            Some((format!("{key}.{path}"), node, written))
        })
    })?;
    Some(Gap {
        kind: GapKind::Versioned(format!("{}.{group}", object.kind)),
        written,
        span: node.span.clone(),
        object: object.title(),
        path: format!("spec.{path}"),
    })
}

/// Whether an object that leaves `gap` open names an image all the same: what is only possible may be an artifact,
/// and counts where its tag has the version.
pub(crate) fn is_named(gap: &Gap, found: &[Found]) -> bool {
    let version = gap.written.strip_prefix('v').unwrap_or(&gap.written);
    found.iter().any(|found| {
        found.confidence > Confidence::Possible
            || found.reference.tag().is_some_and(|tag| tag.contains(version))
    })
}

/// The version in a field that is named for the version of a program, or for the tag of images.
fn version<'a>(key: &str, node: &'a Yaml) -> Option<(String, &'a Yaml, String)> {
    let words = words(key);
    let (last, stem) = words.split_last()?;
    let is_version = match last.as_str() {
        "version" => may_run(stem),
        "tag" => stem.last().is_some_and(|word| word == "image"),
        _ => false,
    };
    let written = version_text(node).filter(|text| is_version && is_release(text))?;
    Some((key.to_owned(), node, written))
}

/// The version of a part of an object: plainly its `version`, or the `tag` of an image that has no name.
fn version_of_part<'a>(key: &str, part: &'a Yaml) -> Option<(String, &'a Yaml, String)> {
    let is_image = key_hint(&words(key)) == Hint::Image;
    let field = if is_image { "tag" } else { "version" };
    let node = part.get(field)?;
    let written = version_text(node).filter(|text| is_release(text))?;
    Some((field.to_owned(), node, written))
}

/// Whether what has a name of these words may be a program that runs.
fn may_run(words: &[String]) -> bool {
    !words.iter().any(|word| CONFIGURED_VERSIONS.contains(&word.as_str()))
}

/// Whether a text reads like a release of a program: `v1`, `v1beta1` and `2` are versions of interfaces and formats.
fn is_release(text: &str) -> bool {
    let number = text.strip_prefix('v').unwrap_or(text);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0
        && (number.contains('.') || (digits == number.len() && digits > 1 && number.len() == text.len()))
}
