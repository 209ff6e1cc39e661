//! From an image's source to its root, its manifests, and what refers to them.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Platform, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{BlobFacts, ReferrerFacts};
use kic_oci::model::media_types;
use kic_oci::model::{Document, ImageConfig, Manifest};
use kic_spec::{ImageSource, ReferrerPin};

use super::pins::Pins;
use super::{origin, referrers};
use crate::context::Context;
use crate::documents::{Documents, blob_facts};
use crate::event::Event;
use crate::fault;

/// An image with its pin: the root, and the manifest of each platform.
pub(super) struct Resolved {
    pub root: BlobFacts,
    pub manifests: BTreeMap<Platform, (BlobFacts, Manifest)>,
    pub name: Option<ImageReference>,
    pub referrers: Vec<ReferrerFacts>,
    /// Those of a registry, where they were asked for.
    pub referrer_pins: Option<BTreeSet<ReferrerPin>>,
    pub warnings: Diagnostics,
}

/// From a source to the root of its image, the manifest of each platform, and what refers to them.
pub(super) async fn resolve(
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
    let document = documents.document(&root.digest, &root.media_type).await;
    match check_pin(document, &root, source, pins, context)? {
        Document::Index(index) => {
            for platform in platforms {
                match documents.choose(&index, &platform.value) {
                    Ok(child) => {
                        let manifest = documents.manifest(child).await?;
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

/// What is wrong with a root may be wrong with its pin: somebody edited the lock, or the registry has lost the image.
fn check_pin(
    document: Result<Document, Diagnostics>,
    root: &BlobFacts,
    source: &Spanned<ImageSource>,
    pins: &Pins,
    context: &Context,
) -> Result<Document, Diagnostics> {
    let ImageSource::Registry(reference) = &source.value else { return document };
    let Some(pin) = pins.image(reference).filter(|pin| pin.digest == root.digest) else { return document };
    let help = format!("`kic lock --update {reference}` pins what it stands for now");
    match document {
        Ok(document) => match context.store.size(&root.digest).map_err(|error| fault::store(&error))? {
            Some(size) if size != pin.size => {
                let digest = root.digest.short();
                let message = format!(
                    "`{}` pins `{reference}` as {digest} with {} bytes, and it has {size}",
                    pins.path(),
                    pin.size
                );
                Err(Diagnostic::new(&code::INVALID_LOCK, message)
                    .at(&source.span, "pinned")
                    .help(help)
                    .into())
            }
            _ => Ok(document),
        },
        // The spec names a tag, and nobody who reads it knows the digest.
        Err(errors) if reference.digest().is_none() => {
            let told = |error: Diagnostic| {
                let is_lost = error.code == &code::IMAGE_NOT_FOUND;
                let note = || format!("the digest is the one that `{}` pins", pins.path());
                if is_lost { error.note(note()).help(help.clone()) } else { error }
            };
            Err(errors.into_iter().map(told).collect())
        }
        errors => errors,
    }
}

/// A name that says its repository, and more than a bare tag such as `latest`.
fn full_name(name: &str) -> Option<ImageReference> {
    name.contains(['/', ':']).then(|| name.parse().ok()).flatten()
}

/// The root of an image in a registry from its pin; `None` where it is to be found out, and may be.
pub(super) fn pinned_root(
    source: &Spanned<ImageSource>,
    reference: &ImageReference,
    platforms: &[&Spanned<Platform>],
    pins: &Pins,
) -> Result<Option<BlobFacts>, Diagnostic> {
    let wanted = || Spanned::new(reference.to_string(), source.span.clone());
    let Some(pin) = pins.image(reference) else {
        pins.may_add(&wanted())?;
        return Ok(None);
    };
    if reference.digest().is_some_and(|digest| *digest != pin.digest) {
        pins.may_change(&wanted(), "the spec names another digest")?;
        return Ok(None);
    }
    let missing = platforms.iter().find(|platform| !pin.platforms.contains_key(&platform.value));
    if let Some(platform) = missing {
        pins.may_change(&wanted(), &format!("it has no digest for `{}`", platform.value))?;
    }
    Ok(Some(BlobFacts { media_type: pin.media_type.clone(), digest: pin.digest, size: pin.size }))
}

/// The root of an image in a registry: from its pin, by its own digest, or by asking for its tag.
async fn registry_root(
    source: &Spanned<ImageSource>,
    reference: &ImageReference,
    platforms: &[&Spanned<Platform>],
    pins: &Pins,
    context: &Context,
) -> Result<BlobFacts, Diagnostics> {
    if let Some(root) = pinned_root(source, reference, platforms, pins)? {
        return Ok(root);
    }
    let wanted = Spanned::new(reference.to_string(), source.span.clone());
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
    let resolve = async {
        network.resolve(&at).await.map_err(|error| fault::registry(&error, Some(&source.span)).into())
    };
    let document = context.interruptible(resolve).await?;
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
