//! The layers of files, manifests, policies and readiness checks.

use std::collections::BTreeMap;

use kic_spec::{Layer, LayerKind, Spec};

use super::{Hints, Lowering};
use crate::derivation::{Bytes, Derivation, LayerSettings, TreeEntry, TreeEntryKind};
use crate::graph::{ImageLayer, Kind};
use crate::inputs::{Inputs, Origin};
use crate::layer_entries::layer_entries;

impl Lowering {
    /// The layers of the spec's own nodes: kinds in their fixed order, the layers of a kind in that of the spec.
    pub(super) fn own_layers(
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
    pub(super) fn after_edges(&mut self, spec: &Spec, own: &BTreeMap<(LayerKind, usize), ImageLayer>) {
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
}
