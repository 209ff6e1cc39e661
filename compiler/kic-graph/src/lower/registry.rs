//! The registry cache: which images it holds, and how they become layers.

use std::sync::Arc;

use kic_base::Digest;
use kic_manifest::Confidence;
use kic_spec::{Compression, ImageSource, Spec};

use super::{Hints, LAYER_LIMIT, Lowering, located};
use crate::closure::Available;
use crate::derivation::{Bytes, Derivation, LayerSettings, PlanImage, TreeEntry, TreeEntryKind};
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
        let mut cache = lay_out(&images, &mut self.diagnostics);
        available.names.append(&mut cache.names);
        available.upstream_names.append(&mut cache.upstream_names);
        if images.is_empty() {
            return CacheLayers { layers: Vec::new(), images: Arc::default() };
        }
        // Two more: the catalogue and the launch plan.
        let split = cache.split(LAYER_LIMIT.saturating_sub(layers_so_far + 2));
        let mut layers = Vec::new();
        for blob in &split.single {
            let content = ContentFacts { digest: blob.facts.digest, size: blob.facts.size };
            let settings = LayerSettings { compression: Compression::None, ..settings };
            let derivation = Derivation::CachedBlob { settings, path: blob.path(), content };
            let hints = Hints {
                kind: Kind::RegistryCache,
                name: name_of(blob),
                span: Some(blob.span),
                origins: blob.origins.clone(),
                is_document: false,
            };
            let node = self.node(derivation, hints);
            // A blob of the base that is cached, too, is fetched once: the layer is made from what is there then.
            let fetched = Derivation::Blob(content).digest(&|node| self.nodes[node].digest);
            if let Some(fetched) = self.by_digest.get(&fetched) {
                self.nodes.update_edge(*fetched, node, ());
            }
            // The name of such a layer must not depend on which image has the blob: the same blob is the same
            // layer in every cluster image.
            layers.push(self.layer(node, Kind::RegistryCache, blob.facts.digest.to_string()));
        }
        for (digit, blobs) in &split.shared {
            let entries = blobs.iter().map(|blob| self.blob_entry(blob)).collect();
            let name = format!("blobs-{digit}");
            let settings = LayerSettings { compression: Compression::None, ..settings };
            layers.push(self.tree_layer(settings, entries, Kind::RegistryCache, name));
        }
        let mut entries: Vec<TreeEntry> = split.small.iter().map(|blob| self.blob_entry(blob)).collect();
        entries.extend(cache.links.into_iter().map(|(path, digest)| written(path, digest.text().as_bytes())));
        entries.extend(cache.written.into_iter().map(|(path, bytes)| written(path, &bytes)));
        layers.push(self.tree_layer(settings, entries, Kind::RegistryCatalogue, "catalogue".to_owned()));
        CacheLayers { layers, images: cache.images.into() }
    }

    pub(super) fn tree_layer(
        &mut self,
        settings: LayerSettings,
        mut entries: Vec<TreeEntry>,
        kind: Kind,
        name: String,
    ) -> ImageLayer {
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        let hints = Hints { kind, name: name.clone(), span: None, origins: Vec::new(), is_document: false };
        let node = self.node(Derivation::Tree { settings, entries: entries.into() }, hints);
        self.layer(node, kind, name)
    }

    pub(super) fn blob_entry(&mut self, blob: &CachedBlob) -> TreeEntry {
        let hints = Hints {
            kind: Kind::Blob,
            name: name_of(blob),
            span: Some(blob.span),
            origins: blob.origins.clone(),
            is_document: blob.is_document,
        };
        let node = self.blob(blob.facts, hints);
        let content = ContentFacts { digest: blob.facts.digest, size: blob.facts.size };
        TreeEntry {
            path: blob.path(),
            kind: TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Node(node) },
        }
    }
}

/// The name under which progress and messages show a blob.
fn name_of(blob: &CachedBlob) -> String {
    [blob.image.as_str(), " ", blob.facts.digest.text().short()].concat()
}

/// A file that kic writes itself.
fn written(path: String, bytes: &[u8]) -> TreeEntry {
    let content = ContentFacts { digest: Digest::of(bytes), size: bytes.len() as u64 };
    TreeEntry { path, kind: TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Inline(bytes.into()) } }
}

pub(super) struct CacheLayers {
    pub layers: Vec<ImageLayer>,
    pub images: Arc<[PlanImage]>,
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
