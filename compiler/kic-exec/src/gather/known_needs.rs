//! The images that manifests name, known from the run before: what is found in a text follows from its bytes and from the
//! build of kic, and from nothing else.

use std::collections::BTreeMap;

use kic_base::{Digest, ImageReference, Source, Span, StableHasher};
use kic_graph::Need;
use kic_manifest::Confidence;
use kic_spec::Spec;
use serde::{Deserialize, Serialize};

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
}

/// What is known of texts, by the digest of their bytes.
#[derive(Debug, Default)]
pub(super) struct KnownNeeds {
    key: Option<Digest>,
    known: BTreeMap<Digest, Vec<KnownNeed>>,
    /// What this run has asked for: all that the next one is likely to.
    used: BTreeMap<Digest, Vec<KnownNeed>>,
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

    /// What the text of that digest names, if that is known. `source` is asked for its text only to show a place.
    pub fn find(
        &mut self,
        digest: &Digest,
        source: &Source,
        said: &Span,
        is_generated: bool,
    ) -> Option<Vec<Need>> {
        let known = self.known.get(digest)?;
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
            })
        };
        let needs = known.iter().map(need).collect::<Option<Vec<_>>>()?;
        self.used.insert(*digest, known.clone());
        Some(needs)
    }

    /// Notes what was found in a text.
    pub fn note(&mut self, digest: Digest, needs: &[Need]) {
        let known = needs.iter().map(|need| KnownNeed {
            reference: need.reference.clone(),
            start: need.span.range().start,
            end: need.span.range().end,
            object: need.object.clone(),
            path: need.path.clone(),
            confidence: need.confidence.name().to_owned(),
            reason: need.reason.clone(),
        });
        self.used.insert(digest, known.collect());
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
