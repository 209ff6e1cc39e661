//! Images: from references to digests, and from digests to what they are made of.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kic_base::{Digest, ImageReference, Platform, Span, Spanned};
use kic_diag::{Diagnostics, declared as code};
use kic_graph::{
    BaseContents, BaseImage, BaseLayer, BlobFacts, Confidence, ImageFacts, ManifestFacts, Need,
    ReferrerFacts, located,
};
use kic_oci::model::media_types::{self, LayerFormat};
use kic_oci::model::{Descriptor, Document, ImageConfig, Manifest};
use kic_spec::{ImagePin, ImageSource, ReferrerPin, Spec};

use super::pins::Pins;
use super::{GatherOptions, base_contents, origin, referrers};
use crate::context::{Context, interrupted};
use crate::documents::{Documents, blob_facts};
use crate::event::Event;
use crate::fault;

/// An image with its pin: the root, and the manifest of each platform.
struct Resolved {
    root: BlobFacts,
    manifests: BTreeMap<Platform, (BlobFacts, Manifest)>,
    name: Option<ImageReference>,
    referrers: Vec<ReferrerFacts>,
    /// Those of a registry, where they were asked for.
    referrer_pins: Option<BTreeSet<ReferrerPin>>,
    warnings: Diagnostics,
}

/// What the images to cache are made of, as far as that can be found out. Several are resolved at one time; errors come in
/// the order of `wanted`.
pub(super) async fn cached(
    wanted: Vec<Spanned<ImageSource>>,
    spec: &Spec,
    needs: &[Need],
    options: &GatherOptions,
    pins: &mut Pins,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<ImageSource, ImageFacts> {
    let platforms: Vec<&Spanned<Platform>> = spec.platforms.iter().collect();
    let (platforms, shared): (&[&Spanned<Platform>], &Pins) = (&platforms, pins);
    let results: Vec<_> = stream::iter(wanted)
        .map(|source| async move {
            let with_referrers = comes_with_referrers(&source, spec);
            let result = resolve(&source, platforms, with_referrers, shared, context).await;
            (source, result)
        })
        .buffered(context.downloads.max(1))
        .collect()
        .await;
    let mut facts = BTreeMap::new();
    for (source, result) in results {
        let resolved = match result {
            Ok(resolved) => resolved,
            Err(errors) => {
                let is_named = spec
                    .registries
                    .iter()
                    .flat_map(|registry| &registry.images)
                    .any(|image| image.from.span == source.span);
                let is_offline = errors.iter().all(|error| error.code == &code::OFFLINE);
                if pins.suffice && is_offline && is_pinned(&source.value, pins) {
                    // The lock says what it is.
                } else if is_named {
                    diagnostics.append(errors);
                } else if !may_be_missing(&source.value, &errors, options) {
                    let note = discovered(&source.value, needs);
                    diagnostics.extend(errors.into_iter().map(|error| error.note(note.clone())));
                }
                continue;
            }
        };
        if let ImageSource::Registry(reference) = &source.value {
            pins.used.images.insert(reference.clone(), pin(&resolved));
        } else if resolved.name.is_none() && !has_name(spec, &source.span) {
            let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
            diagnostics.push(
                documents
                    .diagnostic(
                        &code::IMAGE_WITHOUT_NAME,
                        format!("`{}` bears no name to answer to", source.value),
                    )
                    .help("say it: `image \"…\" as=\"docker.io/library/nginx:1.27\"`"),
            );
        }
        let mut manifests = BTreeMap::new();
        for (platform, (blob, manifest)) in &resolved.manifests {
            if let Some(foreign) =
                manifest.layers.iter().find(|layer| media_types::is_foreign_layer(&layer.media_type))
            {
                diagnostics.push(foreign_layer(&source, foreign, context));
            }
            let layers = manifest.layers.iter().map(blob_facts).collect();
            let facts =
                ManifestFacts { manifest: blob.clone(), config: blob_facts(&manifest.config), layers };
            manifests.insert(platform.clone(), facts);
        }
        diagnostics.append(resolved.warnings);
        let facts_of_image = ImageFacts {
            root: resolved.root,
            manifests,
            origin: origin(&source.value),
            name: resolved.name,
            referrers: resolved.referrers,
        };
        facts.insert(source.value, facts_of_image);
    }
    facts
}

/// Whether what refers to an image comes along: as the spec says where it names the image, else as a registry says that
/// discovers.
fn comes_with_referrers(source: &Spanned<ImageSource>, spec: &Spec) -> bool {
    let mut named = spec
        .registries
        .iter()
        .flat_map(|registry| &registry.images)
        .filter(|image| located(spec, &image.from) == source.value)
        .peekable();
    let is_discovered = named.peek().is_none();
    named.any(|image| image.with_referrers)
        || is_discovered
            && spec.registries.iter().any(|registry| registry.discover.is_some() && registry.with_referrers)
}

fn is_pinned(source: &ImageSource, pins: &Pins) -> bool {
    matches!(source, ImageSource::Registry(reference) if pins.image(reference).is_some())
}

/// Whether a discovered image is not to be had, for good, and may be missing. A failure that may pass is none: with
/// it the image would be another one from day to day.
fn may_be_missing(source: &ImageSource, errors: &Diagnostics, options: &GatherOptions) -> bool {
    let ImageSource::Registry(reference) = source else { return false };
    let for_good = [
        &code::IMAGE_NOT_FOUND,
        &code::REGISTRY_UNAUTHORIZED,
        &code::REGISTRY_FORBIDDEN,
        &code::PLATFORM_MISSING,
        &code::SCHEMA_1_MANIFEST,
    ];
    options.allow_missing.contains(reference) && errors.iter().all(|error| for_good.contains(&error.code))
}

/// How an image came to be wanted that the spec does not name, and how to do without.
fn discovered(source: &ImageSource, needs: &[Need]) -> String {
    let places =
        needs.iter().filter(|need| matches!(source, ImageSource::Registry(one) if *one == need.reference));
    let guess = match places.max_by_key(|need| need.confidence) {
        Some(need) if need.confidence != Confidence::Certain => {
            format!(", as one that is most likely needed ({})", need.reason)
        }
        _ => String::new(),
    };
    format!("it was discovered{guess}: `exclude \"{source}\"` in the registry leaves it out")
}

fn has_name(spec: &Spec, span: &Span) -> bool {
    spec.registries
        .iter()
        .flat_map(|registry| &registry.images)
        .any(|image| image.from.span == *span && image.name.is_some())
}

fn foreign_layer(
    source: &Spanned<ImageSource>,
    layer: &Descriptor,
    context: &Context,
) -> kic_diag::Diagnostic {
    Documents { context, origin: origin(&source.value), span: Some(&source.span) }
        .diagnostic(
            &code::FOREIGN_LAYER,
            format!("the layer {} of `{}` is only to be had elsewhere", layer.digest, source.value),
        )
        .help("kic follows no foreign URLs: push the image with all its layers to a registry of your own")
}

/// The base image, for each platform.
pub(super) async fn base(
    source: &Spanned<ImageSource>,
    spec: &Spec,
    pins: &mut Pins,
    context: &Context,
) -> Result<BTreeMap<Platform, BaseImage>, Diagnostics> {
    let platforms: Vec<&Spanned<Platform>> = spec.platforms.iter().collect();
    let resolved = resolve(source, &platforms, false, pins, context).await?;
    if let ImageSource::Registry(reference) = &source.value {
        pins.used.images.insert(reference.clone(), pin(&resolved));
    }
    let mut images = BTreeMap::new();
    // What several platforms have in common is read once.
    let mut read = BTreeSet::new();
    for (platform, (blob, manifest)) in resolved.manifests {
        let mut image = base_image(source, &blob, &manifest, context).await?;
        if let Some(plan) = &image.plan {
            let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
            image.contents =
                base_contents::read(&documents, &manifest, plan, &source.span, &mut read).await?;
        }
        images.insert(platform, image);
    }
    Ok(images)
}

async fn base_image(
    source: &Spanned<ImageSource>,
    blob: &BlobFacts,
    manifest: &Manifest,
    context: &Context,
) -> Result<BaseImage, Diagnostics> {
    let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
    let bytes = documents.blob(&manifest.config).await?;
    let config =
        ImageConfig::parse(&bytes).map_err(|error| documents.invalid(&manifest.config.digest, &error))?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(documents
            .diagnostic(
                &code::INVALID_MANIFEST,
                format!(
                    "`{}` has {} layers, and its configuration names {}",
                    source.value,
                    manifest.layers.len(),
                    config.rootfs.diff_ids.len()
                ),
            )
            .help("the image is damaged, or no container image: choose another base")
            .into());
    }
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        if media_types::is_foreign_layer(&layer.media_type) {
            return Err(foreign_layer(source, layer, context).into());
        }
        // The bytes are the same under Docker's name and under OCI's.
        let media_type = match media_types::layer_format(&layer.media_type) {
            Some(LayerFormat::Tar) => media_types::OCI_LAYER,
            Some(LayerFormat::Gzip) => media_types::OCI_LAYER_GZIP,
            Some(LayerFormat::Zstd) => media_types::OCI_LAYER_ZSTD,
            None => {
                return Err(documents
                    .diagnostic(
                        &code::INVALID_MANIFEST,
                        format!("`{}` has a layer of the type `{}`", source.value, layer.media_type),
                    )
                    .help("a base is a container image, whose layers are tar files")
                    .into());
            }
        };
        layers.push(BaseLayer {
            blob: BlobFacts { media_type: media_type.to_owned(), ..blob_facts(layer) },
            diff_id: *diff_id,
            annotations: layer.annotations.clone(),
        });
    }
    let config = serde_json::to_value(&config).map_err(|error| fault::internal(error.to_string()))?;
    let plan = documents.plan(manifest).await?;
    Ok(BaseImage {
        layers,
        config,
        plan,
        origin: documents.origin,
        manifest: blob.digest,
        contents: BaseContents::default(),
    })
}

