use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::{Digest, Platform};
use kic_diag::Diagnostics;
use kic_exec::{
    Assembled, Context, Early, GatherOptions, Gathered, KnownOutputs, LockFile, Outcome, Plan, Realised,
    Realising, Sources, fault,
};
use kic_graph::{Graph, Kind};
use kic_oci::model::Descriptor;
use kic_spec::{Settings, World};
use tokio::sync::oneshot;

use crate::check::check;
use crate::explain::{Explanation, Reason, explain, nothing_changed};
use crate::heal::heal;
use crate::ingredients::{self, Ingredients};
use crate::last_graph;
use crate::last_run::{self, Found, Known, Unchanged};
use crate::lock::write_locks;
use crate::resolve::resolve;
use crate::source::SourceRecord;
use crate::texts::Texts;
use crate::trace::Trace;
use crate::write::{Documents, Output, check_room, writing};

/// What to compile, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The spec.
    pub spec: PathBuf,
    /// Where the image goes; `None` leaves it in the store.
    pub output: Option<Output>,
    /// The lock, and the time of every file.
    pub gather: GatherOptions,
    /// Values for the parameters of the spec.
    pub settings: Settings,
    /// Whether everything is built twice and compared before it is written.
    pub check: bool,
    /// Whether it is told why each layer was built or reused.
    pub explain: bool,
    /// Whether the texts that the image is compiled from are recorded in it.
    pub record_source: bool,
}

/// What came out.
#[derive(Debug)]
pub struct Compiled {
    /// The tag of the image.
    pub tag: String,
    /// The image.
    pub image: Assembled,
    /// The layers of each platform, bottom first.
    pub layers: BTreeMap<Platform, Vec<CompiledLayer>>,
    /// What became of the image since the last compile of the spec, where it was asked why.
    pub explanation: Option<Explanation>,
    /// Where the image was written.
    pub output: Option<PathBuf>,
    /// The locks that were written.
    pub written_locks: Vec<PathBuf>,
    /// What is worth a look.
    pub warnings: Diagnostics,
    /// What is not needed any more.
    pub spent: Spent,
}

/// Memory that a compile has used. To give it back takes a while: a process that is at its end may forget it.
#[derive(Default)]
pub struct Spent {
    _memory: Option<Box<dyn Send + Sync>>,
}

impl fmt::Debug for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spent").finish_non_exhaustive()
    }
}

/// A layer that came out.
#[derive(Debug, Clone)]
pub struct CompiledLayer {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub descriptor: Descriptor,
    /// What was done for it.
    pub outcome: Outcome,
    /// Why, where that was asked for.
    pub reason: Option<Reason>,
}

/// Everything that is known before the first layer is built.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be built.
    pub graph: Arc<Graph>,
    /// What of it is there already.
    pub plan: Plan,
    /// The locks as they should be.
    pub locks: Vec<LockFile>,
    /// What is worth a look.
    pub warnings: Diagnostics,
    /// What the store was asked for meanwhile, documents above all.
    pub(crate) documents: BTreeSet<Digest>,
    /// By what the next compile may know the graph.
    pub(crate) kept: Option<last_graph::Kept>,
    /// Whether the graph follows from that of the compile before, and the locks are as they were, and not looked at.
    pub(crate) is_known: bool,
}

/// Compiles a spec to an image: the straight line, walked again where damage in the store was in its way, and not at all
/// where nothing changed since the last time.
///
/// # Errors
/// Every diagnostic of the phase that failed, warnings of the earlier ones among them. The output is untouched then.
pub async fn compile(
    request: &Request,
    world: &dyn World,
    context: &Context,
) -> Result<Compiled, Diagnostics> {
    match Compilation::begin(request, world, context) {
        Begun::Done(compiled) => {
            context.store.let_go().map_err(|error| fault::store(&error))?;
            Ok(*compiled)
        }
        Begun::Compilation(compilation) => compilation.run().await,
    }
}

