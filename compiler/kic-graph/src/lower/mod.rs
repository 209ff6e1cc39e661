mod base;
mod early;
mod launch;
mod own_layers;
mod registry;

pub use early::{EarlyLimits, early_layers};
pub(crate) use registry::cached_images;

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_spec::{ImageSource, Spec};
use petgraph::graph::{DiGraph, NodeIndex};

use own_layers::settings_of;

use crate::awaited_objects::check_awaited;
use crate::closure::{Available, prove};
use crate::derivation::Derivation;
use crate::graph::{Graph, Image, ImageLayer, Kind, Node, PlatformImage};
use crate::inputs::{BlobFacts, ContentFacts, Inputs, Origin};
use crate::redirect_proof::{foreign_base, prove_names};
use crate::redirects::{is_judged, verdicts};

/// The most layers that an image has: container runtimes on overlayfs take 127.
pub const LAYER_LIMIT: usize = 120;

/// From the closed value, and what the graph has to know of the world, to derivations. Pure.
///
/// # Errors
/// Every way in which the parts do not go together: paths written twice, names that two images answer to, images
/// that something names and no registry caches, too many layers.
pub fn lower(spec: &Spec, inputs: &Inputs) -> Result<(Graph, Diagnostics), Diagnostics> {
    let mut lowering = Lowering::new(BTreeSet::new());
    let (image, _) = lowering.image(spec, inputs);
    let Lowering { nodes, diagnostics, .. } = lowering;
    diagnostics.or(Graph { nodes, image })
}

/// Lowers for what it has to say alone: what the caches answer to, and every error and warning. The `assumed` images are
/// taken for cached.
pub(crate) fn lower_image(
    spec: &Spec,
    inputs: &Inputs,
    assumed: BTreeSet<ImageReference>,
) -> (Available, Diagnostics) {
    let mut lowering = Lowering::new(assumed);
    let (_, mut available) = lowering.image(spec, inputs);
    available.redirects.add(inputs);
    (available, lowering.diagnostics)
}

struct Lowering {
    nodes: DiGraph<Node, ()>,
    by_digest: BTreeMap<Digest, NodeIndex>,
    diagnostics: Diagnostics,
    /// Images that are to be cached, and of which nothing else is known.
    assumed: BTreeSet<ImageReference>,
}

/// What a node is called, and where the spec asks for it.
struct Hints<'a> {
    kind: Kind,
    name: String,
    span: Option<&'a Span>,
    origins: Vec<Origin>,
    is_document: bool,
}

impl Lowering {
    fn new(assumed: BTreeSet<ImageReference>) -> Self {
        let diagnostics = Diagnostics::new();
        Self { nodes: DiGraph::new(), by_digest: BTreeMap::new(), diagnostics, assumed }
    }

    /// The node of a derivation: a new one, or the one that is there already.
    fn node(&mut self, derivation: Derivation, hints: Hints) -> NodeIndex {
        let digest = derivation.digest(&|node| self.nodes[node].digest);
        self.node_of(derivation, digest, hints)
    }

    /// The node of a derivation that has that digest.
    fn node_of(&mut self, derivation: Derivation, digest: Digest, hints: Hints) -> NodeIndex {
        if let Some(node) = self.by_digest.get(&digest) {
            let known = &mut self.nodes[*node].origins;
            let mut more = hints.origins;
            more.retain(|origin| !known.contains(origin));
            known.append(&mut more);
            return *node;
        }
        let inputs = derivation.inputs();
        let node = self.nodes.add_node(Node {
            derivation,
            digest,
            kind: hints.kind,
            name: hints.name,
            span: hints.span.cloned(),
            origins: hints.origins,
            is_document: hints.is_document,
        });
        for input in inputs {
            self.nodes.update_edge(input, node, ());
        }
        self.by_digest.insert(digest, node);
        node
    }

    fn blob(&mut self, blob: &BlobFacts, hints: Hints) -> NodeIndex {
        self.node(Derivation::Blob(ContentFacts { digest: blob.digest, size: blob.size }), hints)
    }

    fn image(&mut self, spec: &Spec, inputs: &Inputs) -> (Image, Available) {
        let settings = settings_of(spec, inputs);
        let mut available = Available::default();
        let base = self.base(spec, inputs, &mut available);
        let base_layers = base.values().map(|base| base.layers.len()).max().unwrap_or(0);
        let own = self.own_layers(spec, inputs, settings, base_layers);
        let cache = self.registry_layers(
            spec,
            inputs,
            settings,
            base_layers + own.values().map(Vec::len).sum::<usize>(),
            &mut available,
        );
        available.assumed.clone_from(&self.assumed);
        let verdicts = verdicts(spec, inputs, &available);
        prove(&inputs.needs, &verdicts, &available, &inputs.allow_missing, &mut self.diagnostics);
        prove_names(inputs, &verdicts, &available, &mut self.diagnostics);
        if is_judged(inputs, &available) {
            self.diagnostics.extend(available.redirects.foreign.take().map(foreign_base));
        }
        check_awaited(spec, inputs, &mut self.diagnostics);

        let mut platforms = BTreeMap::new();
        for (platform, base) in base {
            let is_for =
                |index: usize| spec.layers[index].platform.as_ref().is_none_or(|only| *only == platform);
            let own: BTreeMap<_, _> = own
                .iter()
                .filter(|((_, index), _)| is_for(*index))
                .map(|(key, layer)| (*key, layer.clone()))
                .collect();
            let launch =
                self.launch(spec, &platform, settings, &own, &cache.images, base.plan, inputs.source.clone());
            let present: BTreeSet<Digest> =
                base.layers.iter().filter_map(|layer| self.derivation_of(layer)).collect();
            let mut layers = base.layers;
            layers.extend(own.values().flatten().cloned());
            let missing = |layer: &&ImageLayer| !present.contains(&self.nodes[layer.node].digest);
            layers.extend(cache.layers.iter().filter(missing).cloned());
            layers.push(self.layer(launch, Kind::Launch, "launch".to_owned()));
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

    fn layer(&self, node: NodeIndex, kind: Kind, name: String) -> ImageLayer {
        ImageLayer { node, kind, name, upstream: None, annotations: BTreeMap::new() }
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
                    format!("the image would have {} layers, and {LAYER_LIMIT} is the limit", layers.len()),
                )
                .at(&spec.name.span, "")
                .help("put several `files`, `manifests` or `policies` layers into one, or take a base with fewer layers"),
            );
        }
    }
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