fn pin(resolved: &Resolved) -> ImagePin {
    ImagePin {
        digest: resolved.root.digest,
        media_type: resolved.root.media_type.clone(),
        size: resolved.root.size,
        platforms: resolved
            .manifests
            .iter()
            .map(|(platform, (blob, _))| (platform.clone(), blob.digest))
            .collect(),
        referrers: resolved.referrer_pins.clone(),
    }
}

/// From a source to the root of its image, the manifest of each platform, and what refers to them.
async fn resolve(
    source: &Spanned<ImageSource>,
    platforms: &[&Spanned<Platform>],
    with_referrers: bool,
    pins: &Pins,
    context: &Context,
) -> Result<Resolved, Diagnostics> {
    let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
    let (root, name) = match &source.value {
        ImageSource::Registry(reference) => {
            (registry_root(source, reference, platforms, pins, context).await?, None)
        }
        ImageSource::Disk { .. } => {
            let image = context.disk_images.open(&source.value, Some(&source.span))?;
            let root = blob_facts(image.root());
            let name = image.names().iter().find_map(|name| full_name(name));
            (root, name)
        }
    };
    let mut manifests = BTreeMap::new();
    let mut diagnostics = Diagnostics::new();
    let mut referrers = Vec::new();
    let mut referrer_pins = None;
    match documents.document(&root.digest, &root.media_type).await? {
        Document::Index(index) => {
            for platform in platforms {
                match documents.choose(&index, &platform.value) {
                    Ok(child) => {
                        let manifest = documents.manifest(&child.digest, &child.media_type).await?;
                        manifests.insert(platform.value.clone(), (blob_facts(child), manifest));
                    }
                    Err(error) => diagnostics.push(error),
                }
            }
            if with_referrers {
                let subjects = referrers::subjects(&root, &manifests);
                referrers.extend(referrers::inside(&index, &subjects, &documents).await?);
            }
        }
        Document::Manifest(manifest) => {
            let own = own_platform(&documents, &manifest).await?;
            for platform in platforms {
                let same = |own: &Platform| {
                    own.os == platform.value.os
                        && own.architecture == platform.value.architecture
                        && (own.variant == platform.value.variant
                            || own.variant.is_none()
                            || platform.value.variant.is_none())
                };
                if own.as_ref().is_none_or(same) {
                    manifests.insert(platform.value.clone(), (root.clone(), manifest.clone()));
                } else if let Some(own) = &own {
                    diagnostics.push(
                        documents
                            .diagnostic(
                                &code::PLATFORM_MISSING,
                                format!("`{}` is not built for `{}`", source.value, platform.value),
                            )
                            .help(format!("it is for `{own}` alone: choose another image, or leave the platform out of the spec")),
                    );
                }
            }
        }
    }
    if let (true, ImageSource::Registry(reference)) = (with_referrers, &source.value) {
        let found =
            referrers::of_image(source, reference, &root, &manifests, pins, context, &mut diagnostics)
                .await?;
        referrers.extend(referrers::pinned(&found, &documents).await?);
        referrer_pins = Some(found);
    }
    let warnings = Diagnostics::new();
    let (mut resolved, warnings) =
        diagnostics.or(Resolved { root, manifests, name, referrers, referrer_pins, warnings })?;
    resolved.warnings = warnings;
    Ok(resolved)
}

