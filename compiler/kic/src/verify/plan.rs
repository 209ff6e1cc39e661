//! Whether the plan and the annotations of an image say what the image is.

use kic_base::Digest;
use kic_graph::{DERIVATION_ANNOTATION, KIND_ANNOTATION, NAME_ANNOTATION, REGISTRY_ROOT};
use kic_oci::model::Descriptor;
use kic_oci::validate::ExaminedImage;
use serde_json::Value as Json;

use super::contents::{Contents, File, PLAN};
use super::findings::Findings;
use super::tree::Overlay;

/// The annotation of an image with the name of its cluster.
const TITLE: &str = "org.opencontainers.image.title";

/// The plan of an image; `None` where kic did not build it, or there is none that can be read.
pub(super) fn plan(image: &ExaminedImage, overlay: &Overlay, findings: &mut Findings) -> Option<Json> {
    let bytes = match overlay.files.get(PLAN) {
        Some(File::Plan(bytes)) => bytes,
        Some(_) => {
            findings.plan(format!("`{PLAN}` is no file of at most 64 MiB"));
            return None;
        }
        None => {
            if image.manifest.layers.iter().any(|layer| layer.annotations.contains_key(KIND_ANNOTATION)) {
                findings.plan(format!("kic compiled the image, its annotations say, and it has no `{PLAN}`"));
            }
            return None;
        }
    };
    match serde_json::from_slice::<Json>(bytes) {
        Err(error) => findings.plan(format!("`{PLAN}` is no JSON: {error}")),
        Ok(plan) if plan.get("version").and_then(Json::as_u64) == Some(1) => return Some(plan),
        Ok(plan) if plan.get("version").is_none() => findings.plan(format!("`{PLAN}` has no `version`")),
        Ok(_) => findings.plan(format!("`{PLAN}` is no plan of a version that this kic knows")),
    }
    None
}

/// Checks that the plan has all its members, and that every step finds its layer and its files. Returns how many steps there are.
pub(super) fn check_plan(
    image: &ExaminedImage,
    overlay: &Overlay,
    plan: &Json,
    findings: &mut Findings,
) -> usize {
    for member in ["images", "registries", "steps"] {
        if !plan.get(member).is_some_and(Json::is_array) {
            findings.plan(format!("the plan has no list `{member}`"));
        }
    }
    match (plan.pointer("/cluster/name").and_then(Json::as_str), image.manifest.annotations.get(TITLE)) {
        (None, _) => findings.plan("the plan does not say what the cluster is called".to_owned()),
        (Some(name), Some(title)) if name != title => {
            findings.plan(format!("the image is called `{title}`, and its plan `{name}`"));
        }
        _ => {}
    }
    let steps = plan.get("steps").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    for (index, step) in steps.iter().enumerate() {
        check_step(image, overlay, index + 1, step, findings);
    }
    steps.len()
}

fn check_step(image: &ExaminedImage, overlay: &Overlay, number: usize, step: &Json, findings: &mut Findings) {
    let text = |key: &str| step.get(key).and_then(Json::as_str);
    let needed: &[&str] = match (text("apply"), text("wait"), text("run")) {
        (Some(_), ..) => &["layer", "files"],
        (_, Some(_), _) => &["layer", "checks", "script"],
        (.., Some(_)) => &[],
        _ => {
            return findings
                .plan(format!("step {number} of the plan neither applies, nor waits, nor runs anything"));
        }
    };
    for member in needed {
        if step.get(member).is_none() {
            findings.plan(format!("step {number} of the plan has no `{member}`"));
        }
    }
    if let Some(layer) = step.get("layer") {
        check_layer(image, number, layer, findings);
        let kind_and_name = match (text("kind"), text("apply"), text("wait")) {
            (Some(kind), Some(name), _) => Some((kind, name)),
            (.., Some(name)) => Some(("readiness", name)),
            _ => None,
        };
        if let Some(wanted) = kind_and_name {
            check_name(image, number, layer, wanted, findings);
        }
    }
    let files = step.get("files").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    for file in files.chain(text("checks")).chain(text("script")) {
        if !overlay.files.contains_key(file) {
            findings.plan(format!("step {number} of the plan needs `{file}`, which the image does not have"));
        }
    }
}

