//! Whether the plan and the annotations of an image say what the image is.

use kic_base::Digest;
use kic_graph::{DERIVATION_ANNOTATION, KIND_ANNOTATION, NAME_ANNOTATION, REGISTRY_ROOT};
use kic_oci::model::Descriptor;
use kic_oci::validate::ExaminedImage;
use serde_json::Value as Json;

use super::contents::{Contents, File, PLAN};
use super::findings::Findings;
use super::tree::Overlay;

/// The plan of an image; `None` where kic did not build it.
pub(super) fn plan(overlay: &Overlay, findings: &mut Findings) -> Option<Json> {
    let Some(File::Plan(bytes)) = overlay.files.get(PLAN) else { return None };
    let plan = serde_json::from_slice::<Json>(bytes);
    let plan = plan.ok().filter(|plan| plan.get("version").and_then(Json::as_u64) == Some(1));
    if plan.is_none() {
        findings.plan(format!("`{PLAN}` is no plan of a version that this kic knows"));
    }
    plan
}

/// Checks that every step finds its layer and its files. Returns how many steps there are.
pub(super) fn check_plan(
    image: &ExaminedImage,
    overlay: &Overlay,
    plan: &Json,
    findings: &mut Findings,
) -> usize {
    if let Some(title) = image.manifest.annotations.get("org.opencontainers.image.title") {
        let name = plan.pointer("/cluster/name").and_then(Json::as_str);
        if name != Some(title) {
            findings
                .plan(format!("the image is called `{title}`, and its plan `{}`", name.unwrap_or_default()));
        }
    }
    let steps = plan.get("steps").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    for (index, step) in steps.iter().enumerate() {
        let number = index + 1;
        let text = |key: &str| step.get(key).and_then(Json::as_str);
        if let Some(layer) = step.get("layer") {
            check_layer(image, number, layer, findings);
        }
        let files = step.get("files").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for file in files.chain(text("checks")).chain(text("script")) {
            if !overlay.files.contains_key(file) {
                findings
                    .plan(format!("step {number} of the plan needs `{file}`, which the image does not have"));
            }
        }
        if text("apply").or(text("wait")).or(text("run")).is_none() {
            findings.plan(format!("step {number} of the plan neither applies, nor waits, nor runs anything"));
        }
    }
    steps.len()
}

fn check_layer(image: &ExaminedImage, number: usize, layer: &Json, findings: &mut Findings) {
    let digest =
        |key: &str| layer.get(key).and_then(Json::as_str).and_then(|text| text.parse::<Digest>().ok());
    let wanted = digest("digest");
    let place = image.manifest.layers.iter().position(|own| Some(own.digest) == wanted);
    let Some(place) = place else {
        let wanted = wanted.map_or_else(|| "no layer".to_owned(), |wanted| wanted.to_string());
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

/// Checks that a layer has what its annotations say. Layers without any are those of a base.
pub(super) fn check_annotations(layer: &Descriptor, contents: &Contents, findings: &mut Findings) {
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
        "base" | "files" => true,
        // A layer that holds nothing is told when it is compiled.
        _ if contents.entries == 0 => true,
        "manifests" | "policies" => has(&|path| path.starts_with(&format!("{kind}/{name}/"))),
        "readiness" => has(&|path| path == format!("readiness/{name}.json")),
        "registry-cache" => match name.parse::<Digest>() {
            Ok(digest) => blob(digest),
            Err(_) => has(&|path| path.starts_with(REGISTRY_ROOT)),
        },
        "registry-catalogue" => has(&|path| path.starts_with(REGISTRY_ROOT)),
        "launch" => has(&|path| path == PLAN),
        // Of a newer kic.
        _ => true,
    };
    if !is_right {
        findings.plan(format!("the layer {short} is annotated as {kind} `{name}`, and has no files of that"));
    }
}
