//! Bytes that are known by their digest.

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{ContentFacts, Node, NodeIndex};
use kic_store::{BlobWriter, StoreError};

use super::pump::{Sink, pump};
use crate::context::Context;

struct BlobSink {
    writer: BlobWriter,
    expected: Digest,
}

impl std::io::Write for BlobSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl Sink for BlobSink {
    fn commit(self) -> Result<(), StoreError> {
        self.writer.commit(Some(&self.expected)).map(drop)
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
    let open = move || Ok(BlobSink { writer: store.writer()?, expected });
    pump(node, index, &content.digest, content.size, context, open).await?;
    Ok(content.size)
}
