//! Gathers what the graph has to know of the world: hashes local files, resolves tags, fetches the small
//! documents that say what images are made of, and finds the images that manifests name.

mod base_contents;
mod chart_version;
mod charts;
mod empty_layers;
mod gaps;
mod images;
mod known;
mod known_admissions;
mod known_images;
mod known_needs;
mod mirrors;
mod needs;
mod paths;
mod pins;
mod referrers;
mod renders;
mod resolve;
mod rewriting;
mod said;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kic_base::{Digest, Epoch, ImageReference, Source, Spanned, StableHasher};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{BaseFacts, Confidence, Inputs, Origin, RedirectFacts, located};
use kic_spec::{Base, ChartSource, Content, Fetch, FileItem, ImageSource, Lock, ManifestItem, Spec, World};
use serde_json::Value as Json;

use crate::context::Context;
pub use known_admissions::Admissions;
use pins::Pins;
pub use said::{Said, SaidPlace};

/// What may happen to the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockMode {
    /// Pins are kept, and missing ones added.
    Add,
    /// Pins are kept, missing ones added, and those that nothing needs taken out.
    Tidy,
    /// Nothing may change: a missing or stale pin is an error.
    Locked,
    /// These images and URLs are resolved anew; or all where the list is empty, and the encoder epoch is the current one.
    Update(Vec<String>),
}

/// How to gather.
#[derive(Debug, Clone)]
pub struct GatherOptions {
    /// What may happen to the lock.
    pub lock: LockMode,
    /// The time of every file in every layer, in seconds since 1970.
    pub source_date_epoch: u64,
    /// The encoder epoch of specs that have no lock.
    pub epoch: Epoch,
    /// The images that may be missing in the cluster: what would be an error without it is a warning, and all else
    /// is the same.
    pub allow_missing: BTreeSet<ImageReference>,
}

/// What was gathered.
#[derive(Debug)]
pub struct Gathered {
    /// For [`kic_graph::lower`].
    pub inputs: Inputs,
    /// The locks of the spec and of the specs of its bases, outermost first.
    pub locks: Vec<LockFile>,
    /// What is worth a look.
    pub warnings: Diagnostics,
    /// What the manifests of local files say, of the spec itself.
    pub said: Vec<SaidPlace>,
    /// What policies make of pods, to be saved when the spec is lowered; nothing where there are none.
    pub admissions: Option<Admissions>,
}

/// A lock as it should be.
#[derive(Debug, Clone)]
pub struct LockFile {
    /// Where it stands.
    pub path: PathBuf,
    /// What it should say.
    pub lock: Lock,
    /// What it says now; `None` where there is none.
    pub before: Option<Lock>,
}

impl LockFile {
    /// Whether the file has to be written. A spec that needs no pins needs no lock.
    pub fn is_changed(&self) -> bool {
        match &self.before {
            Some(before) => *before != self.lock,
            None => {
                !self.lock.images.is_empty() || !self.lock.fetches.is_empty() || !self.lock.charts.is_empty()
            }
        }
    }
}

/// Gathers for `spec` and the specs of its bases.
///
/// # Errors
/// All that could be found out in one go: missing files, images that are not there, pins that may not be added.
pub async fn gather(
    spec: &Spec,
    options: &GatherOptions,
    world: &dyn World,
    context: &Context,
) -> Result<Gathered, Diagnostics> {
    let mut gathered = gather_spec(spec, options, world, context, Strictness::Strict).await?;
    if let LockMode::Update(names) = &options.lock {
        let known: BTreeSet<String> = gathered
            .locks
            .iter()
            .flat_map(|file| {
                let images = file.lock.images.keys().map(ToString::to_string);
                let charts = file.lock.charts.keys().map(|key| key.name.clone());
                images.chain(file.lock.fetches.keys().cloned()).chain(charts)
            })
            .collect();
        for name in names {
            let full =
                name.parse::<ImageReference>().map(|reference| reference.to_string()).unwrap_or_default();
            if !known.contains(name) && !known.contains(&full) {
                let close = kic_base::closest(name, known.iter().map(String::as_str));
                gathered.warnings.push(
                    Diagnostic::new(&code::UNKNOWN_PIN, format!("the lock has no pin for `{name}`")).help(
                        match close {
                            Some(close) => format!("did you mean `{close}`?"),
                            None => "name an image reference or URL as it stands in kic.lock".to_owned(),
                        },
                    ),
                );
            }
        }
    }
    check_allowed(&options.allow_missing, &gathered.inputs, &mut gathered.warnings);
    if gathered.warnings.has_errors() {
        return Err(gathered.warnings);
    }
    gathered.admissions = known_admissions::share(spec, &mut gathered.inputs, context);
    Ok(gathered)
}

