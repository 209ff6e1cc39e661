//! A layer that holds one blob of the registry cache: the store keeps the layer, and finds the blob inside it.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{ContentFacts, LayerSettings, Node, NodeIndex};
use kic_oci::layer::{embedded_file_header, embedded_file_trailer};
use kic_oci::model::media_types;
use kic_store::{EmbeddingWriter, StoreError};

use super::pump::{Sink, Start, pump};
use crate::context::Context;
use crate::fault;
use crate::realised::LayerOutput;

struct EmbeddingSink {
    writer: EmbeddingWriter,
    content: ContentFacts,
    /// The digest and size of the layer, once it is kept.
    layer: Arc<Mutex<Option<(Digest, u64)>>>,
}

impl Sink for EmbeddingSink {
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
        let kept = self.writer.commit(&self.content.digest, self.content.size)?;
        if let Ok(mut layer) = self.layer.lock() {
            *layer = Some(kept);
        }
        Ok(())
    }
}

/// Writes header, blob and trailer in one pass, with both digests.
pub(crate) async fn build(
    node: &Node,
    index: NodeIndex,
    settings: LayerSettings,
    path: &str,
    content: &ContentFacts,
    context: &Context,
) -> Result<LayerOutput, Diagnostics> {
    let header = embedded_file_header(path, 0o644, content.size, settings.mtime)
        .map_err(|error| fault::internal(error.to_string()))?;
    let trailer = embedded_file_trailer(content.size);
    let layer = Arc::new(Mutex::new(None));
    let (store, content, kept) = (context.store.clone(), *content, Arc::clone(&layer));
    let open = move |start: Start| {
        let writer = match start.download(content.digest, content.size) {
            Some(download) => store.embedding_writer_of(&header, trailer, &download)?,
            None => store.embedding_writer(&header, trailer)?,
        };
        Ok(EmbeddingSink { writer, content, layer: Arc::clone(&kept) })
    };
    pump(node, index, &content.digest, content.size, context, open).await?;
    let kept = layer.lock().ok().and_then(|layer| *layer);
    let Some((digest, size)) = kept else { return Err(fault::internal("a cached blob was not kept").into()) };
    Ok(LayerOutput { media_type: media_types::OCI_LAYER.to_owned(), digest, size, diff_id: digest })
}
