//! Every image that a spec has to do with: whether it is in the cache, who says so, and what needs it.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Span};
use kic_diag::Diagnostics;
use kic_manifest::Confidence;
use kic_spec::{Base, ImageSource, Spec};
use serde_json::Value as Json;

use crate::closure::{Available, by_image};
use crate::inputs::{BaseFacts, Inputs, Need};
use crate::lower::{cached_images, located, lower_image};
use crate::registry_cache::lay_out;

/// One image of the list.
#[derive(Debug, Clone)]
pub struct ListedImage {
    /// Its name, written out in full.
    pub reference: ImageReference,
    /// Whether the cluster will have it.
    pub state: ImageState,
    /// What it is, where that is known.
    pub contents: Option<ImageContents>,
    /// Where the spec says that it is to be cached: `image` nodes, and lines of lists.
    pub named: Vec<Span>,
    /// Where the spec says that it is not.
    pub excluded: Vec<Span>,
    /// Whether it is cached because of what needs it, and nothing else.
    pub is_discovered: bool,
    /// The places that name it, the surest first.
    pub needs: Vec<Need>,
}

/// Whether the cluster will have an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageState {
    /// The cache has it.
    Cached,
    /// The cache of the base has it.
    InBase,
    /// The cache is to have it, the lock says what it is, and it is not in the store yet.
    Pinned,
    /// The cache is to have it, and it is not known what it is: its registry did not say.
    Unresolved,
    /// The spec leaves it out.
    Excluded,
    /// It may be needed, and the spec says nothing of it.
    Undecided,
    /// It is needed, and no registry caches it.
    Missing,
}

impl ImageState {
    /// Its name, in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::InBase => "in base",
            Self::Pinned => "pinned",
            Self::Unresolved => "unresolved",
            Self::Excluded => "excluded",
            Self::Undecided => "undecided",
            Self::Missing => "missing",
        }
    }
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageContents {
    /// The digest of its index or manifest.
    pub digest: Digest,
    /// The bytes of its blobs, where they are known.
    pub size: Option<u64>,
    /// The platforms that are cached.
    pub platforms: Vec<String>,
}

/// Lists the images of a spec by name, with what lowering has to say: errors are no reason to list none. What could not
/// be gathered is missing in `inputs`.
/// `pinned` is what the lock says of images.
pub fn list_images(
    spec: &Spec,
    inputs: &Inputs,
    pinned: &BTreeMap<ImageReference, ImageContents>,
) -> (Vec<ListedImage>, Diagnostics) {
    let (available, diagnostics) = lower_image(spec, inputs, unknown(spec, inputs));
    let in_base = images_in_base(spec, inputs);
    let mut own = Available::default();
    let images = cached_images(spec, inputs, &mut own);
    let cache = lay_out(&images, &mut Diagnostics::new());
    let cached: BTreeMap<ImageReference, ImageContents> = cache
        .images
        .into_iter()
        .map(|image| {
            let contents =
                ImageContents { digest: image.digest, size: Some(image.size), platforms: image.platforms };
            (image.reference, contents)
        })
        .collect();

    let mut named: BTreeMap<ImageReference, Vec<Span>> = BTreeMap::new();
    let mut excluded: BTreeMap<&ImageReference, Vec<Span>> = BTreeMap::new();
    for registry in &spec.registries {
        for image in &registry.images {
            let source = located(spec, &image.from);
            let own_name = match &source {
                ImageSource::Registry(reference) => Some(reference.clone()),
                ImageSource::Disk { .. } => inputs.images.get(&source).and_then(|facts| facts.name.clone()),
            };
            if let Some(name) = image.name.as_ref().map(|name| name.value.clone()).or(own_name) {
                named.entry(name).or_default().push(image.from.span.clone());
            }
        }
        for reference in &registry.exclude {
            excluded.entry(&reference.value).or_default().push(reference.span.clone());
        }
    }
    let needs: BTreeMap<&ImageReference, Vec<&Need>> = by_image(&inputs.needs).into_iter().collect();
    let discovers = spec.registries.iter().any(|registry| registry.discover.is_some());

    let mut references: BTreeSet<ImageReference> = in_base.keys().cloned().collect();
    references.extend(named.keys().cloned());
    references.extend(excluded.keys().map(|reference| (*reference).clone()));
    references.extend(needs.keys().map(|reference| (*reference).clone()));
    let list = references.into_iter().map(|reference| {
        let places = needs.get(&reference).map(Vec::as_slice).unwrap_or_default();
        let is_given = available.gives(&reference, places);
        let needs: Vec<Need> = places.iter().map(|need| (*need).clone()).collect();
        let surest = needs.first().map(|need| need.confidence);
        let named = named.remove(&reference).unwrap_or_default();
        let own = cached.get(&reference);
        let is_wanted = !named.is_empty() || (discovers && surest > Some(Confidence::Possible));
        let state = match (own, in_base.get(&reference)) {
            // In the cache, and yet not under the name by which something asks for it.
            (Some(_), _) | (None, Some(_)) if !is_given && surest == Some(Confidence::Certain) => {
                ImageState::Missing
            }
            (Some(_), _) => ImageState::Cached,
            (None, Some(_)) => ImageState::InBase,
            _ if excluded.contains_key(&reference) => ImageState::Excluded,
            // The private registry's own names, and other names of an image that is there.
            _ if is_given => ImageState::Cached,
            _ if is_wanted && pinned.contains_key(&reference) => ImageState::Pinned,
            _ if is_wanted && available.assumed.contains(&reference) => ImageState::Unresolved,
            _ if surest == Some(Confidence::Certain) => ImageState::Missing,
            _ => ImageState::Undecided,
        };
        let in_lock = pinned.get(&reference).filter(|_| state == ImageState::Pinned);
        ListedImage {
            state,
            contents: own.or_else(|| in_base.get(&reference)).or(in_lock).cloned(),
            is_discovered: available.discovered.contains(&reference),
            excluded: excluded.get(&reference).cloned().unwrap_or_default(),
            named,
            needs,
            reference,
        }
    });
    (list.collect(), diagnostics)
}

