//! What is told: differences, in groups, with what something is on each side.

use kic_base::Digest;
use kic_oci::model::Descriptor;
use serde::Serialize;
use serde_json::Value as Json;

/// How something is on the right, seen from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only there.
    Added,
    /// No longer there.
    Removed,
    /// There in another form.
    Changed,
    /// There at another place in its order.
    Moved,
    /// A line that both have, around one that differs.
    Same,
}

/// One difference, or a group of them.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// How it differs.
    pub change: Change,
    /// What kind of thing it is, in a word.
    pub kind: &'static str,
    /// Which one.
    pub name: String,
    /// What it is on the left, where that can be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Value>,
    /// What it is on the right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Value>,
    /// In what it differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Difference>,
}

/// What something is on one side.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A value of a document, whole.
    Json(Json),
    /// A word, a mode, a digest.
    Text(String),
    /// A layer or a document.
    Blob(BlobValue),
    /// A file, or something else in its place.
    File(FileValue),
    /// A place in an order.
    Position {
        /// From 1.
        position: usize,
    },
    /// A line of a text.
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// Lines that are not shown.
    Lines {
        /// How many.
        lines: usize,
    },
}

/// A layer or a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobValue {
    /// Its media type.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
}

/// A file, or something else in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileValue {
    /// `file`, `folder`, `symbolic link` and so on.
    pub kind: &'static str,
    /// Its permission bits, in octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The digest of its content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The size of its content in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What it links to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Difference {
    pub(super) fn new(change: Change, kind: &'static str, name: impl Into<String>) -> Self {
        Self { change, kind, name: name.into(), left: None, right: None, parts: Vec::new() }
    }

    /// Something that changed from one value to another.
    pub(super) fn changed(kind: &'static str, name: impl Into<String>, left: Value, right: Value) -> Self {
        Self::new(Change::Changed, kind, name).between(Some(left), Some(right))
    }

    /// That what means the same is written in another form.
    pub(super) fn form(what: impl Into<String>) -> Self {
        Self::new(Change::Changed, "form", what)
    }

    pub(super) fn between(mut self, left: Option<Value>, right: Option<Value>) -> Self {
        (self.left, self.right) = (left, right);
        self
    }

    pub(super) fn with(mut self, parts: Vec<Self>) -> Self {
        self.parts = parts;
        self
    }

    /// A group of differences, if there are any.
    pub(super) fn group(kind: &'static str, name: impl Into<String>, parts: Vec<Self>) -> Option<Self> {
        (!parts.is_empty()).then(|| Self::new(Change::Changed, kind, name).with(parts))
    }
}

impl From<&Descriptor> for Value {
    fn from(blob: &Descriptor) -> Self {
        let media_type = blob.media_type.clone();
        Self::Blob(BlobValue { media_type, digest: blob.digest, size: blob.size })
    }
}
