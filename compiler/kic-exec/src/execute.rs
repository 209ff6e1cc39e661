//! Realises what a plan says is missing.
//!
//! One task owns all state: which nodes wait for how many inputs, which are ready, which run. Workers only
//! build. A node starts when its own inputs are there; among the ready ones, that with the longest way to the
//! end comes first, then the one with the lower index. A failure stops what depends on it and lets the rest
//! finish; it is never recorded. A layer is known before it is kept: what is made of its digest does not wait for the disk, and
//! whoever needs its bytes waits until all are kept. Diagnostics come out in the order of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kic_diag::{Diagnostics, declared as code};
use kic_graph::{Derivation, Graph, NodeIndex};
use petgraph::Direction;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::build::{self, Built};
use crate::context::{Context, interrupted};
use crate::event::Event;
use crate::fault;
use crate::plan::{Plan, State};
use crate::realised::{LayerOutput, Outcome, Realised};

/// A graph of which everything is known.
#[derive(Debug)]
pub struct Realising {
    /// The outputs.
    pub realised: Realised,
    /// Those that may still be on their way to the disk.
    pub keeping: Keeping,
}

/// Layers on their way to the disk.
#[derive(Debug)]
pub struct Keeping {
    workers: Workers,
    /// Whether one could not be kept, where one is kept after the other: see [`Context::begin_next`].
    failed: Option<Arc<AtomicBool>>,
}

impl Keeping {
    /// Has something done as soon as every layer is kept, where a thread of its own keeps one after the other; not at all, where one
    /// cannot be kept.
    pub fn then<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Diagnostics> + Send + 'static,
        context: &Context,
    ) -> Option<BoxFuture<'static, Result<T, Diagnostics>>> {
        let failed = Arc::clone(self.failed.as_ref().filter(|_| context.has_early())?);
        let work = move || {
            if failed.load(Ordering::Acquire) {
                return Err(fault::internal("a layer that is not kept").into());
            }
            work()
        };
        Some(context.begin_next(work).boxed())
    }

    /// Waits until every layer is in the store, safe and recorded.
    ///
    /// # Errors
    /// As [`execute`].
    pub async fn end(mut self, context: &Context) -> Result<(), Diagnostics> {
        let mut failures = Failures::new();
        while let Some((index, result)) = self.workers.next(context).await? {
            failures.extend(result.err().map(|diagnostics| (index, diagnostics)));
        }
        in_order(failures)
    }
}

/// What is under way.
#[derive(Debug, Default)]
struct Workers {
    /// Each on its way by itself.
    tasks: JoinSet<Finished>,
    /// Those that mostly wait for a thread: nobody else is woken for them.
    here: FuturesUnordered<BoxFuture<'static, Finished>>,
}

type Finished = (NodeIndex, Result<Done, Diagnostics>);
type Failures = BTreeMap<NodeIndex, Diagnostics>;

/// What a worker has done.
#[derive(Debug)]
enum Done {
    Built(Built, Duration),
    Kept,
}

/// Realises every node of `plan` that is pending.
///
/// # Errors
/// What went wrong with each node, in the order of the nodes; `interrupted` where the work was cancelled.
pub async fn execute(graph: &Arc<Graph>, plan: &Plan, context: &Context) -> Result<Realising, Diagnostics> {
    let mut run = Run::new(graph, plan);
    let bytes =
        plan.states.values().map(|state| if let State::Fetch(size) = state { *size } else { 0 }).sum();
    context.watch.event(Event::Planned { nodes: run.waiting.len(), bytes });
    let (mut workers, mut failures) = (Workers::default(), Failures::new());
    let (mut unordered, failed) = (BTreeSet::new(), Arc::<AtomicBool>::default());
    loop {
        while let Some(index) = run.next(context) {
            let layers = run.outputs_of(graph, index);
            let work = realise(Arc::clone(graph), index, layers, context.clone());
            match graph.nodes[index].derivation {
                // Little of that is not on a thread of its own.
                Derivation::Tree { .. } | Derivation::Launch(_) => workers.here.push(caught(index, work)),
                Derivation::Blob(_) | Derivation::CachedBlob { .. } => {
                    let runtime = context.workers.as_ref().map_or_else(Handle::current, |own| own.handle());
                    workers.tasks.spawn_on(work, &runtime);
                }
            }
        }
        // While nothing fails, what is only to be kept is left to the caller.
        if run.is_idle() && failures.is_empty() {
            break;
        }
        let Some((index, result)) = workers.next(context).await? else { break };
        run.finished(index);
        match result {
            Ok(Done::Built(built, elapsed)) => {
                let node = &graph.nodes[index];
                let bytes = built.bytes();
                context.watch.event(Event::Finished {
                    node: index,
                    kind: node.kind,
                    name: &node.name,
                    bytes,
                    elapsed,
                });
                if let Built::Layer(layer) = built {
                    run.realised.layers.insert(index, layer.output().clone());
                    // Without the thread that it may be done by, which others are to wait for.
                    let (derivation, inner) = (node.digest, Context { early: None, ..context.clone() });
                    // Beside what is made of it, which needs no more than its digest.
                    let kept = if layer.is_small() {
                        let failed = Arc::clone(&failed);
                        let keep = move || {
                            layer
                                .keep(&derivation, &inner)
                                .inspect_err(|_| failed.store(true, Ordering::Release))
                        };
                        context.begin_next(keep).boxed()
                    } else {
                        unordered.insert(index);
                        context.begin_late(move || layer.keep(&derivation, &inner)).boxed()
                    };
                    workers.here.push(Box::pin(async move { (index, kept.await.map(|()| Done::Kept)) }));
                }
                run.done(index, elapsed);
            }
            Ok(Done::Kept) => {
                unordered.remove(&index);
            }
            Err(diagnostics) => {
                // What is left would only fail in the same way, or be thrown away.
                let hopeless = diagnostics.iter().any(|diagnostic| diagnostic.code == &code::STORE_FULL);
                failures.insert(index, diagnostics);
                if hopeless {
                    context.store.keep_no_partials();
                    workers.end().await;
                    break;
                }
            }
        }
    }
    in_order(failures)?;
    if run.waiting.is_empty() {
        let keeping = Keeping { workers, failed: unordered.is_empty().then_some(failed) };
        Ok(Realising { realised: run.realised, keeping })
    } else {
        Err(fault::internal("the graph has a circle").into())
    }
}

