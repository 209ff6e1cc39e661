//! How a node of the language is declared: its arguments, properties, children and documentation, as data.
//!
//! The declarations themselves are in [`crate::nodes`]. Decoding, suggestions for unknown names, the book's
//! reference and `kic explain` all come from them, so they cannot disagree.

use kic_syntax::Value;

/// One kind of node.
#[derive(Debug)]
pub struct NodeSchema {
    /// Its name, such as `rollout`.
    pub name: &'static str,
    /// One sentence on what it says.
    pub doc: &'static str,
    /// Its arguments, in order.
    pub arguments: &'static [Argument],
    /// Its properties, in the order in which they are documented.
    pub properties: &'static [Property],
    /// What may stand inside it.
    pub children: Children,
    /// How often it may stand in its parent.
    pub occurs: Occurs,
    /// One line or block that shows it, where it stands in its parent; or the parent with it.
    pub example: &'static str,
}

/// A positional value.
#[derive(Debug)]
pub struct Argument {
    /// What documentation and diagnostics call it, in upper case.
    pub name: &'static str,
    /// What it may be.
    pub value: Type,
    /// How many of it there may be.
    pub count: Count,
    /// One sentence on what it says.
    pub doc: &'static str,
}

/// A named value.
#[derive(Debug)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub value: Type,
    /// Whether the node must have it.
    pub required: bool,
    /// What it is where it is left out, if that is always the same.
    pub default: Option<Literal>,
    /// One sentence on what it says.
    pub doc: &'static str,
}

/// A value, as it stands in a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Number(u32),
    /// `#true` or `#false`.
    Bool(bool),
}

impl Literal {
    /// The value that a spec has where this is written.
    pub fn value(self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.to_owned()),
            Self::Number(number) => Value::Integer(number.into()),
            Self::Bool(bool) => Value::Bool(bool),
        }
    }
}

/// How many values an argument takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// None or one.
    Optional,
    /// Exactly one.
    One,
    /// One or more; only the last argument of a node is.
    Some,
    /// None, one or more; only the last argument of a node is.
    Any,
}

/// How often a node may stand in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurs {
    /// Exactly once.
    Once,
    /// At most once.
    Optional,
    /// Any number of times.
    Many,
}

