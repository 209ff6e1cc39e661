//! What a layer is made from.

use kic_base::Digest;
use kic_graph::{
    BasePlan, ContentFacts, Derivation, Graph, Launch, LaunchStep, LayerSettings, NodeIndex, TreeEntryKind,
    compression_name,
};

use super::PackedInputs;
use crate::input_value::InputValue;

/// All that enters the digest of a derivation.
pub(super) fn packed(graph: &Graph, derivation: &Derivation) -> PackedInputs {
    let mut packed = PackedInputs::default();
    match derivation {
        Derivation::Blob(content) => packed.add("bytes", &value(content)),
        Derivation::CachedBlob { settings, path, content } => {
            add_settings(&mut packed, settings);
            packed.add(&format!("/{path}"), &value(content));
        }
        Derivation::Tree { settings, entries } => {
            add_settings(&mut packed, settings);
            packed.reserve_files(entries.iter().map(|entry| entry.path.len()));
            for entry in entries.iter() {
                let value = match &entry.kind {
                    TreeEntryKind::File { mode, content, .. } => {
                        packed.file(&entry.path, *mode, content);
                        continue;
                    }
                    TreeEntryKind::Symlink(target) => InputValue::Link(target.clone()),
                    TreeEntryKind::Folder { mode } => InputValue::Folder(*mode),
                };
                packed.add(&format!("/{}", entry.path), &value);
            }
        }
        Derivation::Launch(launch) => add_launch(&mut packed, graph, launch),
    }
    packed
}

fn value(content: &ContentFacts) -> InputValue {
    InputValue::Content { digest: content.digest, size: content.size }
}

fn content(bytes: &[u8]) -> InputValue {
    InputValue::Content { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn add_settings(packed: &mut PackedInputs, settings: &LayerSettings) {
    packed.text("encoder epoch", settings.epoch.number().to_string());
    packed.text("time of files", kic_exec::rfc3339(settings.mtime));
    packed.text("compression", compression_name(settings.compression));
}

fn add_launch(packed: &mut PackedInputs, graph: &Graph, launch: &Launch) {
    let layer = |node: NodeIndex| InputValue::Layer { derivation: graph.nodes[node].digest, digest: None };
    add_settings(packed, &launch.settings);
    packed.text("name", &launch.name);
    packed.text("version", launch.version.clone().unwrap_or_default());
    packed.add("registries", &InputValue::List(launch.registries.clone()));
    if let Some(source) = &launch.source {
        packed.add("recorded source", &content(source));
    }
    match &launch.base {
        BasePlan::None => {}
        BasePlan::Json(plan) => packed.add("plan of the base", &content(plan.to_string().as_bytes())),
        BasePlan::Node(node) => packed.add("plan of the base", &layer(*node)),
    }
    for (index, step) in launch.steps.iter().enumerate() {
        let place = format!("step {}", index + 1);
        match step {
            LaunchStep::Apply { kind, name, layer: node, files, namespace } => {
                let namespace =
                    namespace.as_ref().map(|name| format!(", namespace {name}")).unwrap_or_default();
                packed.text(&place, format!("apply {name}{namespace}"));
                // Their paths stand with the layer: what only this layer is made from is their order.
                let (count, digest) = (files.len() as u64, Digest::of(files.join("\n").as_bytes()));
                packed.add(&format!("files of {kind} {name}"), &InputValue::Several { count, digest });
                packed.add(&format!("layer {kind} {name}"), &layer(*node));
            }
            LaunchStep::Wait { name, layer: node } => {
                packed.text(&place, format!("wait {name}"));
                packed.add(&format!("layer readiness {name}"), &layer(*node));
            }
            LaunchStep::Run(command) => packed.text(&place, format!("run {command}")),
        }
    }
    for image in launch.images.iter() {
        let (platforms, names) = (image.platforms.clone(), image.names.clone());
        let value = InputValue::Image { digest: image.digest, platforms, names };
        packed.add(&format!("image {}", image.reference), &value);
    }
}
