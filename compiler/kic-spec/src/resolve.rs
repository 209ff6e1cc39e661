use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Platform, Source, Span, Spanned, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{File, Node};

use crate::decode::{Decoded, decode, list};
use crate::evaluate::{Settings, evaluate, normalised};
use crate::image_source::{DiskFormat, ImageSource};
use crate::readiness::{Check, CheckKind};
use crate::spec::{
    Base, CachedImage, Compression, Content, Fetch, FileItem, Layer, LayerKind, ManifestItem, Registry, Spec,
    Step,
};
use crate::value::invalid_image;
use crate::world::World;
use crate::{nodes, object, platforms};

/// The platform of a spec that names none.
pub const DEFAULT_PLATFORM: &str = "linux/amd64";

/// The time limit of a check where neither it nor its layer says one.
const DEFAULT_TIMEOUT_SECONDS: u32 = 300;

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

/// The `cluster` node of a spec with nothing left to evaluate, for one platform.
///
/// # Errors
/// Every diagnostic of the evaluation.
pub fn evaluate_cluster(
    file: &File,
    platform: &Platform,
    settings: &Settings,
    world: &dyn World,
) -> Result<(Node, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let Some(node) = cluster_node(file, &mut diagnostics) else { return Err(diagnostics) };
    let evaluated = evaluate(node, platform, settings, world, &mut diagnostics);
    diagnostics.or(evaluated.cluster)
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
    let mut for_platform = |platform: &Platform, mut diagnostics: Diagnostics| {
        let evaluated = evaluate(node, platform, settings, world, &mut diagnostics);
        let broken = diagnostics.has_errors();
        let mut decoding = Diagnostics::new();
        let cluster = decode(&evaluated.cluster, &nodes::CLUSTER, &mut decoding);
        // What is missing may be in the module that could not be used.
        diagnostics.extend(decoding.into_iter().filter(|one| !(broken && one.code == &code::MISSING_NODE)));
        let mut context = Context { path, world, below, diagnostics };
        let spec = context.spec(file, &cluster);
        (spec, context.diagnostics, evaluated.uses_platform)
    };
    let default = Platform::new("linux", "amd64", None);
    let (spec, found, uses_platform) = for_platform(&default, diagnostics.clone());
    let Some(first) = spec.filter(|_| !found.has_errors()) else { return Err(found) };
    let platforms: Vec<Platform> = first.platforms.iter().map(|platform| platform.value.clone()).collect();
    if !uses_platform || platforms == [default] {
        return found.or(first);
    }
    // Something depends on the platform: evaluate for each, and put together what comes out.
    let mut variants = Vec::new();
    let mut all = Diagnostics::new();
    for platform in &platforms {
        let (spec, found, _) = for_platform(platform, diagnostics.clone());
        let new = found.into_iter().filter(|one| !all.iter().any(|known| known == one)).collect::<Vec<_>>();
        all.extend(new);
        variants.extend(spec.map(|spec| (platform.clone(), spec)));
    }
    if all.has_errors() {
        return Err(all);
    }
    let combined = platforms::combine(variants, &mut all);
    match combined {
        Some(combined) => all.or(combined),
        None => Err(all),
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
    diagnostics: Diagnostics,
}

impl Context<'_> {
    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn spec(&mut self, file: &File, cluster: &Decoded) -> Option<Spec> {
        let mut layers = Vec::new();
        for child in &cluster.children {
            let layer = match child.schema.name {
                "files" => self.files(child),
                "manifests" => self.manifests(child, LayerKind::Manifests),
                "policies" => self.manifests(child, LayerKind::Policies),
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
        Some(Spec {
            source: file.source.clone(),
            path: self.path.to_owned(),
            name: cluster.text(0)?,
            version: cluster.text_property("version"),
            platforms,
            base: base?,
            labels,
            compression: match compression.as_ref().map(|text| text.value.as_str()) {
                Some("gzip") => Compression::Gzip,
                Some("none") => Compression::None,
                _ => Compression::Zstd,
            },
            layers,
            registries,
            launch,
        })
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

    fn base(&mut self, cluster: &Decoded) -> Option<Spanned<Base>> {
        let node = cluster.children_named("base").next()?;
        let written = node.node.arguments().next();
        // `scratch` has the form of an image's name, but it never is one.
        let scratch = written.is_some_and(|entry| entry.value_span.text().trim_matches('"') == "scratch");
        let forms: Vec<Spanned<Base>> = [
            node.image(0)
                .map(|image| image.map(|image| if scratch { Base::Scratch } else { Base::Image(image) })),
            node.path_property("oci").map(|path| {
                path.map(|path| {
                    Base::Image(ImageSource::Disk {
                        format: DiskFormat::LayoutOrArchive,
                        path,
                        reference: None,
                    })
                })
            }),
            node.path_property("spec").and_then(|path| self.base_spec(path)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let written = node.node.entries.len();
        match (forms.len(), written) {
            (1, 1) => forms.into_iter().next(),
            (_, 0) => {
                self.error(
                    Diagnostic::new(&code::MISSING_FORM, "`base` says no image")
                        .at(node.span(), "")
                        .help("write an image reference, `scratch`, `spec=\"…\"` or `oci=\"…\"`"),
                );
                None
            }
            _ => {
                if forms.len() > 1 {
                    self.error(
                        Diagnostic::new(&code::CONFLICTING_FORMS, "`base` says two images")
                            .at(&forms[1].span, "here again")
                            .at(&forms[0].span, "first here")
                            .help("keep one of the two"),
                    );
                }
                None
            }
        }
    }

    fn base_spec(&mut self, path: Spanned<PathBuf>) -> Option<Spanned<Base>> {
        let span = path.span.clone();
        let mut located = self.locate(&path);
        if located.extension().is_none_or(|extension| extension != "kdl") {
            located.push("cluster.kdl");
        }
        let located = normalised(&located);
        let here = normalised(self.path);
        if located == here || self.below.iter().any(|(outer, _)| *outer == located) {
            let mut diagnostic =
                Diagnostic::new(&code::SPEC_CYCLE, format!("`{}` is its own base", located.display()))
                    .at(&span, "this leads back to it")
                    .help("a base must be a spec of its own");
            for (outer, outer_span) in self.below.iter() {
                diagnostic = diagnostic.at(outer_span, format!("the base of `{}`", outer.display()));
            }
            self.error(diagnostic);
            return None;
        }
        let source = self.read(&Spanned::new(located.clone(), span.clone()), &located)?;
        let (file, syntax) = kic_syntax::parse(&source);
        let broken = syntax.has_errors();
        self.diagnostics.append(syntax);
        if broken {
            return None;
        }
        self.below.push((here, span.clone()));
        let resolved = resolve_below(&file, &located, &Settings::default(), self.world, self.below);
        self.below.pop();
        match resolved {
            Ok((spec, warnings)) => {
                self.diagnostics.append(warnings);
                Some(Spanned::new(Base::Spec(Box::new(spec)), span))
            }
            Err(errors) => {
                self.diagnostics.append(errors);
                None
            }
        }
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

    fn files(&mut self, node: &Decoded) -> Option<Layer> {
        let mut items = Vec::new();
        for child in &node.children {
            let item = match child.schema.name {
                "copy" => self.copy(child),
                "text" => self.text(child),
                _ => self.files_fetch(child),
            };
            items.extend(item.map(|item| Spanned::new(item, child.span().clone())));
        }
        self.layer(node, Content::Files(items))
    }

    fn layer(&mut self, node: &Decoded, content: Content) -> Option<Layer> {
        if node.node.children().is_empty() {
            self.error(
                Diagnostic::new(
                    &code::EMPTY_LAYER,
                    format!("this `{}` layer holds nothing", node.schema.name),
                )
                .at(&node.node.head(), "")
                .help("leave it out, or put something inside"),
            );
        }
        Some(Layer {
            name: node.text(0)?,
            after: node.text_property("after"),
            span: node.span().clone(),
            platform: None,
            content,
        })
    }

    fn copy(&mut self, node: &Decoded) -> Option<FileItem> {
        let mut exclude: Vec<Spanned<String>> = node.text_property("exclude").into_iter().collect();
        exclude.extend(node.children_named("exclude").flat_map(|child| child.texts(0)));
        let to = match node.node.property("to") {
            Some(_) => node.image_path_property("to")?.value,
            None => String::new(),
        };
        Some(FileItem::Copy { from: node.path(0)?, to, mode: node.mode_property(), exclude })
    }

    fn text(&mut self, node: &Decoded) -> Option<FileItem> {
        let to = node.image_path(0)?;
        if to.value.is_empty() || to.value.ends_with('/') {
            self.error(
                Diagnostic::new(&code::INVALID_PATH, "`text` writes a file, and this is a folder")
                    .at(&to.span, "")
                    .help("add the file's name"),
            );
            return None;
        }
        Some(FileItem::Text {
            to: to.value,
            text: node.text(1)?.value,
            mode: node.mode_property().unwrap_or(0o644),
        })
    }

    fn files_fetch(&mut self, node: &Decoded) -> Option<FileItem> {
        let fetch = Fetch { url: node.text(0)?, sha256: node.checksum_property("sha256") };
        let mut to = node.image_path_property("to")?;
        if to.value.is_empty() || to.value.ends_with('/') {
            let Some(name) = url_file_name(&fetch.url.value) else {
                self.error(
                    Diagnostic::new(&code::INVALID_PATH, "the URL ends with no file name")
                        .at(&to.span, "a folder")
                        .help("add the file's name to `to`"),
                );
                return None;
            };
            to.value.push_str(name);
        }
        Some(FileItem::Fetch { fetch, to: to.value, mode: node.mode_property().unwrap_or(0o644) })
    }

    fn manifests(&mut self, node: &Decoded, kind: LayerKind) -> Option<Layer> {
        let namespace = node.text_property("namespace").map(|text| text.value);
        let mut items = Vec::new();
        for child in &node.children {
            let item = match child.schema.name {
                "file" => child
                    .path(0)
                    .and_then(|from| Some(ManifestItem::File { from, name: self.file_name(child)? })),
                "fetch" => self.manifest_fetch(child),
                _ => self.object(child),
            };
            items.extend(item.map(|item| Spanned::new(item, child.span().clone())));
        }
        let content = match kind {
            LayerKind::Policies => Content::Policies { namespace, items },
            _ => Content::Manifests { namespace, items },
        };
        self.layer(node, content)
    }

    /// The `as` of a manifest: outer `None` where it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    fn file_name(&mut self, node: &Decoded) -> Option<Option<Spanned<String>>> {
        let Some(name) = node.text_property("as") else { return Some(None) };
        if is_manifest_name(&name.value) {
            return Some(Some(name));
        }
        self.error(
            Diagnostic::new(&code::INVALID_PATH, format!("`{}` is no name of a manifest", name.value))
                .at(&name.span, "")
                .help("write a file name that ends with `.yaml`, `.yml` or `.json`"),
        );
        None
    }

    fn manifest_fetch(&mut self, node: &Decoded) -> Option<ManifestItem> {
        let fetch = Fetch { url: node.text(0)?, sha256: node.checksum_property("sha256") };
        let name = self.file_name(node)?;
        if name.is_none() && !url_file_name(&fetch.url.value).is_some_and(is_manifest_name) {
            self.error(
                Diagnostic::new(&code::INVALID_PATH, "the URL ends with no name of a manifest")
                    .at(&fetch.url.span, "")
                    .help("name the file with `as=\"NAME.yaml\"`"),
            );
            return None;
        }
        Some(ManifestItem::Fetch { fetch, name })
    }

    fn object(&mut self, node: &Decoded) -> Option<ManifestItem> {
        let (kind, name) = (node.text(0)?, node.text_property("name")?);
        let namespace = node.text_property("namespace");
        let namespace = namespace.as_ref().map(|text| text.value.as_str());
        let object = object::object(node.node, &kind.value, &name.value, namespace, &mut self.diagnostics);
        let short_kind = kind.value.rsplit('/').next().unwrap_or(&kind.value).to_lowercase();
        let plain: String =
            name.value.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let file_name = match namespace {
            Some(namespace) => format!("{short_kind}-{namespace}-{plain}.yaml"),
            None => format!("{short_kind}-{plain}.yaml"),
        };
        Some(ManifestItem::Object { file_name, object })
    }

    fn readiness(&mut self, node: &Decoded) -> Option<Layer> {
        let layer_timeout = node.seconds_property("timeout").unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let mut checks = Vec::new();
        for child in &node.children {
            let Some(what) = check_kind(child) else { continue };
            let timeout_seconds = child.seconds_property("timeout").unwrap_or(layer_timeout);
            let check = Check { what, timeout_seconds, interval_seconds: 2 };
            checks.push(Spanned::new(check, child.span().clone()));
        }
        self.layer(node, Content::Readiness(checks))
    }

    fn check_layer_names(&mut self, layers: &[Layer]) {
        for (index, layer) in layers.iter().enumerate() {
            let kind = layer.kind().name();
            let twin = layers[..index]
                .iter()
                .find(|other| other.kind() == layer.kind() && *other.name == *layer.name);
            if let Some(first) = twin {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_LAYER,
                        format!("two `{kind}` layers are named `{}`", layer.name.value),
                    )
                    .at(&layer.name.span, "here again")
                    .at(&first.name.span, "first here")
                    .help("give one of them another name, or put everything into one"),
                );
            }
            let Some(after) = &layer.after else { continue };
            let others = || {
                layers.iter().filter(|other| other.span != layer.span).map(|other| other.name.value.as_str())
            };
            if !others().any(|name| name == after.value) {
                self.error(unknown_layer(after, "layer", others()));
            }
        }
        self.check_after_cycles(layers);
    }

    /// Follows every `after` edge; a way back to where it began is an error.
    fn check_after_cycles(&mut self, layers: &[Layer]) {
        let next = |layer: &Layer| {
            let after = layer.after.as_ref()?;
            layers.iter().position(|other| other.span != layer.span && other.name.value == after.value)
        };
        for (start, layer) in layers.iter().enumerate() {
            let mut at = start;
            for _ in 0..layers.len() {
                let Some(following) = next(&layers[at]) else { break };
                at = following;
                if at == start {
                    let span = layer.after.as_ref().map_or(&layer.span, |after| &after.span);
                    self.error(
                        Diagnostic::new(
                            &code::LAYER_CYCLE,
                            format!("the layer `{}` comes after itself", layer.name.value),
                        )
                        .at(span, "")
                        .help("leave out one `after` of the circle"),
                    );
                    return;
                }
            }
        }
    }

    fn registries(&mut self, cluster: &Decoded) -> Vec<Registry> {
        let mut registries: Vec<Registry> = Vec::new();
        for node in cluster.children_named("registry") {
            let Some(host) = node.text(0) else { continue };
            if let Some(first) = registries.iter().find(|first| first.host.value == host.value) {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_LAYER,
                        format!("two registries answer as `{}`", host.value),
                    )
                    .at(&host.span, "here again")
                    .at(&first.host.span, "first here")
                    .help("put all images into one"),
                );
                continue;
            }
            let mut images = Vec::new();
            for child in &node.children {
                match child.schema.name {
                    "image" => images.extend(child.image(0).map(|from| CachedImage {
                        from,
                        name: child.reference_property("as"),
                        short_names: child.bool_property("short-names").unwrap_or(true),
                    })),
                    "image-list" => images.extend(self.image_list(child)),
                    _ => {}
                }
            }
            registries.push(Registry {
                host,
                discover: node.children_named("discover").next().map(|node| node.span().clone()),
                images,
                exclude: node.children_named("exclude").flat_map(|node| node.references(0)).collect(),
            });
        }
        registries
    }

    fn image_list(&mut self, node: &Decoded) -> Vec<CachedImage> {
        let Some(path) = node.path(0) else { return Vec::new() };
        let located = self.locate(&path);
        let Some(source) = self.read(&path, &located) else { return Vec::new() };
        let mut images = Vec::new();
        let mut offset = 0;
        for line in source.text().split_inclusive('\n') {
            let text = line.split('#').next().unwrap_or_default();
            let trimmed = text.trim();
            if !trimmed.is_empty() {
                let start = offset + (text.len() - text.trim_start().len());
                let span = source.span(start..start + trimmed.len());
                match ImageSource::parse(trimmed) {
                    Ok(image) => {
                        images.push(CachedImage {
                            from: Spanned::new(image, span),
                            name: None,
                            short_names: true,
                        });
                    }
                    Err(reason) => self.error(invalid_image(trimmed, &reason, &span)),
                }
            }
            offset += line.len();
        }
        images
    }

    fn launch(&mut self, node: &Decoded, layers: &[Layer]) -> Vec<Spanned<Step>> {
        let mut steps = Vec::new();
        let kinds_named = |name: &str, kinds: &[LayerKind]| {
            let named = layers.iter().filter(|layer| layer.name.value == name);
            named.map(Layer::kind).filter(|kind| kinds.contains(kind)).collect::<Vec<_>>()
        };
        for child in &node.children {
            let Some(text) = child.text(0) else { continue };
            let step = match child.schema.name {
                "run" => Step::Run(text.value),
                "wait" => {
                    if kinds_named(&text.value, &[LayerKind::Readiness]).is_empty() {
                        self.error(unknown_layer(
                            &text,
                            "readiness layer",
                            names_of(layers, &[LayerKind::Readiness]),
                        ));
                        continue;
                    }
                    Step::Wait(text.value)
                }
                _ => {
                    let kinds = [LayerKind::Manifests, LayerKind::Policies];
                    match kinds_named(&text.value, &kinds).as_slice() {
                        [kind] => Step::Apply(*kind, text.value),
                        [] => {
                            self.error(unknown_layer(
                                &text,
                                "manifests or policies layer",
                                names_of(layers, &kinds),
                            ));
                            continue;
                        }
                        _ => {
                            self.error(
                                Diagnostic::new(
                                    &code::DUPLICATE_LAYER,
                                    format!("`{}` names a manifests layer and a policies layer", text.value),
                                )
                                .at(&text.span, "which of the two?")
                                .help("give one of them another name"),
                            );
                            continue;
                        }
                    }
                }
            };
            steps.push(Spanned::new(step, child.span().clone()));
        }
        steps
    }
}

fn names_of<'a>(layers: &'a [Layer], kinds: &'a [LayerKind]) -> impl Iterator<Item = &'a str> + Clone {
    layers.iter().filter(|layer| kinds.contains(&layer.kind())).map(|layer| layer.name.value.as_str())
}

fn unknown_layer<'a>(
    name: &Spanned<String>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = match closest(&name.value, known.clone()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.clone().next().is_none() => format!("the spec has no {what}"),
        None => format!("there is {}", list(known)),
    };
    Diagnostic::new(&code::UNKNOWN_LAYER, format!("there is no {what} `{}`", name.value))
        .at(&name.span, "unknown layer")
        .help(help)
}

