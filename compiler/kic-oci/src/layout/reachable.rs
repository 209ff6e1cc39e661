use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use kic_base::Digest;

use crate::model::{DOCUMENT_LIMIT, Descriptor, Document, media_types};

/// The blobs that are reached from some descriptors, as far as the documents in the layout say.
pub(super) struct Reached {
    pub digests: BTreeSet<Digest>,
    /// Whether every document was understood. Where one was not, it may need blobs that are not listed here.
    pub complete: bool,
}

/// Walks indexes and manifests in `blobs`, the directory `blobs/sha256` of a layout. A document that is missing
/// reaches nothing: layouts may be sparse.
pub(super) fn reachable<'a>(blobs: &Path, from: impl IntoIterator<Item = &'a Descriptor>) -> Reached {
    let mut reached = Reached { digests: BTreeSet::new(), complete: true };
    let mut open: Vec<(String, Digest)> =
        from.into_iter().map(|descriptor| (descriptor.media_type.clone(), descriptor.digest)).collect();
    while let Some((media_type, digest)) = open.pop() {
        if !reached.digests.insert(digest) {
            continue;
        }
        let path = blobs.join(digest.hex());
        if fs::symlink_metadata(&path).is_err() {
            continue;
        }
        let document = read(&path).and_then(|bytes| Document::parse(&media_type, &bytes).ok());
        match document {
            Some(Document::Index(index)) => {
                let children = index.manifests.into_iter().chain(index.subject.map(|subject| *subject));
                open.extend(children.map(|child| (child.media_type, child.digest)));
            }
            Some(Document::Manifest(manifest)) => {
                reached.digests.insert(manifest.config.digest);
                reached.digests.extend(manifest.layers.iter().map(|layer| layer.digest));
                open.extend(manifest.subject.map(|subject| (subject.media_type, subject.digest)));
            }
            // What lists or names itself a manifest, but is none that kic reads, may need anything.
            None => reached.complete &= is_plain(&media_type),
        }
    }
    reached
}

/// Whether a blob of that media type is known to name no other blobs.
fn is_plain(media_type: &str) -> bool {
    media_types::is_layer(media_type)
        || media_types::is_config(media_type)
        || media_type == media_types::OCI_EMPTY
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    if length > DOCUMENT_LIMIT as u64 {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).ok()? + 1);
    file.take(DOCUMENT_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
