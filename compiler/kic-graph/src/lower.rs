use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Platform, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_spec::{Compression, Content, ImageSource, Layer, LayerKind, Spec, Step};
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value as Json;

use crate::closure::{Available, prove};
use crate::derivation::{
    BasePlan, Bytes, Derivation, Launch, LaunchStep, LayerSettings, TreeEntry, TreeEntryKind,
};
use crate::graph::{BaseConfig, Graph, Image, ImageLayer, Kind, Node, PlatformImage};
use crate::inputs::{BaseFacts, BaseImage, BlobFacts, ContentFacts, Inputs, Origin};
use crate::launch_steps::default_steps;
use crate::layer_entries::layer_entries;
use crate::registry_cache::{Cached, CachedBlob, lay_out};

/// The most layers that an image has: container runtimes on overlayfs take 127.
pub const LAYER_LIMIT: usize = 120;

/// From the closed value, and what the graph has to know of the world, to derivations. Pure.
///
/// # Errors
/// Every way in which the parts do not go together: paths written twice, names that two images answer to, images
/// that something names and no registry caches, too many layers.
pub fn lower(spec: &Spec, inputs: &Inputs) -> Result<(Graph, Diagnostics), Diagnostics> {
    let mut lowering =
        Lowering { nodes: DiGraph::new(), by_digest: BTreeMap::new(), diagnostics: Diagnostics::new() };
    let (image, _) = lowering.image(spec, inputs);
    let Lowering { nodes, diagnostics, .. } = lowering;
    diagnostics.or(Graph { nodes, image })
}

struct Lowering {
    nodes: DiGraph<Node, ()>,
    by_digest: BTreeMap<Digest, NodeIndex>,
    diagnostics: Diagnostics,
}

/// What a node is called, and where the spec asks for it.
struct Hints<'a> {
    kind: Kind,
    name: &'a str,
    span: Option<&'a Span>,
    origins: &'a [Origin],
    is_document: bool,
}

impl Lowering {
    /// The node of a derivation: a new one, or the one that is there already.
    fn node(&mut self, derivation: Derivation, hints: &Hints) -> NodeIndex {
        let digest = derivation.digest(&|node| self.nodes[node].digest);
        if let Some(node) = self.by_digest.get(&digest) {
            let origins = &mut self.nodes[*node].origins;
            origins.extend(
                hints.origins.iter().filter(|origin| !origins.contains(origin)).cloned().collect::<Vec<_>>(),
            );
            return *node;
        }
        let inputs = derivation.inputs();
        let node = self.nodes.add_node(Node {
            derivation,
            digest,
            kind: hints.kind,
            name: hints.name.to_owned(),
            span: hints.span.cloned(),
            origins: hints.origins.to_vec(),
            is_document: hints.is_document,
        });
        for input in inputs {
            self.nodes.update_edge(input, node, ());
        }
        self.by_digest.insert(digest, node);
        node
    }

    fn blob(&mut self, blob: &BlobFacts, hints: &Hints) -> NodeIndex {
        self.node(Derivation::Blob(ContentFacts { digest: blob.digest, size: blob.size }), hints)
    }

    fn image(&mut self, spec: &Spec, inputs: &Inputs) -> (Image, Available) {
        let settings = LayerSettings {
            epoch: inputs.epoch,
            mtime: inputs.source_date_epoch,
            compression: spec.compression,
        };
        let mut available = Available::default();
        let base = self.base(spec, inputs, &mut available);
        let own = self.own_layers(spec, inputs, settings);
        let base_layers = base.values().map(|base| base.layers.len()).max().unwrap_or(0);
        let cache = self.registry_layers(spec, inputs, settings, base_layers + own.len(), &mut available);
        prove(&inputs.needs, &available, &mut self.diagnostics);

        let mut platforms = BTreeMap::new();
        for (platform, base) in base {
            let is_for =
                |index: usize| spec.layers[index].platform.as_ref().is_none_or(|only| *only == platform);
            let own: BTreeMap<_, _> = own
                .iter()
                .filter(|((_, index), _)| is_for(*index))
                .map(|(key, layer)| (*key, layer.clone()))
                .collect();
            let launch = self.launch(spec, &platform, settings, &own, &cache.images, base.plan);
            let present: BTreeSet<Digest> =
                base.layers.iter().filter_map(|layer| self.derivation_of(layer)).collect();
            let mut layers = base.layers;
            layers.extend(own.values().cloned());
            let missing = |layer: &&ImageLayer| !present.contains(&self.nodes[layer.node].digest);
            layers.extend(cache.layers.iter().filter(missing).cloned());
            layers.push(self.layer(launch, Kind::Launch, "launch"));
            self.check_layer_count(&layers, spec);
            let labels =
                spec.labels.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect();
            platforms.insert(platform, PlatformImage { layers, base: base.config, labels, launch });
        }
        let image = Image {
            name: spec.name.value.clone(),
            version: spec.version.as_ref().map(|version| version.value.clone()),
            tag: spec.tag(),
            created: inputs.source_date_epoch,
            compression: spec.compression,
            platforms,
        };
        (image, available)
    }

