//! Layers of manifests and policies without an object: files of comments alone, a chart whose values switch everything off. The
//! step that applies one fails at every start, as `kubectl apply` does where it is given nothing.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, ObjectFacts, PathFacts, PathKey, render_key};
use kic_spec::{Content, LayerKind, ManifestItem, Spec};

use super::renders::Render;

/// Warns of every such layer of which all is known. One that a `when` or `for` left without items is as it was meant.
pub(super) fn tell(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
    objects: &[ObjectFacts],
    diagnostics: &mut Diagnostics,
) {
    let is_known = |item: &ManifestItem| match item {
        ManifestItem::Object { .. } => true,
        ManifestItem::Fetch { fetch, .. } => fetches.contains_key(&fetch.url.value),
        ManifestItem::File { from, .. } => files.contains_key(&PathKey::manifests(spec.locate(from))),
        ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
            render_key(spec, item).is_some_and(|key| renders.contains_key(&key))
        }
    };
    for layer in &spec.layers {
        let (Content::Manifests { items, .. } | Content::Policies { items, .. }) = &layer.content else {
            continue;
        };
        let (kind, name) = (layer.kind(), &layer.name.value);
        let makes = |object: &ObjectFacts| object.layer.0 == kind && object.layer.1 == *name;
        if items.is_empty() || !items.iter().all(|item| is_known(&item.value)) || objects.iter().any(makes) {
            continue;
        }
        let what = if kind == LayerKind::Policies { "policies" } else { "manifests" };
        let empty =
            Diagnostic::new(&code::EMPTY_LAYER, format!("the `{what}` layer `{name}` holds no objects"));
        // The first few say enough.
        let empty = items.iter().take(3).fold(empty, |empty, item| empty.at(&item.span, "no objects in it"));
        diagnostics.push(empty.help(
            "leave it out, or put objects inside: the step that applies it would fail, as `kubectl apply` takes no empty files",
        ));
    }
}