/// What may stand inside a node.
#[derive(Debug)]
pub enum Children {
    /// Nothing.
    None,
    /// These nodes.
    Nodes(&'static [&'static NodeSchema]),
    /// Any data, as JSON-in-KDL.
    Data,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// A name in lower case: letters, digits and `-`, at most 63 characters (RFC 1123).
    Name,
    /// A version: letters, digits, `.`, `_`, `+` and `-`; it may serve as an image's tag.
    Version,
    /// `#true` or `#false`.
    Bool,
    /// A path of the machine that compiles, relative to the file that says it.
    Path,
    /// A path in the cluster image's root file system.
    ImagePath,
    /// A time span: a number and `ms`, `s`, `m` or `h`, or several of them, such as `1m30s`.
    Duration,
    /// Permission bits as octal text, such as `"0644"`.
    Mode,
    /// `HOST` or `HOST:PORT`.
    Registry,
    /// `#true`, `#false`, or `HOST` or `HOST:PORT`.
    RegistryOrBool,
    /// An image in a registry, or `oci:DIR`, `oci-archive:FILE` or `docker-archive:FILE`.
    Image,
    /// A reference of an image in a registry.
    Reference,
    /// `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
    Platform,
    /// An `http://` or `https://` URL.
    Url,
    /// 64 hexadecimal digits, with `sha256:` before them or not.
    Checksum,
    /// `KIND/NAME` as kubectl takes it, such as `deployment/shop`, or `KIND` for every object of the kind.
    Resource,
    /// `VERSION/KIND` or `GROUP/VERSION/KIND`, such as `v1/ConfigMap` or `apps/v1/Deployment`.
    Kind,
    /// A whole number from 100 to 599: the status of an HTTP answer.
    HttpStatus,
    /// A whole number from 1 to 1000000.
    Count,
    /// Any value of KDL.
    Any,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Type {
    /// Every type, in the order of the reference, but for [`Choice`](Self::Choice), whose words are its description.
    pub const ALL: [Self; 20] = [
        Self::Text,
        Self::Name,
        Self::Version,
        Self::Bool,
        Self::Count,
        Self::HttpStatus,
        Self::Path,
        Self::ImagePath,
        Self::Mode,
        Self::Duration,
        Self::Url,
        Self::Checksum,
        Self::Image,
        Self::Reference,
        Self::Registry,
        Self::RegistryOrBool,
        Self::Platform,
        Self::Kind,
        Self::Resource,
        Self::Any,
    ];

    /// What the reference calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Name => "name",
            Self::Version => "version",
            Self::Bool => "boolean",
            Self::Path => "path",
            Self::ImagePath => "image path",
            Self::Duration => "duration",
            Self::Mode => "mode",
            Self::Registry => "registry",
            Self::RegistryOrBool => "registry or boolean",
            Self::Image => "image",
            Self::Reference => "reference",
            Self::Platform => "platform",
            Self::Url => "URL",
            Self::Checksum => "checksum",
            Self::Resource => "resource",
            Self::Kind => "kind",
            Self::HttpStatus => "HTTP status",
            Self::Count => "count",
            Self::Any => "value",
            Self::Choice(_) => "choice",
        }
    }

    /// What the reference says of it.
    pub fn doc(self) -> &'static str {
        match self {
            Self::Text => "Any text, as it stands: `$` and `{{ }}` need no escaping.",
            Self::Name => "1 to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends.",
            Self::Version => {
                "1 to 128 letters, digits, `.`, `_`, `+` and `-`, with a letter or digit first. It may serve as an image's tag."
            }
            Self::Bool => "`#true` or `#false`.",
            Self::Path => "A path of the machine that compiles, relative to the file that says it.",
            Self::ImagePath => {
                "A path in the cluster image, seen from its root. A `/` at the end means a folder; `..` is an error."
            }
            Self::Duration => {
                "Numbers with `h`, `m`, `s` or `ms`, such as `90s`, `5m` or `1h30m`; at most 24 days."
            }
            Self::Mode => "Permission bits as octal text, such as `\"0644\"`.",
            Self::Registry => "`HOST` or `HOST:PORT`, such as `sea.hub:5000`.",
            Self::RegistryOrBool => "`#true`, `#false`, or a registry.",
            Self::Image => {
                "A reference, or an image on disk as skopeo writes it: `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`, each with `:NAME` behind it where there are several."
            }
            Self::Reference => {
                "`[HOST/]REPOSITORY[:TAG][@DIGEST]`, as Docker and Kubernetes take it: `nginx` is `docker.io/library/nginx:latest`."
            }
            Self::Platform => "`OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`, such as `linux/amd64`.",
            Self::Url => "A whole `http://` or `https://` URL, without a user and password.",
            Self::Checksum => "64 hexadecimal digits, with `sha256:` before them or not.",
            Self::Resource => {
                "`KIND/NAME` as kubectl takes it, such as `deployment/shop`, or `KIND` for every object of the kind."
            }
            Self::Kind => {
                "`VERSION/KIND` or `GROUP/VERSION/KIND`, such as `v1/ConfigMap` or `apps/v1/Deployment`."
            }
            Self::HttpStatus => "A whole number from 100 to 599.",
            Self::Count => "A whole number from 1 to 1000000.",
            Self::Any => "Any value of KDL.",
            Self::Choice(_) => "One of some words.",
        }
    }

    /// What a value of this type is called in a sentence, with its article.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "a text".into(),
            Self::Name => "a name".into(),
            Self::Version => "a version".into(),
            Self::Bool => "`#true` or `#false`".into(),
            Self::Path => "a path".into(),
            Self::ImagePath => "a path in the image".into(),
            Self::Duration => "a duration such as `5m`".into(),
            Self::Mode => "a file mode such as `\"0644\"`".into(),
            Self::Registry => "a registry host".into(),
            Self::RegistryOrBool => "`#true`, `#false` or a registry host".into(),
            Self::Image | Self::Reference => "an image reference".into(),
            Self::Platform => "a platform such as `linux/amd64`".into(),
            Self::Url => "a URL".into(),
            Self::Checksum => "a SHA-256 checksum".into(),
            Self::Resource => "a resource such as `deployment/shop`".into(),
            Self::Kind => "a kind such as `v1/ConfigMap`".into(),
            Self::HttpStatus => "an HTTP status from 100 to 599".into(),
            Self::Count => "a whole number from 1 to 1000000".into(),
            Self::Any => "a value".into(),
            Self::Choice(words) => Self::describe_words(words.iter().copied()),
        }
    }

    /// `` one of `a`, `b` ``
    pub(crate) fn describe_words<'a>(words: impl Iterator<Item = &'a str>) -> String {
        let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
        format!("one of {}", words.join(", "))
    }
}
