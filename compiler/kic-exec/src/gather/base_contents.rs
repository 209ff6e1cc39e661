//! What a base that kic built brings into the cluster: the manifests and policies that its plan applies, and its files of
//! mirrors, read from its layers. The proof holds the spec against them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostics, declared as code};
use kic_graph::{BaseContents, KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::layer::read_files;
use kic_oci::model::{Descriptor, Manifest};
use kic_spec::LayerKind;
use serde_json::Value as Json;

use super::known_needs::KnownNeeds;
use super::needs::{self, InTexts};
use super::texts::{Applied, Kind, Text};
use crate::documents::Documents;

/// The largest layer of manifests or policies that is read, in bytes.
const MANIFESTS_LIMIT: u64 = 32 << 20;
/// The largest layer of files that is read for mirrors, in bytes. Programs make larger ones.
const FILES_LIMIT: u64 = 8 << 20;
/// The most that is unpacked of one layer, in bytes.
const UNPACKED_LIMIT: u64 = 256 << 20;

/// Reads the layers of `manifest` that are not among those that were `read`. What is `known` of their texts is not found out again.
pub(super) async fn read(
    documents: &Documents<'_>,
    manifest: &Manifest,
    plan: &Json,
    span: &Span,
    read: &mut BTreeSet<Digest>,
    known: &mut KnownNeeds,
) -> Result<BaseContents, Diagnostics> {
    let applied = applied(plan);
    let mut contents = BaseContents::default();
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut mirrors: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for layer in &manifest.layers {
        let kind = layer.annotations.get(KIND_ANNOTATION).map(String::as_str);
        let (limit, found) = match kind {
            Some("manifests" | "policies") => (MANIFESTS_LIMIT, &mut texts),
            Some("files") => (FILES_LIMIT, &mut mirrors),
            _ => continue,
        };
        if !read.insert(layer.digest) {
            continue;
        }
        if layer.size > limit {
            contents.unread.extend(layer.annotations.get(NAME_ANNOTATION).cloned());
            continue;
        }
        let is_wanted = |path: &str| match kind {
            Some("files") => kic_redirect::mirror_file(path).is_some(),
            _ => applied.iter().any(|(applied, _)| applied == path),
        };
        let bytes = documents.blob(layer).await?;
        let files = read_files(bytes.as_slice(), &layer.media_type, is_wanted, UNPACKED_LIMIT)
            .map_err(|error| damaged(documents, layer, &error))?;
        found.extend(files);
    }
    let mut in_texts = InTexts::default();
    for (path, layer) in &applied {
        let Some(text) = texts.get(path) else { continue };
        let text = Text::here(&format!("base:{path}"), text.as_slice(), span, Kind::Generated, layer);
        needs::in_base(&text, &mut in_texts, known, documents.context);
    }
    contents.needs = in_texts.needs;
    contents.redirects.policies = in_texts.policies;
    contents.objects = in_texts.objects;
    for (path, bytes) in mirrors {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match kic_redirect::mirrors(&path, &Source::new(format!("base:{path}"), text)) {
            Ok(found) => contents.redirects.mirrors.extend(found),
            Err(problem) => contents.redirects.problems.push((problem, span.clone())),
        }
    }
    Ok(contents)
}

/// The files that a plan applies, in its order, each with the layer and namespace.
fn applied(plan: &Json) -> Vec<(String, Arc<Applied>)> {
    let text = |value: &Json, key: &str| value.get(key).and_then(Json::as_str).map(str::to_owned);
    let mut applied = Vec::new();
    for step in plan.get("steps").and_then(Json::as_array).into_iter().flatten() {
        let Some(name) = text(step, "apply") else { continue };
        let kind = match text(step, "kind").as_deref() {
            Some("policies") => LayerKind::Policies,
            _ => LayerKind::Manifests,
        };
        let layer = Arc::new(Applied { layer: Arc::new((kind, name)), namespace: text(step, "namespace") });
        let files = step.get("files").and_then(Json::as_array).into_iter().flatten();
        applied.extend(files.filter_map(Json::as_str).map(|file| (file.to_owned(), layer.clone())));
    }
    applied
}

fn damaged(documents: &Documents<'_>, layer: &Descriptor, error: &std::io::Error) -> Diagnostics {
    documents
        .diagnostic(&code::INVALID_MANIFEST, format!("the layer {} is damaged: {error}", layer.digest))
        .help("compile the base again")
        .into()
}
