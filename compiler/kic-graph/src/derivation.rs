use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::{Digest, Epoch, ImageReference, StableHasher};
use kic_spec::Compression;
use petgraph::graph::NodeIndex;
use serde_json::Value as Json;

use crate::inputs::ContentFacts;

/// One thing to build or fetch. Its digest says everything that its output depends on:
///
/// | variant | what enters the digest |
/// |---|---|
/// | `Blob` | the digest and size of the bytes |
/// | `CachedBlob` | encoder epoch, time, path in the image, digest and size of the bytes |
/// | `Tree` | encoder epoch, time, compression; each entry's path, kind, mode, and its content's digest and size, or its link's target |
/// | `Launch` | encoder epoch, time, compression; names and steps; the images; the derivations of the layers that the steps need, and that of the base's plan or the plan itself; what the image is compiled from, where that is recorded |
///
/// What never enters: where bytes come from, the number of jobs, paths of this machine, the time of day, and
/// the names of layers.
#[derive(Debug, Clone)]
pub enum Derivation {
    /// Bytes that are known by their digest, to be had as they are.
    Blob(ContentFacts),
    /// A layer that holds one blob of a registry cache: an uncompressed tar with one file.
    CachedBlob {
        /// Bytes and form of the layer.
        settings: LayerSettings,
        /// The file's path.
        path: String,
        /// The file's content.
        content: ContentFacts,
    },
    /// A layer of many files.
    Tree {
        /// Bytes and form of the layer.
        settings: LayerSettings,
        /// The entries, sorted by the bytes of their paths, without doubles.
        entries: Arc<[TreeEntry]>,
    },
    /// The layer with `kic/plan.json`.
    Launch(Launch),
}

/// What decides the form of a layer beside what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSettings {
    /// The encoder epoch.
    pub epoch: Epoch,
    /// The time of every entry, in seconds since 1970.
    pub mtime: u64,
    /// The compression.
    pub compression: Compression,
}

/// One entry of a layer.
#[derive(Debug, Clone)]
pub struct TreeEntry {
    /// Its path, without a leading `/`.
    pub path: String,
    /// What it is.
    pub kind: TreeEntryKind,
}

/// What an entry of a layer is.
#[derive(Debug, Clone)]
pub enum TreeEntryKind {
    /// A file.
    File {
        /// Its permission bits.
        mode: u32,
        /// Its content.
        content: ContentFacts,
        /// Where the content is.
        bytes: Bytes,
    },
    /// A symbolic link to this text.
    Symlink(String),
    /// A folder.
    Folder {
        /// Its permission bits.
        mode: u32,
    },
}

/// Where the bytes of a file in a layer are. It enters no digest.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// Here.
    Inline(Arc<[u8]>),
    /// In a file of this machine.
    Local(PathBuf),
    /// In a file of this machine: below that folder, where the path of the entry says from that byte on. A folder may hold very
    /// many, which then need no path each.
    Below(Arc<Path>, usize),
    /// In the output of a `Blob` node.
    Node(NodeIndex),
}

/// What `kic/plan.json` is made from.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Bytes and form of the layer.
    pub settings: LayerSettings,
    /// The cluster's name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// The hosts that the registry cache answers for.
    pub registries: Vec<String>,
    /// The base's plan, whose steps come first.
    pub base: BasePlan,
    /// The steps.
    pub steps: Vec<LaunchStep>,
    /// The images of the registry cache, sorted by reference.
    pub images: Arc<[PlanImage]>,
    /// What the image is compiled from, where that is recorded: the bytes of `kic/source.json`.
    pub source: Option<Arc<[u8]>>,
}

/// The plan of a base image.
#[derive(Debug, Clone)]
pub enum BasePlan {
    /// The base has none.
    None,
    /// The plan of an image.
    Json(Json),
    /// The plan that another `Launch` node of the graph makes.
    Node(NodeIndex),
}

/// One step of a plan.
#[derive(Debug, Clone)]
pub enum LaunchStep {
    /// Apply objects.
    Apply {
        /// `manifests` or `policies`.
        kind: &'static str,
        /// The layer's name.
        name: String,
        /// The layer.
        layer: NodeIndex,
        /// The paths of the files, in the order in which they are applied.
        files: Vec<String>,
        /// The namespace of objects that name none.
        namespace: Option<String>,
    },
    /// Wait for checks.
    Wait {
        /// The layer's name.
        name: String,
        /// The layer.
        layer: NodeIndex,
    },
    /// Run a shell command.
    Run(String),
}

/// An image in the list of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanImage {
    /// The reference.
    pub reference: ImageReference,
    /// The digest of its index or manifest.
    pub digest: Digest,
    /// The names under which the registry cache answers, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
    pub names: Vec<String>,
    /// The platforms that are cached.
    pub platforms: Vec<String>,
    /// The bytes of its own blobs, shared ones counted in each image.
    pub size: u64,
}

impl LayerSettings {
    fn hash(&self, hasher: &mut StableHasher) {
        hasher
            .number(self.epoch.number().into())
            .number(self.mtime)
            .variant(compression_name(self.compression));
    }
}

