use std::path::PathBuf;
use std::sync::Arc;

use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Assembled, Context, GatherOptions, Gathered, LockFile, Plan, Realised, fault};
use kic_graph::Graph;
use kic_spec::{Settings, Spec, World};

use crate::check::check;
use crate::heal::heal;
use crate::roots;
use crate::write::{Output, check_room, write};

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
}

/// What came out.
#[derive(Debug)]
pub struct Compiled {
    /// What was built, from what.
    pub graph: Arc<Graph>,
    /// What was done for each node.
    pub realised: Realised,
    /// The image.
    pub image: Assembled,
    /// The locks that were written.
    pub locks: Vec<LockFile>,
    /// What is worth a look.
    pub warnings: Diagnostics,
}

/// Everything that is known before the first layer is built.
#[derive(Debug)]
pub struct Prepared {
    /// The closed value.
    pub spec: Spec,
    /// What is to be built.
    pub graph: Arc<Graph>,
    /// What of it is there already.
    pub plan: Plan,
    /// The locks as they should be.
    pub locks: Vec<LockFile>,
    /// What is worth a look.
    pub warnings: Diagnostics,
}

/// Compiles a spec to an image: the straight line, walked again where damage in the store was in its way.
///
/// # Errors
/// Every diagnostic of the phase that failed, warnings of the earlier ones among them. The output is untouched then.
pub async fn compile(
    request: &Request,
    world: &dyn World,
    context: &Context,
) -> Result<Compiled, Diagnostics> {
    heal(async || line(request, world, context).await).await
}

/// The straight line.
async fn line(request: &Request, world: &dyn World, context: &Context) -> Result<Compiled, Diagnostics> {
    let prepared = prepare(request, world, context).await?;
    if let Some(output) = &request.output {
        check_room(output)?;
    }
    write_locks(&prepared.locks)?;
    let realised = kic_exec::execute(&prepared.graph, &prepared.plan, context).await?;
    let image = kic_exec::assemble(&prepared.graph, &realised, &context.store)?;
    if request.check {
        check(request, &image, world, context).await?;
    }
    if let Some(output) = &request.output {
        context.watch.event(kic_exec::Event::Writing);
        write(output, &prepared.graph.image.tag, &image, request.check, context).await?;
    }
    let Prepared { graph, locks, warnings, .. } = prepared;
    roots::record(request, &graph, &realised, &image, &locks, context)?;
    Ok(Compiled { graph, realised, image, locks, warnings })
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
    let (spec, mut warnings) = resolve(request, world)?;
    let Gathered { inputs, locks, warnings: more } =
        kic_exec::gather(&spec, &request.gather, world, context).await?;
    warnings.append(more);
    let (graph, more) = kic_graph::lower(&spec, &inputs)?;
    warnings.append(more);
    let plan = kic_exec::plan(&graph, &context.store)?;
    Ok(Prepared { spec, graph: Arc::new(graph), plan, locks, warnings })
}

/// Resolves everything that the lock pins, and writes it.
///
/// # Errors
/// As [`compile`].
pub async fn lock(
    request: &Request,
    world: &dyn World,
    context: &Context,
) -> Result<(Vec<LockFile>, Diagnostics), Diagnostics> {
    let (spec, mut warnings) = resolve(request, world)?;
    let gathered = kic_exec::gather(&spec, &request.gather, world, context).await?;
    warnings.append(gathered.warnings);
    write_locks(&gathered.locks)?;
    roots::record_locked(request, &gathered.locks, context)?;
    Ok((gathered.locks, warnings))
}

/// The tree of the spec, and what is worth a look in it.
fn parse(request: &Request, world: &dyn World) -> Result<(kic_syntax::File, Diagnostics), Diagnostics> {
    let name = request.spec.display().to_string();
    let bytes = world.read(&request.spec).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{name}` does not exist"))
                .help("give the path of a spec")
        } else {
            Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` cannot be read: {error}"))
                .help("check that it is a file, and that you may read it")
        }
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` is not UTF-8 text"))
            .help("save it as UTF-8")
    })?;
    let (file, syntax) = kic_syntax::parse(&Source::new(name, text));
    syntax.or(file)
}

/// The closed value of a spec: everything that can be known without looking at other files than modules and
/// lists of images.
///
/// # Errors
/// Every diagnostic of the texts.
pub fn resolve(request: &Request, world: &dyn World) -> Result<(Spec, Diagnostics), Diagnostics> {
    let file = parse(request, world)?;
    let (spec, more) = kic_spec::resolve_with(&file.0, &request.spec, &request.settings, world)?;
    let mut warnings = file.1;
    warnings.append(more);
    Ok((spec, warnings))
}

/// The spec as a closed tree, with nothing left to evaluate, for one platform; `None` for the first of the spec. With
/// it, which values took the place of others.
///
/// # Errors
/// Every diagnostic of the texts.
pub fn evaluate(
    request: &Request,
    platform: Option<&kic_base::Platform>,
    world: &dyn World,
) -> Result<(kic_syntax::Node, Vec<kic_spec::Override>, Diagnostics), Diagnostics> {
    let (file, mut warnings) = parse(request, world)?;
    let (spec, more) = kic_spec::resolve_with(&file, &request.spec, &request.settings, world)?;
    warnings.append(more);
    let platform = platform.or_else(|| spec.platforms.first().map(|platform| &platform.value));
    let Some(platform) = platform else { return Err(fault::internal("a spec without a platform").into()) };
    let (node, overrides, more) = kic_spec::evaluate_cluster(&file, platform, &request.settings, world)?;
    warnings.append(more);
    Ok((node, overrides, warnings))
}

/// Writes the locks that changed, each in one step.
///
/// # Errors
/// `output-unwritable`.
pub fn write_locks(locks: &[LockFile]) -> Result<(), Diagnostics> {
    for file in locks.iter().filter(|file| file.is_changed()) {
        if let Err(error) = kic_oci::replace_file(&file.path, file.lock.to_text().as_bytes()) {
            if fault::is_full(&error) {
                return Err(fault::input_output(error, &format!("writing `{}`", file.path.display())).into());
            }
            return Err(Diagnostic::new(
                &code::OUTPUT_UNWRITABLE,
                format!("`{}` cannot be written: {error}", file.path.display()),
            )
            .help("check who owns the folder; with `--locked` nothing is written there")
            .into());
        }
    }
    Ok(())
}
