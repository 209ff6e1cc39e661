use std::io;

/// Why a layer cannot be written. An error about what an entry says leaves the layer as it was before the entry;
/// one about its body, or about the output, leaves it unfinished for good.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A path, or the target of a hard link, that no layer may have.
    #[error("the path `{path}` cannot stand in a layer: {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A target of a symbolic link that no tar can hold.
    #[error("the symbolic link `{path}` has a target that cannot stand in a layer: {reason}")]
    Target {
        /// The link.
        path: String,
        /// What is wrong with its target.
        reason: &'static str,
    },
    /// Entries must come sorted by the bytes of their paths, each path once.
    #[error("the entry `{path}` came after `{previous}`, but entries are sorted and unique")]
    Order {
        /// The entry.
        path: String,
        /// The one before it.
        previous: String,
    },
    /// An entry inside something that is no directory.
    #[error("the entry `{path}` lies in `{parent}`, which is no directory")]
    Parent {
        /// The entry.
        path: String,
        /// What it lies in.
        parent: String,
    },
    /// Bits that are no permission.
    #[error("the mode {mode:o} of `{path}` has bits beyond 7777")]
    Mode {
        /// The entry.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// A hard link whose target is no earlier file of the same layer.
    #[error("the hard link `{path}` leads to `{target}`, which is no file before it in the same layer")]
    HardLink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// A size over what a file can have.
    #[error("the file `{path}` cannot have {size} bytes")]
    Size {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A time stamp that does not fit a tar header: after the year 2242.
    #[error("the time stamp {0} is over what a layer can hold")]
    Time(u64),
    /// A frame that was packed before, and is there no more; what is in it was not given.
    #[error("a part of a layer that was packed before is there no more")]
    KnownFrame,
    /// The body ended early.
    #[error("the file `{path}` should have {size} bytes, but ended after {found}")]
    Short {
        /// The file.
        path: String,
        /// The size announced, in bytes.
        size: u64,
        /// What came, in bytes.
        found: u64,
    },
    /// The body goes on.
    #[error("the file `{path}` is longer than the {size} bytes that it should have")]
    Long {
        /// The file.
        path: String,
        /// The size announced, in bytes.
        size: u64,
    },
    /// The body cannot be read.
    #[error("the file `{path}` cannot be read: {error}")]
    Body {
        /// The file.
        path: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The layer cannot be written.
    #[error("the layer cannot be written: {0}")]
    Output(#[source] io::Error),
    /// zstd failed, or is not the version of the epoch.
    #[error("the layer cannot be compressed: {0}")]
    Compression(&'static str),
    /// An earlier error left the layer unfinished.
    #[error("the layer is unfinished after an earlier error")]
    Unfinished,
}
