//! The small parts of an image: manifests, indexes, configurations, the launch plan.

use std::time::Instant;

use futures::StreamExt;
use kic_base::{Digest, Platform, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{BlobFacts, KIND_ANNOTATION, Kind, NodeIndex, Origin};
use kic_oci::layer::read_file;
use kic_oci::model::{DOCUMENT_LIMIT, Descriptor, Document, Index, Manifest, ModelError};
use kic_store::StoreError;
use serde_json::Value as Json;

use crate::build::launch::PLAN_PATH;
use crate::context::Context;
use crate::event::{Event, Watch};
use crate::{disk, fault};

/// The largest launch layer that is read, in bytes.
const LAUNCH_LIMIT: u64 = 64 << 20;

/// Blobs of fewer bytes come in a moment.
const TOLD: u64 = 1 << 20;

/// So often a small blob is asked for when its content is wrong.
pub(crate) const ATTEMPTS: u32 = 3;

/// Reads the parts of one image, and keeps them in the store.
pub struct Documents<'a> {
    /// The store, the network, and the rest.
    pub context: &'a Context,
    /// Where the image is.
    pub origin: Origin,
    /// Where the spec names it.
    pub span: Option<&'a Span>,
}

impl Documents<'_> {
    /// A manifest or index, by digest.
    pub async fn document(&self, digest: &Digest, media_type: &str) -> Result<Document, Diagnostics> {
        let bytes = self.bytes(digest, None).await?;
        Document::parse(media_type, &bytes).map_err(|error| self.invalid(digest, &error).into())
    }

    /// The bytes of a manifest or index, by digest.
    pub async fn raw(&self, digest: &Digest) -> Result<Vec<u8>, Diagnostics> {
        self.bytes(digest, None).await
    }

    /// A manifest or index that something else describes, which must be right about its size: the size is part of what
    /// kic makes of it.
    pub(crate) async fn described(&self, blob: &BlobFacts) -> Result<Document, Diagnostics> {
        let BlobFacts { media_type, digest, size } = blob;
        let bytes = self.bytes(digest, None).await?;
        let found = bytes.len() as u64;
        if found != *size {
            let message =
                format!("{digest} of `{}` has {found} bytes, and {size} are announced", self.name());
            return Err(self
                .diagnostic(&code::INVALID_MANIFEST, message)
                .help("push the image again with a current tool: what names this manifest is wrong about its size")
                .into());
        }
        Document::parse(media_type, &bytes).map_err(|error| self.invalid(digest, &error).into())
    }

    /// An image's manifest that an index describes; an index in an index is an error.
    pub async fn manifest(&self, child: &Descriptor) -> Result<Manifest, Diagnostics> {
        let digest = &child.digest;
        match self.described(&blob_facts(child)).await? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(self
                .diagnostic(
                    &code::INVALID_MANIFEST,
                    format!("{digest} of `{}` is an index inside an index", self.name()),
                )
                .help("kic reads one index a reference: name the inner one by its digest")
                .into()),
        }
    }

    /// A configuration or another small blob.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Diagnostics> {
        self.bytes(&descriptor.digest, Some(descriptor.size)).await
    }

    /// The launch plan of an image that kic built; `None` for any other.
    pub async fn plan(&self, manifest: &Manifest) -> Result<Option<Json>, Diagnostics> {
        let is_launch =
            |layer: &&Descriptor| layer.annotations.get(KIND_ANNOTATION).is_some_and(|kind| kind == "launch");
        let Some(layer) = manifest.layers.iter().rfind(is_launch) else { return Ok(None) };
        let bytes = self.blob(layer).await?;
        let damaged = |why: String| {
            Diagnostics::from(
                self.diagnostic(
                    &code::INVALID_MANIFEST,
                    format!("the launch layer of `{}` is damaged: {why}", self.name()),
                )
                .help("compile the base again"),
            )
        };
        let file = read_file(bytes.as_slice(), &layer.media_type, PLAN_PATH, LAUNCH_LIMIT)
            .map_err(|error| damaged(error.to_string()))?;
        let Some(file) = file else { return Err(damaged(format!("it holds no `{PLAN_PATH}`"))) };
        serde_json::from_slice(&file).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// The bytes of a document (`size` unknown) or a small blob, from the store, the substituter, or the origin.
    async fn bytes(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, Diagnostics> {
        let limit = if size.is_some() { LAUNCH_LIMIT } else { DOCUMENT_LIMIT as u64 };
        if let Some(size) = size.filter(|size| *size > limit) {
            return Err(self
                .diagnostic(
                    &code::INVALID_MANIFEST,
                    format!("{digest} of `{}` has {size} bytes", self.name()),
                )
                .help("a configuration of that size is not one")
                .into());
        }
        let mut damage = None;
        match self.context.store.read(digest, limit) {
            Ok(bytes) => return Ok(bytes),
            Err(StoreError::Missing { .. }) => {}
            Err(error) => damage = Some(error),
        }
        match self.context.substituter.as_ref().map(|store| store.read(digest, limit)) {
            Some(Ok(bytes)) => return self.context.put(bytes).await,
            None | Some(Err(StoreError::Missing { .. })) => {}
            Some(Err(error)) => damage = Some(error),
        }
        let bytes = self.fetch(digest, size).await.map_err(|mut errors| {
            // Why it has to be fetched at all.
            errors.extend(damage.as_ref().map(fault::store));
            errors
        })?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(self
                .diagnostic(&code::DIGEST_MISMATCH, format!("`{}` gave {found} for {digest}", self.name()))
                .help("the content was changed on its way, or the registry is damaged: do not trust it")
                .into());
        }
        self.context.put(bytes).await
    }

    async fn fetch(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, Diagnostics> {
        self.context.go_on()?;
        let reference = match &self.origin {
            Origin::Registry(reference) => reference,
            Origin::Url(url) => return Err(fault::internal(format!("`{url}` is no image")).into()),
            Origin::Disk(source) => {
                let image = self.context.disk_images.open(source, self.span)?;
                let bytes =
                    image.document(digest).map_err(|error| disk::unreadable(source, &error, self.span))?;
                return Ok(bytes);
            }
        };
        let network = self.context.network(&reference.at(*digest).to_string(), self.span)?;
        let fetch = async {
            let Some(size) = size else {
                let at = reference.at(*digest);
                return network.resolve(&at).await.map(|document| document.bytes);
            };
            let mut bytes = Vec::new();
            // Wrong content may be that of one mirror, or of a cache on the way.
            let told = TellsOfBlob::begin(digest, size, self.context);
            for attempt in 0..ATTEMPTS {
                bytes.clear();
                let mut stream = std::pin::pin!(network.blob_again(reference, digest, size, attempt));
                while let Some(piece) = stream.next().await {
                    let piece = piece?;
                    told.came(piece.len());
                    bytes.extend_from_slice(&piece);
                }
                if Digest::of(&bytes) == *digest {
                    break;
                }
            }
            told.end();
            Ok(bytes)
        };
        let fetch = async { fetch.await.map_err(|error| fault::registry(&error, self.span).into()) };
        self.context.interruptible(fetch).await
    }

    /// The manifest of `wanted` in an index.
    pub fn choose<'i>(&self, index: &'i Index, wanted: &Platform) -> Result<&'i Descriptor, Diagnostic> {
        let found = choose(index, wanted);
        found.ok_or_else(|| {
            let there = index.manifests.iter().filter_map(|child| child.platform.as_ref());
            let there: Vec<String> = there
                .filter(|platform| platform.os != "unknown")
                .map(|platform| format!("`{}`", platform.platform()))
                .collect();
            let help = match (there.is_empty(), index.manifests.first()) {
                (false, _) => {
                    let has = there.join(", ");
                    format!("it has {has}: choose another image, or leave the platform out of the spec")
                }
                (true, None) => "its index names no manifests: choose another image".to_owned(),
                (true, Some(first)) => format!(
                    "its index says of no manifest which platform it is for: name the right one by its digest, such as `@{}`",
                    first.digest
                ),
            };
            self.diagnostic(&code::PLATFORM_MISSING, format!("`{}` is not built for `{wanted}`", self.name()))
                .help(help)
        })
    }

    fn name(&self) -> String {
        match &self.origin {
            Origin::Registry(reference) => reference.to_string(),
            Origin::Disk(source) => source.to_string(),
            Origin::Url(url) => url.clone(),
        }
    }

    pub(crate) fn diagnostic(&self, code: &'static kic_diag::Code, message: String) -> Diagnostic {
        let diagnostic = Diagnostic::new(code, message);
        match self.span {
            Some(span) => diagnostic.at(span, "needed here"),
            None => diagnostic,
        }
    }

    pub(crate) fn invalid(&self, digest: &Digest, error: &ModelError) -> Diagnostic {
        let code = match error {
            ModelError::Schema1 => &code::SCHEMA_1_MANIFEST,
            _ => &code::INVALID_MANIFEST,
        };
        self.diagnostic(code, format!("{digest} of `{}`: {error}", self.name()))
            .help("push the image again with a current tool")
    }
}

