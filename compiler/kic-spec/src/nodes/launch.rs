//! `launch` and its steps.

use super::argument;
use crate::schema::{Children, NodeSchema, Occurs, Type};

pub(super) static LAUNCH: NodeSchema = NodeSchema {
    name: "launch",
    doc: "The ordered steps of a start. Left out, they follow from the layers: manifests, their readiness, policies, theirs. Where only modules say steps, the rest follows them.",
    arguments: &[],
    properties: &[],
    children: Children::Nodes(&[&APPLY, &WAIT, &RUN, &REST]),
    occurs: Occurs::Optional,
    example: "launch {\n    apply \"shop\"\n    wait \"shop\"\n}",
};

static APPLY: NodeSchema = NodeSchema {
    name: "apply",
    doc: "Applies the objects of a manifests or policies layer.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "apply \"shop\"",
};

static WAIT: NodeSchema = NodeSchema {
    name: "wait",
    doc: "Waits until the checks of a readiness layer pass.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "wait \"shop\"",
};

static RUN: NodeSchema = NodeSchema {
    name: "run",
    doc: "Runs a shell command on the first control-plane machine.",
    arguments: &[argument("COMMAND", Type::Text, "The command, as `sh -c` takes it.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "run \"kubectl run nginx --image=nginx:latest\"",
};

static REST: NodeSchema = NodeSchema {
    name: "rest",
    doc: "The steps of all layers that no other step names, as they would be without `launch`.",
    arguments: &[],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "rest",
};
