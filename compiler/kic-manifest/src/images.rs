use kic_base::{ImageReference, Span};

use crate::{Object, Yaml, YamlValue};

/// An image that a manifest names.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The image, written out in full.
    pub reference: ImageReference,
    /// The reference as the manifest writes it.
    pub written: String,
    /// Where it is written.
    pub span: Span,
    /// The object, such as `Deployment kyverno/kyverno`.
    pub object: String,
    /// The field, such as `spec.template.spec.containers[0].image`.
    pub path: String,
    /// The name of the container that runs it, where one does.
    pub container: Option<String>,
    /// How sure it is that the cluster will ask for it.
    pub confidence: Confidence,
    /// Why, in plain English.
    pub reason: String,
}

/// How sure it is that a find is an image that the cluster will ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// It may be: the author decides.
    Possible,
    /// It most likely is.
    Likely,
    /// It is.
    Certain,
}

/// Every image that the objects name, in the order of the text.
pub fn images(objects: &[Object]) -> Vec<Found> {
    let mut found = Vec::new();
    for object in objects {
        walk(object, &object.root, &mut String::new(), &mut found);
    }
    found
}

fn walk(object: &Object, node: &Yaml, path: &mut String, found: &mut Vec<Found>) {
    let length = path.len();
    match &node.value {
        YamlValue::Mapping(entries) => {
            for (key, value) in entries {
                let key = key.key();
                if key == "openAPIV3Schema" {
                    continue;
                }
                if length > 0 {
                    path.push('.');
                }
                path.push_str(&key);
                if matches!(&*key, "containers" | "initContainers" | "ephemeralContainers") {
                    containers(object, value, path, found);
                }
                walk(object, value, path, found);
                path.truncate(length);
            }
        }
        YamlValue::Sequence(items) => {
            for (place, item) in items.iter().enumerate() {
                path.push_str(&format!("[{place}]"));
                walk(object, item, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn containers(object: &Object, list: &Yaml, path: &str, found: &mut Vec<Found>) {
    for (place, container) in list.items().iter().enumerate() {
        let Some(image) = container.get("image") else { continue };
        let Some(written) = image.as_str() else { continue };
        let Ok(reference) = written.parse() else { continue };
        found.push(Found {
            reference,
            written: written.to_owned(),
            span: image.span.clone(),
            object: object.title(),
            path: format!("{path}[{place}].image"),
            container: container.get("name").and_then(Yaml::as_str).map(str::to_owned),
            confidence: Confidence::Certain,
            reason: "the image of a container in a pod spec".to_owned(),
        });
    }
}
