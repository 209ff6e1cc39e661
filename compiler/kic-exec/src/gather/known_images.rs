//! What images are made of, known from the run before: it follows from their documents, which are known by digest, and from the
//! build of kic, and from nothing else.
//!
//! The bytes that are kept of an image: its root and the number (4) of its manifests; of each of these its platform, itself, its
//! configuration, and its layers.

use std::collections::BTreeMap;

use kic_base::packed::{Reader, put_list, put_text};
use kic_base::{Platform, Spanned};
use kic_diag::Diagnostics;
use kic_graph::{BlobFacts, ManifestFacts};
use kic_oci::model::media_types;
use kic_spec::Spec;

use super::known::Known;
use super::memo_key;
use crate::context::Context;
use crate::fault;

/// The manifest of each platform.
pub(super) type Manifests = BTreeMap<Platform, ManifestFacts>;

/// What is known of images, by the digests of their roots.
#[derive(Debug, Default)]
pub(super) struct KnownImages(Known);

impl KnownImages {
    /// What the last run of this build has found in the images of a spec.
    pub fn open(spec: &Spec, context: &Context) -> Self {
        Self(Known::open(memo_key("kic images", spec, context), context))
    }

    /// The manifests of each image with that root that is known. What they were read from is in the store, and leased.
    ///
    /// # Errors
    /// Those of the store.
    pub fn find(
        &mut self,
        roots: &[Option<BlobFacts>],
        platforms: &[&Spanned<Platform>],
        context: &Context,
    ) -> Result<Vec<Option<Manifests>>, Diagnostics> {
        if self.0.is_empty() {
            return Ok(vec![None; roots.len()]);
        }
        let store = &context.store;
        let is_whole = |root: &BlobFacts, manifests: &Manifests| {
            manifests.len() == platforms.len()
                && platforms.iter().all(|platform| manifests.contains_key(&platform.value))
                && store.contains(&root.digest)
                && manifests.values().all(|facts| is_there(root, facts, context))
        };
        // One lock for all that is looked for, and not one for each.
        store.hold().map_err(|error| fault::store(&error))?;
        let mut found = Vec::with_capacity(roots.len());
        for root in roots {
            let known = root.as_ref().and_then(|root| {
                let (place, bytes) = self.0.find(&root.digest)?;
                let (known, manifests) = read(bytes)?;
                (known == *root && is_whole(root, &manifests)).then_some((place, manifests))
            });
            found.push(known.map(|(place, manifests)| {
                self.0.keep(place);
                manifests
            }));
        }
        store.let_go().map_err(|error| fault::store(&error))?;
        Ok(found)
    }

    /// Notes what an image is made of that was not known.
    pub fn note(&mut self, root: &BlobFacts, manifests: &Manifests) {
        self.0.note(root.digest, write(root, manifests));
    }

    /// Keeps what the next run needs. Where that does not work, it reads the documents again.
    pub fn save(self, context: &Context) {
        self.0.save(context);
    }
}

/// Whether the store has a manifest, and its configuration where that was read to know its platform: an index says it.
fn is_there(root: &BlobFacts, facts: &ManifestFacts, context: &Context) -> bool {
    let has = |blob: &BlobFacts| context.store.contains(&blob.digest);
    if facts.manifest.digest == root.digest {
        !media_types::is_config(&facts.config.media_type) || has(&facts.config)
    } else {
        has(&facts.manifest)
    }
}

fn write(root: &BlobFacts, manifests: &Manifests) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_blob(&mut bytes, root);
    put_list(&mut bytes, manifests.iter(), |bytes, (platform, facts)| {
        put_text(bytes, &platform.to_string());
        put_blob(bytes, &facts.manifest);
        put_blob(bytes, &facts.config);
        put_list(bytes, facts.layers.iter(), put_blob);
    });
    bytes
}

fn put_blob(bytes: &mut Vec<u8>, blob: &BlobFacts) {
    put_text(bytes, &blob.media_type);
    bytes.extend_from_slice(blob.digest.as_bytes());
    bytes.extend_from_slice(&blob.size.to_le_bytes());
}

fn blob(reader: &mut Reader<'_>) -> Option<BlobFacts> {
    let (media_type, digest) = (reader.text()?.to_owned(), reader.digest()?);
    Some(BlobFacts { media_type, digest, size: reader.number()? })
}

/// What was written; nothing where these are other bytes.
fn read(bytes: &[u8]) -> Option<(BlobFacts, Manifests)> {
    let mut reader = Reader(bytes);
    let root = blob(&mut reader)?;
    let manifests = reader.list(|reader| {
        let platform = reader.value()?;
        let (manifest, config) = (blob(reader)?, blob(reader)?);
        Some((platform, ManifestFacts { manifest, config, layers: reader.list(blob)? }))
    })?;
    reader.0.is_empty().then(|| (root, manifests.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use kic_base::Digest;

    use super::*;

    fn facts_of(media_type: &str, size: u64) -> BlobFacts {
        BlobFacts { media_type: media_type.to_owned(), digest: Digest::of(&size.to_le_bytes()), size }
    }

    #[test]
    fn what_is_written_is_read_and_cut_bytes_are_nothing() {
        let facts = |size: u64| ManifestFacts {
            manifest: facts_of(media_types::OCI_MANIFEST, size),
            config: facts_of(media_types::OCI_CONFIG, size + 1),
            layers: vec![facts_of(media_types::OCI_LAYER_GZIP, size + 2), facts_of("ü", size + 3)],
        };
        let manifests: Manifests = [("linux/amd64", 7), ("linux/arm/v7", 70)]
            .into_iter()
            .map(|(platform, size)| (platform.parse().unwrap(), facts(size)))
            .collect();
        let root = facts_of(media_types::OCI_INDEX, 1);
        let mut bytes = write(&root, &manifests);
        assert_eq!(format!("{:?}", read(&bytes).unwrap()), format!("{:?}", (root, manifests)));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_none(), "{length}");
        }
        bytes.push(0);
        assert!(read(&bytes).is_none());
    }
}
