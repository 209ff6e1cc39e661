//! Images: what those are made of that are cached or built upon.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kic_base::{Digest, Platform, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{
    BaseContents, BaseImage, BaseLayer, BlobFacts, Confidence, ImageFacts, ManifestFacts, Need, located,
};
use kic_oci::model::media_types::{self, LayerFormat};
use kic_oci::model::{ImageConfig, Manifest};
use kic_spec::{ImagePin, ImageSource, ReferrerPin, Spec};

use super::known_images::{KnownImages, Manifests};
use super::known_needs::KnownNeeds;
use super::pins::Pins;
use super::resolve::{Resolved, pinned_root, resolve};
use super::{GatherOptions, base_contents, keep, origin};
use crate::context::Context;
use crate::documents::{Documents, blob_facts};
use crate::fault;

/// An image to cache.
struct Image {
    facts: ImageFacts,
    /// Whether the run before has found it out.
    is_known: bool,
    referrer_pins: Option<BTreeSet<ReferrerPin>>,
    warnings: Diagnostics,
}

impl Image {
    /// One with a pin, which bears no name of its own, and to which nothing refers.
    fn known(source: &ImageSource, root: BlobFacts, manifests: Manifests) -> Self {
        let (origin, name, referrers) = (origin(source), None, Vec::new());
        let facts = ImageFacts { root, manifests, origin, name, referrers };
        Self { facts, is_known: true, referrer_pins: None, warnings: Diagnostics::new() }
    }

    fn of(source: &ImageSource, resolved: Resolved) -> Self {
        let Resolved { root, manifests, name, referrers, referrer_pins, warnings } = resolved;
        let manifests = manifests.into_iter().map(|(platform, (manifest, document))| {
            let layers = document.layers.iter().map(blob_facts).collect();
            (platform, ManifestFacts { manifest, config: blob_facts(&document.config), layers })
        });
        let manifests = manifests.collect();
        let facts = ImageFacts { root, manifests, origin: origin(source), name, referrers };
        Self { facts, is_known: false, referrer_pins, warnings }
    }
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
    let mut known = KnownImages::open(spec, context);
    let referrers = &ReferrersAsked::in_spec(spec);
    let root = |source: &Spanned<ImageSource>| {
        pinned_root_of(source, platforms, shared).filter(|_| !referrers.of(&source.value))
    };
    let roots: Vec<_> = wanted.iter().map(root).collect();
    let found = keep(known.find(&roots, platforms, context), diagnostics).unwrap_or_default();
    let found = roots.into_iter().zip(found).map(|(root, manifests)| Some((root?, manifests?)));
    let results: Vec<_> = stream::iter(wanted.into_iter().zip(found.chain(std::iter::repeat(None))))
        .map(|(source, found)| async move {
            let image = match found {
                Some((root, manifests)) => Ok(Image::known(&source.value, root, manifests)),
                None => {
                    let with_referrers = referrers.of(&source.value);
                    // It takes much memory, and most images are known.
                    let resolved =
                        Box::pin(resolve(&source, platforms, with_referrers, shared, context)).await;
                    resolved.map(|resolved| Image::of(&source.value, resolved))
                }
            };
            (source, image)
        })
        .buffered(context.downloads.max(1))
        .collect()
        .await;
    let mut facts = BTreeMap::new();
    let mut without_platform = Vec::new();
    for (source, result) in results {
        let Image { facts: image, is_known, referrer_pins, warnings } = match result {
            Ok(image) => image,
            Err(errors) => {
                let is_named = spec
                    .registries
                    .iter()
                    .flat_map(|registry| &registry.images)
                    .any(|image| image.from.span == source.span);
                let mut tell = |error: Diagnostic| match error.code == &code::PLATFORM_MISSING {
                    true => without_platform.push(error),
                    false => diagnostics.push(error),
                };
                let is_offline = errors.iter().all(|error| error.code == &code::OFFLINE);
                if pins.suffice && is_offline && is_pinned(&source.value, pins) {
                    // The lock says what it is.
                } else if is_named {
                    errors.into_iter().for_each(tell);
                } else if !may_be_missing(&source.value, &errors, options) {
                    let note = discovered(&source.value, needs);
                    errors.into_iter().map(|error| error.note(note.clone())).for_each(&mut tell);
                }
                continue;
            }
        };
        if let ImageSource::Registry(reference) = &source.value {
            let manifests = image.manifests.iter().map(|(platform, facts)| (platform, &facts.manifest));
            if !is_known && referrer_pins.is_none() && warnings.is_empty() {
                known.note(&image.root, &image.manifests);
            }
            pins.used.images.insert(reference.clone(), pin(&image.root, manifests, referrer_pins));
        } else if image.name.is_none() && !has_name(spec, &source.span) {
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
        for manifest in image.manifests.values() {
            if let Some(foreign) =
                manifest.layers.iter().find(|layer| media_types::is_foreign_layer(&layer.media_type))
            {
                diagnostics.push(foreign_layer(&source, &foreign.digest, context));
            }
        }
        diagnostics.append(warnings);
        facts.insert(source.value, image);
    }
    diagnostics.extend(few(without_platform));
    known.save(context);
    facts
}

/// The first few images that lack a platform: where that is misspelt, all of them do.
fn few(mut without_platform: Vec<Diagnostic>) -> Vec<Diagnostic> {
    const TOLD: usize = 3;
    let more = without_platform.len().saturating_sub(TOLD);
    without_platform.truncate(TOLD);
    if more > 0
        && let Some(last) = without_platform.pop()
    {
        let images = if more == 1 { "1 more image lacks" } else { &format!("{more} more images lack") };
        let note = format!("{images} a platform of the spec: is it written as images write it?");
        without_platform.push(last.note(note));
    }
    without_platform
}

/// The root of an image that has a pin for every platform.
fn pinned_root_of(
    source: &Spanned<ImageSource>,
    platforms: &[&Spanned<Platform>],
    pins: &Pins,
) -> Option<BlobFacts> {
    let ImageSource::Registry(reference) = &source.value else { return None };
    pinned_root(source, reference, platforms, pins).ok()?
}

/// Whether what refers to an image comes along: as the spec says where it names the image, else as a registry says that
/// discovers.
struct ReferrersAsked {
    named: BTreeMap<ImageSource, bool>,
    of_discovered: bool,
}

impl ReferrersAsked {
    fn in_spec(spec: &Spec) -> Self {
        let mut named = BTreeMap::new();
        for image in spec.registries.iter().flat_map(|registry| &registry.images) {
            *named.entry(located(spec, &image.from)).or_insert(false) |= image.with_referrers;
        }
        let of_discovered =
            spec.registries.iter().any(|registry| registry.discover.is_some() && registry.with_referrers);
        Self { named, of_discovered }
    }

