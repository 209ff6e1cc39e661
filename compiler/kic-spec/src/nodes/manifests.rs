//! `manifests`, `policies` and what stands in them.

use super::{AFTER, any, argument, defaulting, property, required, some};
use crate::schema::{Children, Literal, NodeSchema, Occurs, Type};

pub(super) static MANIFESTS: NodeSchema = NodeSchema {
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

pub(super) static POLICIES: NodeSchema = NodeSchema {
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
