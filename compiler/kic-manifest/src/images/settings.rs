use std::ops::Range;

use super::candidate::{Candidate, Position, with_transport};
use super::strings::transport;
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, variable_hint, words};
use super::{Confidence, embedded, group, variables};
use crate::{Yaml, command};

/// Annotations that repeat the object.
const COPIES: &[&str] = &["kubectl.kubernetes.io/last-applied-configuration", "kapp.k14s.io/original"];

/// Annotations and labels are text for tools: at most likely.
pub(crate) fn annotations(walk: &mut Walk, node: &Yaml) {
    walk.at_most(Confidence::Likely, "in an annotation");
    let taken = group::find(walk, node, "");
    for (key, value) in node.entries() {
        let (Some(key), Some(text)) = (key.as_str(), value.as_str()) else { continue };
        if COPIES.contains(&key) || taken.contains(&key) {
            continue;
        }
        // The domain of a key says nothing about its value.
        let name = key.rsplit('/').next().unwrap_or_default();
        walk.entry(key, |walk| {
            if name.contains("example") {
                walk.at_most(Confidence::Possible, "in an example");
            }
            if !embedded::text(walk, value, text, name) {
                self::value(walk, value, text, &format!("the annotation `{key}`"), &words(name));
            }
        });
    }
}

/// An entry of a list of variables or parameters (`name` and `value`), or of a JSON patch (`path` and
/// `value`). Names the field that is done with.
pub(crate) fn pair(walk: &mut Walk, node: &Yaml) -> Option<&'static str> {
    let patch = node.get("op").and(node.get("path")).and_then(Yaml::as_str);
    let name = match patch {
        Some(path) => path.rsplit('/').next().unwrap_or_default(),
        None => node.get("name")?.as_str()?,
    };
    if patch.is_some() && key_hint(&words(name)) != Hint::Image {
        return None;
    }
    let (field, value) = ["value", "default"].iter().find_map(|field| Some((*field, node.get(field)?)))?;
    let text = value.as_str()?;
    walk.entry(field, |walk| {
        if embedded::text(walk, value, text, name)
            || variables::versioned(walk, value, text, 0..text.len(), name)
        {
            return;
        }
        let what =
            if patch.is_some() { format!("a patch of `{name}`") } else { format!("the variable `{name}`") };
        self::value(walk, value, text, &what, &words(name));
    });
    Some(field)
}

/// The arguments of a program: a list of strings, or one string.
pub(crate) fn arguments(walk: &mut Walk, value: &Yaml) {
    if let Some(text) = value.as_str() {
        if !embedded::text(walk, value, text, "args") {
            script(walk, value, text);
        }
        return;
    }
    let outer = std::mem::replace(&mut walk.variables, variables::flags(value.items()));
    let mut flag: Option<&str> = None;
    for (place, item) in value.items().iter().enumerate() {
        let Some(text) = item.as_str() else {
            walk.item(place, |walk| walk.node(item, "args"));
            flag = None;
            continue;
        };
        let before = flag.take();
        walk.item(place, |walk| {
            if embedded::text(walk, item, text, "args") {
                return;
            }
            if text.contains(char::is_whitespace) {
                script(walk, item, text);
                return;
            }
            match (text.split_once('='), before) {
                (Some((name, _)), _) if is_name(name) => {
                    let range = name.len() + 1..text.len();
                    if !variables::versioned(walk, item, text, range.clone(), name) {
                        part(walk, item, text, range, &argument(name), &words(name));
                    }
                }
                (_, Some(name)) if !text.starts_with('-') => {
                    if !variables::versioned(walk, item, text, 0..text.len(), name) {
                        part(walk, item, text, 0..text.len(), &argument(name), &words(name));
                    }
                }
                _ => part(walk, item, text, 0..text.len(), "an argument", &[]),
            }
        });
        if text.starts_with('-') && !text.contains(['=', ' ']) {
            flag = Some(text);
        }
    }
    walk.variables = outer;
}

/// A variable, argument, parameter or setting; `what` names it, `words` are those of its name.
pub(crate) fn value(walk: &mut Walk, node: &Yaml, text: &str, what: &str, words: &[String]) {
    if text.contains(char::is_whitespace) && variable_hint(words) != Hint::Image {
        script(walk, node, text);
    } else {
        part(walk, node, text, 0..text.len(), what, words);
    }
}