/// As [`gather`], but what goes wrong with an image, a file or a download is no end: it is among the warnings, as the
/// error that it is, and missing in the inputs.
///
/// # Errors
/// A lock that cannot be read.
pub async fn survey(
    spec: &Spec,
    options: &GatherOptions,
    world: &dyn World,
    context: &Context,
) -> Result<Gathered, Diagnostics> {
    let mut gathered = gather_spec(spec, options, world, context, Strictness::Lenient).await?;
    check_allowed(&options.allow_missing, &gathered.inputs, &mut gathered.warnings);
    gathered.admissions = known_admissions::share(spec, &mut gathered.inputs, context);
    Ok(gathered)
}

/// Whether errors are an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Strict,
    Lenient,
}

/// An error for each image that may be missing and that nothing needs.
fn check_allowed(allowed: &BTreeSet<ImageReference>, inputs: &Inputs, diagnostics: &mut Diagnostics) {
    if allowed.is_empty() {
        return;
    }
    let mut known: BTreeSet<&ImageReference> = BTreeSet::new();
    let mut of_base = Some(inputs);
    while let Some(inputs) = of_base {
        known.extend(inputs.needs.iter().map(|need| &need.reference));
        of_base = match &inputs.base {
            BaseFacts::Spec(inputs) => Some(inputs),
            _ => None,
        };
    }
    for reference in allowed.iter().filter(|reference| !known.contains(reference)) {
        diagnostics.push(unknown_image("--allow-missing", reference, known.iter().copied()));
    }
}

/// The error for an image that is given to an option or command and that nothing needs.
pub fn unknown_image<'a>(
    given_to: &str,
    reference: &ImageReference,
    known: impl Iterator<Item = &'a ImageReference>,
) -> Diagnostic {
    let names: BTreeSet<String> = known.map(ToString::to_string).collect();
    let wanted = reference.to_string();
    let path = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    // A host that is left out makes a name that is far from the one that is meant.
    let close = kic_base::closest(&wanted, names.iter().map(String::as_str)).or_else(|| {
        let short = path(&wanted);
        names.iter().map(String::as_str).find(|name| path(name) == short)
    });
    Diagnostic::new(
        &code::UNKNOWN_IMAGE,
        format!("nothing in the spec needs `{wanted}`, which `{given_to}` names"),
    )
    .help(match close {
        Some(close) => format!("did you mean `{close}`?"),
        None => "`kic images` lists what it needs".to_owned(),
    })
}