    fn layer(&self, node: NodeIndex, kind: Kind, name: &str) -> ImageLayer {
        ImageLayer { node, kind, name: name.to_owned(), upstream: None, annotations: BTreeMap::new() }
    }

    /// The derivation of a layer: its node's, or for a base's layer the one that its annotation names.
    fn derivation_of(&self, layer: &ImageLayer) -> Option<Digest> {
        match &layer.upstream {
            None => Some(self.nodes[layer.node].digest),
            Some(_) => {
                layer.annotations.get(crate::DERIVATION_ANNOTATION).and_then(|digest| digest.parse().ok())
            }
        }
    }

    fn check_layer_count(&mut self, layers: &[ImageLayer], spec: &Spec) {
        if layers.len() > LAYER_LIMIT {
            self.diagnostics.push(
                Diagnostic::new(
                    &code::TOO_MANY_LAYERS,
                    format!("the image would have {} layers, and container runtimes take {LAYER_LIMIT}", layers.len()),
                )
                .at(&spec.name.span, "")
                .help("put several `files`, `manifests` or `policies` layers into one, or take a base with fewer layers"),
            );
        }
    }

    // --- the base ---

    fn base(
        &mut self,
        spec: &Spec,
        inputs: &Inputs,
        available: &mut Available,
    ) -> BTreeMap<Platform, LoweredBase> {
        match (&inputs.base, &spec.base.value) {
            (BaseFacts::Spec(base_inputs), kic_spec::Base::Spec(base_spec)) => {
                let (image, base_available) = self.image(base_spec, base_inputs);
                available.names.extend(base_available.names);
                available.upstream_names.extend(base_available.upstream_names);
                available.hosts.extend(base_available.hosts);
                let mut bases = BTreeMap::new();
                for platform in &spec.platforms {
                    let Some(base) = image.platforms.get(&platform.value) else {
                        self.diagnostics.push(missing_platform(
                            &platform.value,
                            &platform.span,
                            &spec.base.span,
                        ));
                        continue;
                    };
                    let lowered = LoweredBase {
                        layers: base.layers.clone(),
                        plan: BasePlan::Node(base.launch),
                        config: BaseConfig::Spec(Box::new(base.clone())),
                    };
                    bases.insert(platform.value.clone(), lowered);
                }
                bases
            }
            (BaseFacts::Image(images), base) => {
                let source = match base {
                    kic_spec::Base::Image(source @ ImageSource::Registry(_)) => Some(source.clone()),
                    _ => None,
                };
                let mut bases = BTreeMap::new();
                for platform in &spec.platforms {
                    let Some(image) = images.get(&platform.value) else {
                        self.diagnostics.push(missing_platform(
                            &platform.value,
                            &platform.span,
                            &spec.base.span,
                        ));
                        continue;
                    };
                    available_in_plan(image.plan.as_ref(), available);
                    bases.insert(
                        platform.value.clone(),
                        self.base_image(image, source.clone(), &spec.base.span),
                    );
                }
                bases
            }
            _ => {
                let scratch =
                    || LoweredBase { layers: Vec::new(), plan: BasePlan::None, config: BaseConfig::Scratch };
                spec.platforms.iter().map(|platform| (platform.value.clone(), scratch())).collect()
            }
        }
    }

    fn base_image(&mut self, image: &BaseImage, source: Option<ImageSource>, span: &Span) -> LoweredBase {
        let origins = [image.origin.clone()];
        let mut layers = Vec::new();
        for (index, layer) in image.layers.iter().enumerate() {
            let kind = layer.annotations.get(crate::KIND_ANNOTATION).map(String::as_str);
            let name = layer.annotations.get(crate::NAME_ANNOTATION).cloned();
            let name = name.unwrap_or_else(|| format!("layer-{}", index + 1));
            let hints = Hints {
                kind: Kind::Blob,
                name: &name,
                span: Some(span),
                origins: &origins,
                is_document: false,
            };
            let node = self.blob(&layer.blob, &hints);
            layers.push(ImageLayer {
                node,
                kind: kind.and_then(kind_by_name).unwrap_or(Kind::Base),
                name,
                upstream: Some((layer.blob.clone(), layer.diff_id)),
                annotations: layer.annotations.clone(),
            });
        }
        LoweredBase {
            layers,
            plan: image.plan.clone().map_or(BasePlan::None, BasePlan::Json),
            config: BaseConfig::Image {
                config: image.config.clone(),
                source: source.map(|source| (source, image.manifest)),
            },
        }
    }