    fn of(&self, source: &ImageSource) -> bool {
        self.named.get(source).copied().unwrap_or(self.of_discovered)
    }
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

fn foreign_layer(source: &Spanned<ImageSource>, layer: &Digest, context: &Context) -> Diagnostic {
    Documents { context, origin: origin(&source.value), span: Some(&source.span) }
        .diagnostic(
            &code::FOREIGN_LAYER,
            format!("the layer {layer} of `{}` is only to be had elsewhere", source.value),
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
        let manifests = resolved.manifests.iter().map(|(platform, (blob, _))| (platform, blob));
        pins.used.images.insert(reference.clone(), pin(&resolved.root, manifests, None));
    }
    let mut images = BTreeMap::new();
    // What several platforms have in common is read once.
    let (mut read, mut known) = (BTreeSet::new(), KnownNeeds::of_base(spec, context));
    for (platform, (blob, manifest)) in resolved.manifests {
        let mut image = base_image(source, &blob, &manifest, context).await?;
        if let Some(plan) = &image.plan {
            let documents = Documents { context, origin: origin(&source.value), span: Some(&source.span) };
            image.contents =
                base_contents::read(&documents, &manifest, plan, &source.span, &mut read, &mut known).await?;
        }
        images.insert(platform, image);
    }
    known.save(context);
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
            return Err(foreign_layer(source, &layer.digest, context).into());
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

fn pin<'a>(
    root: &BlobFacts,
    manifests: impl Iterator<Item = (&'a Platform, &'a BlobFacts)>,
    referrers: Option<BTreeSet<ReferrerPin>>,
) -> ImagePin {
    ImagePin {
        digest: root.digest,
        media_type: root.media_type.clone(),
        size: root.size,
        platforms: manifests.map(|(platform, manifest)| (platform.clone(), manifest.digest)).collect(),
        referrers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_no_image_has_is_told_a_few_times() {
        let missing = |count: usize| {
            let one = |number| Diagnostic::new(&code::PLATFORM_MISSING, format!("image {number}"));
            few((0..count).map(one).collect())
        };
        for count in 0..=3 {
            assert!(missing(count).len() == count && missing(count).iter().all(|one| one.notes.is_empty()));
        }
        for (count, told) in [(4, "1 more image lacks"), (40, "37 more images lack")] {
            let few = missing(count);
            assert_eq!(few.len(), 3);
            assert!(few[2].notes[0].contains(told), "{:?}", few[2].notes);
        }
    }
}
