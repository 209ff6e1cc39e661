//! What Kubernetes Secrets hold is told to differ, and never shown: not even by a digest, from which a short password could be guessed.

use kic_base::{Digest, Source};
use kic_manifest::{Yaml, YamlValue};
use serde_json::{Map, Value as Json};

/// Stands in the place of what is secret.
pub(super) const HIDDEN: &str = "(hidden)";
/// Stands before the digest of what is secret, so that it can be compared.
const MARK: &str = "\u{1}secret ";

/// What a Secret may show of itself. In other members there may be a misspelt `data`.
const SHOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "type", "immutable"];
const SECRET: [&str; 2] = ["data", "stringData"];
/// Longer annotations of a Secret are hidden, as they may be copies of it.
const ANNOTATION: usize = 128;

/// A value in which marks stand for what is secret; they are equal where that is equal.
pub(super) fn marked(json: Json, is_secret: bool) -> Json {
    let mut json = json;
    if is_secret && let Some(members) = json.as_object_mut() {
        let hidden = members.iter_mut().filter(|(name, _)| !SHOWN.contains(&name.as_str()));
        hidden.for_each(|(_, value)| mark_each(value));
        mark_copies(members);
    }
    mark_within(&mut json);
    json
}

/// A value as it is shown: without the marks.
pub(super) fn unmarked(json: &Json) -> Json {
    match json {
        Json::String(text) if is_marked(text) => HIDDEN.into(),
        Json::Array(items) => items.iter().map(unmarked).collect(),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), unmarked(value))).collect())
        }
        other => other.clone(),
    }
}

/// Whether a text is a mark.
pub(super) fn is_marked(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Whether a text holds a Secret, or may: where `kind: Secret` stands anywhere in it, it is not asked for the rest.
pub(super) fn holds_secret(text: &str) -> bool {
    // Parts of the word may be escaped, but hardly all of it.
    text.contains("ecret")
        && (names_secret(text)
            || kic_manifest::documents(&Source::new(String::new(), text.to_owned())).0.iter().any(is_secret))
}

fn is_secret(yaml: &Yaml) -> bool {
    match &yaml.value {
        YamlValue::Mapping(entries) => {
            matches!(yaml.get("kind").and_then(Yaml::as_str), Some("Secret" | "SecretList"))
                || entries.iter().any(|(_, value)| is_secret(value))
        }
        YamlValue::Sequence(items) => items.iter().any(is_secret),
        _ => false,
    }
}

/// Whether `kind` and `Secret` stand behind each other, as YAML, JSON, JSON in a text, or HCL have them; or what makes a Secret of
/// kustomize and of kic.
fn names_secret(text: &str) -> bool {
    let is_between = |character: char| character.is_whitespace() || r#":="'\"#.contains(character);
    let follows = |rest: &str| {
        let word = rest.trim_start_matches(is_between);
        rest[..rest.len() - word.len()].contains([':', '=', '"'])
            && word.strip_prefix("Secret").is_some_and(|rest| {
                rest.strip_prefix("List")
                    .unwrap_or(rest)
                    .chars()
                    .next()
                    .is_none_or(|next| !next.is_alphanumeric())
            })
    };
    text.contains("secretGenerator")
        || text.contains("v1/Secret")
        || text.match_indices("ind").any(|(at, word)| follows(&text[at + word.len()..]))
}

fn mark_within(json: &mut Json) {
    match json {
        Json::String(text) if holds_secret(text) => mark(json),
        Json::Array(items) => items.iter_mut().for_each(mark_within),
        Json::Object(members) => {
            if members.get("kind").and_then(Json::as_str) == Some("Secret") {
                let hidden = members.iter_mut().filter(|(name, _)| SECRET.contains(&name.as_str()));
                hidden.for_each(|(_, value)| mark_each(value));
                mark_copies(members);
            }
            members.values_mut().for_each(mark_within);
        }
        _ => {}
    }
}

/// Marks each member by itself, so that it is told which of them differ.
fn mark_each(json: &mut Json) {
    match json {
        Json::Object(members) => members.values_mut().for_each(mark),
        other => mark(other),
    }
}

/// Marks the annotations that may be copies of all of it, as `kubectl apply` leaves one.
fn mark_copies(members: &mut Map<String, Json>) {
    let annotations = members.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"));
    for (name, value) in annotations.and_then(Json::as_object_mut).into_iter().flatten() {
        let is_short =
            value.as_str().is_some_and(|text| text.len() <= ANNOTATION && !text.contains(['{', '[', '\n']));
        if !is_short || name.ends_with("/last-applied-configuration") {
            mark(value);
        }
    }
}

fn mark(json: &mut Json) {
    if json.as_str().is_some_and(is_marked) {
        return;
    }
    *json = format!("{MARK}{}", Digest::of(json.to_string().as_bytes()).hex()).into();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_hold_secrets_are_known() {
        for text in [
            "kind: Secret",
            "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: v1\nkind:   'Secret'\nstringData: {a: b}\n",
            r#"{"kind":"Secret"}"#,
            r#"{"last": "{\"kind\":\"Secret\"}"}"#,
            "a: [{kind: Secret, data: {}}]",
            "{{ if x }}\nkind: Secret\n{{ end }}",
            "cat <<EOF\n  kind: Secret\nEOF",
            "kind: !!str Secret\ndata: {}",
            "? kind\n: Secret\n",
            "a: &k Secret\nkind: *k\n",
            "kind: \"\\x53ecret\"",
            "kind: SecretList\nitems: []",
            "kind = \"Secret\"",
            "object \"v1/Secret\" name=\"key\"",
            "secretGenerator:\n- literals: [a=b]\n",
        ] {
            assert!(holds_secret(text), "{text}");
        }
        for text in ["kind: SecretStore", "kind: ConfigMap\nname: Secret", "kind of Secret", "my secret", ""]
        {
            assert!(!holds_secret(text), "{text}");
        }
    }

    #[test]
    fn nothing_that_is_secret_is_left() {
        let shown = |json: Json, is_secret| unmarked(&marked(json, is_secret));
        let copy = r#"{"kind":"Secret","stringData":{"a":"b"}}"#;
        assert_eq!(
            shown(
                json!({ "kind": "Secret", "type": "Opaque", "data": { "a": "x" }, "stringdata": ["x"], "metadata": {
                    "name": "key",
                    "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "x", "copy": copy, "keep": "yes" }
                } }),
                true
            ),
            json!({ "kind": "Secret", "type": "Opaque", "data": { "a": HIDDEN }, "stringdata": HIDDEN, "metadata": {
                "name": "key",
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": HIDDEN, "copy": HIDDEN, "keep": "yes" }
            } })
        );
        // Within another object, and in a text of one; what only names a Secret stays.
        assert_eq!(
            shown(
                json!({ "objects": [{ "kind": "Secret", "data": { "a": "x" } }, { "kind": "Secret", "name": "x" }], "text": copy }),
                false
            ),
            json!({ "objects": [{ "kind": "Secret", "data": { "a": HIDDEN } }, { "kind": "Secret", "name": "x" }], "text": HIDDEN })
        );
        let one = marked(json!({ "data": { "a": "x" } }), true);
        assert_eq!(one, marked(json!({ "data": { "a": "x" } }), true));
        assert_ne!(one, marked(json!({ "data": { "a": "y" } }), true));
    }
}