fn check_kind(node: &Decoded) -> Option<CheckKind> {
    let namespace = node.text_property("namespace").map(|text| text.value);
    let text = |index| node.text(index).map(|text| text.value);
    Some(match node.schema.name {
        "rollout" => CheckKind::Rollout { resource: text(0)?, namespace },
        "condition" => CheckKind::Condition {
            resource: text(0)?,
            condition: text(1)?,
            status: node.text_property("status").map_or_else(|| "True".to_owned(), |text| text.value),
            namespace,
        },
        "exists" => CheckKind::Exists { resource: text(0)?, namespace },
        "established" => {
            CheckKind::Established { crds: node.texts(0).into_iter().map(|text| text.value).collect() }
        }
        "jsonpath" => CheckKind::Jsonpath {
            resource: text(0)?,
            path: text(1)?,
            equals: node.text_property("equals")?.value,
            namespace,
        },
        "http" => CheckKind::Http {
            url: text(0)?,
            status: u16::try_from(node.number_property("status").unwrap_or(200)).ok()?,
            insecure: node.bool_property("insecure").unwrap_or(false),
        },
        _ => CheckKind::Command { command: text(0)? },
    })
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

/// The last part of a URL's path, where it has one.
pub fn url_file_name(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    let (_, after_scheme) = path.split_once("://")?;
    let (_, path) = after_scheme.split_once('/')?;
    path.rsplit('/').next().filter(|name| !name.is_empty() && *name != "." && *name != "..")
}

/// Whether a file of that name is a manifest, by its ending.
pub fn is_manifest_name(name: &str) -> bool {
    let good_end = [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.ends_with(end));
    good_end && !name.contains(['/', '\0'])
}
