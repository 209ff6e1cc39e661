//! The text that `helm template` gives, taken apart: what a chart's installation applies in which order.

use std::collections::BTreeMap;

use kic_base::Source;
use kic_graph::ChartPart;
use kic_manifest::{Object, Yaml, YamlValue};

/// A rendered text, taken apart.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// What is applied.
    pub parts: BTreeMap<ChartPart, String>,
    /// What is not: hooks of upgrades, deletions, rollbacks and tests.
    pub dropped: String,
}

/// Takes a text apart. Documents keep their bytes; those of one hook part are in the order of their weights, then of their
/// names, as `helm` runs them.
pub(super) fn split(text: &str, hooks: bool) -> Split {
    let mut split = Split::default();
    let mut waiting: BTreeMap<ChartPart, Vec<(i64, String, &str)>> = BTreeMap::new();
    for document in documents(text) {
        let (objects, errors) = kic_manifest::read(&Source::new("rendered", document.to_owned()));
        if objects.is_empty() && errors.is_empty() {
            // Comments alone.
            continue;
        }
        let hook =
            objects.first().and_then(|object| Some((hook_part(annotation(object, "helm.sh/hook")?), object)));
        match hook {
            None => {
                let part = if is_of_crds(document) { ChartPart::Crds } else { ChartPart::Objects };
                add(split.parts.entry(part).or_default(), document);
            }
            Some((Some(part), object)) if hooks => {
                let weight =
                    annotation(object, "helm.sh/hook-weight").and_then(|weight| weight.trim().parse().ok());
                let name = object.name.clone().unwrap_or_default();
                waiting.entry(part).or_default().push((weight.unwrap_or(0), name, document));
            }
            Some(_) => add(&mut split.dropped, document),
        }
    }
    for (part, mut hooks) in waiting {
        hooks.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
        let text = split.parts.entry(part).or_default();
        hooks.iter().for_each(|(_, _, document)| add(text, document));
    }
    split
}

/// The parts of a stream between its `---` lines. A line that begins so is never part of a scalar.
pub(super) fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut begin, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let is_mark = line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty());
        if is_mark {
            documents.push(&text[begin..at]);
            begin = at + line.len();
        }
        at += line.len();
    }
    documents.push(&text[begin..]);
    documents
}

fn add(text: &mut String, document: &str) {
    text.push_str("---\n");
    text.push_str(document.trim_end());
    text.push('\n');
}

fn annotation(object: &Object, name: &str) -> Option<String> {
    match &object.root.at(&["metadata", "annotations"])?.get(name)?.value {
        YamlValue::String(text) => Some(text.clone()),
        YamlValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// When a hook is applied; `None` for one that an installation does not run.
fn hook_part(events: String) -> Option<ChartPart> {
    let has = |wanted: &str| events.split(',').any(|event| event.trim() == wanted);
    if has("pre-install") {
        Some(ChartPart::PreInstall)
    } else if has("post-install") {
        Some(ChartPart::PostInstall)
    } else {
        None
    }
}

/// Whether `helm` took the document from a `crds` folder: `# Source: CHART/crds/FILE`, `CHART/charts/CHART/crds/FILE`.
fn is_of_crds(document: &str) -> bool {
    let source = document.lines().find_map(|line| line.strip_prefix("# Source: "));
    source.is_some_and(|source| {
        let mut parts = source.split('/').skip(1);
        loop {
            match parts.next() {
                Some("crds") => return true,
                Some("charts") => drop(parts.next()),
                _ => return false,
            }
        }
    })
}

/// Every value below `yaml`, by its path.
pub(super) fn leaves(yaml: &Yaml, path: &str, out: &mut BTreeMap<String, String>) {
    match &yaml.value {
        YamlValue::Mapping(entries) => {
            for (key, value) in entries {
                let key = key.key();
                let path = if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") };
                leaves(value, &path, out);
            }
        }
        YamlValue::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, &format!("{path}[{index}]"), out);
            }
        }
        _ => {
            out.insert(path.to_owned(), yaml.to_json().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---
# Source: shop/crds/crd.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: a.b}
---
# Source: shop/charts/sub/crds/crd.yaml
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: c.d}
---
# Source: shop/templates/crds/no.yaml
# nothing
---
# Source: shop/templates/x.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
data:
  text: |
    a
    --- b
---
apiVersion: v1
kind: Pod
metadata: {name: late, annotations: {helm.sh/hook: \"post-upgrade, post-install\"}}
---
apiVersion: v1
kind: Pod
metadata: {name: second, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: \"5\"}}
---
apiVersion: v1
kind: Pod
metadata: {name: third, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: 10}}
---
apiVersion: v1
kind: Pod
metadata: {name: first, annotations: {helm.sh/hook: pre-install, helm.sh/hook-weight: \"-5\"}}
---
apiVersion: v1
kind: Pod
metadata: {name: check, annotations: {helm.sh/hook: test}}
";

    fn names(text: Option<&String>) -> Vec<String> {
        let (objects, _) = kic_manifest::read(&Source::new("x", text.cloned().unwrap_or_default()));
        objects.into_iter().filter_map(|object| object.name).collect()
    }

    #[test]
    fn hooks_stand_apart_in_the_order_of_their_weights() {
        let split = split(TEXT, true);
        assert_eq!(names(split.parts.get(&ChartPart::Crds)), ["a.b", "c.d"]);
        assert_eq!(names(split.parts.get(&ChartPart::PreInstall)), ["first", "second", "third"]);
        assert_eq!(names(split.parts.get(&ChartPart::Objects)), ["x"]);
        assert_eq!(names(split.parts.get(&ChartPart::PostInstall)), ["late"]);
        assert_eq!(names(Some(&split.dropped)), ["check"]);
        assert!(split.parts[&ChartPart::Objects].contains("    a\n    --- b\n"));
    }

    #[test]
    fn without_hooks_all_of_them_are_dropped() {
        let split = split(TEXT, false);
        assert_eq!(split.parts.keys().copied().collect::<Vec<_>>(), [ChartPart::Crds, ChartPart::Objects]);
        assert_eq!(names(Some(&split.dropped)).len(), 5);
    }
}
