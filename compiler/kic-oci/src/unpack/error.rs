use std::io;
use std::path::PathBuf;

/// Why an image could not be unpacked. Nothing is left at the destination then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The destination holds something.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The destination.
        path: PathBuf,
    },
    /// The destination cannot be made.
    #[error("cannot unpack to {path}")]
    Destination {
        /// The destination.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The layer is of a kind that kic does not read.
    #[error("layer {layer} has the media type `{media_type}`, which is no layer that kic can unpack")]
    MediaType {
        /// The layer.
        layer: String,
        /// Its media type.
        media_type: String,
    },
    /// The layer cannot be read: the reader failed, or the bytes are not what its media type says.
    #[error("cannot read layer {layer}")]
    Read {
        /// The layer.
        layer: String,
        /// What the reader, the decompression or the tar format said.
        source: io::Error,
    },
    /// An entry is hostile, or more than kic takes.
    #[error("layer {layer}: refused the entry `{entry}`: {reason}")]
    Refused {
        /// The layer.
        layer: String,
        /// The entry's name, made safe to print.
        entry: String,
        /// Why.
        reason: Refusal,
    },
    /// An entry cannot be written.
    #[error("layer {layer}: cannot write the entry `{entry}`")]
    Write {
        /// The layer.
        layer: String,
        /// The entry's name, made safe to print.
        entry: String,
        /// What the system said.
        source: io::Error,
    },
    /// The layer costs more than the limits allow.
    #[error("layer {layer}: {limit}")]
    Limit {
        /// The layer.
        layer: String,
        /// Which limit.
        limit: Limit,
    },
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Limit {
    /// [`UnpackLimits::bytes`](super::UnpackLimits::bytes).
    #[error("the layers have more than {0} bytes once decompressed")]
    Bytes(u64),
    /// [`UnpackLimits::entries`](super::UnpackLimits::entries).
    #[error("the layers have more than {0} entries")]
    Entries(u64),
    /// [`UnpackLimits::ratio`](super::UnpackLimits::ratio).
    #[error("it grows to more than {0} times its size when it is decompressed")]
    Ratio(u64),
    /// The headers of one entry, of which a few hundred bytes are usual.
    #[error("the headers of one entry have more than {0} bytes")]
    Headers(u64),
}

/// Why an entry is not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No name at all.
    #[error("it has no name")]
    EmptyName,
    /// A zero byte in a name or a link's target.
    #[error("its name or target contains a zero byte")]
    Nul,
    /// `..` in a name.
    #[error("its name contains `..`")]
    ParentName,
    /// A name that begins with `/`.
    #[error("its name is absolute")]
    AbsoluteName,
    /// A component over 255 bytes, or a name over 4096.
    #[error("its name is longer than file systems take")]
    LongName,
    /// More than 256 folders deep.
    #[error("it lies more than 256 folders deep")]
    Deep,
    /// The root of the file system, described as something else than a folder.
    #[error("it would replace the root folder")]
    Root,
    /// The parent is a symbolic link with an absolute target.
    #[error("its parent `{parent}` is a symbolic link to `{target}`, which is absolute and not followed")]
    AbsoluteLink {
        /// The link, made safe to print.
        parent: String,
        /// Its target, made safe to print.
        target: String,
    },
    /// The parent is a symbolic link that climbs over the root.
    #[error("its parent `{parent}` is a symbolic link to `{target}`, which leaves the root folder")]
    EscapingLink {
        /// The link, made safe to print.
        parent: String,
        /// Its target, made safe to print.
        target: String,
    },
    /// The parents go through more than 40 symbolic links.
    #[error("its parents are symbolic links in a circle")]
    LinkLoop,
    /// A parent is a file.
    #[error("its parent `{parent}` is not a folder")]
    ParentNotFolder {
        /// The parent, made safe to print.
        parent: String,
    },
    /// A hard link whose target is refused as a name.
    #[error("the target `{target}` of the hard link is refused: {reason}")]
    HardLinkTarget {
        /// The target, made safe to print.
        target: String,
        /// Why, told of the target.
        reason: Box<Refusal>,
    },
    /// A hard link to nothing.
    #[error("the target `{target}` of the hard link does not exist")]
    HardLinkMissing {
        /// The target, made safe to print.
        target: String,
    },
    /// A hard link to a folder.
    #[error("the target `{target}` of the hard link is a folder")]
    HardLinkFolder {
        /// The target, made safe to print.
        target: String,
    },
    /// A link without a target, or with one that is too long.
    #[error("it is a link without a target that could be written")]
    LinkTarget,
    /// A device node, fifo or socket.
    #[error("it is a {0}")]
    SpecialFile(&'static str),
    /// A sparse file, which the image specification advises against.
    #[error("it is a sparse file, which kic does not read")]
    Sparse,
    /// A kind of entry that kic does not know.
    #[error("it is of the unknown kind {0:#04x}")]
    Kind(u8),
    /// More folders and symbolic links than can be held against each other.
    #[error("its layer has more than 64 MiB of paths that would have to be held against each other")]
    TooManyPaths,
    /// A whiteout of `.`, `..` or nothing, or a name with a whiteout as a parent.
    #[error("it is a whiteout that names no file")]
    Whiteout,
    /// A header that cannot be read.
    #[error("its header is damaged: {0}")]
    Header(&'static str),
    /// The layer ends within the entry.
    #[error("the layer ends within it")]
    Truncated,
}

/// What can end the work on an entry, before the layer and the entry are named.
pub(super) enum Failure {
    Refused(Refusal),
    Read(io::Error),
    Write(io::Error),
    Limit(Limit),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Write(error.into())
    }
}

impl Failure {
    pub(super) fn reading(error: io::Error) -> Self {
        // The reader that holds the limits says so through the tar reader.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Limit>()) {
            Some(limit) => Self::Limit(*limit),
            None => Self::Read(error),
        }
    }

    pub(super) fn in_entry(self, layer: &str, entry: &[u8]) -> UnpackError {
        let layer = layer.to_owned();
        match self {
            Self::Refused(reason) => UnpackError::Refused { layer, entry: printable(entry), reason },
            Self::Write(source) => UnpackError::Write { layer, entry: printable(entry), source },
            Self::Read(source) => UnpackError::Read { layer, source },
            Self::Limit(limit) => UnpackError::Limit { layer, limit },
        }
    }
}

/// A name that does no harm on a terminal: control characters escaped, cut after 255 characters.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut text = String::new();
    for (count, character) in String::from_utf8_lossy(&name[..name.len().min(4096)]).chars().enumerate() {
        if count == 255 {
            text.push('…');
            break;
        }
        if character.is_control()
            || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}
