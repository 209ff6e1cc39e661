//! From a closed tree to the closed value: one file a group of nodes.

mod base;
mod charts;
mod launch;
mod layers;
mod order;
mod registries;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Platform, Source, Span, Spanned, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{File, Node};

use crate::decode::{Decoded, decode};
use crate::evaluate::{Library, Override, Settings, evaluate};
use crate::spec::{Compression, LayerKind, Spec};
use crate::world::World;
use crate::{nodes, platforms};

pub use layers::{is_manifest_name, url_file_name};

/// The platform of a spec that names none.
pub const DEFAULT_PLATFORM: &str = "linux/amd64";

/// From the tree of a spec, read from `path`, to the closed value. Reads image lists and the specs of bases
/// through `world`, and nothing else.
///
/// # Errors
/// Every diagnostic of the text and of the texts that it names; warnings come with the value.
pub fn resolve(file: &File, path: &Path, world: &dyn World) -> Result<(Spec, Diagnostics), Diagnostics> {
    resolve_with(file, path, &Settings::default(), world)
}

/// As [`resolve`], with values for the parameters of the spec.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    file: &File,
    path: &Path,
    settings: &Settings,
    world: &dyn World,
) -> Result<(Spec, Diagnostics), Diagnostics> {
    resolve_below(file, path, settings, world, &mut Vec::new())
}

/// The `cluster` node of a spec with nothing left to evaluate, for one platform, and what forced and default values
/// decided in it.
///
/// # Errors
/// Every diagnostic of the evaluation.
pub fn evaluate_cluster(
    file: &File,
    platform: &Platform,
    settings: &Settings,
    world: &dyn World,
) -> Result<(Node, Vec<Override>, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let Some(node) = cluster_node(file, &mut diagnostics) else { return Err(diagnostics) };
    let evaluated = evaluate(node, platform, settings, world, &mut Library::default(), &mut diagnostics);
    let (node, diagnostics) = diagnostics.or(evaluated.cluster)?;
    Ok((node, evaluated.overrides, diagnostics))
}

fn resolve_below(
    file: &File,
    path: &Path,
    settings: &Settings,
    world: &dyn World,
    below: &mut Vec<(PathBuf, Span)>,
) -> Result<(Spec, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let Some(node) = cluster_node(file, &mut diagnostics) else { return Err(diagnostics) };
    let mut library = Library::default();
    let mut for_platform = |platform: &Platform| {
        let mut diagnostics = diagnostics.clone();
        let evaluated = evaluate(node, platform, settings, world, &mut library, &mut diagnostics);
        let cluster = decode(&evaluated.cluster, &nodes::CLUSTER, &mut diagnostics);
        let mut context = Context { path, world, below, lists: BTreeMap::new(), diagnostics };
        let (platforms, mut spec) = context.spec(file, &cluster);
        if let Some(spec) = &mut spec {
            spec.uses.extend(evaluated.uses);
        }
        let mut diagnostics = context.diagnostics;
        if evaluated.is_incomplete {
            // What is missing may be in what could not be evaluated.
            let is_about_missing =
                |one: &Diagnostic| [&code::MISSING_NODE, &code::UNKNOWN_LAYER].contains(&one.code);
            diagnostics = diagnostics.into_iter().filter(|one| !is_about_missing(one)).collect();
        }
        Variant { spec, platforms, diagnostics, uses_platform: evaluated.uses_platform }
    };
    let default = Platform::new("linux", "amd64", None);
    let first = for_platform(&default);
    if !first.uses_platform || first.platforms == [default.clone()] {
        return first.finish();
    }
    // Something depends on the platform: evaluate for each, and put together what comes out.
    let platforms = first.platforms.clone();
    let mut first = Some(first).filter(|_| platforms.contains(&default));
    let mut variants = Vec::new();
    for platform in &platforms {
        let variant = if *platform == default { first.take() } else { None };
        variants.push((platform.clone(), variant.unwrap_or_else(|| for_platform(platform))));
    }
    platforms::combine(&platforms, variants)
}

/// What a spec is on one platform.
pub(crate) struct Variant {
    pub spec: Option<Spec>,
    /// The platforms that it names.
    pub platforms: Vec<Platform>,
    pub diagnostics: Diagnostics,
    pub uses_platform: bool,
}

impl Variant {
    fn finish(self) -> Result<(Spec, Diagnostics), Diagnostics> {
        match self.spec {
            Some(spec) => self.diagnostics.or(spec),
            None => Err(self.diagnostics),
        }
    }
}

/// The one `cluster` node of a spec.
fn cluster_node<'a>(file: &'a File, diagnostics: &mut Diagnostics) -> Option<&'a Node> {
    let mut found: Option<&Node> = None;
    for node in &file.nodes {
        match (node.name.value.as_str(), found) {
            ("cluster", None) => found = Some(node),
            ("cluster", Some(first)) => diagnostics.push(
                Diagnostic::new(&code::DUPLICATE_NODE, "a spec has one `cluster` node")
                    .at(&node.head(), "here again")
                    .at(&first.head(), "first here")
                    .help("keep one of the two, or move one to a file of its own"),
            ),
            ("module", _) => diagnostics.push(
                Diagnostic::new(&code::NOT_A_SPEC, "this is a module, not a spec")
                    .at(&node.head(), "")
                    .help("compile the spec that uses it"),
            ),
            (name, _) => {
                let help = match closest(name, ["cluster"]) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => "at the top of a spec stands one `cluster \"NAME\" { … }` node, and all else inside it".to_owned(),
                };
                diagnostics.push(
                    Diagnostic::new(&code::UNKNOWN_NODE, format!("a spec has no node `{name}` at its top"))
                        .at(&node.name.span, "unknown node")
                        .help(help),
                );
            }
        }
    }
    if found.is_none() && !diagnostics.has_errors() {
        diagnostics.push(
            Diagnostic::new(&code::NOT_A_SPEC, "the file holds no `cluster` node")
                .at(&file.source.span(0..0), "expected here")
                .help("write `cluster \"NAME\" { … }`"),
        );
    }
    found
}

