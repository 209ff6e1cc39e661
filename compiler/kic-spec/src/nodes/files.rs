//! `files` and what stands in it.

use super::{AFTER, MODE, argument, defaulting, property, required, some};
use crate::schema::{Children, Literal, NodeSchema, Occurs, Type};

pub(super) static FILES: NodeSchema = NodeSchema {
    name: "files",
    doc: "A layer of files for the root file system of the cluster's machines.",
    arguments: &[argument("NAME", Type::Name, "The layer's name.")],
    properties: &[
        AFTER,
        defaulting(
            "split",
            Type::Bool,
            Literal::Bool(true),
            "Whether one of more than 64 MiB becomes several layers of the image, so that a change makes one of them anew.",
        ),
    ],
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
