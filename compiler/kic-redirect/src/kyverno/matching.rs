//! `match` and `exclude`.

use kic_base::Span;
use kic_manifest::Yaml;
use serde_json::Value as Json;

use super::kinds::KindSelector;
use crate::request::Request;
use crate::selector;
use crate::text::wildcard;

/// Whether a rule is for a pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Matched {
    Yes,
    No,
    /// It depends on what kic does not know.
    Unknown(String, Span),
}

impl Matched {
    fn of(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }

    fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::No => Self::No,
            Self::Yes => other(),
            unknown => match other() {
                Self::No => Self::No,
                _ => unknown,
            },
        }
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No => other(),
            unknown => match other() {
                Self::Yes => Self::Yes,
                _ => unknown,
            },
        }
    }
}

/// Whether the rule is for the pod as it is now.
pub(super) fn matches(rule: &Yaml, request: Request, object: &Json) -> Matched {
    let (Some(matched), excluded) = (rule.get("match"), rule.get("exclude")) else { return Matched::No };
    block(matched, request, object).and(|| match excluded {
        None => Matched::Yes,
        Some(excluded) if is_empty(excluded) => Matched::Yes,
        Some(excluded) => match block(excluded, request, object) {
            Matched::Yes => Matched::No,
            Matched::No => Matched::Yes,
            unknown => unknown,
        },
    })
}

fn is_empty(block: &Yaml) -> bool {
    block.entries().iter().all(|(_, value)| value.entries().is_empty() && value.items().is_empty())
}

fn block(block: &Yaml, request: Request, object: &Json) -> Matched {
    let any = block.get("any").map(Yaml::items).unwrap_or_default();
    let all = block.get("all").map(Yaml::items).unwrap_or_default();
    if !any.is_empty() {
        return any.iter().fold(Matched::No, |so_far, one| so_far.or(|| filter(one, request, object)));
    }
    if !all.is_empty() {
        return all.iter().fold(Matched::Yes, |so_far, one| so_far.and(|| filter(one, request, object)));
    }
    filter(block, request, object)
}

/// One filter: `resources`, and who asks.
fn filter(filter: &Yaml, request: Request, object: &Json) -> Matched {
    let mut matched = match filter.get("resources") {
        Some(resources) => self::resources(resources, request, object),
        None => Matched::Yes,
    };
    for key in ["subjects", "roles", "clusterRoles"] {
        if let Some(who) = filter.get(key) {
            matched = matched.and(|| Matched::Unknown("it depends on who asks".to_owned(), who.span.clone()));
        }
    }
    matched
}

fn resources(resources: &Yaml, request: Request, object: &Json) -> Matched {
    let mut matched = Matched::Yes;
    for (key, value) in resources.entries() {
        let texts: Vec<&str> = match value.as_str() {
            Some(text) => vec![text],
            None => value.items().iter().filter_map(Yaml::as_str).collect(),
        };
        let metadata = |group: &str, key: &str| {
            object.get("metadata").and_then(|metadata| metadata.get(group)?.get(key)?.as_str())
        };
        matched = matched.and(|| match &*key.key() {
            "kinds" => Matched::of(texts.iter().any(|kind| is_pod(kind, request.operation.subresource()))),
            "name" | "names" if texts.is_empty() => Matched::Yes,
            "name" | "names" => Matched::of(texts.iter().any(|name| wildcard(name, request.pod.name()))),
            "namespaces" => {
                Matched::of(texts.iter().any(|namespace| wildcard(namespace, &request.pod.namespace)))
            }
            "operations" => Matched::of(texts.contains(&request.operation.name())),
            "annotations" => Matched::of(value.entries().iter().all(|(key, wanted)| {
                metadata("annotations", &key.key())
                    .is_some_and(|found| wildcard(wanted.as_str().unwrap_or_default(), found))
            })),
            "selector" => answer(selector::matches(value, true, |key| metadata("labels", key)), value),
            "namespaceSelector" => answer(selector::of_namespace(value, &request.pod.namespace), value),
            other => Matched::Unknown(format!("kic does not know `{other}`"), value.span.clone()),
        });
    }
    matched
}

fn answer(answer: Option<bool>, selector: &Yaml) -> Matched {
    match answer {
        Some(is) => Matched::of(is),
        None => Matched::Unknown(
            "it depends on labels of namespaces that kic does not know".to_owned(),
            selector.span.clone(),
        ),
    }
}

/// Whether `kind`, as a policy writes it, means pods. One that names no subresource means ephemeral containers, too.
fn is_pod(kind: &str, subresource: &str) -> bool {
    KindSelector::read(kind).is_some_and(|kind| {
        kind.takes_pod(subresource)
            || subresource == "ephemeralcontainers" && kind.takes_pod(kind.subresource)
    })
}
