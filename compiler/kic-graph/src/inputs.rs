//! What the graph has to know of the world, all of it by digest. Whoever has a disk and a network gathers it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use kic_base::{Digest, Epoch, ImageReference, Platform, Span, Spanned};
use kic_manifest::Confidence;
use kic_redirect::{Mirror, Place, Pod, Policy, Problem};
use kic_spec::{ImageSource, LayerKind};
use serde_json::Value as Json;

use crate::admissions::KnownAdmissions;
use crate::derivation::Derivation;

/// Everything that [`crate::lower`] takes beside the spec.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// The encoder epoch, from the lock.
    pub epoch: Epoch,
    /// The time of every file in every layer, in seconds since 1970.
    pub source_date_epoch: u64,
    /// What each file or folder that the spec names holds.
    pub paths: BTreeMap<PathKey, PathFacts>,
    /// What [`crate::early_layers`] made of the paths: the derivations of layers, and their digests, by their places in the spec.
    pub early: BTreeMap<usize, (Derivation, Digest)>,
    /// What each URL gives.
    pub fetches: BTreeMap<String, ContentFacts>,
    /// What each chart and kustomization gives, by its [`crate::render_key`].
    pub renders: BTreeMap<Digest, RenderFacts>,
    /// Manifests in which images are named anew: what they say then, by the digest of what they say without, and the
    /// registry that images are named after.
    pub rewritten: BTreeMap<(Digest, String), Arc<str>>,
    /// What each image that a registry caches is made of, paths on disk seen from where kic runs.
    pub images: BTreeMap<ImageSource, ImageFacts>,
    /// Every place where manifests, policies and commands name an image, sure or not.
    pub needs: Vec<Need>,
    /// Every object that manifests and policies make.
    pub objects: Vec<ObjectFacts>,
    /// What decides under which names the cluster asks for images.
    pub redirects: RedirectFacts,
    /// The images that may be missing in the cluster. They decide which errors are warnings, and nothing else.
    pub allow_missing: BTreeSet<ImageReference>,
    /// What comes first.
    pub base: BaseFacts,
    /// What the image is compiled from, to be recorded in it.
    pub source: Option<Arc<[u8]>>,
}

impl Inputs {
    /// Those of a world in which no file and no image is known.
    pub fn none(epoch: Epoch, source_date_epoch: u64) -> Self {
        Self {
            epoch,
            source_date_epoch,
            paths: BTreeMap::new(),
            early: BTreeMap::new(),
            fetches: BTreeMap::new(),
            renders: BTreeMap::new(),
            rewritten: BTreeMap::new(),
            images: BTreeMap::new(),
            needs: Vec::new(),
            objects: Vec::new(),
            redirects: RedirectFacts::default(),
            allow_missing: BTreeSet::new(),
            base: BaseFacts::Scratch,
            source: None,
        }
    }
}

/// A file or folder as the spec names it. What is copied is another view of a folder than the manifests in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathKey {
    /// The path, seen from where kic runs.
    pub path: PathBuf,
    /// The globs that are left out.
    pub exclude: Vec<String>,
    /// Whether what is in folders of the folder belongs to it.
    pub deep: bool,
}

impl PathKey {
    /// What `copy` takes.
    pub fn copied(path: PathBuf, exclude: &[Spanned<String>]) -> Self {
        let exclude = exclude.iter().map(|glob| glob.value.clone()).collect();
        Self { path, exclude, deep: true }
    }

    /// A manifest, or the manifests right in a folder.
    pub fn manifests(path: PathBuf) -> Self {
        Self { path, exclude: Vec::new(), deep: false }
    }
}

/// A content and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentFacts {
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

/// What a chart or kustomization gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RenderFacts {
    /// The files, in the order in which they are applied: name and text.
    pub files: Vec<(String, Arc<str>)>,
}

/// What is at a path.
#[derive(Debug, Clone)]
pub enum PathFacts {
    /// A file.
    File(FileFacts),
    /// A folder: what is below it, by path relative to it with `/` between the parts, sorted by the bytes of the paths.
    Folder(Arc<Vec<(String, EntryFacts)>>),
}

/// A file of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// What it holds.
    pub content: ContentFacts,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// What a folder holds at a path.
#[derive(Debug, Clone)]
pub enum EntryFacts {
    /// A file.
    File(FileFacts),
    /// A symbolic link to this text.
    Symlink(String),
    /// A folder with nothing in it.
    EmptyFolder,
}

/// A document or blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFacts {
    /// Its media type, as upstream says it.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

/// An image to cache.
#[derive(Debug, Clone)]
pub struct ImageFacts {
    /// The index, or the manifest of an image without one.
    pub root: BlobFacts,
    /// The manifests of the platforms asked for.
    pub manifests: BTreeMap<Platform, ManifestFacts>,
    /// Where its blobs are.
    pub origin: Origin,
    /// The name that it bears, for one on disk.
    pub name: Option<ImageReference>,
    /// What refers to it, where that comes along.
    pub referrers: Vec<ReferrerFacts>,
}

/// Something that refers to an image: a signature, an attestation, a bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerFacts {
    /// The digest of what it refers to.
    pub subject: Digest,
    /// How it is found by whoever looks for it.
    pub referral: Referral,
    /// Its manifest; of an index, the index, then its manifests.
    pub documents: Vec<BlobFacts>,
    /// Configurations and layers.
    pub blobs: Vec<BlobFacts>,
    /// The type of the artifact, as its descriptor in a list says it.
    pub artifact_type: Option<String>,
    /// The annotations of its manifest, which that descriptor has, too.
    pub annotations: BTreeMap<String, String>,
}