/// The name of a compression, as a spec writes it.
pub fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "zstd",
        Compression::Gzip => "gzip",
        Compression::None => "none",
    }
}

impl Derivation {
    /// The digest over all inputs; `digest_of` gives that of another node.
    pub fn digest(&self, digest_of: &dyn Fn(NodeIndex) -> Digest) -> Digest {
        let mut hasher = StableHasher::new();
        hasher.text("kic derivation 1");
        match self {
            Self::Blob(content) => {
                hasher.variant("Blob").digest(&content.digest).number(content.size);
            }
            Self::CachedBlob { settings, path, content } => {
                hasher.variant("CachedBlob");
                settings.hash(&mut hasher);
                hasher.text(path).digest(&content.digest).number(content.size);
            }
            Self::Tree { settings, entries } => {
                hasher.variant("Tree");
                settings.hash(&mut hasher);
                hasher.list(entries.iter(), |hasher, entry| entry.hash(hasher));
            }
            Self::Launch(launch) => launch.hash(&mut hasher, digest_of),
        }
        hasher.finish()
    }

    /// The nodes whose outputs it reads.
    pub fn inputs(&self) -> Vec<NodeIndex> {
        match self {
            Self::Blob(_) | Self::CachedBlob { .. } => Vec::new(),
            Self::Tree { entries, .. } => {
                let node = |entry: &TreeEntry| match &entry.kind {
                    TreeEntryKind::File { bytes: Bytes::Node(node), .. } => Some(*node),
                    _ => None,
                };
                entries.iter().filter_map(node).collect()
            }
            Self::Launch(launch) => {
                let base = match launch.base {
                    BasePlan::Node(node) => Some(node),
                    _ => None,
                };
                base.into_iter().chain(launch.steps.iter().filter_map(LaunchStep::layer)).collect()
            }
        }
    }
}

impl TreeEntry {
    /// The file of this machine that holds its content, where one does.
    pub fn local(&self) -> Option<Cow<'_, Path>> {
        match &self.kind {
            TreeEntryKind::File { bytes: Bytes::Local(path), .. } => Some(Cow::Borrowed(path)),
            TreeEntryKind::File { bytes: Bytes::Below(folder, from), .. } => {
                Some(Cow::Owned(folder.join(self.path.get(*from..)?)))
            }
            _ => None,
        }
    }

    fn hash(&self, hasher: &mut StableHasher) {
        hasher.text(&self.path);
        match &self.kind {
            TreeEntryKind::File { mode, content, bytes: _ } => {
                hasher.variant("File").number((*mode).into()).digest(&content.digest).number(content.size);
            }
            TreeEntryKind::Symlink(target) => {
                hasher.variant("Symlink").text(target);
            }
            TreeEntryKind::Folder { mode } => {
                hasher.variant("Folder").number((*mode).into());
            }
        }
    }
}

impl LaunchStep {
    /// The layer that the step needs.
    pub fn layer(&self) -> Option<NodeIndex> {
        match self {
            Self::Apply { layer, .. } | Self::Wait { layer, .. } => Some(*layer),
            Self::Run(_) => None,
        }
    }
}

impl Launch {
    fn hash(&self, hasher: &mut StableHasher, digest_of: &dyn Fn(NodeIndex) -> Digest) {
        hasher.variant("Launch");
        self.settings.hash(hasher);
        hasher.text(&self.name);
        hasher.option(self.version.as_ref(), |hasher, version| {
            hasher.text(version);
        });
        hasher.list(&self.registries, |hasher, host| {
            hasher.text(host);
        });
        match &self.base {
            BasePlan::None => hasher.variant("None"),
            // `serde_json` keeps the keys of an object sorted.
            BasePlan::Json(plan) => hasher.variant("Json").text(&plan.to_string()),
            BasePlan::Node(node) => hasher.variant("Node").digest(&digest_of(*node)),
        };
        hasher.list(&self.steps, |hasher, step| match step {
            LaunchStep::Apply { kind, name, layer, files, namespace } => {
                hasher.variant("Apply").text(kind).text(name).digest(&digest_of(*layer));
                hasher.list(files, |hasher, file| {
                    hasher.text(file);
                });
                hasher.option(namespace.as_ref(), |hasher, namespace| {
                    hasher.text(namespace);
                });
            }
            LaunchStep::Wait { name, layer } => {
                hasher.variant("Wait").text(name).digest(&digest_of(*layer));
            }
            LaunchStep::Run(command) => {
                hasher.variant("Run").text(command);
            }
        });
        // Without a record, the digest is what it was before there were any.
        if let Some(source) = &self.source {
            hasher.variant("Source").bytes(source);
        }
        hasher.list(self.images.iter(), |hasher, image| {
            hasher.text(image.reference.as_str()).digest(&image.digest).number(image.size);
            for list in [&image.names, &image.platforms] {
                hasher.list(list, |hasher, text| {
                    hasher.text(text);
                });
            }
        });
    }
}
