//! The files of a layer as it was packed the last time: most of them are the same, and one layer is read sooner than many files
//! are opened.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_graph::{ContentFacts, Node};
use kic_oci::layer::read_files;

use crate::context::Context;
use crate::realised::LayerOutput;

/// Layers with more bytes in their files are not held in memory for that.
pub(super) const MOST_BYTES: u64 = 4 << 20;

/// At most so many bytes of headers and padding for each file.
const OVERHEAD: u64 = 4 << 10;

/// Contents by digest, each of which was just computed.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<Digest, Vec<u8>>);

impl Earlier {
    /// What the layer of that name held which was packed last for the spec; nothing where it cannot be read.
    pub fn of(node: &Node, files: usize, context: &Context) -> Self {
        let limit = MOST_BYTES + OVERHEAD * files as u64;
        let read = || {
            let (layer, media_type) = context.sources.packed(&label(node), &context.store)?;
            let layer = context.store.blob(&layer).ok()?;
            read_files(layer, &media_type, |_| true, limit).ok()
        };
        Self(read().into_iter().flatten().map(|(_, bytes)| (Digest::of(&bytes), bytes)).collect())
    }

    /// The bytes with that digest.
    pub fn get(&self, content: &ContentFacts) -> Option<&[u8]> {
        self.0.get(&content.digest).map(Vec::as_slice).filter(|bytes| bytes.len() as u64 == content.size)
    }
}

#[cfg(test)]
impl Earlier {
    /// Those contents.
    pub fn with(contents: &[&[u8]]) -> Self {
        Self(contents.iter().map(|bytes| (Digest::of(bytes), bytes.to_vec())).collect())
    }
}

/// Notes that the layer was packed.
pub(super) fn note(node: &Node, output: &LayerOutput, context: &Context) {
    context.sources.note_packed(&label(node), &output.digest, &output.media_type, &context.store);
}

/// By what a layer is known from one run to the next. Those of two platforms may share it: it only says where to look.
fn label(node: &Node) -> String {
    format!("{} {}", node.kind.name(), node.name)
}
