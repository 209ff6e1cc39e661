use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Digest, ImageReference, Platform, Source, Span, Spanned};

use crate::chart::{Chart, Kustomization};
use crate::image_source::ImageSource;
use crate::readiness::Check;

/// One closed, checked description of a cluster image. Everything in it has the form that the language asks
/// for, and every name in it that refers to a layer refers to one that exists; whether files and images exist
/// is not known yet.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The text that it was read from.
    pub source: Source,
    /// The path of that text, as the user gave it.
    pub path: PathBuf,
    /// The name of the cluster image.
    pub name: Spanned<String>,
    /// Its version.
    pub version: Option<Spanned<String>>,
    /// The platforms to build for, at least one, without doubles, in the order of the spec.
    pub platforms: Vec<Spanned<Platform>>,
    /// What comes first.
    pub base: Spanned<Base>,
    /// Labels of the image's configuration.
    pub labels: BTreeMap<String, Spanned<String>>,
    /// How the layers that kic builds are compressed.
    pub compression: Compression,
    /// The layers that the spec names, in its order; registries are apart.
    pub layers: Vec<Layer>,
    /// The registries, in the order of the spec.
    pub registries: Vec<Registry>,
    /// The steps of a start, where the spec says them.
    pub launch: Option<Vec<Spanned<Step>>>,
    /// For each module and each list of images, by the name of its source: where it is used.
    pub uses: BTreeMap<String, Vec<Span>>,
}

impl Spec {
    /// A path that the spec, or a module or list that it uses, names, seen from where kic runs: it is relative to
    /// the file that says it.
    pub fn locate(&self, path: &Spanned<PathBuf>) -> PathBuf {
        self.locate_from(&path.value, &path.span)
    }

    /// The same for a path that was written at `span`.
    pub fn locate_from(&self, path: &Path, span: &Span) -> PathBuf {
        // The path of the spec itself may not be text, and what comes from `--set` is relative to the spec.
        let name = span.source().name();
        let file = if *span.source() == self.source || name == "--set" {
            self.path.as_path()
        } else {
            Path::new(name)
        };
        file.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// How the spec comes by what stands at `span`: that place, then, where it lies in a module or a list, the use of
    /// that, and so on to the spec itself. Of several uses the first.
    pub fn way_to(&self, span: &Span) -> Vec<Span> {
        let mut way = vec![span.clone()];
        while let Some(uses) = way.last().and_then(|last| self.uses.get(last.source().name())) {
            // A module does not use itself, so this ends; a list that names one does no harm either.
            let Some(next) = uses.iter().find(|next| !way.contains(next)) else { break };
            way.push(next.clone());
        }
        way
    }

    /// The path of the lock that stands beside the spec.
    pub fn lock_path(&self) -> PathBuf {
        self.path.with_file_name("kic.lock")
    }

    /// The image's tag: its version, or `latest`; characters that a tag may not have become `-`.
    pub fn tag(&self) -> String {
        match &self.version {
            Some(version) => version.value.replace('+', "-"),
            None => "latest".to_owned(),
        }
    }
}

/// What a cluster image is built on.
#[derive(Debug, Clone)]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image(ImageSource),
    /// Another spec.
    Spec(Box<Spec>),
}

/// How the layers that kic builds are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd, the default.
    Zstd,
    /// gzip, for readers that know no zstd.
    Gzip,
    /// Not at all.
    None,
}

/// The kind of a layer that a spec names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// Files of the root file system.
    Files,
    /// Kubernetes objects.
    Manifests,
    /// Admission policies.
    Policies,
    /// Readiness checks.
    Readiness,
}

impl LayerKind {
    /// The name of the node, and of the kind in annotations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Manifests => "manifests",
            Self::Policies => "policies",
            Self::Readiness => "readiness",
        }
    }

    /// The kind of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        let all = [Self::Files, Self::Manifests, Self::Policies, Self::Readiness];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// One layer that a spec names.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name, unique among the layers of its kind.
    pub name: Spanned<String>,
    /// The names of layers that come before it.
    pub after: Option<Spanned<String>>,
    /// The whole node.
    pub span: Span,
    /// The one platform that it is for; `None` where it is the same for all.
    pub platform: Option<Platform>,
    /// Whether it may become several layers of the image, where it is large.
    pub is_split: bool,
    /// What it holds.
    pub content: Content,
}

