use std::ops::Range;

use kic_base::{Source, Span};

use super::candidate::{Candidate, Position};
use super::locate::locate;
use super::walk::{Find, Walk};
use super::words::{Hint, key_hint, variable_hint, words};
use super::{Confidence, Parts};
use crate::stream::documents;
use crate::{Style, Yaml, YamlError, command};

/// How many strings may be opened inside each other.
const MAXIMUM_LEVEL: usize = 3;

/// Looks into a string that holds YAML, JSON, settings or commands, under the name `key`; whether it did, so
/// that nothing else is to be made of the string.
pub(crate) fn text(walk: &mut Walk, node: &Yaml, text: &str, key: &str) -> bool {
    let body = text.trim_start();
    let lines = text.trim_end().contains('\n')
        || (matches!(node.style, Style::Literal | Style::Folded) && text.contains(": "));
    let json = body.starts_with(['{', '[']) && !body.starts_with("{{");
    if !lines && !json {
        return commands(walk, node, text);
    }
    if walk.level >= MAXIMUM_LEVEL || !text.contains([':', '=', ' ']) {
        return true;
    }
    let (level, cap, because) = (walk.level, walk.cap, walk.because);
    walk.level += 1;
    walk.at_most(Confidence::Likely, "in a text inside a string");
    let source = Source::new(walk.path.clone(), text);
    let (documents, errors) = documents(&source);
    let structured: Vec<&Yaml> = documents.iter().filter(|root| root.style == Style::Collection).collect();
    for root in &structured {
        inner(walk, node, text, root, key);
    }
    if structured.is_empty() || !errors.is_empty() {
        settings(walk, node, text, key, &broken(&source, &errors, structured.is_empty()));
        commands(walk, node, text);
    }
    (walk.level, walk.cap, walk.because) = (level, cap, because);
    true
}

/// The parts of a text that are no YAML, in bytes.
fn broken(source: &Source, errors: &[YamlError], all: bool) -> Vec<Range<usize>> {
    let text = source.text();
    let whole = all.then_some(0..text.len());
    let errors = if all { &[] } else { errors };
    whole
        .into_iter()
        .chain(errors.iter().map(|error| {
            let at = error.span.range().start;
            let start = text[..at].rfind("\n---").map_or(0, |line| line + 1);
            let end = text[at..].find("\n---").map_or(text.len(), |line| at + line);
            start..end
        }))
        .collect()
}

/// A document in the string.
fn inner(walk: &mut Walk, node: &Yaml, text: &str, root: &Yaml, key: &str) {
    let mut inside = Walk::new(walk.title.clone(), walk.cap, walk.because);
    inside.level = walk.level;
    inside.secret = walk.secret;
    inside.hub.clone_from(&walk.hub);
    inside.versionless = walk.settings && !is_of_chart(key) && !says_version(root);
    inside.path = format!("{} > ", walk.path);
    let field = |key: &str| root.get(key).and_then(Yaml::as_str).map(str::to_owned);
    match (field("apiVersion"), field("kind")) {
        (Some(api_version), Some(kind)) => inside.object(root, &api_version, &kind),
        _ => inside.node(root, key),
    }
    let source = root.span.source();
    // What stands around the string may be a part, too.
    let map = |span: &Span| {
        if span.source() == source { locate(node, text, span.range()) } else { span.clone() }
    };
    for mut found in inside.found {
        found.span = map(&found.span);
        if let Parts::Group(group) = &mut found.parts {
            for part in [&mut group.registry, &mut group.folder, &mut group.tag, &mut group.digest] {
                *part = part.as_ref().map(map);
            }
        }
        walk.found.push(found);
    }
}

/// Whether a text under `key` is the values of a chart, which knows versions itself.
fn is_of_chart(key: &str) -> bool {
    words(key).iter().any(|word| word == "values")
}

/// Whether a field somewhere in a document is named for a version or tag.
fn says_version(node: &Yaml) -> bool {
    let named = |key: &str| {
        words(key).last().is_some_and(|word| matches!(word.as_str(), "version" | "versions" | "tag" | "tags"))
    };
    node.entries().iter().any(|(key, value)| named(&key.key()) || says_version(value))
        || node.items().iter().any(says_version)
}

