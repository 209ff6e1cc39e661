//! The checks of a `readiness` layer: what must hold before the cluster counts as ready.

/// One thing that must hold, and how long it may take until it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub what: CheckKind,
    /// How long it may take, in seconds from the moment when the check's turn comes. It is tried at least once.
    pub timeout_seconds: u32,
    /// The pause between two tries, in seconds; 0 counts as 1.
    pub interval_seconds: u32,
}

impl Check {
    /// The pause between two tries where a spec says none, in seconds.
    pub const DEFAULT_INTERVAL_SECONDS: u32 = 2;
}

/// What a check asks. A `resource` is written as kubectl takes it: `KIND/NAME`, or a kind alone for every object
/// of that kind, of which there must be at least one. Where `namespace` is `None`, kubectl's own applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A deployment, daemon set or stateful set runs its newest version, and nothing else.
    Rollout {
        /// Which one.
        resource: String,
        /// Its namespace.
        namespace: Option<String>,
    },
    /// A condition in the status has the wanted value.
    Condition {
        /// The object, or every object of a kind.
        resource: String,
        /// The condition's type, such as `Available`.
        condition: String,
        /// Its wanted status: `True`, `False` or `Unknown`.
        status: String,
        /// The namespace.
        namespace: Option<String>,
    },
    /// The object is there; for a kind alone, at least one is.
    Exists {
        /// The object, or a kind.
        resource: String,
        /// The namespace.
        namespace: Option<String>,
    },
    /// The custom resource definitions are served.
    Established {
        /// Their full names, such as `clusterpolicies.kyverno.io`; none means every one that the cluster has.
        crds: Vec<String>,
    },
    /// A value in the object is exactly a text; for a kind alone, in every object.
    Jsonpath {
        /// The object, or every object of a kind.
        resource: String,
        /// Where the value is, in kubectl's form: `{.status.ready}`, or `.status.ready` for short.
        path: String,
        /// The wanted text.
        equals: String,
        /// The namespace.
        namespace: Option<String>,
    },
    /// So many nodes are there, and every one of them is ready.
    Nodes {
        /// The least number of nodes; every one that is there must be ready, those above it as well.
        count: u32,
    },
    /// A service has addresses of pods that are ready.
    Endpoints {
        /// The name of the service.
        service: String,
        /// Its namespace.
        namespace: Option<String>,
        /// The least number of addresses.
        count: u32,
    },
    /// The API server can call every webhook of a configuration: it knows the certificate authority of each, and
    /// the service of each has an address that is ready.
    Webhook {
        /// The configuration: `validatingwebhookconfiguration/NAME` or `mutatingwebhookconfiguration/NAME`.
        resource: String,
    },
    /// The API server would take an object: a dry run of its creation passes every admission webhook for it.
    Admits {
        /// The object, which is never created.
        object: serde_json::Value,
    },
    /// The engine says of a policy that it is ready; for a kind alone, of every policy.
    Policy {
        /// The policy, or a kind.
        resource: String,
        /// The namespace.
        namespace: Option<String>,
    },
    /// A URL answers with a status. Redirects are not followed.
    Http {
        /// The URL.
        url: String,
        /// The wanted status, such as 200.
        status: u16,
        /// Whether the server's certificate goes unchecked.
        insecure: bool,
    },
    /// A shell command ends with exit status 0.
    Command {
        /// The command, as `sh -c` takes it.
        command: String,
    },
}