async fn gather_spec(
    spec: &Spec,
    options: &GatherOptions,
    world: &dyn World,
    context: &Context,
    strictness: Strictness,
) -> Result<Gathered, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let (base, mut locks) = match &spec.base.value {
        Base::Spec(base) => {
            let gathered = Box::pin(gather_spec(base, options, world, context, strictness)).await?;
            diagnostics.append(gathered.warnings);
            (Some(BaseFacts::Spec(Box::new(gathered.inputs))), gathered.locks)
        }
        Base::Scratch => (Some(BaseFacts::Scratch), Vec::new()),
        Base::Image(_) => (None, Vec::new()),
    };
    let path = spec.lock_path();
    let before = read_lock(&path, world)?;
    let start = before.clone().unwrap_or_else(|| Lock { epoch: options.epoch, ..Lock::default() });
    let mut pins = Pins::new(start, options.lock.clone(), &path);
    pins.has_file = before.is_some();
    pins.suffice = strictness == Strictness::Lenient;

    note_disk_images(spec, context);
    let files = paths::gather(spec, context).await;
    let files = keep(files, &mut diagnostics).unwrap_or_default();
    let mut inputs = Inputs {
        paths: files,
        allow_missing: options.allow_missing.clone(),
        ..Inputs::none(pins.used.epoch, options.source_date_epoch)
    };
    if let (Some(early), false) = (&context.early, diagnostics.has_errors()) {
        inputs.early = early.pack(spec, &inputs);
    }
    let fetches = pins::fetches(spec, &mut pins, context).await;
    let fetches = keep(fetches, &mut diagnostics).unwrap_or_default();

    let base = match (base, &spec.base.value) {
        (Some(base), _) => base,
        (None, Base::Image(source)) => {
            let source = Spanned::new(source.clone(), spec.base.span.clone());
            let source = Spanned::new(located(spec, &source), source.span);
            let base = images::base(&source, spec, &mut pins, context).await;
            BaseFacts::Image(keep(base, &mut diagnostics).unwrap_or_default())
        }
        (None, _) => BaseFacts::Scratch,
    };

    let renders = renders::gather(spec, &fetches, &mut pins, context).await;
    let renders = keep(renders, &mut diagnostics).unwrap_or_default();

    let needs::Needs { needs, rewritten, policies, objects, said } =
        needs::gather(spec, &inputs.paths, &fetches, &renders, context, &mut diagnostics).await;
    let (mirrors, problems) = mirrors::gather(spec, &inputs.paths, &fetches, context, &mut diagnostics);
    let wanted = wanted_images(spec, &needs, &base);
    let images = images::cached(wanted, spec, &needs, options, &mut pins, context, &mut diagnostics).await;

    if strictness == Strictness::Strict && diagnostics.has_errors() {
        return Err(diagnostics);
    }
    inputs.renders = renders.into_iter().map(|(key, render)| (key, render.facts)).collect();
    inputs.redirects = RedirectFacts { policies, mirrors, problems, known: None };
    // A file of it may be one of a base, too, where it makes something else.
    let said = if matches!(base, BaseFacts::Spec(_)) { Vec::new() } else { said };
    let inputs = Inputs { fetches, rewritten, images, needs, objects, base, ..inputs };
    locks.insert(0, LockFile { path, lock: pins.finish(), before });
    Ok(Gathered { inputs, locks, warnings: diagnostics, said, admissions: None })
}

/// Notes the files by which images on disk are found. Everything else of them is known by digest.
fn note_disk_images(spec: &Spec, context: &Context) {
    let cached = spec.registries.iter().flat_map(|registry| &registry.images).map(|image| image.from.clone());
    let base = match &spec.base.value {
        Base::Image(source) => Some(Spanned::new(source.clone(), spec.base.span.clone())),
        _ => None,
    };
    for source in cached.chain(base) {
        if let ImageSource::Disk { path, .. } = located(spec, &source) {
            if path.is_dir() {
                context.sources.note_use(&path.join("index.json"));
                context.sources.note_use(&path.join("oci-layout"));
            } else {
                context.sources.note_use(&path);
            }
        }
    }
}

/// The value; errors go to `diagnostics`, so that more of them are found.
fn keep<T>(result: Result<T, Diagnostics>, diagnostics: &mut Diagnostics) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(errors) => {
            diagnostics.append(errors);
            None
        }
    }
}

fn read_lock(path: &std::path::Path, world: &dyn World) -> Result<Option<Lock>, Diagnostics> {
    match world.read(path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| {
                Diagnostic::new(&code::INVALID_LOCK, format!("`{}` is not UTF-8 text", path.display()))
                    .help("restore it from version control, or delete it and run `kic lock` to resolve everything anew")
            })?;
            Lock::parse(&Source::new(path.display().to_string(), text)).map(Some)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Diagnostic::new(
            &code::UNREADABLE_FILE,
            format!("the lock `{}` cannot be read: {error}", path.display()),
        )
        .help("check that it is a file, and that you may read it")
        .into()),
    }
}