/// Lines such as `KEY=REF`, `key = "REF"` or `key: REF` in a text that is no YAML as a whole.
fn settings(walk: &mut Walk, node: &Yaml, text: &str, key: &str, ranges: &[Range<usize>]) {
    let listed = variable_hint(&words(key)) == Hint::Image;
    if key_hint(&words(key)) == Hint::Prose {
        return;
    }
    let (cap, because) = (walk.cap, walk.because);
    if text.contains("{{") {
        walk.at_most(Confidence::Possible, "in a template");
    }
    for range in ranges {
        let mut parts: Vec<Setting> = Vec::new();
        let mut at = range.start;
        for line in text[range.clone()].split_inclusive('\n') {
            let start = at;
            at += line.len();
            let line = line.trim_end();
            let indent = line.len() - line.trim_start().len();
            let body = &line[indent..];
            if body.starts_with(['#', '/', ';']) || body.contains("{{") {
                continue;
            }
            let skip = ["- ", "export ", "set "]
                .iter()
                .find(|word| body.starts_with(**word))
                .map_or(0, |word| word.len());
            let body = &body[skip..];
            let (name, value) = match body.find([':', '=']) {
                Some(place) if is_name(body[..place].trim_end()) => {
                    (body[..place].trim_end(), body[place + 1..].trim_start_matches(['=', ':', ' ', '\t']))
                }
                _ if listed => (key, body),
                _ => continue,
            };
            // `busybox:1.36` in a list of images is no setting `busybox`.
            let (name, value) = if listed && Candidate::read(body).is_some_and(|whole| whole.is_path()) {
                (key, body)
            } else {
                (name, value)
            };
            let offset = start + indent + skip + (body.len() - value.len());
            let cut = value.find([' ', '\t']).map_or(value, |space| &value[..space]);
            let cut = cut.trim_end_matches([',', ';']);
            let quotes = cut.len() - cut.trim_start_matches(['"', '\'']).len();
            let cut = cut.trim_matches(['"', '\'']);
            let place = offset + quotes..offset + quotes + cut.len();
            parts.push(Setting { words: words(name), name, value: cut, place });
            let Some(candidate) = Candidate::read(cut) else { continue };
            let hint = variable_hint(&words(name));
            let position = match hint {
                Hint::Prose => continue,
                _ if listed => Position::Named,
                Hint::Image => Position::Named,
                Hint::Neutral if walk.secret => continue,
                Hint::Neutral => Position::Setting,
            };
            if candidate.is_bare_word() {
                // A word behind a colon is a word of a sentence, or code.
                continue;
            }
            let Some(confidence) = candidate.judge(position) else { continue };
            let part = offset + quotes..offset + quotes + cut.len();
            let reason = format!("a reference in the setting `{name}`");
            walk.record(Find { candidate, node, part, confidence, reason });
        }
        versioned(walk, node, text, &parts);
    }
    (walk.cap, walk.because) = (cap, because);
}

/// A line of settings.
struct Setting<'a> {
    words: Vec<String>,
    name: &'a str,
    value: &'a str,
    place: Range<usize>,
}

/// Images whose repository and tag stand in two settings: `worker_repository` and `worker_tag`.
fn versioned(walk: &mut Walk, node: &Yaml, text: &str, settings: &[Setting]) {
    for setting in settings {
        let Some((last, stem)) = setting.words.split_last() else { continue };
        if !matches!(last.as_str(), "repository" | "repo") || stem.is_empty() {
            continue;
        }
        let is_tag = |other: &&Setting| {
            other.words.split_last().is_some_and(|(last, own)| last == "tag" && own == stem)
        };
        let Some(tag) = settings.iter().find(is_tag) else { continue };
        let written = format!("{}:{}", setting.value, tag.value);
        let Some(candidate) = Candidate::read(&written).filter(Candidate::is_path) else { continue };
        let span = locate(node, text, setting.place.clone());
        let reason = format!("put together from the settings `{}` and `{}`", setting.name, tag.name);
        walk.push(candidate, written, span, Parts::repository(), Confidence::Likely, reason);
    }
}

fn is_name(name: &str) -> bool {
    let name = name.trim_matches(['"', '\'']);
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/'))
}

/// The images that commands in the string pull or run; whether there are any.
fn commands(walk: &mut Walk, node: &Yaml, text: &str) -> bool {
    if !["kubectl", "docker", "podman", "nerdctl", "crictl", "ctr"].iter().any(|tool| text.contains(tool)) {
        return false;
    }
    let mut any = false;
    for word in command::named_by(text) {
        let Some(candidate) = Candidate::of_container(&word.text) else { continue };
        let place = word.range.start.min(text.len());
        // Quotes inside quotes may move a word by a few bytes.
        let start = (place.saturating_sub(8)..=place)
            .rev()
            .chain(place..text.len())
            .find(|at| text.is_char_boundary(*at) && text[*at..].starts_with(&word.text));
        let Some(start) = start else { continue };
        let part = start..start + word.text.len();
        let span = locate(node, text, part.clone());
        any = true;
        if walk.found.iter().any(|found| found.span == span) {
            continue;
        }
        let reason = "pulled or run by a command".to_owned();
        walk.record(Find { candidate, node, part, confidence: Confidence::Likely, reason });
    }
    any
}
