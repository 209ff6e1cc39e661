//! The images that manifests name, known from the run before: what is found in a text follows from its bytes and from the
//! build of kic, and from nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Digest, ImageReference, Source, Span, StableHasher};
use kic_graph::{Need, NeedStep, ObjectFacts};
use kic_manifest::Confidence;
use kic_redirect::{Place, Pod, Policy};
use kic_spec::Spec;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::texts::Applied;
use crate::context::Context;

/// What is known of one text. The place that brings it in is the spec's, and not kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownNeed {
    reference: ImageReference,
    start: usize,
    end: usize,
    object: String,
    path: String,
    confidence: String,
    reason: String,
    /// The place among the pods of the text, and in that pod: the list, and the name in it.
    pod: Option<(usize, String, String)>,
}

/// What is known of a text.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct KnownText {
    needs: Vec<KnownNeed>,
    /// The namespace and text of each pod.
    pods: Vec<(String, Json)>,
    /// The settings of Kyverno's own, as their text.
    filters: Vec<(String, Option<String>)>,
    objects: Vec<KnownObject>,
}

/// What is known of an object. Its layer is the spec's, and not kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownObject {
    kind: String,
    name: String,
    namespace: Option<String>,
}

/// What is known of texts, by the digest of their bytes.
#[derive(Debug, Default)]
pub(super) struct KnownNeeds {
    key: Option<Digest>,
    known: BTreeMap<Digest, KnownText>,
    /// What this run has asked for: all that the next one is likely to.
    used: BTreeMap<Digest, KnownText>,
    is_changed: bool,
}

impl KnownNeeds {
    /// What the last run of this build has found in the texts of a spec.
    pub fn open(spec: &Spec, context: &Context) -> Self {
        let key = context.build.and_then(|build| {
            let path = std::path::absolute(spec.lock_path()).ok()?;
            let mut hasher = StableHasher::new();
            hasher.text("kic needs").digest(&build).bytes(path.as_os_str().as_encoded_bytes());
            Some(hasher.finish())
        });
        let bytes = key.and_then(|key| context.store.recall(&key));
        let known = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { key, known, ..Self::default() }
    }

    /// What the text of that key names, if that is known; the settings of policies in it, and its objects. `source` is asked for its text only to
    /// show a place.
    pub fn find(
        &mut self,
        digest: &Digest,
        source: &Source,
        said: &Span,
        is_generated: bool,
        applied: &Applied,
    ) -> Option<(Vec<Need>, Vec<Policy>, Vec<ObjectFacts>)> {
        // Two texts may be the same.
        let known = match self.known.remove(digest) {
            Some(known) => self.used.entry(*digest).or_insert(known),
            None => self.used.get(digest)?,
        };
        let pods: Vec<Arc<Pod>> = known
            .pods
            .iter()
            .map(|(namespace, object)| Arc::new(Pod { namespace: namespace.clone(), object: object.clone() }))
            .collect();
        let need = |known: &KnownNeed| {
            Some(Need {
                reference: known.reference.clone(),
                span: source.span_again(known.start..known.end),
                said: said.clone(),
                is_generated,
                object: known.object.clone(),
                path: known.path.clone(),
                // Texts in which images are named anew are not kept.
                asked: None,
                confidence: Confidence::by_name(&known.confidence)?,
                reason: known.reason.clone(),
                step: NeedStep::Apply(applied.layer.0, applied.layer.1.clone()),
                pod: match &known.pod {
                    Some((index, list, name)) => Some((pods.get(*index)?.clone(), Place::new(list, name)?)),
                    None => None,
                },
            })
        };
        let needs = known.needs.iter().map(need).collect::<Option<Vec<_>>>()?;
        let at = || source.span_again(0..0);
        let filters = known
            .filters
            .iter()
            .map(|(resources, webhooks)| Policy::settings(resources, webhooks.as_deref(), at()))
            .collect();
        let objects = known
            .objects
            .iter()
            .map(|object| ObjectFacts {
                kind: object.kind.clone(),
                name: object.name.clone(),
                namespace: object.namespace.clone(),
                layer: applied.layer.clone(),
            })
            .collect();
        Some((needs, filters, objects))
    }

    /// Notes what was found in a text. One with policies is read again: they are held as they stand there.
    pub fn note(&mut self, digest: Digest, needs: &[Need], policies: &[Policy], objects: &[ObjectFacts]) {
        let Some(filters) = policies.iter().map(Policy::as_settings).collect::<Option<Vec<_>>>() else {
            return;
        };
        let objects = objects.iter().map(|object| KnownObject {
            kind: object.kind.clone(),
            name: object.name.clone(),
            namespace: object.namespace.clone(),
        });
        let mut known = KnownText { filters, objects: objects.collect(), ..KnownText::default() };
        let mut arcs: Vec<Arc<Pod>> = Vec::new();
        for need in needs {
            let pod = need.pod.as_ref().map(|(pod, place)| {
                let index = arcs.iter().position(|other| Arc::ptr_eq(other, pod)).unwrap_or_else(|| {
                    arcs.push(pod.clone());
                    arcs.len() - 1
                });
                (index, place.list.to_owned(), place.name.clone())
            });
            known.needs.push(KnownNeed {
                reference: need.reference.clone(),
                start: need.span.range().start,
                end: need.span.range().end,
                object: need.object.clone(),
                path: need.path.clone(),
                confidence: need.confidence.name().to_owned(),
                reason: need.reason.clone(),
                pod,
            });
        }
        known.pods = arcs.iter().map(|pod| (pod.namespace.clone(), pod.object.clone())).collect();
        self.used.insert(digest, known);
        self.is_changed = true;
    }

    /// Keeps what the next run needs. Where that does not work, it reads the texts again.
    pub fn save(self, context: &Context) {
        if let (Some(key), true) = (self.key, self.is_changed)
            && let Ok(bytes) = serde_json::to_vec(&self.used)
        {
            let _ = context.store.remember(&key, &bytes);
        }
    }
}
