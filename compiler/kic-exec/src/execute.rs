//! Realises what a plan says is missing.
//!
//! One task owns all state: which nodes wait for how many inputs, which are ready, which run. Workers only
//! build. A node starts when its own inputs are there; among the ready ones, that with the longest way to the
//! end comes first, then the one with the lower index. A failure stops what depends on it and lets the rest
//! finish; it is never recorded. Diagnostics come out in the order of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use kic_diag::{Diagnostics, declared as code};
use kic_graph::{Derivation, Graph, NodeIndex};
use petgraph::Direction;
use tokio::task::JoinSet;

use crate::build::{self, Built};
use crate::context::{Context, interrupted};
use crate::event::Event;
use crate::fault;
use crate::plan::{Plan, State};
use crate::realised::{LayerOutput, Outcome, Realised};

/// Realises every node of `plan` that is pending.
///
/// # Errors
/// What went wrong with each node, in the order of the nodes; `interrupted` where the work was cancelled.
pub async fn execute(graph: &Arc<Graph>, plan: &Plan, context: &Context) -> Result<Realised, Diagnostics> {
    let mut run = Run::new(graph, plan);
    let bytes =
        plan.states.values().map(|state| if let State::Fetch(size) = state { *size } else { 0 }).sum();
    context.watch.event(Event::Planned { nodes: run.waiting.len(), bytes });
    let mut workers: JoinSet<(NodeIndex, Instant, Result<Built, Diagnostics>)> = JoinSet::new();
    let mut failures: BTreeMap<NodeIndex, Diagnostics> = BTreeMap::new();
    loop {
        while let Some(index) = run.next(context) {
            let (graph, context) = (Arc::clone(graph), context.clone());
            let layers = run.outputs_of(&graph, index);
            workers.spawn(async move {
                let started = Instant::now();
                let result = build::realise(&graph, index, &layers, &context).await;
                (index, started, result)
            });
        }
        let finished = tokio::select! {
            finished = workers.join_next() => finished,
            () = context.cancel.cancelled() => {
                workers.shutdown().await;
                return Err(interrupted().into());
            }
        };
        let Some(finished) = finished else { break };
        let (index, started, result) = match finished {
            Ok(finished) => finished,
            Err(error) => return Err(fault::internal(format!("a worker failed: {error}")).into()),
        };
        run.finished(index);
        match result {
            Ok(built) => {
                let node = &graph.nodes[index];
                let elapsed = started.elapsed();
                let bytes = built.bytes();
                context.watch.event(Event::Finished {
                    node: index,
                    kind: node.kind,
                    name: &node.name,
                    bytes,
                    elapsed,
                });
                run.done(index, built, elapsed);
            }
            Err(diagnostics) => {
                // What is left would only fail in the same way, or be thrown away.
                let hopeless = diagnostics.iter().any(|diagnostic| diagnostic.code == &code::STORE_FULL);
                failures.insert(index, diagnostics);
                if hopeless {
                    workers.shutdown().await;
                    break;
                }
            }
        }
    }
    if failures.is_empty() {
        return if run.waiting.is_empty() {
            Ok(run.realised)
        } else {
            Err(fault::internal("the graph has a circle").into())
        };
    }
    let mut all = Diagnostics::new();
    for diagnostics in failures.into_values() {
        all.append(diagnostics);
    }
    Err(all)
}

struct Run {
    /// For each node to be realised and not started: the inputs that it waits for.
    waiting: BTreeMap<NodeIndex, BTreeSet<NodeIndex>>,
    /// For each input: who waits for it.
    dependents: BTreeMap<NodeIndex, Vec<NodeIndex>>,
    /// Ready nodes, the most urgent last.
    ready: BTreeSet<(u64, std::cmp::Reverse<NodeIndex>)>,
    /// The bytes on the longest way from each node to the end.
    urgency: BTreeMap<NodeIndex, u64>,
    fetching: BTreeSet<NodeIndex>,
    building: BTreeSet<NodeIndex>,
    fetches: BTreeSet<NodeIndex>,
    realised: Realised,
}

