//! What Kyverno leaves alone by its own configuration, whatever its policies say.

use kic_manifest::{Object, Yaml};

use crate::selector;
use crate::text::wildcard;

/// What Kyverno leaves alone where no ConfigMap of its own says otherwise.
const DEFAULTS: &str = "[*,kube-system,*][*,kube-public,*][*,kube-node-lease,*]";

/// The filters of Kyverno's own ConfigMap.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filters {
    /// `[KIND,NAMESPACE,NAME]…`
    resources: String,
    /// Settings of its webhooks, as their text.
    webhooks: Option<String>,
    /// The selectors of namespaces that its webhooks are for.
    namespaces: Vec<Yaml>,
}

impl Default for Filters {
    fn default() -> Self {
        Self::new(DEFAULTS, None)
    }
}

impl Filters {
    /// The filters that an object sets; `None` where it is not Kyverno's ConfigMap.
    pub fn read(object: &Object) -> Option<Self> {
        if object.api_version != "v1" || object.kind != "ConfigMap" {
            return None;
        }
        let resources = object.root.at(&["data", "resourceFilters"])?.as_str()?;
        Some(Self::new(resources, object.root.at(&["data", "webhooks"]).and_then(Yaml::as_str)))
    }

    /// The filters of the texts in that ConfigMap.
    pub fn new(resources: &str, webhooks: Option<&str>) -> Self {
        let mut namespaces = Vec::new();
        if let Some(webhooks) = webhooks {
            let source = kic_base::Source::new("webhooks", webhooks);
            for document in kic_manifest::documents(&source).0 {
                let one = std::slice::from_ref(&document);
                let all = if document.items().is_empty() { one } else { document.items() };
                namespaces.extend(all.iter().filter_map(|webhook| webhook.get("namespaceSelector")).cloned());
            }
        }
        Self { resources: resources.to_owned(), webhooks: webhooks.map(str::to_owned), namespaces }
    }

    /// The texts that it was made of.
    pub fn texts(&self) -> (String, Option<String>) {
        (self.resources.clone(), self.webhooks.clone())
    }

    /// Whether pods of that name in that namespace never come to its policies.
    pub fn leave_alone(&self, namespace: &str, name: &str) -> bool {
        let inner = self.resources.split(['[', ']']).map(str::trim).filter(|part| !part.is_empty());
        let filtered = inner.map(|part| part.split(',').map(str::trim).collect::<Vec<_>>()).any(|parts| {
            let part =
                |place: usize| parts.get(place).copied().filter(|text| !text.is_empty()).unwrap_or("*");
            // `Pod`, `v1/Pod`, `*/*`: the kind is the last part that is none of a subresource.
            let kind = part(0);
            let is_pod = kind == "*"
                || kind.split('/').any(|part| part == "Pod") && !kind.contains("Pod/")
                || matches!(kind, "*/*" | "*/*/*");
            is_pod && wildcard(part(1), namespace) && wildcard(part(2), name)
        });
        filtered
            || self
                .namespaces
                .iter()
                .any(|selector| selector::of_namespace(selector, namespace) == Some(false))
    }
}
