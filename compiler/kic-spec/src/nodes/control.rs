//! Nodes that are gone when the spec is evaluated.

use super::{any, argument, property, required, some};
use crate::schema::{Children, NodeSchema, Occurs, Type};

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
