//! What Kyverno leaves alone by its own configuration, whatever its policies say.

use kic_manifest::{Object, Yaml};

use super::kinds::KindSelector;
use crate::request::Request;
use crate::selector;
use crate::text::wildcard;

/// What Kyverno leaves alone where no ConfigMap of its own is there to say it: the filters of its install manifests, as far
/// as they are about pods.
const DEFAULTS: &str = "[*/*,kyverno,*][*/*,kube-system,*][*/*,kube-public,*][*/*,kube-node-lease,*]";

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
        let resources = match object.root.at(&["data", "resourceFilters"]).and_then(Yaml::as_str) {
            Some(resources) => resources,
            // A ConfigMap without filters is one that filters nothing.
            None if object.name.as_deref() == Some("kyverno")
                && object.namespace.as_deref() == Some("kyverno") =>
            {
                ""
            }
            None => return None,
        };
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

    /// Whether the request never comes to its policies.
    pub fn leave_alone(&self, request: Request) -> bool {
        let (namespace, name) = (&request.pod.namespace, request.pod.name());
        let filtered = entries(&self.resources).into_iter().any(|entry| {
            let mut parts = entry.split(',');
            let (kind, of_namespace, of_name) = (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
            // What is not written is empty, which no pod's namespace and name are. Kyverno does not know longer entries.
            parts.next().is_none()
                && KindSelector::read(kind)
                    .is_some_and(|kind| kind.takes_pod(request.operation.subresource()))
                && wildcard(of_namespace, namespace)
                && wildcard(of_name, name)
        });
        filtered
            || self
                .namespaces
                .iter()
                .any(|selector| selector::of_namespace(selector, namespace) == Some(false))
    }
}

/// The texts between `[` and `]` that hold neither.
fn entries(text: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    let mut begin = None;
    for (place, letter) in text.char_indices() {
        match letter {
            '[' => begin = Some(place + 1),
            ']' => entries.extend(begin.take().and_then(|begin| text.get(begin..place))),
            _ => {}
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Operation, Pod};

    #[test]
    fn filters_take_what_kyverno_takes() {
        use Operation::{Create, Debug};
        let (pod, _) = Pod::with("nginx", "containers", Some("shop"));
        for (filters, operation, leaves) in [
            ("[*/*,shop,*]", Create, true),
            ("[*/*,shop,*]", Debug, true),
            ("[*,shop,*]", Create, true),
            ("[*,shop,*]", Debug, false),
            ("[Pod,shop,main]", Create, true),
            ("[Pod,shop,other]", Create, false),
            ("[Pod/*,shop,*]", Create, true),
            ("[Pod/ephemeralcontainers,shop,*]", Create, false),
            ("[Pod/ephemeralcontainers,shop,*]", Debug, true),
            ("[Pod/binding,*,*]", Create, false),
            ("[v1/Pod,*,*]", Create, true),
            ("[*/v1/Pod,*,*]", Create, false),
            ("[apps/v1/Pod,*,*]", Create, false),
            ("[Deployment,shop,*]", Create, false),
            ("[Pod,sh?p,m*]", Create, true),
            // What is not written is no `*`, and what is written is taken as it stands.
            ("[Pod,shop]", Create, false),
            ("[Pod]", Create, false),
            ("[Pod, shop,*]", Create, false),
            ("[Pod,shop,*,*]", Create, false),
            ("Pod,shop,*", Create, false),
            ("[[Pod,shop,*]", Create, true),
            ("", Create, false),
        ] {
            let request = Request { pod: &pod, operation };
            assert_eq!(Filters::new(filters, None).leave_alone(request), leaves, "{filters} {operation:?}");
        }
    }
}