    // --- files, manifests, policies, readiness ---

    /// The layers of the spec's own nodes: kinds in their fixed order, the layers of a kind in that of the spec.
    fn own_layers(
        &mut self,
        spec: &Spec,
        inputs: &Inputs,
        settings: LayerSettings,
    ) -> BTreeMap<(LayerKind, usize), ImageLayer> {
        let mut own = BTreeMap::new();
        for (index, layer) in spec.layers.iter().enumerate() {
            let pending = layer_entries(spec, layer, inputs, &mut self.diagnostics);
            let mut entries = Vec::with_capacity(pending.len());
            for (path, entry) in pending {
                let kind = match entry.fetch {
                    None => entry.kind,
                    Some((url, content, mode)) => {
                        let origins = [Origin::Url(url.clone())];
                        let hints = Hints {
                            kind: Kind::Blob,
                            name: &url,
                            span: Some(&entry.span),
                            origins: &origins,
                            is_document: false,
                        };
                        let node = self.node(Derivation::Blob(content), &hints);
                        TreeEntryKind::File { mode, content, bytes: Bytes::Node(node) }
                    }
                };
                entries.push(TreeEntry { path, kind });
            }
            let kind = match layer.kind() {
                LayerKind::Files => Kind::Files,
                LayerKind::Manifests => Kind::Manifests,
                LayerKind::Policies => Kind::Policies,
                LayerKind::Readiness => Kind::Readiness,
            };
            let name = layer.name.value.as_str();
            let hints = Hints { kind, name, span: Some(&layer.span), origins: &[], is_document: false };
            let node = self.node(Derivation::Tree { settings, entries }, &hints);
            own.insert((layer.kind(), index), self.layer(node, kind, name));
        }
        self.after_edges(spec, &own);
        own
    }

    /// The edges that the author adds by hand. One that would close a circle through nodes that share an
    /// output is left out: it orders nothing that is built.
    fn after_edges(&mut self, spec: &Spec, own: &BTreeMap<(LayerKind, usize), ImageLayer>) {
        let node_of = |wanted: &Layer| {
            own.iter()
                .find(|((_, index), _)| spec.layers[*index].span == wanted.span)
                .map(|(_, layer)| layer.node)
        };
        for layer in &spec.layers {
            let Some(after) = &layer.after else { continue };
            let before =
                spec.layers.iter().find(|other| other.span != layer.span && other.name.value == after.value);
            if let (Some(before), Some(node)) = (before.and_then(node_of), node_of(layer))
                && before != node
                && !petgraph::algo::has_path_connecting(&self.nodes, node, before, None)
            {
                self.nodes.update_edge(before, node, ());
            }
        }
    }

    // --- the registry cache ---

