//! What the registry cache of an image holds, for a compile that would fetch the same.

use std::collections::BTreeSet;
use std::io;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Stoppable, fault, obtain};
use kic_graph::{BlobFacts, KIND_ANNOTATION, NAME_ANNOTATION, NodeIndex, REGISTRY_ROOT};
use kic_oci::model::Descriptor;
use kic_oci::validate::{LayerContent, LayerEntry, LayerVisitor, visit_layer};
use kic_store::Store;

use crate::image::ImageAt;

/// Puts into `store` what the image has cached, and the store of `context` does not hold. What it was fetched from may be gone,
/// and a blob is what its digest says wherever it lies.
///
/// # Errors
/// Those of the disk, the store and the registry.
pub(crate) async fn keep_cached_blobs(
    opened: &ImageAt,
    store: &Store,
    context: &Context,
) -> Result<(), Diagnostics> {
    let mut seen = BTreeSet::new();
    for layer in opened.manifests.iter().flat_map(|(_, _, manifest)| &manifest.layers) {
        if !is_wanted(layer, &context.store) || !seen.insert(layer.digest) {
            continue;
        }
        let facts =
            BlobFacts { media_type: layer.media_type.clone(), digest: layer.digest, size: layer.size };
        let reader =
            Stoppable::new(obtain(&facts, &opened.origin(), NodeIndex::end(), context).await?, context);
        let mut keeper = Keeper { stores: Some((context.store.clone(), store.clone())), failed: None };
        let keep = move || {
            // A layer that is no tar was told by the verification.
            drop(visit_layer(
                Box::new(reader),
                &facts.media_type,
                &kic_oci::unpack::UnpackLimits::default(),
                &mut keeper,
            ));
            let failed = |error| Err(fault::input_output(error, "keeping what the image has cached").into());
            keeper.failed.map_or(Ok(()), failed)
        };
        context.blocking(keep).await?;
    }
    Ok(())
}

/// Whether a layer is one of the registry cache, and more than a blob that is there.
fn is_wanted(layer: &Descriptor, known: &Store) -> bool {
    let annotation = |name: &str| layer.annotations.get(name).map(String::as_str).unwrap_or_default();
    let is_there = || annotation(NAME_ANNOTATION).parse().is_ok_and(|digest: Digest| known.contains(&digest));
    annotation(KIND_ANNOTATION).starts_with("registry-") && !is_there()
}

/// Keeps the blobs of a layer of the registry cache.
#[derive(Default)]
struct Keeper {
    /// The store whose blobs are not wanted, and the one to put the others into.
    stores: Option<(Store, Store)>,
    failed: Option<io::Error>,
}

impl LayerVisitor for Keeper {
    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()> {
        let (Some((known, store)), None) = (&self.stores, &self.failed) else { return Ok(()) };
        let path = std::str::from_utf8(entry.path).unwrap_or_default();
        let blob = path.strip_prefix(REGISTRY_ROOT).and_then(|path| path.strip_prefix("/blobs/sha256/"));
        let hex = blob.and_then(|blob| blob.strip_suffix("/data")).and_then(|blob| blob.rsplit('/').next());
        let Some(Ok(digest)) = hex.map(Digest::from_hex) else { return Ok(()) };
        if !known.contains(&digest) && !store.contains(&digest) {
            self.failed = keep(store, &digest, content).err();
        }
        Ok(())
    }
}

fn keep(store: &Store, digest: &Digest, content: &mut dyn LayerContent) -> io::Result<()> {
    let mut writer = store.writer()?;
    io::copy(content, &mut writer)?;
    writer.commit(Some(digest))?;
    Ok(())
}
