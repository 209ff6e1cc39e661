//! The layer with `kic/plan.json`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_diag::Diagnostics;
use kic_graph::{BasePlan, Derivation, Graph, Launch, LaunchStep, NodeIndex};
use serde_json::{Value as Json, json};

use super::tree::{Packed, begin, finish, layer_error};
use crate::context::Context;
use crate::fault;
use crate::realised::LayerOutput;

/// The path of the plan in the image.
pub const PLAN_PATH: &str = "kic/plan.json";

/// The path of what the image was compiled from, where that is recorded.
pub const SOURCE_PATH: &str = "kic/source.json";

/// Plans and records of so many bytes are packed at once.
const SMALL: usize = 64 << 10;

/// Writes the plan, and the record of what the image was compiled from.
pub(crate) async fn build(
    graph: &Arc<Graph>,
    launch: &Launch,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
    context: &Context,
) -> Result<Packed, Diagnostics> {
    let plan = plan_json(graph, launch, layers)?;
    let bytes = kic_oci::model::canonical_value(&plan);
    let (settings, source) = (launch.settings, launch.source.clone());
    let size = bytes.len() + source.as_ref().map_or(0, |source| source.len());
    let store = context.store.clone();
    let write = move || {
        let mut layer = begin(&store, settings, 1)?;
        layer
            .file(PLAN_PATH, 0o644, bytes.len() as u64, &mut bytes.as_slice())
            .map_err(|error| layer_error(error, None))?;
        if let Some(source) = &source {
            layer
                .file(SOURCE_PATH, 0o644, source.len() as u64, &mut &source[..])
                .map_err(|error| layer_error(error, None))?;
        }
        finish(layer, settings.compression)
    };
    // What is small is packed sooner than another thread is woken.
    if size <= SMALL { write() } else { context.blocking(write).await }
}

/// The plan: the steps of the base first, then its own; the images of both, its own replacing those of the base
/// that have the same reference.
pub(crate) fn plan_json(
    graph: &Graph,
    launch: &Launch,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
) -> Result<Json, Diagnostics> {
    let base = match &launch.base {
        BasePlan::None => None,
        BasePlan::Json(plan) => Some(plan.clone()),
        BasePlan::Node(node) => match &graph.nodes[*node].derivation {
            Derivation::Launch(base) => Some(plan_json(graph, base, layers)?),
            _ => return Err(fault::internal("a base plan that is none").into()),
        },
    };
    let list = |key: &str| -> Vec<Json> {
        base.as_ref().and_then(|base| base.get(key)).and_then(Json::as_array).cloned().unwrap_or_default()
    };
    let mut steps = list("steps");
    for step in &launch.steps {
        steps.push(step_json(step, layers)?);
    }
    let mut images: BTreeMap<String, Json> = BTreeMap::new();
    for image in list("images") {
        let reference = image.get("reference").and_then(Json::as_str).unwrap_or_default().to_owned();
        images.insert(reference, image);
    }
    for image in &launch.images {
        images.insert(
            image.reference.clone(),
            json!({
                "reference": image.reference, "digest": image.digest, "names": image.names,
                "platforms": image.platforms, "size": image.size,
            }),
        );
    }
    let mut registries = list("registries");
    registries.extend(launch.registries.iter().map(|host| Json::String(host.clone())));
    registries.sort_by_key(Json::to_string);
    registries.dedup();
    Ok(json!({
        "version": 1,
        "cluster": { "name": launch.name, "version": launch.version },
        "steps": steps,
        "images": images.into_values().collect::<Vec<_>>(),
        "registries": registries,
    }))
}

fn step_json(step: &LaunchStep, layers: &BTreeMap<NodeIndex, LayerOutput>) -> Result<Json, Diagnostics> {
    let layer = |node: &NodeIndex| match layers.get(node) {
        Some(output) => Ok(json!({ "digest": output.digest, "diffId": output.diff_id })),
        None => Err(Diagnostics::from(fault::internal("a step before its layer"))),
    };
    Ok(match step {
        LaunchStep::Apply { kind, name, layer: node, files, namespace } => json!({
            "apply": name, "kind": kind, "files": files, "namespace": namespace, "layer": layer(node)?,
        }),
        LaunchStep::Wait { name, layer: node } => json!({
            "wait": name, "checks": format!("readiness/{name}.json"), "script": format!("scripts/wait-{name}.sh"),
            "layer": layer(node)?,
        }),
        LaunchStep::Run(command) => json!({ "run": command }),
    })
}