    fn registry_layers(
        &mut self,
        spec: &Spec,
        inputs: &Inputs,
        settings: LayerSettings,
        layers_so_far: usize,
        available: &mut Available,
    ) -> CacheLayers {
        let images = cached_images(spec, inputs, available);
        let cache = lay_out(&images, &mut self.diagnostics);
        available.names.extend(cache.names.iter().cloned());
        available.upstream_names.extend(cache.upstream_names.iter().cloned());
        if images.is_empty() {
            return CacheLayers { layers: Vec::new(), images: Vec::new() };
        }
        // Two more: the catalogue and the launch plan.
        let split = cache.split(LAYER_LIMIT.saturating_sub(layers_so_far + 2));
        let mut layers = Vec::new();
        for blob in &split.single {
            let content = ContentFacts { digest: blob.facts.digest, size: blob.facts.size };
            let settings = LayerSettings { compression: Compression::None, ..settings };
            let derivation = Derivation::CachedBlob { settings, path: blob.path(), content };
            let name = format!("{} {}", blob.image, blob.facts.digest.short());
            let hints = Hints {
                kind: Kind::RegistryCache,
                name: &name,
                span: None,
                origins: &blob.origins,
                is_document: false,
            };
            let node = self.node(derivation, &hints);
            // A blob of the base that is cached, too, is fetched once: the layer is made from what is there then.
            let fetched = Derivation::Blob(content).digest(&|node| self.nodes[node].digest);
            if let Some(fetched) = self.by_digest.get(&fetched) {
                self.nodes.update_edge(*fetched, node, ());
            }
            // The name of such a layer must not depend on which image has the blob: the same blob is the same
            // layer in every cluster image.
            layers.push(self.layer(node, Kind::RegistryCache, &blob.facts.digest.to_string()));
        }
        for (digit, blobs) in &split.shared {
            let entries = blobs.iter().map(|blob| self.blob_entry(blob)).collect();
            let name = format!("blobs-{digit}");
            let settings = LayerSettings { compression: Compression::None, ..settings };
            layers.push(self.tree_layer(settings, entries, Kind::RegistryCache, &name));
        }
        let mut entries: Vec<TreeEntry> = split.small.iter().map(|blob| self.blob_entry(blob)).collect();
        for (path, text) in &cache.links {
            let bytes = text.as_bytes();
            let content = ContentFacts { digest: Digest::of(bytes), size: bytes.len() as u64 };
            let kind = TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Inline(bytes.into()) };
            entries.push(TreeEntry { path: path.clone(), kind });
        }
        layers.push(self.tree_layer(settings, entries, Kind::RegistryCatalogue, "catalogue"));
        CacheLayers { layers, images: cache.images }
    }

    fn tree_layer(
        &mut self,
        settings: LayerSettings,
        mut entries: Vec<TreeEntry>,
        kind: Kind,
        name: &str,
    ) -> ImageLayer {
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        let hints = Hints { kind, name, span: None, origins: &[], is_document: false };
        let node = self.node(Derivation::Tree { settings, entries }, &hints);
        self.layer(node, kind, name)
    }

    fn blob_entry(&mut self, blob: &CachedBlob) -> TreeEntry {
        let name = format!("{} {}", blob.image, blob.facts.digest.short());
        let hints = Hints {
            kind: Kind::Blob,
            name: &name,
            span: None,
            origins: &blob.origins,
            is_document: blob.is_document,
        };
        let node = self.blob(&blob.facts, &hints);
        let content = ContentFacts { digest: blob.facts.digest, size: blob.facts.size };
        TreeEntry {
            path: blob.path(),
            kind: TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Node(node) },
        }
    }

    // --- the launch plan ---

    fn launch(
        &mut self,
        spec: &Spec,
        platform: &Platform,
        settings: LayerSettings,
        own: &BTreeMap<(LayerKind, usize), ImageLayer>,
        images: &[crate::derivation::PlanImage],
        base: BasePlan,
    ) -> NodeIndex {
        let steps = match &spec.launch {
            Some(steps) => steps.iter().map(|step| step.value.clone()).collect(),
            None => default_steps(spec, platform),
        };
        let find = |kind: LayerKind, name: &str| {
            own.iter().find(|((own_kind, _), layer)| *own_kind == kind && layer.name == name)
        };
        let mut lowered = Vec::new();
        for step in steps {
            match step {
                Step::Run(command) => lowered.push(LaunchStep::Run(command)),
                Step::Wait(name) => {
                    let layer = find(LayerKind::Readiness, &name).map(|(_, layer)| layer.node);
                    lowered.extend(layer.map(|layer| LaunchStep::Wait { name, layer }));
                }
                Step::Apply(kind, name) => {
                    let Some(((_, index), layer)) = find(kind, &name) else { continue };
                    let (namespace, files) = self.applied(&spec.layers[*index], spec, layer.node);
                    lowered.push(LaunchStep::Apply {
                        kind: kind.name(),
                        name,
                        layer: layer.node,
                        files,
                        namespace,
                    });
                }
            }
        }
        let derivation = Derivation::Launch(Launch {
            settings,
            name: spec.name.value.clone(),
            version: spec.version.as_ref().map(|version| version.value.clone()),
            registries: spec.registries.iter().map(|registry| registry.host.value.clone()).collect(),
            base,
            steps: lowered,
            images: images.to_vec(),
        });
        let hints =
            Hints { kind: Kind::Launch, name: "launch", span: None, origins: &[], is_document: false };
        self.node(derivation, &hints)
    }

    /// The namespace of a manifests layer, and the paths of its files in the order in which the spec names them.
    fn applied(&self, layer: &Layer, spec: &Spec, node: NodeIndex) -> (Option<String>, Vec<String>) {
        let namespace = match &layer.content {
            Content::Manifests { namespace, .. } | Content::Policies { namespace, .. } => namespace.clone(),
            _ => None,
        };
        let Derivation::Tree { entries, .. } = &self.nodes[node].derivation else {
            return (namespace, Vec::new());
        };
        let mut paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        let order = crate::layer_entries::manifest_order(spec, layer);
        paths.sort_by_key(|path| {
            let name = path.rsplit('/').next().unwrap_or(path);
            (order.get(name).copied().unwrap_or(usize::MAX), *path)
        });
        (namespace, paths.into_iter().map(str::to_owned).collect())
    }
}

