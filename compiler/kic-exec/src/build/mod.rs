//! Builders: one file a kind of derivation. They know nothing of caching, which wraps them in [`realise`].

mod ahead;
mod blob;
mod cached_blob;
mod earlier;
pub(crate) mod launch;
mod local_file;
mod pump;
mod room;
mod tree;

pub use blob::obtain;

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_diag::Diagnostics;
use kic_graph::{Derivation, Graph, NodeIndex};

use crate::context::Context;
use crate::event::Event;
use crate::fault;
use crate::realised::LayerOutput;

/// What a builder made.
#[derive(Debug)]
pub(crate) enum Built {
    /// Bytes of that number, now in the store.
    Blob(u64),
    /// A layer.
    Layer(LayerOutput),
}

impl Built {
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Blob(bytes) => *bytes,
            Self::Layer(output) => output.size,
        }
    }
}

/// Builds or fetches one node, whose inputs are there, and records what a layer gave.
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
    let output = match &node.derivation {
        Derivation::Blob(content) => {
            return blob::fetch(node, index, content, context).await.map(Built::Blob);
        }
        Derivation::CachedBlob { settings, path, content } => {
            cached_blob::build(node, index, *settings, path, content, context).await?
        }
        Derivation::Tree { .. } => tree::build(graph, index, context).await?,
        Derivation::Launch(plan) => launch::build(graph, plan, layers, context).await?,
    };
    let record = serde_json::to_value(&output).map_err(|error| fault::internal(error.to_string()))?;
    let (store, digest) = (context.store.clone(), node.digest);
    context
        .blocking(move || store.record(&digest, &record).map_err(|error| fault::store(&error).into()))
        .await?;
    Ok(Built::Layer(output))
}