/// The platform of an image without index, as its configuration says; `None` where that is no configuration of a
/// container image.
async fn own_platform(
    documents: &Documents<'_>,
    manifest: &Manifest,
) -> Result<Option<Platform>, Diagnostics> {
    if !media_types::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    let bytes = documents.blob(&manifest.config).await?;
    let config =
        ImageConfig::parse(&bytes).map_err(|error| documents.invalid(&manifest.config.digest, &error))?;
    Ok((!config.os.is_empty() && !config.architecture.is_empty()).then(|| config.platform()))
}

/// A name that says its repository, and more than a bare tag such as `latest`.
fn full_name(name: &str) -> Option<ImageReference> {
    name.contains(['/', ':']).then(|| name.parse().ok()).flatten()
}

/// The root of an image in a registry: from its pin, by its own digest, or by asking for its tag.
async fn registry_root(
    source: &Spanned<ImageSource>,
    reference: &ImageReference,
    platforms: &[&Spanned<Platform>],
    pins: &Pins,
    context: &Context,
) -> Result<BlobFacts, Diagnostics> {
    let wanted = Spanned::new(reference.to_string(), source.span.clone());
    if let Some(pin) = pins.image(reference) {
        if reference.digest().is_some_and(|digest| *digest != pin.digest) {
            pins.may_change(&wanted, "the spec names another digest")?;
        } else {
            if let Some(platform) =
                platforms.iter().find(|platform| !pin.platforms.contains_key(&platform.value))
            {
                pins.may_change(&wanted, &format!("it has no digest for `{}`", platform.value))?;
            }
            return Ok(BlobFacts { media_type: pin.media_type.clone(), digest: pin.digest, size: pin.size });
        }
    } else {
        pins.may_add(&wanted)?;
    }
    context.go_on()?;
    if let Some(found) = stored_root(reference.digest(), context)? {
        return Ok(found);
    }
    let network = context.network(&wanted.value, Some(&source.span))?;
    context.watch.event(Event::Resolving(&wanted.value));
    let at = match reference.digest() {
        Some(digest) => reference.at(*digest),
        None => reference.clone(),
    };
    let document = tokio::select! {
        document = network.resolve(&at) => document.map_err(|error| fault::registry(&error, Some(&source.span)))?,
        () = context.cancel.cancelled() => return Err(interrupted().into()),
    };
    let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
    let parsed = Document::parse(&document.media_type, &document.bytes)
        .map_err(|error| documents.invalid(&document.digest, &error))?;
    let size = document.bytes.len() as u64;
    context.put(document.bytes).await?;
    context.watch.event(Event::Resolved(&wanted.value));
    Ok(BlobFacts { media_type: parsed.media_type().to_owned(), digest: document.digest, size })
}

/// What the store knows of a root that the spec names by digest.
fn stored_root(digest: Option<&Digest>, context: &Context) -> Result<Option<BlobFacts>, Diagnostics> {
    let Some(digest) = digest.filter(|digest| context.store.contains(digest)) else { return Ok(None) };
    let bytes = context
        .store
        .read(digest, kic_oci::model::DOCUMENT_LIMIT as u64)
        .map_err(|error| Diagnostics::from(fault::store(&error)))?;
    let Ok(document) = Document::parse("", &bytes) else { return Ok(None) };
    Ok(Some(BlobFacts {
        media_type: document.media_type().to_owned(),
        digest: *digest,
        size: bytes.len() as u64,
    }))
}