/// The work of a worker.
async fn realise(
    graph: Arc<Graph>,
    index: NodeIndex,
    layers: BTreeMap<NodeIndex, LayerOutput>,
    context: Context,
) -> (NodeIndex, Result<Done, Diagnostics>) {
    let started = Instant::now();
    let result = build::realise(&graph, index, &layers, &context).await;
    let done = |built: Built| {
        let took = built.took().unwrap_or_else(|| started.elapsed());
        Done::Built(built, took)
    };
    (index, result.map(done))
}

/// A panic is a bug that is reported, and not passed on.
fn caught(
    index: NodeIndex,
    work: impl Future<Output = Finished> + Send + 'static,
) -> BoxFuture<'static, Finished> {
    let caught = AssertUnwindSafe(work).catch_unwind();
    caught
        .map(move |done| done.unwrap_or_else(|_| (index, Err(fault::internal("a worker failed").into()))))
        .boxed()
}

impl Workers {
    /// The next one that is done; `None` where none works.
    async fn next(&mut self, context: &Context) -> Result<Option<Finished>, Diagnostics> {
        let Self { tasks, here } = self;
        if tasks.is_empty() && here.is_empty() {
            return Ok(None);
        }
        tokio::select! {
            biased;
            () = context.cancel.cancelled() => {
                self.end().await;
                Err(interrupted().into())
            }
            Some(finished) = here.next() => Ok(Some(finished)),
            Some(finished) = tasks.join_next() => match finished {
                Ok(finished) => Ok(Some(finished)),
                Err(error) => Err(fault::internal(format!("a worker failed: {error}")).into()),
            },
        }
    }

    /// Ends them all.
    async fn end(&mut self) {
        self.here.clear();
        self.tasks.shutdown().await;
    }
}

/// All that went wrong, in the order of the nodes.
fn in_order(failures: Failures) -> Result<(), Diagnostics> {
    if failures.is_empty() {
        return Ok(());
    }
    let mut all = Diagnostics::new();
    failures.into_values().for_each(|diagnostics| all.append(diagnostics));
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

    /// Whether nothing is built or fetched.
    fn is_idle(&self) -> bool {
        self.fetching.is_empty() && self.building.is_empty()
    }

    fn done(&mut self, index: NodeIndex, elapsed: Duration) {
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

#[cfg(test)]
mod tests {
    use kic_store::Store;

    use super::*;
    use crate::build::Early;
    use crate::sources::Sources;

    fn keeping(failed: Option<bool>) -> Keeping {
        let failed = failed.map(|failed| Arc::new(AtomicBool::new(failed)));
        Keeping { workers: Workers::default(), failed }
    }

    #[tokio::test]
    async fn what_follows_the_layers_is_done_where_all_are_kept_one_after_the_other_and_not_where_one_cannot_be()
     {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let context = Context::for_tests(store, Sources::default());
        assert!(keeping(Some(false)).then(|| Ok(()), &context).is_none(), "no thread of its own");
        let early = Arc::new(Early::new(&context));
        let context = Context { early: Some(early), ..context };
        assert!(keeping(Some(false)).then(|| Ok(()), &context).is_none(), "it has not begun");
        context.begin_early();
        assert!(keeping(None).then(|| Ok(()), &context).is_none(), "in no order");
        let done = keeping(Some(false)).then(|| Ok(7), &context).unwrap().await;
        assert_eq!(done.unwrap(), 7);
        let work = || -> Result<(), Diagnostics> { panic!("it is done though a layer is not kept") };
        let done = keeping(Some(true)).then(work, &context).unwrap().await;
        assert!(done.unwrap_err().iter().any(|error| error.message.contains("a layer that is not kept")));
    }
}