/// How a referrer is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Referral {
    /// The index of the image has it.
    Inside,
    /// The list of referrers has it: in the cache, the index under the tag `sha256-HEX` of its subject.
    Listed,
    /// It has a tag that follows from its subject, such as `sha256-HEX.sig`.
    Tagged(String),
}

/// A manifest and what it refers to.
#[derive(Debug, Clone)]
pub struct ManifestFacts {
    /// The manifest itself.
    pub manifest: BlobFacts,
    /// Its configuration.
    pub config: BlobFacts,
    /// Its layers.
    pub layers: Vec<BlobFacts>,
}

/// Where bytes can be had. It is a hint for whoever builds, and enters no digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The repository of an image in a registry.
    Registry(ImageReference),
    /// An image on disk, its path seen from where kic runs.
    Disk(ImageSource),
    /// A URL.
    Url(String),
}

/// What comes first.
#[derive(Debug, Clone)]
pub enum BaseFacts {
    /// Nothing.
    Scratch,
    /// An image, by platform.
    Image(BTreeMap<Platform, BaseImage>),
    /// Another spec.
    Spec(Box<Inputs>),
}

/// A base image for one platform.
#[derive(Debug, Clone)]
pub struct BaseImage {
    /// Its layers, bottom first.
    pub layers: Vec<BaseLayer>,
    /// Its configuration, as JSON.
    pub config: Json,
    /// The launch plan, where kic built it.
    pub plan: Option<Json>,
    /// Where its blobs are.
    pub origin: Origin,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// What its manifests, policies and files say, where kic built it.
    pub contents: BaseContents,
}

/// What a base that kic built brings into the cluster. It decides what is told, and no digest.
#[derive(Debug, Clone, Default)]
pub struct BaseContents {
    /// Every place of its manifests that names an image.
    pub needs: Vec<Need>,
    /// Every object that they make.
    pub objects: Vec<ObjectFacts>,
    /// Its policies and mirrors.
    pub redirects: RedirectFacts,
    /// The names of its layers of files that are too large to be read for mirrors.
    pub unread: Vec<String>,
}

/// An object that a manifest or policy makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Such as `Deployment`. Many have the same, and share it; the same goes for what follows but the name.
    pub kind: Arc<str>,
    /// Its name.
    pub name: String,
    /// Its namespace: its own, else that of its layer or chart.
    pub namespace: Option<Arc<str>>,
    /// The layer that it is applied with.
    pub layer: Arc<(LayerKind, String)>,
}

/// A layer of a base image.
#[derive(Debug, Clone)]
pub struct BaseLayer {
    /// Its bytes. The media type is OCI's, also where upstream's is Docker's name for the same.
    pub blob: BlobFacts,
    /// The digest of its bytes without compression.
    pub diff_id: Digest,
    /// The annotations of its descriptor.
    pub annotations: BTreeMap<String, String>,
}

/// A place that names an image.
#[derive(Debug, Clone)]
pub struct Need {
    /// The image.
    pub reference: ImageReference,
    /// The place itself: in a manifest, or in the spec.
    pub span: Span,
    /// What of the spec brings that place in: a file, a download, an object, a step.
    pub said: Span,
    /// Whether the text of `span` is made from the spec: there is no such file.
    pub is_generated: bool,
    /// The object, such as `Deployment shop/shop`; `command` for a step of the launch.
    pub object: String,
    /// The field, such as `spec.template.spec.containers[0].image`; empty for a command.
    pub path: String,
    /// The name by which the cluster asks for it, where the place names it anew.
    pub asked: Option<ImageReference>,
    /// How sure it is that the cluster asks for the image because of it.
    pub confidence: Confidence,
    /// Why, in plain English, as the end of "because it is …".
    pub reason: String,
    /// The step of the launch that makes the cluster ask.
    pub step: NeedStep,
    /// The pod that asks, and where in it the image stands; `None` for what asks without a pod.
    pub pod: Option<(Arc<Pod>, Place)>,
}

/// The step of the launch that brings a need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeedStep {
    /// Where a layer is applied.
    Apply(LayerKind, String),
    /// Where a command runs.
    Run(String),
}

/// What decides under which names the cluster asks for images.
#[derive(Debug, Clone, Default)]
pub struct RedirectFacts {
    /// Policies, in the order of the spec.
    pub policies: Vec<PolicyFacts>,
    /// Mirrors of the nodes.
    pub mirrors: Vec<Mirror>,
    /// Files of mirrors that cannot be judged, and what of the spec brings each in.
    pub problems: Vec<(Problem, Span)>,
    /// What is known of what policies make of pods; it saves time, and decides nothing.
    pub known: Option<Arc<dyn KnownAdmissions>>,
}

/// A policy of the spec.
#[derive(Debug, Clone)]
pub struct PolicyFacts {
    /// The policy.
    pub policy: Policy,
    /// The layer that it is applied with.
    pub layer: (LayerKind, String),
    /// What of the spec brings it in.
    pub said: Span,
    /// Whether its text is made from the spec: there is no such file.
    pub is_generated: bool,
}

impl Need {
    /// The place in words, for the label of a message.
    pub fn place(&self) -> String {
        match self.path.as_str() {
            "" => format!("this {} asks for it", self.object),
            path => format!("{} {path}", self.object),
        }
    }
}