/// A compile that has found out what the last one left.
pub struct Compilation<'a> {
    request: &'a Request,
    texts: Texts<'a>,
    context: Context,
    key: Option<Digest>,
    /// What comes out, where nothing changed but the output.
    unchanged: Option<Unchanged>,
    known: Known,
    /// What is to be done, where that is known already.
    prepared: Option<Prepared>,
}

/// What a compile began with.
pub enum Begun<'a> {
    /// There is nothing to do: this is what came out. The store is held ([`kic_store::Store::hold`]).
    Done(Box<Compiled>),
    /// There is.
    Compilation(Box<Compilation<'a>>),
}

impl<'a> Compilation<'a> {
    /// Looks whether there is anything to do, and where that is little, what it is. Needs no runtime, and where there is nothing to do,
    /// writes nothing.
    pub fn begin(request: &'a Request, world: &'a dyn World, context: &Context) -> Begun<'a> {
        let (texts, mut context) = (Texts::new(world), with_sources(request, context));
        let key = last_run::key(request, &context);
        context.early = (context.jobs > 1).then(|| Arc::new(Early::new(&context)));
        let Found { mut unchanged, known } = match key.filter(|_| !request.check) {
            Some(key) => last_run::find(&key, &texts, &context),
            None => Found::default(),
        };
        if request.explain {
            // A run with other settings may have been the last one of the spec: what changed since is found out by going the whole line.
            unchanged = unchanged
                .filter(|_| Ingredients::of_last(request, &context).is_none_or(|last| last.request == key));
            unchanged.iter_mut().for_each(|unchanged| nothing_changed(&mut unchanged.compiled));
        }
        match unchanged {
            Some(unchanged) if unchanged.is_whole(&context.store) => {
                context.sources.save(&context.store);
                Begun::Done(Box::new(unchanged.compiled))
            }
            unchanged => {
                let mut prepared = None;
                if unchanged.is_none() {
                    context.begin_early();
                    // What is wrong with the store is said when it is needed.
                    let key = key.as_ref().filter(|_| context.store.let_go().is_ok());
                    prepared = key.and_then(|key| known_graph(key, &known, &context));
                    save_sources(&context);
                }
                Begun::Compilation(Box::new(Self {
                    request,
                    texts,
                    context,
                    key,
                    unchanged,
                    known,
                    prepared,
                }))
            }
        }
    }

    /// Whether it is likely to be soon done: a run before asked for the same, and its layers are known.
    pub fn is_short(&self) -> bool {
        self.unchanged.is_some() || !self.known.outputs.is_empty()
    }

    /// Does what there is to do.
    ///
    /// # Errors
    /// As [`compile`].
    pub async fn run(self) -> Result<Compiled, Diagnostics> {
        let Self { request, texts, context, key, mut unchanged, known, mut prepared } = self;
        context.store.let_go().map_err(|error| fault::store(&error))?;
        // Before anything is done: a line that is walked again has begun to write its own in their place.
        let before = request.explain.then(|| Ingredients::of_last(request, &context)).flatten();
        let work = async || match unchanged.take() {
            Some(unchanged) => finish(unchanged, &context).await,
            // It is moved on its way to the runtime, and takes many pages of memory.
            None => {
                let prepared = prepared.take();
                Box::pin(line(request, key, &texts, &known, prepared, before.as_ref(), &context)).await
            }
        };
        heal(work).await
    }
}

