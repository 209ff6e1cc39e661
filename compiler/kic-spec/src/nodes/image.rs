//! What a cluster says of the image as a whole.

use super::{argument, optional, property, some};
use crate::schema::{Children, NodeSchema, Occurs, Type};

pub(super) static PLATFORM: NodeSchema = NodeSchema {
    name: "platform",
    doc: "Names the platforms that the image is built for; `linux/amd64` when left out. With several, the output is an image index.",
    arguments: &[some("PLATFORM", Type::Platform, "A platform.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "platform \"linux/amd64\" \"linux/arm64\"",
};

pub(super) static BASE: NodeSchema = NodeSchema {
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

pub(super) static LABEL: NodeSchema = NodeSchema {
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

pub(super) static COMPRESSION: NodeSchema = NodeSchema {
    name: "compression",
    doc: "Says how the layers that kic builds are compressed; `zstd` when left out. Cached blobs are never compressed again.",
    arguments: &[argument("METHOD", Type::Choice(&["zstd", "gzip", "none"]), "`zstd`, `gzip` or `none`.")],
    properties: &[],
    children: Children::None,
    occurs: Occurs::Optional,
    example: "compression \"gzip\"",
};