/// Tells whoever watches of a blob that takes a while. Of those that configurations are, nobody is told.
struct TellsOfBlob<'a> {
    name: String,
    size: u64,
    began: Instant,
    watch: Option<&'a dyn Watch>,
}

impl<'a> TellsOfBlob<'a> {
    fn begin(digest: &Digest, size: u64, context: &'a Context) -> Self {
        let watch = (size >= TOLD).then_some(&*context.watch);
        let told = Self { name: digest.short(), size, began: Instant::now(), watch };
        told.tell(Event::Started {
            node: NodeIndex::end(),
            kind: Kind::Blob,
            name: &told.name,
            bytes: Some(size),
        });
        told
    }

    fn came(&self, bytes: usize) {
        self.tell(Event::Progress { node: NodeIndex::end(), bytes: bytes as u64 });
    }

    fn end(&self) {
        let (node, kind, name) = (NodeIndex::end(), Kind::Blob, &self.name);
        self.tell(Event::Finished { node, kind, name, bytes: self.size, elapsed: self.began.elapsed() });
    }

    fn tell(&self, event: Event) {
        if let Some(watch) = self.watch {
            watch.event(event);
        }
    }
}

/// The manifest of `wanted`: that platform itself, else the same processor in any variant where one says none.
fn choose<'i>(index: &'i Index, wanted: &Platform) -> Option<&'i Descriptor> {
    let platform = |child: &Descriptor| child.platform.as_ref().map(|platform| platform.platform());
    let exact = index.manifests.iter().find(|child| platform(child).as_ref() == Some(wanted));
    exact.or_else(|| {
        index.manifests.iter().find(|child| {
            platform(child).is_some_and(|platform| {
                platform.os == wanted.os
                    && platform.architecture == wanted.architecture
                    && (platform.variant.is_none() || wanted.variant.is_none())
            })
        })
    })
}

/// A descriptor as the graph knows it.
pub(crate) fn blob_facts(descriptor: &Descriptor) -> BlobFacts {
    BlobFacts { media_type: descriptor.media_type.clone(), digest: descriptor.digest, size: descriptor.size }
}
