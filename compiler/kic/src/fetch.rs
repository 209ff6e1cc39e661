use std::time::Instant;

use futures::StreamExt;
use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Event, obtain};
use kic_graph::{BlobFacts, Kind, NodeIndex, Origin};
use kic_oci::model::Descriptor;

/// Fetches blobs of an image in a registry into the store, several at a time, and gives those that could not be had, with the
/// reason. Of an image on disk, nothing is fetched.
pub(crate) async fn fetch<'d>(
    blobs: impl IntoIterator<Item = &'d Descriptor>,
    origin: &Origin,
    context: &Context,
) -> Vec<(Digest, Diagnostics)> {
    if matches!(origin, Origin::Disk(_)) {
        return Vec::new();
    }
    let mut wanted: Vec<BlobFacts> = Vec::new();
    for blob in blobs {
        if !wanted.iter().any(|known| known.digest == blob.digest) && !context.store.contains(&blob.digest) {
            let media_type = blob.media_type.clone();
            wanted.push(BlobFacts { media_type, digest: blob.digest, size: blob.size });
        }
    }
    let bytes = wanted.iter().fold(0, |sum: u64, facts| sum.saturating_add(facts.size));
    context.watch.event(Event::Planned { nodes: wanted.len(), bytes });
    let results: Vec<_> = futures::stream::iter(wanted.iter().enumerate())
        .map(|(place, facts)| async move {
            let (node, kind, name) = (NodeIndex::new(place), Kind::Blob, facts.digest.short());
            let (bytes, began) = (facts.size, Instant::now());
            context.watch.event(Event::Started { node, kind, name: &name, bytes: Some(bytes) });
            let result = obtain(facts, origin, node, context).await;
            if result.is_ok() {
                let elapsed = began.elapsed();
                context.watch.event(Event::Finished { node, kind, name: &name, bytes, elapsed });
            }
            (facts.digest, result.err())
        })
        .buffered(context.downloads.max(1))
        .collect()
        .await;
    results.into_iter().filter_map(|(digest, errors)| Some((digest, errors?))).collect()
}

/// The same for blobs that are all needed.
///
/// # Errors
/// Why the first of those that could not be had was not.
pub(crate) async fn fetch_all<'d>(
    blobs: impl IntoIterator<Item = &'d Descriptor>,
    origin: &Origin,
    context: &Context,
) -> Result<(), Diagnostics> {
    match fetch(blobs, origin, context).await.into_iter().next() {
        Some((_, errors)) => Err(errors),
        None => Ok(()),
    }
}
