//! Label selectors.

use kic_manifest::Yaml;

use crate::text::wildcard;

/// The label that every namespace bears: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether a selector takes what has these labels; `None` where it is not well formed. `wildcards`: values may hold `*`
/// and `?`, as Kyverno's may.
pub(crate) fn matches<'a>(
    selector: &Yaml,
    wildcards: bool,
    label: impl Fn(&str) -> Option<&'a str>,
) -> Option<bool> {
    let same = |wanted: &str, found: &str| if wildcards { wildcard(wanted, found) } else { wanted == found };
    let mut is = true;
    for (key, wanted) in selector.get("matchLabels").map(Yaml::entries).unwrap_or_default() {
        let wanted = wanted.as_str()?;
        is &= label(&key.key()).is_some_and(|found| same(wanted, found));
    }
    for expression in selector.get("matchExpressions").map(Yaml::items).unwrap_or_default() {
        let found = label(expression.get("key")?.as_str()?);
        let values: Vec<&str> = expression
            .get("values")
            .map(Yaml::items)
            .unwrap_or_default()
            .iter()
            .filter_map(Yaml::as_str)
            .collect();
        let among = |found: &str| values.iter().any(|wanted| same(wanted, found));
        is &= match expression.get("operator")?.as_str()? {
            "In" => found.is_some_and(among),
            "NotIn" => !found.is_some_and(among),
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => return None,
        };
    }
    Some(is)
}

/// The same for the namespace of a pod, of which only its name is known; `None` where other labels decide.
pub(crate) fn of_namespace(selector: &Yaml, namespace: &str) -> Option<bool> {
    let labels = selector.get("matchLabels").map(Yaml::entries).unwrap_or_default();
    let expressions = selector.get("matchExpressions").map(Yaml::items).unwrap_or_default();
    let only_names = labels.iter().all(|(key, _)| key.key() == NAME_LABEL)
        && expressions
            .iter()
            .all(|expression| expression.get("key").and_then(Yaml::as_str) == Some(NAME_LABEL));
    if only_names { matches(selector, false, |_| Some(namespace)) } else { None }
}
