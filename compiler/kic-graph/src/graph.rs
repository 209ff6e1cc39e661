use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Digest, Platform, Span};
use kic_spec::{Compression, ImageSource};
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value as Json;

use crate::derivation::{Bytes, Derivation, TreeEntryKind};
use crate::inputs::{BlobFacts, ContentFacts, Origin};

/// What is to be built: derivations, the edges between them, and the images that are put together from their
/// outputs.
#[derive(Debug)]
pub struct Graph {
    /// An edge leads from a node to each node that waits for it.
    pub nodes: DiGraph<Node, ()>,
    /// The image that comes out.
    pub image: Image,
}

/// A derivation, and what is known of it that does not decide its output.
#[derive(Debug, Clone)]
pub struct Node {
    /// What is built.
    pub derivation: Derivation,
    /// The digest over all its inputs.
    pub digest: Digest,
    /// What kind of layer it first became, or `blob` for bytes that are part of one.
    pub kind: Kind,
    /// The name under which progress and messages show it.
    pub name: String,
    /// Where the spec asks for it.
    pub span: Option<Span>,
    /// Where the bytes of a blob can be had, the best place first.
    pub origins: Vec<Origin>,
    /// Whether the bytes are a manifest or an index, which registries serve apart from blobs.
    pub is_document: bool,
}

/// Entries of a tree by their places, and what they hold.
pub type Contents = Vec<(usize, ContentFacts)>;

impl Node {
    /// Has files of this machine in a tree hold something else; nothing where they are none. Its digest is another one then.
    pub(crate) fn hold(&mut self, contents: &Contents) -> Option<()> {
        let Derivation::Tree { entries, .. } = &mut self.derivation else { return None };
        let entries = Arc::get_mut(entries)?;
        for (place, now) in contents {
            match &mut entries.get_mut(*place)?.kind {
                TreeEntryKind::File { content, bytes: Bytes::Local(_) | Bytes::Below(..), .. } => {
                    *content = *now;
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// The kind of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Of the base image.
    Base,
    /// Files of the root file system.
    Files,
    /// Kubernetes objects.
    Manifests,
    /// Admission policies.
    Policies,
    /// Readiness checks.
    Readiness,
    /// Blobs of the registry cache.
    RegistryCache,
    /// Names, manifests and small blobs of the registry cache.
    RegistryCatalogue,
    /// The launch plan.
    Launch,
    /// No layer: bytes that a layer is made of.
    Blob,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Base,
        Self::Files,
        Self::Manifests,
        Self::Policies,
        Self::Readiness,
        Self::RegistryCache,
        Self::RegistryCatalogue,
        Self::Launch,
        Self::Blob,
    ];

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name, as annotations and tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Files => "files",
            Self::Manifests => "manifests",
            Self::Policies => "policies",
            Self::Readiness => "readiness",
            Self::RegistryCache => "registry-cache",
            Self::RegistryCatalogue => "registry-catalogue",
            Self::Launch => "launch",
            Self::Blob => "blob",
        }
    }
}

/// The image that comes out of a graph, for all its platforms.
#[derive(Debug, Clone)]
pub struct Image {
    /// The cluster's name.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// The tag of the image.
    pub tag: String,
    /// The time of the image, in seconds since 1970.
    pub created: u64,
    /// How the layers that kic built are compressed.
    pub compression: Compression,
    /// The image of each platform, in the order of the spec.
    pub platforms: BTreeMap<Platform, PlatformImage>,
}

/// The image of one platform.
#[derive(Debug, Clone)]
pub struct PlatformImage {
    /// All layers, bottom first, those of the base included.
    pub layers: Vec<ImageLayer>,
    /// The configuration that the image's own is made from.
    pub base: BaseConfig,
    /// The labels that the spec adds.
    pub labels: BTreeMap<String, String>,
    /// The `Launch` node.
    pub launch: NodeIndex,
}

/// The configuration of a base.
#[derive(Debug, Clone)]
pub enum BaseConfig {
    /// There is none.
    Scratch,
    /// That of an image.
    Image {
        /// The configuration as JSON.
        config: Json,
        /// The reference, for an image in a registry, and the digest of its manifest.
        source: Option<(ImageSource, Digest)>,
    },
    /// That of another image of the graph.
    Spec(Box<PlatformImage>),
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// The node whose output it is.
    pub node: NodeIndex,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What is known beforehand of a layer of a base image: its descriptor, and the digest of its bytes
    /// without compression.
    pub upstream: Option<(BlobFacts, Digest)>,
    /// The annotations of a base's layer.
    pub annotations: BTreeMap<String, String>,
}