struct LoweredBase {
    layers: Vec<ImageLayer>,
    plan: BasePlan,
    config: BaseConfig,
}

struct CacheLayers {
    layers: Vec<ImageLayer>,
    images: Vec<crate::derivation::PlanImage>,
}

fn missing_platform(platform: &Platform, span: &Span, base: &Span) -> Diagnostic {
    Diagnostic::new(&code::PLATFORM_MISSING, format!("the base has no image for `{platform}`"))
        .at(base, "this base")
        .at(span, "this platform")
        .help("take a base that is built for it, or leave the platform out")
}

fn kind_by_name(name: &str) -> Option<Kind> {
    use Kind::{Base, Files, Launch, Manifests, Policies, Readiness, RegistryCache, RegistryCatalogue};
    [Base, Files, Manifests, Policies, Readiness, RegistryCache, RegistryCatalogue, Launch]
        .into_iter()
        .find(|kind| kind.name() == name)
}

/// What a base that kic built says of its registry cache.
fn available_in_plan(plan: Option<&Json>, available: &mut Available) {
    let list = |value: &Json, key: &str| -> Vec<String> {
        let texts = value.get(key).and_then(Json::as_array).into_iter().flatten();
        texts.filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let Some(plan) = plan else { return };
    available.hosts.extend(list(plan, "registries"));
    for image in plan.get("images").and_then(Json::as_array).into_iter().flatten() {
        let names = list(image, "names");
        let reference = image
            .get("reference")
            .and_then(Json::as_str)
            .and_then(|text| text.parse::<ImageReference>().ok());
        let Some((reference, digest)) = reference.zip(image.get("digest").and_then(Json::as_str)) else {
            continue;
        };
        let upstream = reference.name();
        available.upstream_names.extend(reference.tag().map(|tag| format!("{upstream}:{tag}")));
        available.upstream_names.insert(format!("{upstream}@{digest}"));
        for name in names {
            let repository = name.split('@').next().unwrap_or(&name);
            let colon = repository.rfind(':').filter(|colon| !repository[*colon..].contains('/'));
            let repository = colon.map_or(repository, |colon| &repository[..colon]);
            available.names.insert(format!("{repository}@{digest}"));
            available.names.insert(name);
        }
    }
}

/// The images that the registries of the spec cache: those that it names, then those that are discovered.
fn cached_images<'a>(spec: &'a Spec, inputs: &'a Inputs, available: &mut Available) -> Vec<Cached<'a>> {
    let mut images: Vec<Cached<'a>> = Vec::new();
    for registry in &spec.registries {
        available.hosts.insert(registry.host.value.clone());
        available.excluded.extend(registry.exclude.iter().map(|reference| reference.value.clone()));
        for image in &registry.images {
            let source = located(spec, &image.from);
            let Some(facts) = inputs.images.get(&source) else { continue };
            let from_name = match &source {
                ImageSource::Registry(reference) => Some(reference.clone()),
                ImageSource::Disk { .. } => facts.name.clone(),
            };
            let reference = image.name.as_ref().map(|name| name.value.clone()).or(from_name);
            let Some(reference) = reference else { continue };
            images.push(Cached {
                reference,
                facts,
                span: image.from.span.clone(),
                short_names: image.short_names,
            });
        }
    }
    if spec.registries.iter().any(|registry| registry.discover.is_some()) {
        for need in &inputs.needs {
            let named = images.iter().any(|image| image.reference == need.reference);
            let skip = named || available.excluded.contains(&need.reference);
            let facts = inputs.images.get(&ImageSource::Registry(need.reference.clone()));
            if let (false, Some(facts)) = (skip, facts) {
                let (reference, span) = (need.reference.clone(), need.span.clone());
                images.push(Cached { reference, facts, span, short_names: true });
            }
        }
    }
    images
}

/// An image source with its path seen from where kic runs.
pub fn located(spec: &Spec, source: &Spanned<ImageSource>) -> ImageSource {
    match &source.value {
        ImageSource::Registry(_) => source.value.clone(),
        ImageSource::Disk { format, path, reference } => ImageSource::Disk {
            format: *format,
            path: spec.locate_from(path, &source.span),
            reference: reference.clone(),
        },
    }
}
