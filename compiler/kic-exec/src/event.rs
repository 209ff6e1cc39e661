use std::time::Duration;

use kic_graph::{Kind, NodeIndex};

/// Something that happened, told to whoever watches. The library itself never prints.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// An image reference is being resolved, or a URL fetched to pin it.
    Resolving(&'a str),
    /// Bytes of what is being resolved came.
    Fetched {
        /// What is.
        what: &'a str,
        /// How many.
        bytes: u64,
    },
    /// It was.
    Resolved(&'a str),
    /// Nothing comes for a while, and why.
    Waiting(&'a str),
    /// How many nodes, and how many bytes of downloads, there are to realise.
    Planned {
        /// Nodes.
        nodes: usize,
        /// Bytes.
        bytes: u64,
    },
    /// A node is being built or fetched.
    Started {
        /// The node.
        node: NodeIndex,
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: &'a str,
        /// Bytes to download, where it is a download.
        bytes: Option<u64>,
    },
    /// So much of a node is there from a download that was cut off, and does not come.
    Had {
        /// The node.
        node: NodeIndex,
        /// How many bytes.
        bytes: u64,
    },
    /// More of a node's bytes came.
    Progress {
        /// The node.
        node: NodeIndex,
        /// How many.
        bytes: u64,
    },
    /// A node was built or fetched.
    Finished {
        /// The node.
        node: NodeIndex,
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: &'a str,
        /// Bytes of its output.
        bytes: u64,
        /// How long it took.
        elapsed: Duration,
    },
    /// An image that is there is being read.
    Reading {
        /// What becomes of the bytes, such as `verified`.
        done: &'a str,
        /// How many there are, where that is known.
        bytes: Option<u64>,
    },
    /// More of its bytes were.
    Read {
        /// How many.
        bytes: u64,
    },
    /// The output is being written.
    Writing,
}

/// Whoever watches. Called from several threads.
pub trait Watch: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: Event) {}
}
