//! Bytes that are known by their digest.

use std::ops::Range;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{BlobFacts, ContentFacts, Derivation, Kind, Node, NodeIndex, Origin};
use kic_store::{PieceWriter, StoreError};

use super::pump::{Sink, Start, pump};
use crate::context::Context;
use crate::{disk, fault};

struct BlobSink {
    writer: PieceWriter,
    expected: Digest,
}

impl Sink for BlobSink {
    fn had(&self) -> Vec<Range<u64>> {
        self.writer.had()
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_at(offset, bytes)
    }

    fn catch_up(&mut self) -> std::io::Result<bool> {
        self.writer.catch_up()
    }

    fn forget(&mut self) {
        self.writer.forget();
    }

    fn commit(self) -> Result<(), StoreError> {
        self.writer.commit(&self.expected)
    }
}

/// Fetches the bytes into the store, and returns their number.
pub(crate) async fn fetch(
    node: &Node,
    index: NodeIndex,
    content: &ContentFacts,
    context: &Context,
) -> Result<u64, Diagnostics> {
    let (store, expected) = (context.store.clone(), content.digest);
    let size = content.size;
    let open = move |start: Start| {
        let writer = match start.download(expected, size) {
            Some(download) => store.piece_writer_of(&download)?,
            None => store.piece_writer()?,
        };
        Ok(BlobSink { writer, expected })
    };
    pump(node, index, &content.digest, content.size, context, open).await?;
    Ok(content.size)
}

/// A reader of a blob of an image: of an image on disk as it is, of one in a registry from the store, into which
/// it is fetched first: whoever watches is told of its bytes as those of `node`.
///
/// # Errors
/// Those of the disk, the store and the registry.
pub async fn obtain(
    facts: &BlobFacts,
    origin: &Origin,
    node: NodeIndex,
    context: &Context,
) -> Result<Box<dyn std::io::Read + Send>, Diagnostics> {
    if let Origin::Disk(source) = origin {
        let image = context.disk_images.open(source, None)?;
        let reader = image.open(&facts.digest).map_err(|error| disk::unreadable(source, &error, None))?;
        return Ok(Box::new(reader));
    }
    let content = ContentFacts { digest: facts.digest, size: facts.size };
    if !context.store.contains(&facts.digest) {
        let blob = Node {
            derivation: Derivation::Blob(content),
            digest: facts.digest,
            kind: Kind::Blob,
            name: facts.digest.short(),
            span: None,
            origins: vec![origin.clone()],
            is_document: false,
        };
        fetch(&blob, node, &content, context).await?;
    }
    Ok(Box::new(context.store.blob(&facts.digest).map_err(|error| fault::store(&error))?))
}
