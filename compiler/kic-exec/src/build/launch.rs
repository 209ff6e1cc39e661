//! The layer with `kic/plan.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_graph::{BasePlan, Derivation, Graph, Launch, LaunchStep, NodeIndex, PlanImage};
use kic_oci::model::canonical_value;
use serde::Serialize;
use serde_json::Value as Json;

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

/// What is around them in the layer takes no more bytes.
const AROUND: u64 = 8 << 10;

/// Writes the plan, and the record of what the image was compiled from.
pub(crate) async fn build(
    graph: &Arc<Graph>,
    launch: &Launch,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
    context: &Context,
) -> Result<Packed, Diagnostics> {
    let bytes = plan_json(graph, launch, layers)?;
    let (settings, source) = (launch.settings, launch.source.clone());
    let size = bytes.len() + source.as_ref().map_or(0, |source| source.len());
    let store = context.store.clone();
    let write = move || {
        let mut layer = begin(&store, settings, 1)?;
        layer.expect(size as u64 + AROUND);
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

/// A plan, each part of which is canonical JSON already: most of it is only written down once.
#[derive(Default)]
struct Plan {
    steps: Vec<Vec<u8>>,
    /// By reference.
    images: BTreeMap<String, Vec<u8>>,
    registries: BTreeSet<Vec<u8>>,
}

// Their fields are in the order of canonical JSON.

#[derive(Serialize)]
struct Apply<'a> {
    apply: &'a str,
    files: &'a [String],
    kind: &'a str,
    layer: StepLayer<'a>,
    namespace: Option<&'a str>,
}

#[derive(Serialize)]
struct Wait<'a> {
    checks: String,
    layer: StepLayer<'a>,
    script: String,
    wait: &'a str,
}

#[derive(Serialize)]
struct Run<'a> {
    run: &'a str,
}

#[derive(Serialize)]
struct StepLayer<'a> {
    #[serde(rename = "diffId")]
    diff_id: &'a Digest,
    digest: &'a Digest,
}

#[derive(Serialize)]
struct Image<'a> {
    digest: &'a Digest,
    names: &'a [String],
    platforms: &'a [String],
    reference: &'a str,
    size: u64,
}

#[derive(Serialize)]
struct Cluster<'a> {
    name: &'a str,
    version: Option<&'a str>,
}

/// The plan as canonical JSON: the steps of the base first, then its own; the images of both, its own replacing those of the base
/// that have the same reference.
fn plan_json(
    graph: &Graph,
    launch: &Launch,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
) -> Result<Vec<u8>, Diagnostics> {
    let plan = plan(graph, launch, layers)?;
    let mut out = b"{\"cluster\":".to_vec();
    out.append(&mut json(&Cluster { name: &launch.name, version: launch.version.as_deref() })?);
    put_list(&mut out, "images", plan.images.values());
    put_list(&mut out, "registries", plan.registries.iter());
    put_list(&mut out, "steps", plan.steps.iter());
    out.extend_from_slice(b",\"version\":1}");
    Ok(out)
}

fn put_list<'a>(out: &mut Vec<u8>, name: &str, items: impl Iterator<Item = &'a Vec<u8>>) {
    out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.push(b']');
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Diagnostics> {
    serde_json::to_vec(value).map_err(|error| fault::internal(error.to_string()).into())
}

fn plan(
    graph: &Graph,
    launch: &Launch,
    layers: &BTreeMap<NodeIndex, LayerOutput>,
) -> Result<Plan, Diagnostics> {
    let mut plan = match &launch.base {
        BasePlan::None => Plan::default(),
        BasePlan::Json(base) => plan_of_base(base),
        BasePlan::Node(node) => match &graph.nodes[*node].derivation {
            Derivation::Launch(base) => plan(graph, base, layers)?,
            _ => return Err(fault::internal("a base plan that is none").into()),
        },
    };
    for step in &launch.steps {
        plan.steps.push(step_json(step, layers)?);
    }
    for PlanImage { reference, digest, names, platforms, size } in launch.images.iter() {
        let image = json(&Image { digest, names, platforms, reference: reference.as_str(), size: *size })?;
        plan.images.insert(reference.to_string(), image);
    }
    for host in &launch.registries {
        plan.registries.insert(json(host)?);
    }
    Ok(plan)
}

/// What a plan says that is in an image already.
fn plan_of_base(base: &Json) -> Plan {
    let list = |key: &str| base.get(key).and_then(Json::as_array).into_iter().flatten();
    let image = |image: &Json| {
        let reference = image.get("reference").and_then(Json::as_str).unwrap_or_default();
        (reference.to_owned(), canonical_value(image))
    };
    Plan {
        steps: list("steps").map(canonical_value).collect(),
        images: list("images").map(image).collect(),
        registries: list("registries").map(canonical_value).collect(),
    }
}

fn step_json(step: &LaunchStep, layers: &BTreeMap<NodeIndex, LayerOutput>) -> Result<Vec<u8>, Diagnostics> {
    let layer = |node: &NodeIndex| match layers.get(node) {
        Some(LayerOutput { digest, diff_id, .. }) => Ok(StepLayer { diff_id, digest }),
        None => Err(Diagnostics::from(fault::internal("a step before its layer"))),
    };
    match step {
        LaunchStep::Apply { kind, name, layer: node, files, namespace } => {
            json(&Apply { apply: name, files, kind, layer: layer(node)?, namespace: namespace.as_deref() })
        }
        LaunchStep::Wait { name, layer: node } => json(&Wait {
            checks: format!("readiness/{name}.json"),
            layer: layer(node)?,
            script: format!("scripts/wait-{name}.sh"),
            wait: name,
        }),
        LaunchStep::Run(command) => json(&Run { run: command }),
    }
}