/// The images to cache: those that the spec names, and those that are discovered and not in the base's cache.
fn wanted_images(spec: &Spec, needs: &[kic_graph::Need], base: &BaseFacts) -> Vec<Spanned<ImageSource>> {
    let mut wanted: BTreeMap<ImageSource, Spanned<ImageSource>> = BTreeMap::new();
    for image in spec.registries.iter().flat_map(|registry| &registry.images) {
        let source = located(spec, &image.from);
        wanted.entry(source.clone()).or_insert_with(|| Spanned::new(source, image.from.span.clone()));
    }
    if spec.registries.iter().any(|registry| registry.discover.is_some()) {
        let hosts: BTreeSet<&str> =
            spec.registries.iter().map(|registry| registry.host.value.as_str()).collect();
        let excluded: BTreeSet<&ImageReference> = spec
            .registries
            .iter()
            .flat_map(|registry| &registry.exclude)
            .map(|reference| &reference.value)
            .collect();
        let in_base = references_in(base);
        // An image on disk that stands for a reference makes the reference itself unneeded.
        let named: BTreeSet<&ImageReference> = spec
            .registries
            .iter()
            .flat_map(|registry| &registry.images)
            .filter_map(|image| image.name.as_ref().map(|name| &name.value))
            .collect();
        for need in needs.iter().filter(|need| need.confidence != Confidence::Possible) {
            let reference = &need.reference;
            let skip = hosts.contains(reference.registry())
                || excluded.contains(reference)
                || named.contains(reference)
                || in_base.contains(reference);
            if !skip {
                let source = ImageSource::Registry(reference.clone());
                wanted.entry(source.clone()).or_insert_with(|| Spanned::new(source, need.span.clone()));
            }
        }
    }
    wanted.into_values().collect()
}

/// The images in the registry cache of a base.
fn references_in(base: &BaseFacts) -> BTreeSet<ImageReference> {
    match base {
        BaseFacts::Scratch => BTreeSet::new(),
        BaseFacts::Spec(inputs) => {
            let own = inputs.images.keys().filter_map(|source| match source {
                ImageSource::Registry(reference) => Some(reference.clone()),
                ImageSource::Disk { .. } => None,
            });
            own.chain(references_in(&inputs.base)).collect()
        }
        BaseFacts::Image(images) => {
            let plans = images.values().filter_map(|image| image.plan.as_ref());
            let listed = plans.filter_map(|plan| plan.get("images")).filter_map(Json::as_array).flatten();
            let reference = |image: &Json| image.get("reference")?.as_str()?.parse().ok();
            listed.filter_map(reference).collect()
        }
    }
}

/// Every download of the spec, and whether its content is needed to know what the image is made of.
fn downloads(spec: &Spec) -> Vec<(&Fetch, bool)> {
    let mut downloads = Vec::new();
    for layer in &spec.layers {
        match &layer.content {
            Content::Files(items) => downloads.extend(items.iter().filter_map(|item| match &item.value {
                // A file of mirrors says which names nodes ask for.
                FileItem::Fetch { fetch, to, .. } => Some((fetch, kic_redirect::mirror_file(to).is_some())),
                _ => None,
            })),
            Content::Manifests { items, .. } | Content::Policies { items, .. } => {
                downloads.extend(items.iter().filter_map(|item| match &item.value {
                    ManifestItem::Fetch { fetch, .. } => Some((fetch, true)),
                    ManifestItem::Chart(chart) => match &chart.source.value {
                        ChartSource::Url(fetch) => Some((fetch, true)),
                        _ => None,
                    },
                    _ => None,
                }));
            }
            Content::Readiness(_) => {}
        }
    }
    downloads
}

/// Under what something is kept that a run of this build has found out for a spec; `None` where nothing is kept.
fn memo_key(what: &str, spec: &Spec, context: &Context) -> Option<Digest> {
    let path = std::path::absolute(spec.lock_path()).ok()?;
    let mut hasher = StableHasher::new();
    hasher.text(what).digest(&context.build?).bytes(path.as_os_str().as_encoded_bytes());
    Some(hasher.finish())
}

/// Where the blobs of an image are.
fn origin(source: &ImageSource) -> Origin {
    match source {
        ImageSource::Registry(reference) => Origin::Registry(reference.clone()),
        ImageSource::Disk { .. } => Origin::Disk(source.clone()),
    }
}