impl Layer {
    /// The private registry that the images in it are named after, where they are to be named anew.
    pub fn rewrite(&self) -> Option<&str> {
        match &self.content {
            Content::Manifests { rewrite, .. } => rewrite.as_ref().map(|host| host.value.as_str()),
            _ => None,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> LayerKind {
        match self.content {
            Content::Files(_) => LayerKind::Files,
            Content::Manifests { .. } => LayerKind::Manifests,
            Content::Policies { .. } => LayerKind::Policies,
            Content::Readiness(_) => LayerKind::Readiness,
        }
    }
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Files, in order: a later one replaces an earlier one of the same path.
    Files(Vec<Spanned<FileItem>>),
    /// Objects, in the order in which they are applied.
    Manifests {
        /// The namespace of objects that name none.
        namespace: Option<String>,
        /// The private registry that images are named after, where they are to be named anew.
        rewrite: Option<Spanned<String>>,
        /// The files.
        items: Vec<Spanned<ManifestItem>>,
    },
    /// Policies, in the order in which they are applied.
    Policies {
        /// The namespace of objects that name none.
        namespace: Option<String>,
        /// The files.
        items: Vec<Spanned<ManifestItem>>,
    },
    /// Checks, in the order in which they are made.
    Readiness(Vec<Spanned<Check>>),
}

/// A part of a `files` layer. Paths in the image are relative to its root; a `/` at the end means a folder,
/// and the empty path is the root.
#[derive(Debug, Clone, PartialEq)]
pub enum FileItem {
    /// A file or folder of this machine.
    Copy {
        /// Where it is, relative to the spec.
        from: Spanned<PathBuf>,
        /// Where it goes.
        to: String,
        /// The permission bits of every file.
        mode: Option<u32>,
        /// Globs of paths to leave out.
        exclude: Vec<Spanned<String>>,
    },
    /// A file with this text.
    Text {
        /// Where it goes.
        to: String,
        /// Its text.
        text: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A download.
    Fetch {
        /// What to download.
        fetch: Fetch,
        /// Where it goes.
        to: String,
        /// Its permission bits.
        mode: u32,
    },
}

/// Something to download.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetch {
    /// Where it is.
    pub url: Spanned<String>,
    /// Its checksum, where the spec says it.
    pub sha256: Option<Spanned<Digest>>,
}

/// A part of a `manifests` or `policies` layer.
#[derive(Debug, Clone, PartialEq)]
pub enum ManifestItem {
    /// A file of objects, or a folder of them.
    File {
        /// Where it is, relative to the spec.
        from: Spanned<PathBuf>,
        /// Its name in the layer.
        name: Option<Spanned<String>>,
    },
    /// A download.
    Fetch {
        /// What to download.
        fetch: Fetch,
        /// Its name in the layer.
        name: Option<Spanned<String>>,
    },
    /// One object, written in the spec.
    Object {
        /// Its name in the layer.
        file_name: String,
        /// The object as JSON.
        object: serde_json::Value,
    },
    /// A Helm chart.
    Chart(Box<Chart>),
    /// A kustomization.
    Kustomize(Kustomization),
}

/// A registry that the cluster will ask.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// `HOST` or `HOST:PORT`.
    pub host: Spanned<String>,
    /// The node of `discover`, where it stands.
    pub discover: Option<Span>,
    /// The images that the spec names, lists included.
    pub images: Vec<CachedImage>,
    /// The images that are left out.
    pub exclude: Vec<Spanned<ImageReference>>,
    /// What manifests leave open and the author accepts.
    pub accept: Vec<Spanned<String>>,
    /// Whether what refers to a discovered image, such as its signatures, is cached, too.
    pub with_referrers: bool,
}

/// An image that a registry caches.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedImage {
    /// Where it comes from, and where the spec says so.
    pub from: Spanned<ImageSource>,
    /// The name by which it answers, where it is not that of its source.
    pub name: Option<Spanned<ImageReference>>,
    /// Whether it also answers without the host of its own registry.
    pub short_names: bool,
    /// Whether what refers to it, such as its signatures, is cached, too.
    pub with_referrers: bool,
}

/// One step of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Applies the objects of the layer.
    Apply(LayerKind, String),
    /// Waits for the checks of the layer.
    Wait(String),
    /// Runs a shell command.
    Run(String),
    /// The steps of the layers that no other step names, in their own order.
    Rest,
}
