use std::collections::BTreeMap;
use std::time::Duration;

use kic_base::Digest;
use kic_graph::NodeIndex;
use serde::{Deserialize, Serialize};

/// What a layer's derivation gave, as the store records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerOutput {
    /// The media type of the layer.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The digest of its bytes without compression.
    pub diff_id: Digest,
}

/// What was done for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its output was in the store.
    Reused,
    /// It was built or fetched, in this time.
    Built(Duration),
}

/// The outputs of a graph.
#[derive(Debug, Default)]
pub struct Realised {
    /// The output of each node that is a layer of its own. Blobs are their own output.
    pub layers: BTreeMap<NodeIndex, LayerOutput>,
    /// What was done for each node that was needed.
    pub outcomes: BTreeMap<NodeIndex, Outcome>,
}
