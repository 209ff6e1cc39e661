//! The tags by which what refers to an image is found.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_diag::Diagnostics;
use serde_json::{Value as Json, json};

use super::{Cached, RegistryCache, blob_path, collision};
use crate::inputs::{Referral, ReferrerFacts};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What every repository tells of referrers.
#[derive(Default)]
pub(super) struct Referrers<'a> {
    /// By repository and subject: the descriptors of the index, by digest.
    lists: BTreeMap<(String, Digest), BTreeMap<Digest, Json>>,
    /// By repository and tag: the digest, and the image that has it.
    tags: BTreeMap<(String, String), (Digest, &'a Cached<'a>)>,
}

impl<'a> Referrers<'a> {
    pub fn add(
        &mut self,
        repository: &str,
        referrer: &ReferrerFacts,
        image: &'a Cached<'a>,
        diagnostics: &mut Diagnostics,
    ) {
        let Some(document) = referrer.documents.first() else { return };
        match &referrer.referral {
            Referral::Inside => {}
            Referral::Listed => {
                let list = self.lists.entry((repository.to_owned(), referrer.subject)).or_default();
                list.insert(document.digest, descriptor(referrer));
            }
            Referral::Tagged(tag) => {
                let first =
                    self.tags.entry((repository.to_owned(), tag.clone())).or_insert((document.digest, image));
                if first.0 != document.digest {
                    diagnostics.push(collision(first.1, image, &format!("{repository}:{tag}")));
                }
            }
        }
    }

    /// Writes the tags, and an index for each subject.
    pub fn finish(self, cache: &mut RegistryCache) {
        for ((repository, tag), (digest, _)) in self.tags {
            cache.link(&[&repository, "/_manifests/tags/", &tag, "/current/link"], digest);
        }
        for ((repository, subject), descriptors) in self.lists {
            let manifests: Vec<Json> = descriptors.into_values().collect();
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
            let bytes = index.to_string().into_bytes();
            let digest = Digest::of(&bytes);
            let subject = subject.text();
            cache.link(&[&repository, "/_manifests/tags/sha256-", subject.hex(), "/current/link"], digest);
            cache.link_manifest(&repository, digest);
            // The same bytes may have come from upstream.
            if !cache.blobs.contains_key(&digest) {
                cache.written.insert(blob_path(&digest), bytes);
            }
        }
    }
}

/// The descriptor of a referrer in a list (distribution specification 1.1, "Listing Referrers").
fn descriptor(referrer: &ReferrerFacts) -> Json {
    let document = &referrer.documents[0];
    let mut descriptor =
        json!({ "mediaType": document.media_type, "digest": document.digest, "size": document.size });
    if let Some(artifact_type) = &referrer.artifact_type {
        descriptor["artifactType"] = json!(artifact_type);
    }
    if !referrer.annotations.is_empty() {
        descriptor["annotations"] = json!(referrer.annotations);
    }
    descriptor
}