impl Run {
    fn new(graph: &Graph, plan: &Plan) -> Self {
        let mut run = Self {
            waiting: BTreeMap::new(),
            dependents: BTreeMap::new(),
            ready: BTreeSet::new(),
            urgency: urgency(graph, plan),
            fetching: BTreeSet::new(),
            building: BTreeSet::new(),
            fetches: BTreeSet::new(),
            realised: Realised::default(),
        };
        for (index, state) in &plan.states {
            match state {
                State::Layer(output) => {
                    run.realised.layers.insert(*index, output.clone());
                    run.realised.outcomes.insert(*index, Outcome::Reused);
                }
                State::Blob => {
                    run.realised.outcomes.insert(*index, Outcome::Reused);
                }
                State::Fetch(_) | State::Build => {
                    if matches!(state, State::Fetch(_)) {
                        run.fetches.insert(*index);
                    }
                    let inputs = graph.nodes.neighbors_directed(*index, Direction::Incoming);
                    let pending: BTreeSet<NodeIndex> = inputs
                        .filter(|input| plan.states.get(input).is_some_and(State::is_pending))
                        .collect();
                    for input in &pending {
                        run.dependents.entry(*input).or_default().push(*index);
                    }
                    if pending.is_empty() {
                        run.ready.insert(run.rank(*index));
                    }
                    run.waiting.insert(*index, pending);
                }
            }
        }
        run
    }

    fn rank(&self, index: NodeIndex) -> (u64, std::cmp::Reverse<NodeIndex>) {
        (self.urgency.get(&index).copied().unwrap_or(0), std::cmp::Reverse(index))
    }

    /// The most urgent ready node for which there is room.
    fn next(&mut self, context: &Context) -> Option<NodeIndex> {
        let fetch_room = self.fetching.len() < context.downloads.max(1);
        let build_room = self.building.len() < context.jobs.max(1);
        let has_room = |index: NodeIndex| if self.fetches.contains(&index) { fetch_room } else { build_room };
        let rank = self.ready.iter().rev().find(|(_, index)| has_room(index.0)).copied()?;
        self.ready.remove(&rank);
        let index = rank.1.0;
        self.waiting.remove(&index);
        if self.fetches.contains(&index) {
            self.fetching.insert(index)
        } else {
            self.building.insert(index)
        };
        Some(index)
    }

    fn finished(&mut self, index: NodeIndex) {
        self.fetching.remove(&index);
        self.building.remove(&index);
    }

    fn done(&mut self, index: NodeIndex, built: Built, elapsed: std::time::Duration) {
        if let Built::Layer(output) = built {
            self.realised.layers.insert(index, output);
        }
        self.realised.outcomes.insert(index, Outcome::Built(elapsed));
        for dependent in self.dependents.remove(&index).unwrap_or_default() {
            if let Some(pending) = self.waiting.get_mut(&dependent) {
                pending.remove(&index);
                if pending.is_empty() {
                    let rank = self.rank(dependent);
                    self.ready.insert(rank);
                }
            }
        }
    }

    /// The outputs that the builder of a node reads: for a launch plan, those of all layers so far.
    fn outputs_of(&self, graph: &Graph, index: NodeIndex) -> BTreeMap<NodeIndex, LayerOutput> {
        match graph.nodes[index].derivation {
            Derivation::Launch(_) => self.realised.layers.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// The bytes on the longest way from each pending node to the end: what to start first.
fn urgency(graph: &Graph, plan: &Plan) -> BTreeMap<NodeIndex, u64> {
    let mut urgency: BTreeMap<NodeIndex, u64> = BTreeMap::new();
    // Nodes are added after their inputs, but `after` edges may lead backwards.
    let order = petgraph::algo::toposort(&graph.nodes, None).unwrap_or_default();
    for index in order.into_iter().rev() {
        let own = match (&graph.nodes[index].derivation, plan.states.get(&index)) {
            (_, None | Some(State::Blob | State::Layer(_))) => continue,
            (Derivation::Blob(content) | Derivation::CachedBlob { content, .. }, _) => content.size,
            _ => 1,
        };
        let dependents = graph.nodes.neighbors_directed(index, Direction::Outgoing);
        let longest = dependents.filter_map(|dependent| urgency.get(&dependent)).max().copied().unwrap_or(0);
        urgency.insert(index, own + longest);
    }
    urgency
}
