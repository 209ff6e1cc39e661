//! The registry cache: which images it holds, and how they become layers.

use kic_base::Digest;
use kic_manifest::Confidence;
use kic_spec::{Compression, ImageSource, Spec};

use super::{Hints, LAYER_LIMIT, Lowering, located};
use crate::closure::Available;
use crate::derivation::{Bytes, Derivation, LayerSettings, TreeEntry, TreeEntryKind};
use crate::graph::{ImageLayer, Kind};
use crate::inputs::{ContentFacts, Inputs};
use crate::registry_cache::{Cached, CachedBlob, lay_out};

impl Lowering {
    pub(super) fn registry_layers(
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
        let links = cache.links.iter().map(|(path, text)| (path, text.as_bytes()));
        let written = cache.written.iter().map(|(path, bytes)| (path, bytes.as_slice()));
        for (path, bytes) in links.chain(written) {
            let content = ContentFacts { digest: Digest::of(bytes), size: bytes.len() as u64 };
            let kind = TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Inline(bytes.into()) };
            entries.push(TreeEntry { path: path.clone(), kind });
        }
        layers.push(self.tree_layer(settings, entries, Kind::RegistryCatalogue, "catalogue"));
        CacheLayers { layers, images: cache.images }
    }

    pub(super) fn tree_layer(
        &mut self,
        settings: LayerSettings,
        mut entries: Vec<TreeEntry>,
        kind: Kind,
        name: &str,
    ) -> ImageLayer {
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        let hints = Hints { kind, name, span: None, origins: &[], is_document: false };
        let node = self.node(Derivation::Tree { settings, entries: entries.into() }, &hints);
        self.layer(node, kind, name)
    }

    pub(super) fn blob_entry(&mut self, blob: &CachedBlob) -> TreeEntry {
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
}

pub(super) struct CacheLayers {
    pub layers: Vec<ImageLayer>,
    pub images: Vec<crate::derivation::PlanImage>,
}

/// The images that the registries of the spec cache: those that it names, then those that are discovered.
pub(crate) fn cached_images<'a>(
    spec: &'a Spec,
    inputs: &'a Inputs,
    available: &mut Available,
) -> Vec<Cached<'a>> {
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
            let skip = named
                || need.confidence == Confidence::Possible
                || available.excluded.contains(&need.reference);
            let facts = inputs.images.get(&ImageSource::Registry(need.reference.clone()));
            if let (false, Some(facts)) = (skip, facts) {
                let (reference, span) = (need.reference.clone(), need.span.clone());
                available.discovered.insert(reference.clone());
                images.push(Cached { reference, facts, span, short_names: true });
            }
        }
    }
    images
}
