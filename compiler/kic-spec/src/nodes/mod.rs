//! Every node of the language, declared once.

mod control;
mod files;
mod image;
mod launch;
mod manifests;
mod readiness;
mod registry;

use crate::schema::{Argument, Children, Count, Literal, NodeSchema, Occurs, Property, Type};
pub use control::MODULE;
pub(crate) use control::{DOC, EXAMPLE, FAIL, FOR, LET, PARAM, USE, WHEN};
use files::FILES;
use image::{BASE, COMPRESSION, LABEL, PLATFORM};
use launch::LAUNCH;
use manifests::{MANIFESTS, POLICIES};
use readiness::READINESS;
use registry::REGISTRY;

const fn argument(name: &'static str, value: Type, doc: &'static str) -> Argument {
    Argument { name, value, count: Count::One, doc }
}

const fn some(name: &'static str, value: Type, doc: &'static str) -> Argument {
    Argument { name, value, count: Count::Some, doc }
}

const fn optional(name: &'static str, value: Type, doc: &'static str) -> Argument {
    Argument { name, value, count: Count::Optional, doc }
}

const fn any(name: &'static str, value: Type, doc: &'static str) -> Argument {
    Argument { name, value, count: Count::Any, doc }
}

const fn property(name: &'static str, value: Type, doc: &'static str) -> Property {
    Property { name, value, required: false, default: None, doc }
}

const fn required(name: &'static str, value: Type, doc: &'static str) -> Property {
    Property { name, value, required: true, default: None, doc }
}

const fn defaulting(name: &'static str, value: Type, default: Literal, doc: &'static str) -> Property {
    Property { name, value, required: false, default: Some(default), doc }
}

const NAMESPACE: Property =
    property("namespace", Type::Name, "The namespace to look in; the default one when left out.");
const TIMEOUT: Property =
    property("timeout", Type::Duration, "How long to wait; the layer's timeout when left out.");
const AFTER: Property =
    property("after", Type::Name, "The name of a layer that must be built, and launched, before this one.");

const MODE: Property = defaulting("mode", Type::Mode, Literal::Text("0644"), "Its permission bits.");

/// The root of a spec.
pub static CLUSTER: NodeSchema = NodeSchema {
    name: "cluster",
    doc: "Describes one cluster image.",
    arguments: &[argument("NAME", Type::Name, "The name of the cluster image.")],
    properties: &[property(
        "version",
        Type::Version,
        "Its version, which is the tag of the image; `latest` when left out.",
    )],
    children: Children::Nodes(&[
        &PLATFORM,
        &BASE,
        &LABEL,
        &COMPRESSION,
        &FILES,
        &MANIFESTS,
        &REGISTRY,
        &POLICIES,
        &READINESS,
        &LAUNCH,
    ]),
    occurs: Occurs::Once,
    example: "cluster \"shop\" version=\"v1\" {\n    base scratch\n}",
};

/// Nodes that are gone when the spec is evaluated, for the reference and for messages.
pub static CONTROL: &[&NodeSchema] = &[&MODULE, &DOC, &EXAMPLE, &PARAM, &USE, &LET, &WHEN, &FOR, &FAIL];

/// The node that one of that name may stand in, where there is one besides the cluster.
pub(crate) fn parent_of(name: &str) -> Option<&'static NodeSchema> {
    let Children::Nodes(layers) = CLUSTER.children else { return None };
    layers.iter().copied().find(|layer| match layer.children {
        Children::Nodes(nodes) => nodes.iter().any(|node| node.name == name),
        _ => false,
    })
}
