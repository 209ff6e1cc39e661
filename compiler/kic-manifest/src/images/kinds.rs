//! What the names of kinds and fields say about images.

/// Kinds of Kubernetes itself in which no field is an image, whatever it looks like.
pub(crate) const WITHOUT_IMAGES: &[&str] = &[
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ServiceAccount",
    "Service",
    "Namespace",
    "NetworkPolicy",
    "Endpoints",
    "EndpointSlice",
    "Ingress",
    "IngressClass",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "PriorityClass",
    "HorizontalPodAutoscaler",
    "Lease",
    "Event",
    "APIService",
    "ResourceQuota",
    "LimitRange",
    "CSIDriver",
    "RuntimeClass",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicyBinding",
    "Node",
];

/// The same of other projects' kinds, whose names leave no doubt.
pub(crate) const FOREIGN_WITHOUT_IMAGES: &[&str] = &[
    "PrometheusRule",
    "ServiceMonitor",
    "PodMonitor",
    "HelmRepository",
    "GitRepository",
    "Certificate",
    "Issuer",
    "ClusterIssuer",
    "PolicyReport",
    "ClusterPolicyReport",
    "PolicyException",
    "ImagePolicy",
    "ImageUpdateAutomation",
    "ClusterImagePolicy",
    "ImageContentSourcePolicy",
    "ImageDigestMirrorSet",
    "ImageTagMirrorSet",
];

/// Groups of kinds that speak of images without running any.
pub(crate) const GROUPS_WITHOUT_IMAGES: &[&str] = &[
    "constraints.gatekeeper.sh/",
    "templates.gatekeeper.sh/",
    "policy.sigstore.dev/",
    "rbac.authorization.k8s.io/",
    "aquasecurity.github.io/",
];

/// The lists of containers of a pod spec.
pub(crate) const CONTAINER_LISTS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Fields that only a container has beside its `image`.
pub(crate) const FIELDS_OF_CONTAINERS: &[&str] = &[
    "command",
    "args",
    "env",
    "envFrom",
    "imagePullPolicy",
    "volumeMounts",
    "workingDir",
    "script",
    "livenessProbe",
    "readinessProbe",
];

/// Fields of a container that hold its variables.
pub(crate) const FIELDS_OF_VARIABLES: &[&str] = &["env"];

/// Subtrees in which nothing is an image.
pub(crate) const SKIPPED: &[&str] = &[
    "labels",
    "matchLabels",
    "matchExpressions",
    "nodeSelector",
    "selector",
    "managedFields",
    "resourceNames",
    "apiGroups",
    "ownerReferences",
    "x-kubernetes-validations",
    "validations",
];

/// What Kyverno matches against or checks, in contrast to what it puts in.
pub(crate) const PATTERNS: &[&str] = &[
    "pattern",
    "anyPattern",
    "imageReferences",
    "skipImageReferences",
    "verifyImages",
    "match",
    "exclude",
    "preconditions",
    "deny",
    "conditions",
    "context",
    "celPreconditions",
    "imageExtractors",
    "podSecurity",
];

/// Mappings of names to settings.
pub(crate) const SETTINGS: &[&str] = &["data", "stringData", "env", "variables", "extraEnv", "parameters"];

/// Fields for what is built and pushed.
pub(crate) const OUTPUTS: &[&str] = &["output", "outputs", "destination", "push", "pushTo"];

/// Fields that hold the values of a chart.
pub(crate) const VALUES: &[&str] =
    &["values", "valuesObject", "helmValues", "valuesTemplate", "valuesInline"];

/// What ends the names of fields that say where images come from.
pub(crate) const ADDRESSES: &[&str] = &["registry", "registries", "mirror", "mirrors", "prefix", "hub"];

/// Groups of kinds whose versions are not those of images that an operator knows: of clusters, charts, source code, policies
/// and settings.
pub(crate) const GROUPS_WITH_OTHER_VERSIONS: &[&str] = &[
    "k8s.io",
    "kubernetes.io",
    "x-k8s.io",
    "toolkit.fluxcd.io",
    "argoproj.io",
    "cert-manager.io",
    "kyverno.io",
    "gatekeeper.sh",
    "helm.cattle.io",
    "upgrade.cattle.io",
    "operators.coreos.com",
    "crossplane.io",
    "istio.io",
    "external-secrets.io",
    "openshift.io",
    "hub.kubeblocks.io",
];

/// Words in the names of kinds that define or configure, and make no pods.
pub(crate) const KINDS_WITH_OTHER_VERSIONS: &[&str] = &[
    "Policy",
    "Schema",
    "Definition",
    "Config",
    "Template",
    "Chart",
    "Release",
    "Application",
    "Version",
    "Secret",
];

/// Words before `version` in the names of fields that say something of protocols, files and the like.
pub(crate) const CONFIGURED_VERSIONS: &[&str] = &[
    "api",
    "tls",
    "ssl",
    "min",
    "max",
    "minimum",
    "maximum",
    "protocol",
    "schema",
    "resource",
    "config",
    "chart",
    "format",
    "policy",
    "crd",
    "http",
    "ip",
    "kubernetes",
    "k8s",
    "terraform",
    "metadata",
    "message",
    "observed",
    "language",
    "document",
    "data",
    "storage",
    "secret",
    "snmp",
    "spec",
    "wire",
    "provider",
    "module",
    "git",
];
