use std::path::Path;

use kic_base::{ImageReference, Platform, WHERE_LOGINS_BELONG, without_login};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Documents, Event, fault};
use kic_graph::{BlobFacts, Origin};
use kic_oci::model::{Descriptor, Document, ImageConfig, Manifest, media_types};
use kic_spec::{DiskFormat, ImageSource};

/// An image that a user names on the command line.
#[derive(Debug, Clone)]
pub struct ImageAt {
    /// Where it is.
    pub source: ImageSource,
    /// Its manifest, or its index.
    pub root: BlobFacts,
    /// The manifest of each platform; `None` for the platform of an image without index.
    pub manifests: Vec<(Option<Platform>, Descriptor, Manifest)>,
}

impl ImageAt {
    /// Where its blobs are.
    pub fn origin(&self) -> Origin {
        match &self.source {
            ImageSource::Registry(reference) => Origin::Registry(reference.clone()),
            source @ ImageSource::Disk { .. } => Origin::Disk(source.clone()),
        }
    }

    /// The bytes of the configuration that a manifest of it names; `None` where that is of another kind, as artifacts have it.
    pub(crate) async fn config_bytes(
        &self,
        manifest: &Manifest,
        context: &Context,
    ) -> Result<Option<Vec<u8>>, Diagnostics> {
        if !media_types::is_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let documents = Documents { context, origin: self.origin(), span: None };
        documents.blob(&manifest.config).await.map(Some)
    }

    /// The same, read. `name` is what the user calls the image.
    pub(crate) async fn config(
        &self,
        name: &str,
        manifest: &Manifest,
        context: &Context,
    ) -> Result<Option<ImageConfig>, Diagnostics> {
        let Some(bytes) = self.config_bytes(manifest, context).await? else { return Ok(None) };
        let config = ImageConfig::parse(&bytes).map_err(|error| {
            Diagnostic::new(&code::INVALID_MANIFEST, format!("`{name}`: {error}"))
                .help("the image is damaged: write it again")
        })?;
        Ok(Some(config))
    }
}

/// Opens what `text` names: a layout or archive on disk, `oci:DIR` and the like, or an image in a registry. A path
/// that exists is a path, and so is one with a name behind it.
///
/// # Errors
/// `invalid-image`, and what went wrong with the disk or the registry.
pub async fn open_image(text: &str, context: &Context) -> Result<ImageAt, Diagnostics> {
    let source = image_source(text)?;
    let origin = match &source {
        ImageSource::Registry(reference) => Origin::Registry(reference.clone()),
        source @ ImageSource::Disk { .. } => Origin::Disk(source.clone()),
    };
    let documents = Documents { context, origin, span: None };
    let resolving = match &source {
        ImageSource::Registry(reference) => Some(reference.to_string()),
        ImageSource::Disk { .. } => None,
    };
    resolving.iter().for_each(|what| context.watch.event(Event::Resolving(what)));
    let (root, document) = match &source {
        ImageSource::Registry(reference) => registry(reference, context).await?,
        ImageSource::Disk { .. } => {
            // Every layer of what older Dockers saved is read to know its digest.
            context.watch.event(Event::Reading { done: "read", bytes: None });
            let image = context.disk_images.open(&source, None)?;
            let root = image.root();
            let document = documents.document(&root.digest, &root.media_type).await?;
            (
                BlobFacts { media_type: root.media_type.clone(), digest: root.digest, size: root.size },
                document,
            )
        }
    };
    let mut manifests = Vec::new();
    match document {
        Document::Manifest(manifest) => {
            manifests.push((None, Descriptor::new(&root.media_type, root.digest, root.size), manifest));
        }
        Document::Index(index) => {
            for child in index.manifests {
                let platform = child.platform.as_ref().map(|platform| platform.platform());
                // Attestations ride along under the platform `unknown/unknown`.
                if platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
                    continue;
                }
                let manifest = documents.manifest(&child).await?;
                manifests.push((platform, child, manifest));
            }
        }
    }
    resolving.iter().for_each(|what| context.watch.event(Event::Resolved(what)));
    Ok(ImageAt { source, root, manifests })
}

/// Whether `text` names an image in a registry, which is fetched into the store.
pub fn is_in_registry(text: &str) -> bool {
    matches!(image_source(text), Ok(ImageSource::Registry(_)))
}

/// Where the image is that `text` names.
pub(crate) fn image_source(text: &str) -> Result<ImageSource, Diagnostics> {
    if Path::new(text).exists() {
        return Ok(ImageSource::Disk {
            format: DiskFormat::LayoutOrArchive,
            path: text.into(),
            reference: None,
        });
    }
    let parsed = ImageSource::parse(text);
    // `oci-archive:x.tar` says itself what it is; that it is missing is said where it is opened.
    if let Ok(source @ ImageSource::Disk { .. }) = parsed {
        return Ok(source);
    }
    let looks_like_path =
        |text: &str| text.starts_with(['.', '/']) || text.ends_with(".tar") || text.ends_with(".oci");
    // A path with a name behind it. A folder of any name may lie here whose name is that of an image in a registry, too.
    let (path, name) = text.split_once(':').map_or((text, None), |(path, name)| (path, Some(name)));
    if name.is_some()
        && (looks_like_path(path) && Path::new(path).exists() || Path::new(path).join("oci-layout").is_file())
    {
        return Ok(ImageSource::Disk {
            format: DiskFormat::LayoutOrArchive,
            path: path.into(),
            reference: name.map(str::to_owned),
        });
    }
    // `x.oci:5000/shop` has a host before it.
    let path = if name.is_some_and(|name| name.contains('/')) { text } else { path };
    let plain = without_login(text);
    if plain == text && looks_like_path(path) {
        return Err(Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{path}` does not exist"))
            .help("give an OCI layout, an archive, or a reference of an image in a registry")
            .into());
    }
    parsed.map_err(|reason| {
        let help = match plain == text {
            true => "give an OCI layout, an archive, or a reference of an image in a registry",
            false => WHERE_LOGINS_BELONG,
        };
        Diagnostic::new(&code::INVALID_IMAGE, format!("`{plain}` is no image: {reason}")).help(help).into()
    })
}

async fn registry(
    reference: &ImageReference,
    context: &Context,
) -> Result<(BlobFacts, Document), Diagnostics> {
    let Some(network) = &context.registries else {
        return Err(Diagnostic::new(
            &code::OFFLINE,
            format!("`{reference}` is in a registry, and kic is offline"),
        )
        .help("name an image on disk, or leave `--offline` out")
        .into());
    };
    let resolve =
        async { network.resolve(reference).await.map_err(|error| fault::registry(&error, None).into()) };
    let found = context.interruptible(resolve).await?;
    let document = Document::parse(&found.media_type, &found.bytes).map_err(|error| {
        Diagnostic::new(&code::INVALID_MANIFEST, format!("`{reference}`: {error}"))
            .help("push the image again with a current tool")
    })?;
    let root = BlobFacts {
        media_type: document.media_type().to_owned(),
        digest: found.digest,
        size: found.bytes.len() as u64,
    };
    context.store.put(&found.bytes).map_err(|error| fault::store(&error))?;
    Ok((root, document))
}
