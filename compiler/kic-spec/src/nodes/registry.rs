//! `registry` and what stands in it.

use super::{argument, defaulting, property, some};
use crate::schema::{Children, Literal, NodeSchema, Occurs, Type};

pub(super) static REGISTRY: NodeSchema = NodeSchema {
    name: "registry",
    doc: "The images that the cluster must find without the outside world, as the folder of a registry that answers as this host.",
    arguments: &[argument("HOST", Type::Registry, "`HOST` or `HOST:PORT`, as nodes will ask for it.")],
    properties: &[defaulting(
        "with-referrers",
        Type::Bool,
        Literal::Bool(false),
        "Whether what refers to its images (signatures, attestations, bills of materials) comes along.",
    )],
    children: Children::Nodes(&[&DISCOVER, &IMAGE, &IMAGE_LIST, &EXCLUDE, &ACCEPT]),
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

static ACCEPT: NodeSchema = NodeSchema {
    name: "accept",
    doc: "Accepts what manifests leave open: a container's image that is no reference, as it is written, or a kind whose operator is known to ask for nothing more.",
    arguments: &[some("TEXT", Type::Text, "The image as it is written, or `KIND.GROUP`.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Many,
    example: "accept \"ko://example.com/cmd\" \"SearchCluster.search.example.com\"",
};