fn check_layer(image: &ExaminedImage, number: usize, layer: &Json, findings: &mut Findings) {
    let digest =
        |key: &str| layer.get(key).and_then(Json::as_str).and_then(|text| text.parse::<Digest>().ok());
    let Some(wanted) = digest("digest") else {
        return findings.plan(format!("step {number} of the plan does not say the digest of its layer"));
    };
    let Some(place) = image.manifest.layers.iter().position(|own| own.digest == wanted) else {
        return findings
            .plan(format!("step {number} of the plan names {wanted}, which is no layer of the image"));
    };
    let own = image.config.as_ref().and_then(|config| config.rootfs.diff_ids.get(place));
    if own.is_some() && own != digest("diffId").as_ref() {
        findings.plan(format!(
            "step {number} of the plan names another `diffId` of its layer than the configuration"
        ));
    }
}

/// Checks that the layer of a step is annotated as what the step takes it for.
fn check_name(
    image: &ExaminedImage,
    number: usize,
    layer: &Json,
    (kind, name): (&str, &str),
    findings: &mut Findings,
) {
    let wanted = layer.get("digest").and_then(Json::as_str).and_then(|text| text.parse::<Digest>().ok());
    let annotated = |own: &Descriptor| {
        let annotation = |name: &str| own.annotations.get(name).cloned();
        Some((annotation(KIND_ANNOTATION)?, annotation(NAME_ANNOTATION).unwrap_or_default()))
    };
    let own = image.manifest.layers.iter().filter(|own| Some(own.digest) == wanted).filter_map(annotated);
    let own: Vec<(String, String)> = own.collect();
    // Two layers that hold nothing have one digest.
    if let Some((own_kind, own_name)) = own.first()
        && !own.iter().any(|(own_kind, own_name)| own_kind == kind && own_name == name)
    {
        findings.plan(format!(
            "step {number} of the plan is for {kind} `{name}`, and its layer is annotated as {own_kind} `{own_name}`"
        ));
    }
}

/// Checks that a layer has what its annotations say. Layers without any are those of a base.
pub(super) fn check_annotations(
    layer: &Descriptor,
    contents: &Contents,
    overlay: &Overlay,
    findings: &mut Findings,
) {
    let annotation = |name: &str| layer.annotations.get(name).map(String::as_str);
    let Some(kind) = annotation(KIND_ANNOTATION) else { return };
    let name = annotation(NAME_ANNOTATION).unwrap_or_default();
    let short = layer.digest.short();
    if annotation(DERIVATION_ANNOTATION).is_none_or(|text| text.parse::<Digest>().is_err()) {
        findings.plan(format!("the {kind} layer `{name}` ({short}) does not say which derivation gave it"));
    }
    let has = |test: &dyn Fn(&str) -> bool| contents.files.keys().any(|path| test(path));
    let blob = |digest: Digest| {
        let hex = digest.hex();
        has(&|path| path == format!("{REGISTRY_ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2]))
    };
    let is_right = match kind {
        // Which files such a layer has, nothing says.
        "base" | "files" => true,
        // That there is no plan at all was told.
        "launch" => has(&|path| path == PLAN) || !overlay.files.contains_key(PLAN),
        // A layer that holds nothing is told when it is compiled.
        _ if contents.entries == 0 => true,
        "manifests" | "policies" => has(&|path| path.starts_with(&format!("{kind}/{name}/"))),
        "readiness" => has(&|path| path == format!("readiness/{name}.json")),
        "registry-cache" => match name.parse::<Digest>() {
            Ok(digest) => blob(digest),
            Err(_) => has(&|path| path.starts_with(REGISTRY_ROOT)),
        },
        "registry-catalogue" => has(&|path| path.starts_with(REGISTRY_ROOT)),
        // Of a newer kic.
        _ => true,
    };
    if !is_right {
        findings.plan(format!("the layer {short} is annotated as {kind} `{name}`, and has no files of that"));
    }
}