/// The straight line, from where it is known what is to be done: from its beginning, where it is not. `before` is what the last compile
/// was made from, where it is asked why layers are built.
async fn line(
    request: &Request,
    key: Option<Digest>,
    texts: &Texts<'_>,
    known: &Known,
    prepared: Option<Prepared>,
    before: Option<&Ingredients>,
    context: &Context,
) -> Result<Compiled, Diagnostics> {
    let mut prepared = match prepared {
        Some(prepared) => prepared,
        None => prepare_with(request, texts, &known.outputs, context).await?,
    };
    let output = request.output.as_ref().map(|output| output.named(&prepared.graph.image.name));
    if let Some(output) = &output {
        check_room(output)?;
    }
    let written_locks = write_locks(&prepared.locks)?;
    for file in prepared.locks.iter().filter(|file| file.is_changed()) {
        texts.wrote(&file.path, file.lock.to_text().into_bytes());
    }
    // Beside what is built, for nothing of that is needed. They are on their way to the store later: until then the compile before is known
    // by its own.
    let graph = Arc::clone(&prepared.graph);
    let is_known = prepared.is_known;
    let ingredients = ingredients::key(request).map(|own| {
        let parameters = ingredients::parameters(request);
        beside(is_known, context, move || Ingredients::of(&graph, parameters, key).to_memo(own))
    });
    let left = prepared.kept.take().zip(key).map(|(kept, key)| {
        let (graph, inner) = (Arc::clone(&prepared.graph), Context { early: None, ..context.clone() });
        beside(is_known, context, move || kept.leave(&key, &graph, &inner))
    });
    if is_known && context.early.is_some() {
        // For a blob and a record of each, and for both documents of each platform; that of the layer which is packed early is made.
        let pending = prepared.plan.states.values().filter(|state| state.is_pending()).count();
        context.store.make_ready(2 * (pending + prepared.graph.image.platforms.len()) - 1);
    }
    let Realising { realised, keeping } = kic_exec::execute(&prepared.graph, &prepared.plan, context).await?;
    // Beside the way of the last layers to the disk.
    let documents = || {
        let image = kic_exec::assemble(&prepared.graph, &realised)?;
        let documents = Documents::of(&image, context);
        // What is checked is written later.
        let writing = output.as_ref().filter(|_| !request.check).and_then(|output| {
            let tag = &prepared.graph.image.tag;
            keeping.then(writing(output, tag, &image, &documents, false, context), context)
        });
        documents.keep()?;
        Ok::<_, Diagnostics>((image, documents, writing))
    };
    let documents = documents();
    keeping.end(context).await?;
    let (image, documents, begun) = documents?;
    let (sources, store) = (Arc::clone(&context.sources), context.store.clone());
    context.later(move || sources.save_frames(&store));
    if request.check {
        check(request, &image, texts, context).await?;
    }
    let mut compiled = Compiled {
        tag: prepared.graph.image.tag.clone(),
        layers: layers(&prepared.graph, &realised, &image),
        explanation: None,
        image,
        output: output.as_ref().and_then(Output::path).map(Path::to_owned),
        written_locks,
        warnings: std::mem::take(&mut prepared.warnings),
        spent: Spent::default(),
    };
    let written = async {
        match (begun, &output) {
            (Some(begun), _) => begun.await,
            (None, Some(output)) => {
                let (tag, image) = (&compiled.tag, &compiled.image);
                context.begin_late(writing(output, tag, image, &documents, request.check, context)).await
            }
            (None, None) => Ok(()),
        }
    };
    // Beside it, for writing is mostly waiting for the disk.
    let tracing = async {
        let ingredients = match ingredients {
            Some(ingredients) => ingredients.await.ok(),
            None => None,
        };
        let left = match left {
            Some(left) => left.await.ok().flatten(),
            None => None,
        };
        let (key, output) = (key.as_ref(), output.as_ref());
        Trace::of(
            request,
            key,
            &prepared,
            &realised,
            &compiled,
            output,
            ingredients,
            left,
            known,
            texts,
            context,
        )
    };
    let (written, trace) = tokio::join!(written, tracing);
    written?;
    let trace = trace?;
    if let Some(now) = trace.asked() {
        explain(&mut compiled, &prepared.graph, now, before, &context.store);
    }
    trace.leave(key.as_ref(), context)?;
    compiled.spent = Spent { _memory: Some(Box::new((prepared, realised))) };
    Ok(compiled)
}

/// Has something done beside the layers: where these are all that is to be done, here, for they are packed elsewhere.
fn beside<T: Send + 'static>(
    is_known: bool,
    context: &Context,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    if !is_known {
        return context.beside(work);
    }
    let (done, receiver) = oneshot::channel();
    // The receiver is here.
    let _ = done.send(work());
    receiver
}