/// The images that are to be cached, and of which nothing else is known.
fn unknown(spec: &Spec, inputs: &Inputs) -> BTreeSet<ImageReference> {
    let named = spec.registries.iter().flat_map(|registry| &registry.images).filter_map(|image| {
        let source = located(spec, &image.from);
        let own_name = match &source {
            ImageSource::Registry(reference) => Some(reference),
            ImageSource::Disk { .. } => None,
        };
        let name = image.name.as_ref().map(|name| &name.value).or(own_name);
        name.filter(|_| !inputs.images.contains_key(&source)).cloned()
    });
    let hosts: BTreeSet<&str> = spec.registries.iter().map(|registry| registry.host.value.as_str()).collect();
    let discovers = spec.registries.iter().any(|registry| registry.discover.is_some());
    let discovered = inputs.needs.iter().filter(|need| {
        discovers
            && need.confidence != Confidence::Possible
            && !hosts.contains(need.reference.registry())
            && !inputs.allow_missing.contains(&need.reference)
            && !inputs.images.contains_key(&ImageSource::Registry(need.reference.clone()))
    });
    named.chain(discovered.map(|need| need.reference.clone())).collect()
}

/// The images in the cache of a base, and of its bases.
fn images_in_base(spec: &Spec, inputs: &Inputs) -> BTreeMap<ImageReference, ImageContents> {
    match (&inputs.base, &spec.base.value) {
        (BaseFacts::Spec(inputs), Base::Spec(spec)) => {
            let mut images = images_in_base(spec, inputs);
            let cached = cached_images(spec, inputs, &mut Available::default());
            let cache = lay_out(&cached, &mut Diagnostics::new());
            images.extend(cache.images.into_iter().map(|image| {
                let contents = ImageContents {
                    digest: image.digest,
                    size: Some(image.size),
                    platforms: image.platforms,
                };
                (image.reference, contents)
            }));
            images
        }
        (BaseFacts::Image(images), _) => {
            let plans = images.values().filter_map(|image| image.plan.as_ref());
            let listed = plans.filter_map(|plan| plan.get("images")).filter_map(Json::as_array).flatten();
            listed.filter_map(in_plan).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// An image in the plan of a base.
fn in_plan(image: &Json) -> Option<(ImageReference, ImageContents)> {
    let text = |key: &str| image.get(key).and_then(Json::as_str);
    let platforms = image.get("platforms").and_then(Json::as_array).into_iter().flatten();
    let contents = ImageContents {
        digest: text("digest")?.parse().ok()?,
        size: image.get("size").and_then(Json::as_u64),
        platforms: platforms.filter_map(Json::as_str).map(str::to_owned).collect(),
    };
    Some((text("reference")?.parse().ok()?, contents))
}
