//! Builders: one file a kind of derivation. They know nothing of caching, which wraps them in [`realise`].

mod ahead;
mod blob;
mod cached_blob;
mod earlier;
mod early;
pub(crate) mod launch;
mod local_file;
mod pump;
mod room;
mod tree;

pub use blob::obtain;
pub use early::Early;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{Derivation, Graph, NodeIndex};

use crate::context::Context;
use crate::event::Event;
use crate::fault;
use crate::realised::LayerOutput;
use tree::Packed;

/// What a builder made.
#[derive(Debug)]
pub(crate) enum Built {
    /// Bytes of that number, now in the store.
    Blob(u64),
    /// A layer, still to be kept.
    Layer(Box<Unkept>),
}

/// To begin a thread takes longer than the disk does with so many bytes.
const SMALL: u64 = 1 << 20;

/// A layer that is known, and is not recorded as what its derivation gives.
#[derive(Debug)]
pub(crate) enum Unkept {
    /// The store has its bytes.
    Stored(LayerOutput),
    /// The store has them without a name.
    Packed(Packed),
}

impl Unkept {
    pub fn output(&self) -> &LayerOutput {
        match self {
            Self::Stored(output) => output,
            Self::Packed(packed) => &packed.output,
        }
    }

    /// Whether it is soon kept: the disk has little to take.
    pub fn is_small(&self) -> bool {
        matches!(self, Self::Packed(packed) if packed.output.size <= SMALL)
    }

    /// Records it, once the store has its bytes.
    pub fn keep(self, derivation: &Digest, context: &Context) -> Result<(), Diagnostics> {
        let output = match self {
            Self::Stored(output) => output,
            Self::Packed(packed) => packed.keep(context).map_err(|error| fault::store(&error))?,
        };
        let record = serde_json::to_value(&output).map_err(|error| fault::internal(error.to_string()))?;
        context.store.record(derivation, &record).map_err(|error| fault::store(&error).into())
    }
}

impl Built {
    /// How long it took, where that was not while it was waited for.
    pub fn took(&self) -> Option<Duration> {
        match self {
            Self::Layer(layer) => match &**layer {
                Unkept::Packed(packed) => packed.took,
                Unkept::Stored(_) => None,
            },
            Self::Blob(_) => None,
        }
    }

    pub fn bytes(&self) -> u64 {
        match self {
            Self::Blob(bytes) => *bytes,
            Self::Layer(layer) => layer.output().size,
        }
    }
}

/// Builds or fetches one node, whose inputs are there. A layer is still to be kept: nobody reads its bytes before all are.
pub(crate) async fn realise(
    graph: &Arc<Graph>,
    index: NodeIndex,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
    context: &Context,
) -> Result<Built, Diagnostics> {
    let node = &graph.nodes[index];
    let bytes = match &node.derivation {
        Derivation::Blob(content) | Derivation::CachedBlob { content, .. } => Some(content.size),
        _ => None,
    };
    context.watch.event(Event::Started { node: index, kind: node.kind, name: &node.name, bytes });
    let layer = match &node.derivation {
        Derivation::Blob(content) => {
            return blob::fetch(node, index, content, context).await.map(Built::Blob);
        }
        Derivation::CachedBlob { settings, path, content } => {
            Unkept::Stored(cached_blob::build(node, index, *settings, path, content, context).await?)
        }
        Derivation::Tree { .. } => {
            let early = match &context.early {
                Some(early) => early.take(&node.digest).await,
                None => None,
            };
            Unkept::Packed(match early {
                Some(packed) => packed,
                None => tree::build(graph, index, context).await?,
            })
        }
        Derivation::Launch(plan) => Unkept::Packed(launch::build(graph, plan, layers, context).await?),
    };
    Ok(Built::Layer(Box::new(layer)))
}
