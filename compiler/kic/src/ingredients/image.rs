//! What an image is made from beside its layers.

use kic_base::{Digest, Platform, StableHasher};
use kic_exec::{annotations, config_without_layers};
use kic_graph::{Graph, PlatformImage};
use kic_oci::model::canonical_json;
use serde_json::Value as Json;

use super::PackedInputs;
use crate::input_value::InputValue;

/// A value of a configuration that takes more bytes than this is kept by its digest. A stranger may have made it.
const LONG: usize = 1024;

/// All that enters the image of a platform, but its layers and their order.
pub(super) fn packed(graph: &Graph, platform: &Platform, image: &PlatformImage) -> PackedInputs {
    let mut packed = PackedInputs::default();
    for (name, value) in annotations(graph, image) {
        add(&mut packed, &format!("annotation {name}"), value);
    }
    add_layer_annotations(&mut packed, image);
    // Where it cannot be made, there is no image either.
    let Ok(mut config) = config_without_layers(graph, platform, image) else { return packed };
    for (name, value) in std::mem::take(&mut config.config.labels) {
        add(&mut packed, &format!("label {name}"), value);
    }
    let history = std::mem::take(&mut config.history);
    if !history.is_empty() {
        let (count, digest) = (history.len() as u64, Digest::of(&canonical_json(&history)));
        packed.add("history of the base", &InputValue::Several { count, digest });
    }
    let Ok(Json::Object(members)) = serde_json::to_value(&config) else { return packed };
    for (name, value) in members {
        match (name.as_str(), value) {
            // The first one is an annotation, too, and the second one are the layers.
            ("created" | "rootfs", _) => {}
            ("config", Json::Object(members)) => {
                members.into_iter().for_each(|(name, value)| add(&mut packed, &name, text(value)));
            }
            (_, value) => add(&mut packed, &name, text(value)),
        }
    }
    packed
}

/// What the layers of a base are annotated with there.
fn add_layer_annotations(packed: &mut PackedInputs, image: &PlatformImage) {
    let annotated: Vec<_> = image.layers.iter().filter(|layer| !layer.annotations.is_empty()).collect();
    if annotated.is_empty() {
        return;
    }
    let mut hasher = StableHasher::new();
    hasher.list(&annotated, |hasher, layer| {
        hasher.list(&layer.annotations, |hasher, (name, value)| {
            hasher.text(name).text(value);
        });
    });
    let value = InputValue::Several { count: annotated.len() as u64, digest: hasher.finish() };
    packed.add("annotations of layers of the base", &value);
}

fn add(packed: &mut PackedInputs, input: &str, value: String) {
    let value = if value.len() > LONG {
        InputValue::Content { digest: Digest::of(value.as_bytes()), size: value.len() as u64 }
    } else {
        InputValue::Text(value)
    };
    packed.add(input, &value);
}

fn text(value: Json) -> String {
    match value {
        Json::String(text) => text,
        other => other.to_string(),
    }
}