struct Context<'a> {
    path: &'a Path,
    world: &'a dyn World,
    /// The specs whose base this one is, outermost first, and where each says so.
    below: &'a mut Vec<(PathBuf, Span)>,
    /// For each list of images, by the name of its source: where it is named.
    lists: BTreeMap<String, Vec<Span>>,
    diagnostics: Diagnostics,
}

impl Context<'_> {
    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The platforms that the spec names, and all of it where it is whole.
    fn spec(&mut self, file: &File, cluster: &Decoded) -> (Vec<Platform>, Option<Spec>) {
        let hosts: Vec<Spanned<String>> =
            cluster.children_named("registry").filter_map(|node| node.text(0)).collect();
        let mut layers = Vec::new();
        for child in &cluster.children {
            let layer = match child.schema.name {
                "files" => self.files(child),
                "manifests" => self.manifests(child, LayerKind::Manifests, &hosts),
                "policies" => self.manifests(child, LayerKind::Policies, &hosts),
                "readiness" => self.readiness(child),
                _ => continue,
            };
            layers.extend(layer);
        }
        self.check_layer_names(&layers);
        let registries = self.registries(cluster);
        let launch = cluster.children_named("launch").next().map(|launch| self.launch(launch, &layers));
        let base = self.base(cluster);
        let platforms = self.platforms(cluster);
        let labels = self.labels(cluster);
        let compression = cluster.children_named("compression").next().and_then(|node| node.text(0));
        let named = platforms.iter().map(|platform| platform.value.clone()).collect();
        let (Some(name), Some(base)) = (cluster.text(0), base) else { return (named, None) };
        let spec = Spec {
            source: file.source.clone(),
            path: self.path.to_owned(),
            name,
            version: cluster.text_property("version"),
            platforms,
            base,
            labels,
            compression: match compression.as_ref().map(|text| text.value.as_str()) {
                Some("gzip") => Compression::Gzip,
                Some("none") => Compression::None,
                _ => Compression::Zstd,
            },
            layers,
            registries,
            launch,
            uses: std::mem::take(&mut self.lists),
        };
        (named, Some(spec))
    }

    /// A path, relative to the file that says it.
    fn locate(&self, path: &Spanned<PathBuf>) -> PathBuf {
        let name = path.span.source().name();
        let file = if name == "--set" { self.path } else { Path::new(name) };
        file.parent().map_or_else(|| path.value.clone(), |folder| folder.join(&path.value))
    }

    fn platforms(&mut self, cluster: &Decoded) -> Vec<Spanned<Platform>> {
        let mut platforms: Vec<Spanned<Platform>> = Vec::new();
        for platform in cluster.children_named("platform").flat_map(|node| node.platforms(0)) {
            if let Some(first) = platforms.iter().find(|first| first.value == platform.value) {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_NODE,
                        format!("the platform `{}` stands twice", platform.value),
                    )
                    .at(&platform.span, "here again")
                    .at(&first.span, "first here")
                    .help("keep one of the two"),
                );
            } else {
                platforms.push(platform);
            }
        }
        if platforms.is_empty()
            && let Ok(platform) = DEFAULT_PLATFORM.parse()
        {
            platforms.push(Spanned::new(platform, cluster.node.head()));
        }
        platforms
    }

    fn labels(&mut self, cluster: &Decoded) -> BTreeMap<String, Spanned<String>> {
        let mut labels: BTreeMap<String, Spanned<String>> = BTreeMap::new();
        for node in cluster.children_named("label") {
            let (Some(name), Some(value)) = (node.text(0), node.text(1)) else { continue };
            if name.value.is_empty() || name.value.starts_with("dev.kic.") {
                self.error(
                    Diagnostic::new(
                        &code::INVALID_NAME,
                        "a label has a name, and `dev.kic.` names are kic's own",
                    )
                    .at(&name.span, "")
                    .help("use a name of your own domain, such as `com.example.team`"),
                );
            } else if let Some(first) = labels.get(&name.value) {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_NODE,
                        format!("the label `{}` stands twice", name.value),
                    )
                    .at(&name.span, "here again")
                    .at(&first.span, "first here")
                    .help("keep one of the two"),
                );
            } else {
                labels.insert(name.value, value);
            }
        }
        labels
    }

    /// The text of a file that the spec names at `path.span`.
    fn read(&mut self, path: &Spanned<PathBuf>, located: &Path) -> Option<Source> {
        let bytes = match self.world.read(located) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.error(unreadable(located, &path.span, &error));
                return None;
            }
        };
        match String::from_utf8(bytes) {
            Ok(text) => Some(Source::new(located.display().to_string(), text)),
            Err(_) => {
                self.error(
                    Diagnostic::new(
                        &code::UNREADABLE_FILE,
                        format!("`{}` is not UTF-8 text", located.display()),
                    )
                    .at(&path.span, "")
                    .help("save it as UTF-8"),
                );
                None
            }
        }
    }
}

/// The diagnostic for a file that could not be read.
pub fn unreadable(path: &Path, span: &Span, error: &std::io::Error) -> Diagnostic {
    if error.kind() == std::io::ErrorKind::NotFound {
        Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{}` does not exist", path.display()))
            .at(span, "named here")
            .help("paths are relative to the file that says them")
    } else {
        Diagnostic::new(&code::UNREADABLE_FILE, format!("`{}` cannot be read: {error}", path.display()))
            .at(span, "named here")
            .help("check that it is a file, and that you may read it")
    }
}
