//! The layers that are known before all else is: what is in them is said by the spec and by local files alone.

use kic_diag::Diagnostics;
use kic_spec::{Content, FileItem, Layer, ManifestItem, Spec};

use super::own_layers::{digest_of_tree, kind_of, settings_of};
use crate::derivation::{Derivation, TreeEntry};
use crate::graph::Node;
use crate::inputs::{EntryFacts, Inputs, PathFacts, PathKey};
use crate::layer_entries::layer_entries;

/// How much is known early at most, all layers together.
#[derive(Debug, Clone, Copy)]
pub struct EarlyLimits {
    /// Layers.
    pub layers: usize,
    /// Local files in them.
    pub files: usize,
    /// Bytes in these.
    pub bytes: u64,
}

impl EarlyLimits {
    /// What is left of them beside a layer of so much; nothing where that is too much.
    pub fn without(self, files: usize, bytes: u64) -> Option<Self> {
        Some(Self {
            layers: self.layers.checked_sub(1)?,
            files: self.files.checked_sub(files)?,
            bytes: self.bytes.checked_sub(bytes)?,
        })
    }
}

/// The nodes that [`super::lower`] makes of the layers of `spec` that are known by the paths of `inputs` alone: nothing in them is
/// downloaded or rendered, and no image in them is named anew. With each comes its place in the spec. What is beyond the limits is
/// left out, and so are layers with something wrong: lowering says what.
pub fn early_layers(spec: &Spec, inputs: &Inputs, limits: EarlyLimits) -> Vec<(usize, Node)> {
    let mut left = limits;
    let node = |(index, layer): (usize, &Layer)| {
        let (bytes, files) = size(spec, layer, inputs)?;
        let rest = left.without(files, bytes)?;
        let mut diagnostics = Diagnostics::new();
        let pending = layer_entries(spec, layer, inputs, &mut diagnostics);
        // Lowering says what is worth a look, too.
        if !diagnostics.is_empty() {
            return None;
        }
        let entries = pending.into_iter().map(|(path, entry)| TreeEntry { path, kind: entry.kind }).collect();
        let derivation = Derivation::Tree { settings: settings_of(spec, inputs), entries };
        let node = Node {
            digest: digest_of_tree(&derivation),
            derivation,
            kind: kind_of(layer),
            name: layer.name.value.clone(),
            span: Some(layer.span.clone()),
            origins: Vec::new(),
            is_document: false,
        };
        left = rest;
        Some((index, node))
    };
    spec.layers.iter().enumerate().filter_map(node).collect()
}

/// The bytes and the number of the local files of a layer; nothing where there is more to it than these and texts of the spec.
fn size(spec: &Spec, layer: &Layer, inputs: &Inputs) -> Option<(u64, usize)> {
    let (mut bytes, mut files) = (0_u64, 0);
    let mut add = |key: &PathKey| {
        let (more_bytes, more_files) = match inputs.paths.get(key)? {
            PathFacts::File(facts) => (facts.content.size, 1),
            PathFacts::Folder(below) => (below.iter().map(|(_, entry)| bytes_of(entry)).sum(), below.len()),
        };
        bytes = bytes.saturating_add(more_bytes);
        files += more_files;
        Some(())
    };
    match &layer.content {
        Content::Files(items) => {
            for item in items {
                match &item.value {
                    FileItem::Copy { from, exclude, .. } => {
                        add(&PathKey::copied(spec.locate(from), exclude))?;
                    }
                    FileItem::Text { .. } => {}
                    FileItem::Fetch { .. } => return None,
                }
            }
        }
        Content::Manifests { items, .. } | Content::Policies { items, .. } if layer.rewrite().is_none() => {
            for item in items {
                match &item.value {
                    ManifestItem::File { from, .. } => add(&PathKey::manifests(spec.locate(from)))?,
                    ManifestItem::Object { .. } => {}
                    ManifestItem::Fetch { .. } | ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                        return None;
                    }
                }
            }
        }
        _ => return None,
    }
    Some((bytes, files))
}

fn bytes_of(entry: &EntryFacts) -> u64 {
    match entry {
        EntryFacts::File(facts) => facts.content.size,
        EntryFacts::Symlink(_) | EntryFacts::EmptyFolder => 0,
    }
}
