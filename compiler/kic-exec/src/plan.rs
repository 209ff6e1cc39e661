use std::collections::{BTreeMap, BTreeSet};

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{Derivation, Graph, Node, NodeIndex};
use kic_store::Store;

use crate::fault;
use crate::realised::LayerOutput;

/// A graph held against the store: what is there, and what is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// What each needed node needs.
    pub states: BTreeMap<NodeIndex, State>,
}

/// What a needed node needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing: its layer is in the store.
    Layer(LayerOutput),
    /// Nothing: its bytes are in the store.
    Blob,
    /// To be fetched: this many bytes.
    Fetch(u64),
    /// To be built.
    Build,
}

impl State {
    /// Whether there is something to do.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::Build)
    }
}

/// What derivations gave, by their digests, as somebody knows without asking the store.
pub type KnownOutputs = BTreeMap<Digest, LayerOutput>;

/// Holds `graph` against `store`, whose records are read of those derivations that are not in `known`. What only realised layers were made from is not needed, and not looked at.
///
/// # Errors
/// Those of the store.
pub fn plan(graph: &Graph, known: &KnownOutputs, store: &Store) -> Result<Plan, Diagnostics> {
    let mut plan = Plan::default();
    let layers =
        graph.image.platforms.values().flat_map(|platform| platform.layers.iter().map(|layer| layer.node));
    let mut waiting: BTreeSet<NodeIndex> = layers.collect();
    while let Some(index) = waiting.pop_first() {
        if plan.states.contains_key(&index) {
            continue;
        }
        let node = &graph.nodes[index];
        let state = state(node, known, store)?;
        if state == State::Build {
            waiting.extend(node.derivation.inputs());
        }
        plan.states.insert(index, state);
    }
    Ok(plan)
}

fn state(node: &Node, known: &KnownOutputs, store: &Store) -> Result<State, Diagnostics> {
    match &node.derivation {
        Derivation::Blob(content) => {
            Ok(if store.contains(&content.digest) { State::Blob } else { State::Fetch(content.size) })
        }
        derivation => {
            let output = match known.get(&node.digest) {
                Some(output) => {
                    store.lease_output(&node.digest).map_err(|error| fault::store(&error))?;
                    Some(output.clone())
                }
                None => {
                    let record = store.output(&node.digest).map_err(|error| fault::store(&error))?;
                    record.and_then(|record| serde_json::from_value::<LayerOutput>(record).ok())
                }
            };
            match output {
                Some(output) if store.contains(&output.digest) => Ok(State::Layer(output)),
                _ => Ok(match derivation {
                    Derivation::CachedBlob { content, .. } if !store.contains(&content.digest) => {
                        State::Fetch(content.size)
                    }
                    _ => State::Build,
                }),
            }
        }
    }
}
