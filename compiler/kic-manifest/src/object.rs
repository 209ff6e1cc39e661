use kic_base::{Source, Span};

use crate::stream::documents;
use crate::{Yaml, YamlError, YamlValue};

/// A Kubernetes object of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// `metadata.name`.
    pub name: Option<String>,
    /// `metadata.namespace`.
    pub namespace: Option<String>,
    /// The document, or the item of a list.
    pub span: Span,
    /// All of it.
    pub root: Yaml,
}

impl Object {
    /// `KIND NAMESPACE/NAME`, as tables show it; the namespace only where the manifest gives one.
    pub fn title(&self) -> String {
        let name = self.name.as_deref().unwrap_or("?");
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind),
            None => format!("{} {name}", self.kind),
        }
    }
}

/// The objects of a manifest: every document of a YAML stream, or every value of a JSON text; lists (`v1/List` and kinds
/// such as `ConfigMapList`) are unrolled.
///
/// Never fails as a whole: a document that is broken, or no object, gives errors and does not hide the others.
/// Scalars mean what Kubernetes' own reader (sigs.k8s.io/yaml) takes them for: `yes`, `no`, `on`, `off`, `y`
/// and `n` are booleans, `0644` is octal, dates are text. Duplicate keys are errors that label the second one.
/// Nesting is read 256 levels deep, and aliases are expanded to a bound.
pub fn read(source: &Source) -> (Vec<Object>, Vec<YamlError>) {
    let (documents, mut errors) = documents(source);
    let mut objects = Vec::new();
    for root in documents {
        if root.value != YamlValue::Null {
            unroll(root, None, &mut objects, &mut errors);
        }
    }
    errors.sort_by_key(|error| error.span.range().start);
    (objects, errors)
}

/// The version and kind of the items of a typed list, which may leave them out.
#[derive(Clone)]
struct Item {
    api_version: String,
    kind: String,
}

fn unroll(root: Yaml, item: Option<&Item>, objects: &mut Vec<Object>, errors: &mut Vec<YamlError>) {
    if item.is_some() && !matches!(root.value, YamlValue::Mapping(_)) {
        errors.push(YamlError {
            message: "this item of a list of objects is none".to_owned(),
            span: root.span,
            first: None,
            help: Some("write its fields: `metadata`, `spec` and so on".to_owned()),
        });
        return;
    }
    let text =
        |key: &str| root.get(key).and_then(Yaml::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let api_version = text("apiVersion").or_else(|| item.map(|item| item.api_version.clone()));
    let kind = text("kind").or_else(|| item.map(|item| item.kind.clone()));
    let (Some(api_version), Some(kind)) = (api_version.clone(), kind.clone()) else {
        errors.extend(no_object(&root, api_version.is_none(), kind.is_none(), errors));
        return;
    };
    if let Some(singular) = kind.strip_suffix("List")
        && root.get("spec").is_none()
        && root.get("items").is_some_and(|items| matches!(items.value, YamlValue::Sequence(_)))
    {
        let item = (!singular.is_empty()).then(|| Item { api_version, kind: singular.to_owned() });
        let YamlValue::Mapping(entries) = root.value else { return };
        for (key, value) in entries {
            if key.as_str() == Some("items")
                && let YamlValue::Sequence(items) = value.value
            {
                for root in items {
                    unroll(root, item.as_ref(), objects, errors);
                }
            }
        }
        return;
    }
    let metadata = |key| root.at(&["metadata", key]).and_then(Yaml::as_str).map(str::to_owned);
    let (name, namespace) = (metadata("name"), metadata("namespace"));
    objects.push(Object { api_version, kind, name, namespace, span: root.span.clone(), root });
}

/// The error for a document that is no object; none where the parser has said something about it already.
fn no_object(root: &Yaml, no_version: bool, no_kind: bool, errors: &[YamlError]) -> Option<YamlError> {
    let whole = root.span.range();
    if errors.iter().any(|error| whole.contains(&error.span.range().start)) {
        return None;
    }
    let missing = match (no_version, no_kind) {
        (true, true) => "`apiVersion` and `kind`",
        (true, false) => "`apiVersion`",
        _ => "`kind`",
    };
    let span = root.entries().first().map_or_else(|| root.span.clone(), |(key, _)| key.span.clone());
    Some(YamlError {
        message: format!("this document is no Kubernetes object: it has no {missing}"),
        span,
        first: None,
        help: Some("a manifest holds objects only; take other files in with `files`".to_owned()),
    })
}
