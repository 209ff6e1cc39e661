//! What `kic compile --explain` says to machines.

use kic::{Explanation, GoneLayer, InputChange, InputValue, NamedLayer, ParameterChange, Reason};
use serde_json::{Map, Value, json};

/// Why a layer was built or reused, or what became of the image.
pub fn reason(reason: &Reason) -> Value {
    match reason {
        Reason::Unchanged => json!({ "why": "unchanged" }),
        Reason::Gone => json!({ "why": "gone-from-store" }),
        Reason::FirstCompile => json!({ "why": "first-compile" }),
        Reason::New { needed_for, files_were_in, changes: also } => json!({
            "why": "new", "neededFor": needed_for, "filesWereIn": layers(files_were_in), "changes": changes(also),
        }),
        Reason::Changed(found) => json!({ "why": "changed", "changes": changes(found) }),
    }
}

/// Adds what became of the image to what a compile says.
pub fn add_explanation(object: &mut Map<String, Value>, explanation: &Explanation) {
    let gone = |gone: &GoneLayer| {
        json!({
            "platform": gone.platform, "kind": gone.layer.kind, "name": gone.layer.name,
            "filesNowIn": layers(&gone.files_now_in), "changes": changes(&gone.changes),
        })
    };
    let parameter = |one: &ParameterChange| json!({ "name": one.name, "wasGiven": one.was_given, "isGiven": one.is_given });
    object.insert("parameters".to_owned(), explanation.parameters.iter().map(parameter).collect());
    object.insert("image".to_owned(), reason(&explanation.image));
    object.insert("gone".to_owned(), explanation.gone.iter().map(gone).collect());
}

fn layers(layers: &[NamedLayer]) -> Vec<Value> {
    layers.iter().map(layer).collect()
}

fn layer(layer: &NamedLayer) -> Value {
    json!({ "kind": layer.kind, "name": layer.name })
}

fn changes(changes: &[InputChange]) -> Vec<Value> {
    changes.iter().map(change).collect()
}

fn change(change: &InputChange) -> Value {
    let (from, to) = (change.from.as_ref().map(value), change.to.as_ref().map(value));
    let mut json = json!({ "input": change.input, "source": change.source, "from": from, "to": to });
    if let Some(object) = json.as_object_mut() {
        if let Some(elsewhere) = &change.elsewhere {
            let key = if change.to.is_some() { "movedFrom" } else { "movedTo" };
            object.insert(key.to_owned(), layer(elsewhere));
        }
        if let Some(platform) = &change.platform {
            object.insert("platform".to_owned(), json!(platform));
        }
    }
    json
}

fn value(value: &InputValue) -> Value {
    let mut json = match value {
        InputValue::File { digest, size, mode } => {
            json!({ "type": "file", "digest": digest, "size": size, "mode": octal(*mode) })
        }
        InputValue::Content { digest, size } => json!({ "type": "content", "digest": digest, "size": size }),
        InputValue::Link(target) => json!({ "type": "link", "target": target }),
        InputValue::Folder(mode) => json!({ "type": "folder", "mode": octal(*mode) }),
        InputValue::Layer { derivation, digest } => {
            json!({ "type": "layer", "derivation": derivation, "digest": digest })
        }
        InputValue::Image { digest, platforms, names } => {
            json!({ "type": "image", "digest": digest, "platforms": platforms, "names": names })
        }
        InputValue::Several { count, digest } => {
            json!({ "type": "several", "count": count, "digest": digest })
        }
        InputValue::List(list) => json!({ "type": "list", "list": list }),
        InputValue::Text(_) => json!({ "type": "text" }),
    };
    if let Some(object) = json.as_object_mut() {
        object.insert("text".to_owned(), json!(value.to_string()));
    }
    json
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}
