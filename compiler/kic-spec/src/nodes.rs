//! Every node of the language, declared once.

use crate::schema::{Argument, Children, Count, Literal, NodeSchema, Occurs, Property, Type};

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

/// The root of a module.
pub static MODULE: NodeSchema = NodeSchema {
    name: "module",
    doc: "Holds what a cluster holds, to be used by specs and other modules, with parameters.",
    arguments: &[argument("NAME", Type::Name, "The module's name.")],
    properties: &[],
    children: Children::Data,
    occurs: Occurs::Once,
    example: "module \"greeting\" {\n    doc \"Greets whoever logs in.\"\n    param \"text\" type=\"string\" default=\"Welcome\"\n    files \"greeting\" {\n        text \"/etc/motd\" ($)\"${text}\\n\"\n    }\n}",
};

pub(crate) static DOC: NodeSchema = NodeSchema {
    name: "doc",
    doc: "Says what a module or parameter is for.",
    arguments: &[argument("TEXT", Type::Text, "The text.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "doc \"Sends every image pull to one private registry.\"",
};

pub(crate) static EXAMPLE: NodeSchema = NodeSchema {
    name: "example",
    doc: "Shows a use of a module, as it stands in a spec.",
    arguments: &[argument("TEXT", Type::Text, "The nodes, as text.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "example #\"use \"std:namespace\" name=\"shop\"\"#",
};

/// Declares a parameter.
pub(crate) static PARAM: NodeSchema = NodeSchema {
    name: "param",
    doc: "Declares a parameter of a module or spec. One without a default must be given.",
    arguments: &[argument("NAME", Type::Name, "The parameter's name.")],
    properties: &[
        required(
            "type",
            Type::Text,
            "`string`, `int`, `bool`, `version`, `path`, `duration`, `quantity`, `registry`, `image`, `platform`, `enum`, `list<TYPE>` or `map<TYPE>`.",
        ),
        property(
            "default",
            Type::Any,
            "Its value where a call gives none; a `default` node inside for lists and maps; `#null` for one that may be left out.",
        ),
    ],
    children: Children::Nodes(&[&DOC, &DEFAULT, &ONE_OF]),
    occurs: Occurs::Many,
    example: "param \"engine\" type=\"enum\" default=\"kyverno\" { one-of \"kyverno\" \"containerd\" }",
};

static DEFAULT: NodeSchema = NodeSchema {
    name: "default",
    doc: "The value of a list or map parameter where a call gives none.",
    arguments: &[],
    properties: &[],
    children: Children::Data,
    occurs: Occurs::Optional,
    example: "param \"teams\" type=\"list<string>\" { default \"green\" \"blue\" }",
};

static ONE_OF: NodeSchema = NodeSchema {
    name: "one-of",
    doc: "The words that an enum parameter may be.",
    arguments: &[some("WORD", Type::Text, "A word.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "param \"size\" type=\"enum\" default=\"small\" { one-of \"small\" \"large\" }",
};

/// Uses a module.
pub(crate) static USE: NodeSchema = NodeSchema {
    name: "use",
    doc: "Puts what a module holds here, with these values for its parameters: properties for single values, nodes inside for lists and maps.",
    arguments: &[argument(
        "MODULE",
        Type::Text,
        "`std:NAME`, or the path of a `.kdl` file, relative to the file that says it.",
    )],
    properties: &[],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "use \"std:namespace\" name=\"shop\"",
};

/// Names a value.
pub(crate) static LET: NodeSchema = NodeSchema {
    name: "let",
    doc: "Names a value for the nodes that follow beside it, and inside them.",
    arguments: &[
        argument("NAME", Type::Name, "The name."),
        any("VALUE", Type::Any, "The value; several are a list."),
    ],
    properties: &[],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "let \"image\" ($)\"registry.example.com/shop:${cluster.version}\"",
};

/// Keeps nodes on a condition.
pub(crate) static WHEN: NodeSchema = NodeSchema {
    name: "when",
    doc: "Keeps what is inside where a value is, is not, or is in a list of others; or where a version or number is at least, or below, another.",
    arguments: &[argument("NAME", Type::Text, "The name of a value, such as `engine` or `platform.arch`.")],
    properties: &[
        property("is", Type::Any, "The value that it must have."),
        property("is-not", Type::Any, "The value that it must not have."),
        property("in", Type::Any, "A list that must hold it."),
        property("at-least", Type::Any, "The version or number that it must not be below."),
        property("below", Type::Any, "The version or number that it must be below."),
    ],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "when \"platform.arch\" is=\"arm64\" {\n    files \"board\" { text \"/etc/board\" \"arm\" }\n}",
};

/// Repeats nodes.
pub(crate) static FOR: NodeSchema = NodeSchema {
    name: "for",
    doc: "Repeats what is inside for each value of a list, or each `key` and `value` of a map.",
    arguments: &[
        argument("NAME", Type::Name, "The name of the value inside."),
        any("VALUE", Type::Any, "The values, where no list is named."),
    ],
    properties: &[property("in", Type::Any, "A list or map.")],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "for \"team\" \"green\" \"blue\" {\n    files ($)\"${team}\" { text ($)\"/etc/teams/${team}\" \"\" }\n}",
};

/// Refuses values.
pub(crate) static FAIL: NodeSchema = NodeSchema {
    name: "fail",
    doc: "Refuses the values that a module or spec was given; it stands in a `when`.",
    arguments: &[argument("MESSAGE", Type::Text, "What is wrong, in one sentence.")],
    properties: &[property("help", Type::Text, "What to do.")],
    children: Children::None,
    occurs: Occurs::Many,
    example: "when \"platform.os\" is=\"windows\" {\n    fail \"the image is for Linux\" help=\"leave the platform out\"\n}",
};

static PLATFORM: NodeSchema = NodeSchema {
    name: "platform",
    doc: "Names the platforms that the image is built for; `linux/amd64` when left out. With several, the output is an image index.",
    arguments: &[some("PLATFORM", Type::Platform, "A platform.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "platform \"linux/amd64\" \"linux/arm64\"",
};

static BASE: NodeSchema = NodeSchema {
    name: "base",
    doc: "Names the image whose layers come first, byte for byte: an image, `scratch`, another spec, or an image on disk.",
    arguments: &[optional(
        "IMAGE",
        Type::Image,
        "An image reference, `scratch`, or `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`.",
    )],
    properties: &[
        property("spec", Type::Path, "Another spec, which is compiled first."),
        property("oci", Type::Path, "An OCI layout (a folder) or archive (a file) on disk."),
    ],
    children: Children::None,
    occurs: Occurs::Once,
    example: "base \"registry.example.com/kubernetes:v1.19.8\"",
};

static LABEL: NodeSchema = NodeSchema {
    name: "label",
    doc: "Adds a label to the image's configuration.",
    arguments: &[
        argument("NAME", Type::Text, "The label's name."),
        argument("VALUE", Type::Text, "Its value."),
    ],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "label \"org.opencontainers.image.vendor\" \"Example\"",
};

static COMPRESSION: NodeSchema = NodeSchema {
    name: "compression",
    doc: "Says how the layers that kic builds are compressed; `zstd` when left out. Cached blobs are never compressed again.",
    arguments: &[argument("METHOD", Type::Choice(&["zstd", "gzip", "none"]), "`zstd`, `gzip` or `none`.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "compression \"gzip\"",
};

static FILES: NodeSchema = NodeSchema {
    name: "files",
    doc: "A layer of files for the root file system of the cluster's machines.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[AFTER],
    children: Children::Nodes(&[&COPY, &TEXT, &FILES_FETCH]),
    occurs: Occurs::Many,
    example: "files \"settings\" {\n    copy \"etc\" to=\"/etc\"\n}",
};

static COPY: NodeSchema = NodeSchema {
    name: "copy",
    doc: "Copies a file, or what is in a folder, into the image. Symbolic links stay links; a file is executable when its owner may execute it.",
    arguments: &[argument("SOURCE", Type::Path, "A file or folder.")],
    properties: &[
        property(
            "to",
            Type::ImagePath,
            "Where it goes: a file's own path, or a folder when it ends with `/` or the source is a folder; `/` when left out.",
        ),
        property(
            "mode",
            Type::Mode,
            "The permission bits of every file copied; 0644, or 0755 for executable ones, when left out.",
        ),
        property(
            "exclude",
            Type::Text,
            "A glob of paths below the source to leave out; `exclude` nodes inside add more.",
        ),
    ],
    children: Children::Nodes(&[&COPY_EXCLUDE]),
    occurs: Occurs::Many,
    example: "copy \"etc\" to=\"/etc\" exclude=\"*.md\"",
};

static COPY_EXCLUDE: NodeSchema = NodeSchema {
    name: "exclude",
    doc: "Leaves out what matches a glob: `*` within a name, `**` across folders. A glob without `/` matches in every folder.",
    arguments: &[some("GLOB", Type::Text, "A glob of paths below the source.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "exclude \"*.md\" \"test/**\"",
};

static TEXT: NodeSchema = NodeSchema {
    name: "text",
    doc: "Writes a file with this text, and behind it the lines inside, if there are any.",
    arguments: &[
        argument("PATH", Type::ImagePath, "The file's path."),
        argument("TEXT", Type::Text, "Its text, as it stands."),
    ],
    properties: &[MODE],
    children: Children::Nodes(&[&LINE]),
    occurs: Occurs::Many,
    example: "text \"/etc/motd\" \"Welcome\\n\"",
};

static LINE: NodeSchema = NodeSchema {
    name: "line",
    doc: "Adds a line to a text, its end included. What `for` and `when` leave of lines becomes one file.",
    arguments: &[argument("TEXT", Type::Text, "The line.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "line \"shop\"",
};

static FILES_FETCH: NodeSchema = NodeSchema {
    name: "fetch",
    doc: "Downloads a file into the image.",
    arguments: &[argument("URL", Type::Url, "Where it is.")],
    properties: &[
        property("sha256", Type::Checksum, "Its checksum; pinned in the lock when left out."),
        required("to", Type::ImagePath, "Its path; a folder when it ends with `/`."),
        MODE,
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "fetch \"https://example.com/tool\" to=\"/usr/local/bin/\" mode=\"0755\"",
};

static MANIFESTS: NodeSchema = NodeSchema {
    name: "manifests",
    doc: "A layer of Kubernetes objects.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[
        property("namespace", Type::Name, "The namespace of objects that name none."),
        defaulting(
            "rewrite",
            Type::RegistryOrBool,
            Literal::Bool(false),
            "Whether images are named as the private registry has them, in the objects themselves; its host where the spec has several.",
        ),
        AFTER,
    ],
    children: Children::Nodes(&[&FILE, &FETCH, &OBJECT, &CHART, &KUSTOMIZE]),
    occurs: Occurs::Many,
    example: "manifests \"shop\" namespace=\"shop\" {\n    file \"etc/shop.yaml\"\n}",
};

static POLICIES: NodeSchema = NodeSchema {
    name: "policies",
    doc: "A layer of admission policies, applied after the engine that serves them is ready.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[property("namespace", Type::Name, "The namespace of objects that name none."), AFTER],
    children: Children::Nodes(&[&FILE, &FETCH, &OBJECT, &CHART, &KUSTOMIZE]),
    occurs: Occurs::Many,
    example: "policies \"redirect\" {\n    file \"etc/redirect-registry.yaml\"\n}",
};

static FILE: NodeSchema = NodeSchema {
    name: "file",
    doc: "A file of objects in YAML or JSON, or a folder of such files, in the order of their names.",
    arguments: &[argument("SOURCE", Type::Path, "A `.yaml`, `.yml` or `.json` file, or a folder of them.")],
    properties: &[property("as", Type::Text, "The file's name in the layer; its own when left out.")],
    children: Children::None,
    occurs: Occurs::Many,
    example: "file \"etc/shop.yaml\"",
};

static FETCH: NodeSchema = NodeSchema {
    name: "fetch",
    doc: "Downloads a file of objects.",
    arguments: &[argument("URL", Type::Url, "Where it is.")],
    properties: &[
        property("sha256", Type::Checksum, "Its checksum; pinned in the lock when left out."),
        property("as", Type::Text, "The file's name in the layer; the last part of the URL when left out."),
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "fetch \"https://example.com/install.yaml\"",
};

static OBJECT: NodeSchema = NodeSchema {
    name: "object",
    doc: "One object, its fields as nodes (JSON-in-KDL 4).",
    arguments: &[argument("KIND", Type::Kind, "`VERSION/KIND` or `GROUP/VERSION/KIND`.")],
    properties: &[
        required("name", Type::Text, "Its name."),
        property("namespace", Type::Name, "Its namespace."),
    ],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "object \"v1/ConfigMap\" name=\"greeting\" {\n    data { text \"hello\" }\n}",
};

static CHART: NodeSchema = NodeSchema {
    name: "chart",
    doc: "The objects of a Helm chart, rendered by the `helm` of the machine that compiles, its hooks in files of their own.",
    arguments: &[argument(
        "CHART",
        Type::Text,
        "A folder, a `.tgz` archive or its URL, `oci://REGISTRY/REPOSITORY`, or with `repo` the chart's name.",
    )],
    properties: &[
        property("repo", Type::Url, "The HTTP repository that has the chart."),
        property(
            "version",
            Type::Version,
            "The chart's version; the newest release of the repository when left out, pinned in the lock. `oci://` needs it, or a tag or digest in the reference.",
        ),
        property(
            "sha256",
            Type::Checksum,
            "The checksum of an archive at a URL; pinned in the lock when left out.",
        ),
        property("name", Type::Name, "The name of the release; the chart's own when left out."),
        property(
            "namespace",
            Type::Name,
            "The namespace of the release; that of the layer, else `default`, when left out.",
        ),
        property(
            "kube-version",
            Type::Version,
            "The version of Kubernetes that the chart is told; the one that `helm` is built for when left out.",
        ),
        defaulting(
            "include-crds",
            Type::Bool,
            Literal::Bool(true),
            "Whether the definitions in the chart's `crds` folders are applied first.",
        ),
        defaulting(
            "hooks",
            Type::Bool,
            Literal::Bool(true),
            "Whether the hooks of an installation are applied. Those of upgrades, deletions, rollbacks and tests never are.",
        ),
    ],
    children: Children::Nodes(&[&VALUES, &API_VERSIONS]),
    occurs: Occurs::Many,
    example: "chart \"charts/shop\" namespace=\"shop\" {\n    values \"etc/values.yaml\"\n    values { replicas 3 }\n}",
};

static VALUES: NodeSchema = NodeSchema {
    name: "values",
    doc: "Values of the chart: files, and what is written inside (JSON-in-KDL 4). A later one takes the place of an earlier one, as with `helm --values`.",
    arguments: &[any("FILE", Type::Path, "A YAML file of values.")],
    properties: &[],
    children: Children::Data,
    occurs: Occurs::Many,
    example: "values {\n    image { tag \"v1.2\" }\n    replicas 3\n}",
};

static API_VERSIONS: NodeSchema = NodeSchema {
    name: "api-versions",
    doc: "Versions, and kinds, of objects that the cluster serves beside Kubernetes' own: `.Capabilities.APIVersions` of the chart's templates.",
    arguments: &[some("VERSION", Type::Text, "`GROUP/VERSION` or `GROUP/VERSION/KIND`.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "api-versions \"monitoring.coreos.com/v1\"",
};

static KUSTOMIZE: NodeSchema = NodeSchema {
    name: "kustomize",
    doc: "The objects of a kustomization, built by the `kustomize`, else the `kubectl`, of the machine that compiles.",
    arguments: &[argument("FOLDER", Type::Path, "A folder that holds a `kustomization.yaml`.")],
    properties: &[property(
        "as",
        Type::Text,
        "The file's name in the layer; that of the folder with `.yaml` when left out.",
    )],
    children: Children::None,
    occurs: Occurs::Many,
    example: "kustomize \"overlays/production\"",
};

static REGISTRY: NodeSchema = NodeSchema {
    name: "registry",
    doc: "The images that the cluster must find without the outside world, as the folder of a registry that answers as this host.",
    arguments: &[argument("HOST", Type::Registry, "`HOST` or `HOST:PORT`, as nodes will ask for it.")],
    properties: &[defaulting(
        "with-referrers",
        Type::Bool,
        Literal::Bool(false),
        "Whether what refers to its images (signatures, attestations, bills of materials) comes along.",
    )],
    children: Children::Nodes(&[&DISCOVER, &IMAGE, &IMAGE_LIST, &EXCLUDE]),
    occurs: Occurs::Many,
    example: "registry \"sea.hub:5000\" {\n    discover\n    image \"docker.io/library/nginx:latest\"\n}",
};

static DISCOVER: NodeSchema = NodeSchema {
    name: "discover",
    doc: "Caches every image that the manifests, policies and commands of the spec name.",
    arguments: &[],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "discover",
};

static IMAGE: NodeSchema = NodeSchema {
    name: "image",
    doc: "Caches one image.",
    arguments: &[argument(
        "IMAGE",
        Type::Image,
        "An image reference, or `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`.",
    )],
    properties: &[
        property(
            "as",
            Type::Reference,
            "The name by which it answers; needed for an image on disk that names none.",
        ),
        defaulting(
            "short-names",
            Type::Bool,
            Literal::Bool(true),
            "Whether it also answers without its own registry's host.",
        ),
        property(
            "with-referrers",
            Type::Bool,
            "Whether what refers to it (signatures, attestations, bills of materials) comes along; as its registry says when left out.",
        ),
    ],
    children: Children::None,
    occurs: Occurs::Many,
    example: "image \"docker.io/library/nginx:latest\"",
};

static IMAGE_LIST: NodeSchema = NodeSchema {
    name: "image-list",
    doc: "Caches every image of a list: one reference a line, as in sealer's imageList; `#` begins a comment.",
    arguments: &[argument("FILE", Type::Path, "The list.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "image-list \"imageList\"",
};

static EXCLUDE: NodeSchema = NodeSchema {
    name: "exclude",
    doc: "Leaves a discovered image out: the cluster is known to do without it, or to get it in another way.",
    arguments: &[some("IMAGE", Type::Reference, "An image reference.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "exclude \"quay.io/example/debug:v1\"",
};

static READINESS: NodeSchema = NodeSchema {
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

static LAUNCH: NodeSchema = NodeSchema {
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
