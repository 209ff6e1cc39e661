//! `readiness` and its checks.

use super::{AFTER, NAMESPACE, TIMEOUT, argument, defaulting, property, required, some};
use crate::schema::{Children, Literal, NodeSchema, Occurs, Type};

pub(super) static READINESS: NodeSchema = NodeSchema {
    name: "readiness",
    doc: "A layer of checks that say when the cluster is ready, made in order.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[
        defaulting(
            "timeout",
            Type::Duration,
            Literal::Text("5m"),
            "The time limit of each check that has none of its own.",
        ),
        AFTER,
    ],
    children: Children::Nodes(&[
        &ROLLOUT,
        &CONDITION,
        &EXISTS,
        &ESTABLISHED,
        &JSONPATH,
        &NODES,
        &ENDPOINTS,
        &WEBHOOK,
        &ADMITS,
        &POLICY,
        &HTTP,
        &COMMAND,
    ]),
    occurs: Occurs::Many,
    example: "readiness \"shop\" timeout=\"5m\" {\n    rollout \"deployment/shop\" namespace=\"shop\"\n}",
};

static ROLLOUT: NodeSchema = NodeSchema {
    name: "rollout",
    doc: "Waits until a Deployment, DaemonSet or StatefulSet is rolled out.",
    arguments: &[argument("RESOURCE", Type::Resource, "What to wait for.")],
    properties: &[NAMESPACE, TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "rollout \"deployment/shop\" namespace=\"shop\"",
};

static CONDITION: NodeSchema = NodeSchema {
    name: "condition",
    doc: "Waits until a condition in an object's status has a value.",
    arguments: &[
        argument("RESOURCE", Type::Resource, "What to wait for."),
        argument("CONDITION", Type::Text, "The condition's type."),
    ],
    properties: &[defaulting("status", Type::Text, Literal::Text("True"), "The value."), NAMESPACE, TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "condition \"node/master\" \"Ready\"",
};

static EXISTS: NodeSchema = NodeSchema {
    name: "exists",
    doc: "Waits until an object exists.",
    arguments: &[argument("RESOURCE", Type::Resource, "What to wait for.")],
    properties: &[NAMESPACE, TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "exists \"secret/tls\" namespace=\"shop\"",
};

static ESTABLISHED: NodeSchema = NodeSchema {
    name: "established",
    doc: "Waits until custom resource definitions are established.",
    arguments: &[some("CRD", Type::Text, "The name of a definition.")],
    properties: &[TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "established \"clusterpolicies.kyverno.io\"",
};

static JSONPATH: NodeSchema = NodeSchema {
    name: "jsonpath",
    doc: "Waits until a field of an object has a value.",
    arguments: &[
        argument("RESOURCE", Type::Resource, "What to wait for."),
        argument("PATH", Type::Text, "A kubectl JSONPath, such as `{.status.ready}`."),
    ],
    properties: &[required("equals", Type::Text, "The value."), NAMESPACE, TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "jsonpath \"clusterpolicy/redirect\" \"{.status.ready}\" equals=\"true\"",
};

static NODES: NodeSchema = NodeSchema {
    name: "nodes",
    doc: "Waits until all nodes of the cluster are ready, and so many are there.",
    arguments: &[],
    properties: &[
        defaulting("count", Type::Count, Literal::Number(1), "The least number of nodes."),
        TIMEOUT,
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "nodes count=3",
};

static ENDPOINTS: NodeSchema = NodeSchema {
    name: "endpoints",
    doc: "Waits until a service has addresses of pods that are ready.",
    arguments: &[argument("SERVICE", Type::Name, "The name of the service.")],
    properties: &[
        defaulting("count", Type::Count, Literal::Number(1), "The least number of addresses."),
        NAMESPACE,
        TIMEOUT,
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "endpoints \"shop\" namespace=\"shop\"",
};

static WEBHOOK: NodeSchema = NodeSchema {
    name: "webhook",
    doc: "Waits until the API server can call every webhook of a configuration: its certificate authority is known, and its service has an address that is ready.",
    arguments: &[argument(
        "CONFIGURATION",
        Type::Resource,
        "`validatingwebhookconfiguration/NAME` or `mutatingwebhookconfiguration/NAME`.",
    )],
    properties: &[TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "webhook \"validatingwebhookconfiguration/cert-manager-webhook\"",
};

static ADMITS: NodeSchema = NodeSchema {
    name: "admits",
    doc: "Waits until the API server would take an object: a dry run of its creation, which every admission webhook for it must answer. Nothing is created.",
    arguments: &[argument("KIND", Type::Kind, "`VERSION/KIND` or `GROUP/VERSION/KIND`.")],
    properties: &[
        required("name", Type::Text, "Its name; one that no object of the cluster has."),
        property("namespace", Type::Name, "Its namespace."),
        TIMEOUT,
    ],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "admits \"v1/ConfigMap\" name=\"trial\" namespace=\"shop\"",
};

static POLICY: NodeSchema = NodeSchema {
    name: "policy",
    doc: "Waits until the engine says of a policy that it is ready; of every policy, where only a kind is named.",
    arguments: &[argument("RESOURCE", Type::Resource, "The policy, or the kind.")],
    properties: &[NAMESPACE, TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "policy \"clusterpolicies.kyverno.io\"",
};

static HTTP: NodeSchema = NodeSchema {
    name: "http",
    doc: "Waits until a URL answers with a status.",
    arguments: &[argument("URL", Type::Url, "What to ask.")],
    properties: &[
        defaulting("status", Type::HttpStatus, Literal::Number(200), "The status."),
        defaulting("insecure", Type::Bool, Literal::Bool(false), "Whether any TLS certificate will do."),
        TIMEOUT,
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "http \"https://sea.hub:5000/v2/\" insecure=#true",
};

static COMMAND: NodeSchema = NodeSchema {
    name: "command",
    doc: "Waits until a shell command succeeds.",
    arguments: &[argument("COMMAND", Type::Text, "The command, as `sh -c` takes it.")],
    properties: &[TIMEOUT],
    children: Children::None,
    occurs: Occurs::Many,
    example: "command \"test -f /etc/kubernetes/admin.conf\"",
};