/// The end of the line, where all that comes before is known.
async fn finish(unchanged: Unchanged, context: &Context) -> Result<Compiled, Diagnostics> {
    let Unchanged { compiled, output, is_written } = unchanged;
    context.sources.save(&context.store);
    if let Some(output) = output.filter(|_| !is_written) {
        check_room(&output)?;
        let documents = Documents::of(&compiled.image, context);
        let work = writing(&output, &compiled.tag, &compiled.image, &documents, false, context);
        context.begin_late(work).await?;
    }
    Ok(compiled)
}

fn layers(graph: &Graph, realised: &Realised, image: &Assembled) -> BTreeMap<Platform, Vec<CompiledLayer>> {
    let of_platform = |(platform, descriptors): (&Platform, &Vec<Descriptor>)| {
        let layers = graph.image.platforms.get(platform).map_or(&[][..], |own| own.layers.as_slice());
        let compiled = layers.iter().zip(descriptors).map(|(layer, descriptor)| CompiledLayer {
            kind: layer.kind,
            name: layer.name.clone(),
            descriptor: descriptor.plain(),
            outcome: realised.outcomes.get(&layer.node).copied().unwrap_or(Outcome::Reused),
            reason: None,
        });
        (platform.clone(), compiled.collect())
    };
    image.layers.iter().map(of_platform).collect()
}

/// Writes down what is known of the files of the spec, beside what goes on.
fn save_sources(context: &Context) {
    if context.sources.is_changed() {
        let (sources, store) = (Arc::clone(&context.sources), context.store.clone());
        context.later(move || sources.save(&store));
    }
}

/// The context with what is known of the files of the spec.
pub(crate) fn with_sources(request: &Request, context: &Context) -> Context {
    let sources = match context.build {
        Some(_) => Sources::open(&request.spec, &context.store),
        None => Sources::default(),
    };
    Context { sources: Arc::new(sources), ..context.clone() }
}

/// The line up to the plan: nothing is built or written but pins and small documents in the store.
///
/// # Errors
/// As [`compile`].
pub async fn prepare(
    request: &Request,
    world: &dyn World,
    context: &Context,
) -> Result<Prepared, Diagnostics> {
    let context = with_sources(request, context);
    prepare_with(request, &Texts::new(world), &KnownOutputs::new(), &context).await
}

/// The same without the line, where the graph follows from that of the compile before.
fn known_graph(key: &Digest, known: &Known, context: &Context) -> Option<Prepared> {
    let last_graph::Found { graph, plan, warnings, kept } = last_graph::find(key, known, context)?;
    tracing::debug!("the manifests that changed say what they said");
    Some(Prepared {
        graph: Arc::new(graph),
        plan,
        locks: Vec::new(),
        warnings,
        documents: BTreeSet::new(),
        kept: Some(kept),
        is_known: true,
    })
}

async fn prepare_with(
    request: &Request,
    texts: &Texts<'_>,
    outputs: &KnownOutputs,
    context: &Context,
) -> Result<Prepared, Diagnostics> {
    let (spec, mut warnings) = resolve(request, texts)?;
    let gathered = kic_exec::gather(&spec, &request.gather, texts, context).await;
    // Whatever becomes of the rest.
    save_sources(context);
    let Gathered { mut inputs, locks, warnings: more, said, admissions } = gathered?;
    warnings.append(more);
    if request.record_source {
        inputs.source = Some(SourceRecord::of(request, texts, &locks)?.into());
    }
    let lowered = kic_graph::lower(&spec, &inputs);
    // Whatever else is wrong.
    admissions.inspect(|admissions| admissions.save(context));
    let kept = lowered.as_ref().ok().map(|(graph, _)| last_graph::Kept::of(said, &inputs, graph));
    // To give that memory back takes a while, too.
    context.later(move || drop(inputs));
    let (graph, more) = lowered?;
    warnings.append(more);
    // One lock for all that is looked for, and not one for each.
    context.store.hold().map_err(|error| fault::store(&error))?;
    let plan = kic_exec::plan(&graph, outputs, &context.store);
    context.store.let_go().map_err(|error| fault::store(&error))?;
    let documents = context.store.leased();
    let (graph, plan) = (Arc::new(graph), plan?);
    Ok(Prepared { graph, plan, locks, warnings, documents, kept, is_known: false })
}