/// The same of the part `range` of the string, which may list several: `a=REF,b=REF`.
pub(crate) fn part(
    walk: &mut Walk,
    node: &Yaml,
    text: &str,
    range: Range<usize>,
    what: &str,
    words: &[String],
) {
    let hint = variable_hint(words);
    let position = match hint {
        Hint::Image => Position::Named,
        Hint::Prose => return,
        Hint::Neutral => Position::Setting,
    };
    let whole = &text[range.clone()];
    let before = walk.found.len();
    if one(walk, node, text, range.clone(), what, position) {
        let versioned = Candidate::read(whole).is_none_or(|candidate| candidate.has_version());
        if !versioned && words.iter().any(|word| is_base(word)) {
            for found in &mut walk.found[before..] {
                found.confidence = found.confidence.min(Confidence::Possible);
                found.reason.push_str(", whose version stands elsewhere");
            }
        }
        return;
    }
    if words.len() > 1
        && words.last().is_some_and(|last| last == "repository")
        && let Some(candidate) = Candidate::read(whole).filter(Candidate::is_repository)
    {
        walk.record(Find::of_repository(candidate, node, range, what));
        return;
    }
    let separator = |character: char| character.is_whitespace() || matches!(character, ',' | ';' | '|');
    // `NAME:REF` in a list of images.
    let named = position == Position::Named && words.last().is_some_and(|word| word == "images");
    let is_list = named || whole.contains(|character| separator(character) || character == '=');
    if !is_list || whole.contains("://") {
        return;
    }
    let mut at = range.start;
    for piece in whole.split_inclusive(separator) {
        let trimmed = piece.trim_end_matches(separator);
        let mut value = trimmed.rsplit('=').next().unwrap_or_default();
        if let (true, None, Some((_, rest))) = (named, Candidate::read(value), value.split_once(':')) {
            value = rest;
        }
        let start = at + trimmed.len() - value.len();
        // A word of a list may be a word of a sentence.
        let bare = Candidate::read(value).is_none_or(|candidate| candidate.is_bare_word());
        if !bare {
            one(walk, node, text, start..start + value.len(), what, position);
        }
        at += piece.len();
    }
}

fn one(
    walk: &mut Walk,
    node: &Yaml,
    text: &str,
    range: Range<usize>,
    what: &str,
    position: Position,
) -> bool {
    let quoted = &text[range.clone()];
    let value = quoted.trim_matches(['"', '\'']);
    let start = range.start + (quoted.len() - quoted.trim_start_matches(['"', '\'']).len());
    let Some(candidate) = Candidate::read(value) else { return false };
    let transported =
        (position == Position::Setting && with_transport(value).is_some()).then_some(Confidence::Likely);
    let Some(confidence) = transported.or_else(|| candidate.judge(position)) else { return false };
    let form = match (candidate.is_full(), candidate.is_bare_word()) {
        (true, _) => "a full reference",
        (_, true) => "a single word, which may mean something else,",
        _ => "a reference",
    };
    let reason = format!("{form} in {what}");
    let part = start + transport(value)..start + value.len();
    walk.record(Find { candidate, node, part, confidence, reason });
    true
}

/// A line of shell or of options: the flags whose values are images. What else stands in it is prose.
pub(crate) fn script(walk: &mut Walk, node: &Yaml, text: &str) {
    let mut flag: Option<String> = None;
    for word in command::words(text) {
        let before = flag.take();
        let written = word.text.as_str();
        // A word with quotes or escapes inside is found again by its text.
        let at = text[word.range.clone()].find(written).map(|place| word.range.start + place);
        let Some(at) = at else { continue };
        match (written.split_once('='), before) {
            (Some((name, _)), _) if is_name(name) => {
                let start = at + name.len() + 1;
                let value = &text[start..at + written.len()];
                if Candidate::read(value.trim_matches(['"', '\'']))
                    .is_some_and(|candidate| !candidate.is_bare_word())
                {
                    part(walk, node, text, start..at + written.len(), &argument(name), &words(name));
                }
            }
            (_, Some(name)) if !written.starts_with('-') && variable_hint(&words(&name)) == Hint::Image => {
                part(walk, node, text, at..at + written.len(), &argument(&name), &words(&name));
            }
            _ if written.starts_with("--") => flag = Some(word.text.clone()),
            _ => {}
        }
    }
}

/// Whether a word of a name says that its image is one that something else completes: `BASE_IMAGE`,
/// `ALERTSDEFAULT_IMAGE`, `ALERTSBASEIMAGE`.
fn is_base(word: &str) -> bool {
    word.starts_with("base")
        || word.ends_with("default")
        || word.ends_with("defaultimage")
        || (word.ends_with("baseimage") && !word.ends_with("databaseimage"))
}

fn argument(name: &str) -> String {
    if name.starts_with('-') { format!("the argument `{name}`") } else { format!("the setting `{name}`") }
}

/// Whether what stands before `=` is the name of a flag or setting.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
