use std::fmt;

use kic_base::Digest;

/// More findings than anybody reads: then checking goes on in silence, so that memory stays bounded.
const FINDING_LIMIT: usize = 1000;

/// Something that is wrong with an image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the kind and digest of the blob: `index.json`, `manifest sha256:…`.
    pub document: String,
    /// The member of the document, as `layers[2].digest`; empty for the whole.
    pub member: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The specification advises otherwise, or some tools will not take it.
    Warning,
    /// The specification forbids it, or the image is not whole.
    Error,
}

/// What is wrong, each with one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A file that must be there.
    #[error("it is missing")]
    Missing,
    /// A blob that is named and not there.
    #[error("the blob {0} is missing")]
    MissingBlob(Digest),
    /// A file that cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A link, folder or device where a file belongs.
    #[error("it is not a regular file")]
    NotAFile,
    /// A document over 8 MiB.
    #[error("it is longer than the 8 MiB that a document may have")]
    Long,
    /// No JSON.
    #[error("it is no JSON: {0}")]
    NotJson(String),
    /// One name twice in one object: readers differ on which counts.
    #[error("the member `{0}` comes twice")]
    DuplicateMember(String),
    /// A required member.
    #[error("it is missing, and required")]
    MissingMember,
    /// A member of another JSON type.
    #[error("it is {found}, and must be {expected}")]
    Type {
        /// What it is, as `a number`.
        found: &'static str,
        /// What it must be, as `a string`.
        expected: &'static str,
    },
    /// A member whose value is not one of those allowed.
    #[error("it is `{found}`, and must be {expected}")]
    Value {
        /// What it is.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A member whose value is unusual, or is not read by all.
    #[error("it is `{found}`, and should be {expected}")]
    Unusual {
        /// What it is.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A document that does not say its own media type, as it should.
    #[error("it is not stated, and should be")]
    Unstated,
    /// Members of an index and of a manifest in one document (CVE-2021-41190).
    #[error("it has members of an index and of a manifest, and tools would read it differently")]
    Ambiguous,
    /// A document's own media type is not its descriptor's.
    #[error("its own media type is `{document}`, and its descriptor says `{descriptor}`")]
    MediaTypeDiffers {
        /// What the document says.
        document: String,
        /// What the descriptor says.
        descriptor: String,
    },
    /// A blob of another size.
    #[error("the blob has {actual} bytes, and its descriptor says {expected}")]
    Size {
        /// The descriptor's size in bytes.
        expected: u64,
        /// The blob's size in bytes.
        actual: u64,
    },
    /// A blob that does not give the digest that is its name.
    #[error("its bytes give {actual}")]
    Digest {
        /// What they give.
        actual: Digest,
    },
    /// Embedded data that is not the blob.
    #[error("the embedded data does not give the digest and size of the descriptor")]
    DataDiffers,
    /// The layers and the configuration disagree.
    #[error("there are {diff_ids} diff ids for {layers} layers")]
    DiffIdCount {
        /// Layers in the manifest.
        layers: usize,
        /// Diff ids in the configuration.
        diff_ids: usize,
    },
    /// A layer's decompressed bytes give another digest.
    #[error("the layer's decompressed bytes give {actual}")]
    DiffId {
        /// What they give.
        actual: Digest,
    },
    /// A layer that cannot be decompressed.
    #[error("it cannot be decompressed: {0}")]
    Undecodable(String),
    /// A layer that is no tar, or not a whole one.
    #[error("its decompressed bytes are no whole tar: {0}")]
    NotATar(String),
    /// An entry of a layer whose path unpacking refuses.
    #[error("unpacking refuses the entry `{entry}`: {reason}")]
    Refused {
        /// The entry's name, made safe to print.
        entry: String,
        /// Why.
        reason: String,
    },
    /// An entry of a layer that is whole, and that kic does not unpack.
    #[error("`kic unpack` refuses the entry `{entry}`: {reason}")]
    NotUnpacked {
        /// The entry's name, made safe to print.
        entry: String,
        /// Why.
        reason: String,
    },
    /// The history and the layers disagree.
    #[error("the history tells of {history} layers, and there are {layers}")]
    HistoryCount {
        /// Layers in the manifest.
        layers: usize,
        /// Entries of the history that made a layer.
        history: usize,
    },
    /// The index and the configuration name different platforms.
    #[error("the index says {index}, and the configuration says {config}")]
    Platform {
        /// The platform in the index.
        index: String,
        /// The platform in the configuration.
        config: String,
    },
    /// One name for two images.
    #[error("the name `{0}` is given to more than one entry")]
    DuplicateName(String),
    /// The same entry twice.
    #[error("the same entry is listed before")]
    DuplicateEntry,
    /// A file among the blobs that is none.
    #[error("its name is not a digest")]
    BlobName,
    /// A blob that no document names.
    #[error("no document names it")]
    Unreferenced,
    /// Indexes inside of indexes, too deep to follow.
    #[error("it lies deeper than 16 indexes, and was not checked")]
    Deep,
    /// The limit of findings was reached.
    #[error("there are more than 1000 findings; the rest is left out")]
    Many,
}

impl Problem {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Unusual { .. } | Self::Unstated | Self::NotUnpacked { .. } | Self::Unreferenced => {
                Severity::Warning
            }
            _ => Severity::Error,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document)?;
        if !self.member.is_empty() {
            write!(f, ": {}", self.member)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// A document, and a place in it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    document: String,
    member: String,
}

impl Place {
    pub(super) fn document(name: impl Into<String>) -> Self {
        Self { document: name.into(), member: String::new() }
    }

    pub(super) fn member(&self, name: &str) -> Self {
        let name = crate::unpack::printable(name.as_bytes());
        let member = if self.member.is_empty() { name } else { format!("{}.{name}", self.member) };
        Self { document: self.document.clone(), member }
    }

    pub(super) fn item(&self, position: usize) -> Self {
        Self { document: self.document.clone(), member: format!("{}[{position}]", self.member) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, place: Place, problem: Problem) {
        let problem = match self.0.len() {
            0..FINDING_LIMIT => problem,
            FINDING_LIMIT => Problem::Many,
            _ => return,
        };
        self.0.push(Finding { document: place.document, member: place.member, problem });
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0
    }
}
