//! The layers of files, manifests, policies and readiness checks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use kic_base::{Digest, without_secrets};
use kic_spec::{Layer, LayerKind, Spec};
use kic_threads::together;
use petgraph::graph::NodeIndex;

use super::{Hints, LAYER_LIMIT, Lowering};
use crate::derivation::{Bytes, Derivation, LayerSettings, TreeEntry, TreeEntryKind};
use crate::graph::{ImageLayer, Kind};
use crate::inputs::{Inputs, Origin};
use crate::layer_entries::{PendingEntry, layer_entries};
use crate::tree_parts::tree_parts;

/// With more layers than that, those of the base counted, none is cut: the registry cache needs some, too.
const MOST_CUT: usize = LAYER_LIMIT / 2;

impl Lowering {
    /// The layers of the spec's own nodes: kinds in their fixed order, the layers of a kind in that of the spec.
    pub(super) fn own_layers(
        &mut self,
        spec: &Spec,
        inputs: &Inputs,
        settings: LayerSettings,
        base_layers: usize,
    ) -> BTreeMap<(LayerKind, usize), Vec<ImageLayer>> {
        let mut own = BTreeMap::new();
        let mut pending_layers = Vec::with_capacity(spec.layers.len());
        for (index, layer) in spec.layers.iter().enumerate() {
            if inputs.early.contains_key(&index) {
                pending_layers.push((Vec::new(), whole(&[])));
                continue;
            }
            let pending = layer_entries(spec, layer, inputs, &mut self.diagnostics);
            let entry = |(path, entry): (String, PendingEntry)| {
                let kind = match entry.fetch {
                    None => entry.kind,
                    Some(fetch) => {
                        let (url, content, mode) = *fetch;
                        let hints = Hints {
                            kind: Kind::Blob,
                            name: without_secrets(&url),
                            span: Some(&entry.span),
                            origins: vec![Origin::Url(url)],
                            is_document: false,
                        };
                        let node = self.node(Derivation::Blob(content), hints);
                        TreeEntryKind::File { mode, content, bytes: Bytes::Node(node) }
                    }
                };
                TreeEntry { path, kind }
            };
            let entries: Vec<TreeEntry> = pending.into_iter().map(entry).collect();
            let cut = if layer.is_split { tree_parts(&entries) } else { whole(&entries) };
            pending_layers.push((entries, cut));
        }
        let parts: usize = pending_layers.iter().map(|(_, cut)| cut.len()).sum();
        let is_too_much = base_layers + parts > MOST_CUT;
        for (index, (layer, (entries, cut))) in spec.layers.iter().zip(pending_layers).enumerate() {
            let cut = if is_too_much { whole(&entries) } else { cut };
            let kind = kind_of(layer);
            let name = layer.name.value.as_str();
            let mut entries = entries.into_iter();
            let (trees, digests) = match inputs.early.get(&index) {
                Some((tree, digest)) => (vec![tree.clone()], vec![*digest]),
                None => {
                    let part = |part: &Range<usize>| Derivation::Tree {
                        settings,
                        entries: entries.by_ref().take(part.len()).collect(),
                    };
                    let trees: Vec<Derivation> = cut.iter().map(part).collect();
                    let digests = digests(&trees);
                    (trees, digests)
                }
            };
            let mut parts = Vec::with_capacity(cut.len());
            for ((part, tree), digest) in cut.into_iter().zip(trees).zip(digests) {
                // Named after where it begins, so that it keeps its name when there are more parts before it.
                let from = match &tree {
                    Derivation::Tree { entries, .. } if part.start > 0 => entries.first(),
                    _ => None,
                };
                let name = from.map_or_else(|| name.to_owned(), |from| format!("{name} from /{}", from.path));
                let hints = Hints {
                    kind,
                    name: name.clone(),
                    span: Some(&layer.span),
                    origins: Vec::new(),
                    is_document: false,
                };
                let node = self.node_of(tree, digest, hints);
                parts.push(self.layer(node, kind, name));
            }
            own.insert((layer.kind(), index), parts);
        }
        self.after_edges(spec, &own);
        own
    }

    /// The edges that the author adds by hand. One that would close a circle through nodes that share an
    /// output is left out: it orders nothing that is built.
    pub(super) fn after_edges(&mut self, spec: &Spec, own: &BTreeMap<(LayerKind, usize), Vec<ImageLayer>>) {
        let nodes_of = |wanted: &Layer| -> Vec<NodeIndex> {
            own.iter()
                .filter(|((_, index), _)| spec.layers[*index].span == wanted.span)
                .flat_map(|(_, parts)| parts.iter().map(|part| part.node))
                .collect()
        };
        for layer in &spec.layers {
            let Some(after) = &layer.after else { continue };
            let before =
                spec.layers.iter().find(|other| other.span != layer.span && other.name.value == after.value);
            for before in before.map(nodes_of).unwrap_or_default() {
                for node in nodes_of(layer) {
                    if before != node && !petgraph::algo::has_path_connecting(&self.nodes, node, before, None)
                    {
                        self.nodes.update_edge(before, node, ());
                    }
                }
            }
        }
    }
}

/// The kind of the layers that a node of the spec becomes.
pub(super) fn kind_of(layer: &Layer) -> Kind {
    match layer.kind() {
        LayerKind::Files => Kind::Files,
        LayerKind::Manifests => Kind::Manifests,
        LayerKind::Policies => Kind::Policies,
        LayerKind::Readiness => Kind::Readiness,
    }
}

/// What decides the form of a spec's own layers.
pub(super) fn settings_of(spec: &Spec, inputs: &Inputs) -> LayerSettings {
    LayerSettings { epoch: inputs.epoch, mtime: inputs.source_date_epoch, compression: spec.compression }
}

/// The digest of a tree, which has no node whose digest enters its own.
pub(super) fn digest_of_tree(tree: &Derivation) -> Digest {
    tree.digest(&|_| Digest::of(b""))
}

/// The digests of trees. Those of the parts of a large one take a while: two threads share them.
fn digests(trees: &[Derivation]) -> Vec<Digest> {
    let next = AtomicUsize::new(0);
    let take = || {
        let place = next.fetch_add(1, Ordering::Relaxed);
        Some((place, digest_of_tree(trees.get(place)?)))
    };
    let shares = together(trees.len().min(2), || std::iter::from_fn(take).collect::<Vec<_>>());
    let digests: BTreeMap<usize, Digest> = shares.into_iter().flatten().collect();
    digests.into_values().collect()
}

#[expect(clippy::single_range_in_vec_init, reason = "one part, from the first entry to the last")]
fn whole(entries: &[TreeEntry]) -> Vec<Range<usize>> {
    vec![0..entries.len()]
}
