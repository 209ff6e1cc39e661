//! What images are made of, known from the run before: it follows from their documents, which are known by digest, and from the
//! build of kic, and from nothing else.
//!
//! The bytes that are kept: the number of images (4), and of each its root and the number (4) of its manifests; of each of these
//! its platform, itself, its configuration, and its layers.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::packed::{Reader, put_list, put_text};
use kic_base::{Digest, Platform, Spanned};
use kic_diag::Diagnostics;
use kic_graph::{BlobFacts, ManifestFacts};
use kic_oci::model::media_types;
use kic_spec::Spec;

use super::memo_key;
use crate::context::Context;
use crate::fault;

/// The manifest of each platform.
pub(super) type Manifests = BTreeMap<Platform, ManifestFacts>;

/// The root of each image, and its manifests.
type Images = BTreeMap<Digest, (BlobFacts, Manifests)>;

/// What is known of images, by their roots.
#[derive(Debug, Default)]
pub(super) struct KnownImages {
    key: Option<Digest>,
    known: Images,
    /// What this run has asked for, known and new: all that the next one is likely to.
    used: BTreeSet<Digest>,
    new: Images,
}

impl KnownImages {
    /// What the last run of this build has found in the images of a spec.
    pub fn open(spec: &Spec, context: &Context) -> Self {
        let key = memo_key("kic images", spec, context);
        let bytes = key.and_then(|key| context.store.recall(&key)).unwrap_or_default();
        Self { key, known: read(&bytes).unwrap_or_default(), ..Self::default() }
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
        if self.known.is_empty() {
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
            let known = root.as_ref().and_then(|root| self.known.get(&root.digest));
            let known =
                known.filter(|(known, manifests)| Some(known) == root.as_ref() && is_whole(known, manifests));
            self.used.extend(known.map(|(root, _)| root.digest));
            found.push(known.map(|(_, manifests)| manifests.clone()));
        }
        store.let_go().map_err(|error| fault::store(&error))?;
        Ok(found)
    }

    /// Notes what an image is made of, where that was not known.
    pub fn note(&mut self, root: &BlobFacts, manifests: &Manifests) {
        if !self.used.contains(&root.digest) {
            self.new.entry(root.digest).or_insert_with(|| (root.clone(), manifests.clone()));
        }
    }

    /// Keeps what the next run needs. Where that does not work, it reads the documents again.
    pub fn save(self, context: &Context) {
        let Self { key: Some(key), known, used, mut new } = self else { return };
        if !new.is_empty() {
            new.extend(known.into_iter().filter(|(digest, _)| used.contains(digest)));
            context.remember(key, move || write(&new));
        }
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

fn write(images: &Images) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_list(&mut bytes, images.values(), |bytes, (root, manifests)| {
        put_blob(bytes, root);
        put_list(bytes, manifests.iter(), |bytes, (platform, facts)| {
            put_text(bytes, &platform.to_string());
            put_blob(bytes, &facts.manifest);
            put_blob(bytes, &facts.config);
            put_list(bytes, facts.layers.iter(), put_blob);
        });
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
fn read(bytes: &[u8]) -> Option<Images> {
    let mut reader = Reader(bytes);
    let images = reader.list(|reader| {
        let root = blob(reader)?;
        let manifests = reader.list(|reader| {
            let platform = reader.value()?;
            let (manifest, config) = (blob(reader)?, blob(reader)?);
            Some((platform, ManifestFacts { manifest, config, layers: reader.list(blob)? }))
        })?;
        Some((root.digest, (root, manifests.into_iter().collect())))
    })?;
    reader.0.is_empty().then(|| images.into_iter().collect())
}

#[cfg(test)]
mod tests {
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
        let roots = [facts_of(media_types::OCI_INDEX, 1), facts_of(media_types::OCI_MANIFEST, 2)];
        let images: Images = roots.map(|root| (root.digest, (root, manifests.clone()))).into();
        let mut bytes = write(&images);
        assert_eq!(format!("{:?}", read(&bytes).unwrap()), format!("{images:?}"));
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_none(), "{length}");
        }
        bytes.push(0);
        assert!(read(&bytes).is_none());
    }
}
