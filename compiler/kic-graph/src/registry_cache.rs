//! The images of a registry cache as files of the CNCF distribution registry, and as layers.
//!
//! The directory format, as far as a pull needs it, below `registry/docker/registry/v2`:
//!
//! | path | holds |
//! |---|---|
//! | `blobs/sha256/XX/HEX/data` | a blob; an index, manifest or configuration too |
//! | `repositories/NAME/_manifests/revisions/sha256/HEX/link` | the digest, for an index and each manifest that is present |
//! | `repositories/NAME/_manifests/tags/TAG/current/link` | the digest that the tag stands for |
//! | `repositories/NAME/_layers/sha256/HEX/link` | the digest, for the configuration and every layer |
//!
//! What refers to an image is stored like it. That registry keeps no list of referrers, so each subject that has some
//! gets the tag `sha256-HEX`, an index of them, as the distribution specification has it for such registries; kic
//! writes that index.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, ImageReference, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::derivation::PlanImage;
use crate::inputs::{BlobFacts, ImageFacts, Origin, ReferrerFacts};
use referrers::Referrers;

mod referrers;

/// The folder of the registry's files in an image.
pub const ROOT: &str = "registry/docker/registry/v2";

/// Blobs below this many bytes share the catalogue layer.
const SMALL: u64 = 128 * 1024;

/// The layers that blobs share, by the first digit of their digest, where there are too many for a layer each.
const SHARED_LAYERS: usize = 16;

/// An image that a registry caches: its name, its parts, and where the spec or a manifest asks for it.
#[derive(Debug)]
pub(crate) struct Cached<'a> {
    pub reference: ImageReference,
    pub facts: &'a ImageFacts,
    pub span: Span,
    pub short_names: bool,
}

/// Everything that a registry cache holds.
#[derive(Debug, Default)]
pub(crate) struct RegistryCache<'a> {
    /// The digests that small files hold as text, by path.
    pub links: BTreeMap<String, Digest>,
    /// Documents that kic writes, by the path of their blobs.
    pub written: BTreeMap<String, Vec<u8>>,
    /// Every blob, by digest.
    pub blobs: BTreeMap<Digest, CachedBlob<'a>>,
    /// Every `REPOSITORY:TAG` and `REPOSITORY@DIGEST` that it answers to.
    pub names: BTreeSet<String>,
    /// Every `REGISTRY/REPOSITORY:TAG` and `REGISTRY/REPOSITORY@DIGEST` that it holds.
    pub upstream_names: BTreeSet<String>,
    /// The images, sorted by reference.
    pub images: Vec<PlanImage>,
}

/// One blob of the cache.
#[derive(Debug, Clone)]
pub(crate) struct CachedBlob<'a> {
    pub facts: &'a BlobFacts,
    pub origins: Vec<Origin>,
    pub is_document: bool,
    /// The first image that has it.
    pub image: &'a ImageReference,
    /// Where that one is asked for.
    pub span: &'a Span,
}

impl CachedBlob<'_> {
    /// Its path in the image.
    pub fn path(&self) -> String {
        blob_path(&self.facts.digest)
    }
}

/// The path of a blob in the image.
fn blob_path(digest: &Digest) -> String {
    let text = digest.text();
    [ROOT, "/blobs/sha256/", &text.hex()[..2], "/", text.hex(), "/data"].concat()
}

/// How the blobs of a cache are spread over layers.
#[derive(Debug, Default)]
pub(crate) struct Split<'a> {
    /// A layer each.
    pub single: Vec<&'a CachedBlob<'a>>,
    /// Layers of several, by the first digit of their digests.
    pub shared: BTreeMap<char, Vec<&'a CachedBlob<'a>>>,
    /// In the catalogue.
    pub small: Vec<&'a CachedBlob<'a>>,
}

/// Lays the images out. Two that answer to one name with different digests are an error.
pub(crate) fn lay_out<'a>(images: &'a [Cached<'a>], diagnostics: &mut Diagnostics) -> RegistryCache<'a> {
    let mut cache = RegistryCache::default();
    let mut first_named: BTreeMap<String, &Cached> = BTreeMap::new();
    let mut listed: BTreeMap<&str, PlanImage> = BTreeMap::new();
    let mut referrers = Referrers::default();
    for image in images {
        let repositories = repositories(&image.reference, image.short_names);
        let digests = manifest_digests(image.facts);
        let mut names = Vec::new();
        for repository in &repositories {
            if let Some(tag) = image.reference.tag() {
                let name = format!("{repository}:{tag}");
                match first_named.get(&name) {
                    Some(first) if first.facts.root.digest != image.facts.root.digest => {
                        diagnostics.push(collision(first, image, &name));
                        break;
                    }
                    _ => {
                        first_named.insert(name.clone(), image);
                    }
                }
                cache.names.insert(name.clone());
                names.push(name);
                cache.link(&[repository, "/_manifests/tags/", tag, "/current/link"], image.facts.root.digest);
            }
            for digest in &digests {
                cache.names.insert(by_digest(repository, digest));
                cache.link_manifest(repository, *digest);
            }
            for manifest in image.facts.manifests.values() {
                for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
                    cache.link_layer(repository, blob.digest);
                }
            }
            for referrer in &image.facts.referrers {
                cache.link_referrer(repository, referrer);
                referrers.add(repository, referrer, image, diagnostics);
            }
            if image.reference.tag().is_none() {
                names.push(by_digest(repository, &image.facts.root.digest));
            }
        }
        let upstream = image.reference.name();
        cache.upstream_names.extend(image.reference.tag().map(|tag| format!("{upstream}:{tag}")));
        cache.upstream_names.extend(digests.iter().map(|digest| by_digest(upstream, digest)));
        let mut size = 0;
        let mut counted = BTreeSet::new();
        for (blob, is_document) in blobs(image.facts) {
            if counted.insert(blob.digest) {
                size += blob.size;
            }
            let cached = cache.blobs.entry(blob.digest).or_insert_with(|| CachedBlob {
                facts: blob,
                origins: vec![image.facts.origin.clone()],
                is_document,
                image: &image.reference,
                span: &image.span,
            });
            if !cached.origins.contains(&image.facts.origin) {
                cached.origins.push(image.facts.origin.clone());
            }
        }
        listed.entry(image.reference.as_str()).or_insert_with(|| PlanImage {
            reference: image.reference.clone(),
            digest: image.facts.root.digest,
            names,
            platforms: image.facts.manifests.keys().map(ToString::to_string).collect(),
            size,
        });
    }
    cache.images = listed.into_values().collect();
    referrers.finish(&mut cache);
    cache
}

/// The name of what has that digest.
fn by_digest(name: &str, digest: &Digest) -> String {
    [name, "@", &digest.text()].concat()
}

impl RegistryCache<'_> {
    /// A link in a repository: the parts of its path, of which the first one is the repository.
    fn link(&mut self, path: &[&str], digest: Digest) {
        const REPOSITORIES: [&str; 2] = [ROOT, "/repositories/"];
        let parts = || REPOSITORIES.iter().chain(path);
        let mut text = String::with_capacity(parts().map(|part| part.len()).sum());
        text.extend(parts().copied());
        self.links.insert(text, digest);
    }

    /// That of a manifest that can be asked for by its digest.
    fn link_manifest(&mut self, repository: &str, digest: Digest) {
        self.link(&[repository, "/_manifests/revisions/sha256/", digest.text().hex(), "/link"], digest);
    }

    /// That of a configuration or a layer.
    fn link_layer(&mut self, repository: &str, digest: Digest) {
        self.link(&[repository, "/_layers/sha256/", digest.text().hex(), "/link"], digest);
    }

    fn link_referrer(&mut self, repository: &str, referrer: &ReferrerFacts) {
        for document in &referrer.documents {
            self.link_manifest(repository, document.digest);
        }
        for blob in &referrer.blobs {
            self.link_layer(repository, blob.digest);
        }
    }

    /// Spreads the blobs over at most `limit` layers beside the catalogue: the largest get one each, and where
    /// those are too many, the rest share some by the first digit of their digest, so that a changed image
    /// rewrites few.
    pub fn split(&self, limit: usize) -> Split<'_> {
        let mut split = Split::default();
        let mut large = Vec::new();
        for blob in self.blobs.values() {
            if blob.is_document || blob.facts.size < SMALL {
                split.small.push(blob);
            } else {
                large.push(blob);
            }
        }
        if large.len() > limit {
            large.sort_by_key(|blob| (std::cmp::Reverse(blob.facts.size), blob.facts.digest));
            for blob in large.split_off(limit.saturating_sub(SHARED_LAYERS)) {
                let digit = blob.facts.digest.text().hex().chars().next().unwrap_or('0');
                split.shared.entry(digit).or_default().push(blob);
            }
        }
        large.sort_by_key(|blob| blob.facts.digest);
        split.single = large;
        split
    }
}

/// The repositories under which a node may ask for an image: its path, with and without the host of its own
/// registry, and for Docker Hub's own images with and without `library/`. A host with a port cannot be part of
/// a repository's name.
pub(crate) fn repositories(reference: &ImageReference, short_names: bool) -> Vec<String> {
    let mut paths = vec![reference.repository().to_owned()];
    if reference.registry() == "docker.io"
        && let Some(short) = reference.repository().strip_prefix("library/")
    {
        paths.push(short.to_owned());
    }
    let host = reference.registry();
    let host_is_part = !host.contains([':', '[']) && !host.bytes().any(|byte| byte.is_ascii_uppercase());
    let with_host: Vec<String> =
        if host_is_part { paths.iter().map(|path| format!("{host}/{path}")).collect() } else { Vec::new() };
    if short_names || with_host.is_empty() { paths.into_iter().chain(with_host).collect() } else { with_host }
}

/// The name by which the registry at `host` answers for an image, whatever other images it has: with the host of the
/// image's own registry, where that can be part of a repository's name. Tag and digest stay.
pub fn private_name(reference: &ImageReference, host: &str) -> ImageReference {
    let repository = repositories(reference, false).into_iter().next();
    let repository = repository.unwrap_or_else(|| reference.repository().to_owned());
    ImageReference::new(host, &repository, reference.tag(), reference.digest().copied())
}

/// The digests by which manifests of the image can be asked for.
fn manifest_digests(facts: &ImageFacts) -> BTreeSet<Digest> {
    let children = facts.manifests.values().map(|manifest| manifest.manifest.digest);
    std::iter::once(facts.root.digest).chain(children).collect()
}

/// Every document and blob of the image, and whether it is an index or manifest.
fn blobs(facts: &ImageFacts) -> impl Iterator<Item = (&BlobFacts, bool)> {
    let parts = facts.manifests.values().flat_map(|manifest| {
        std::iter::once((&manifest.manifest, true))
            .chain(std::iter::once((&manifest.config, false)))
            .chain(manifest.layers.iter().map(|layer| (layer, false)))
    });
    let referrers = facts.referrers.iter().flat_map(|referrer| {
        let documents = referrer.documents.iter().map(|document| (document, true));
        documents.chain(referrer.blobs.iter().map(|blob| (blob, false)))
    });
    std::iter::once((&facts.root, true)).chain(parts).chain(referrers)
}

fn collision(first: &Cached, second: &Cached, name: &str) -> Diagnostic {
    Diagnostic::new(
        &code::NAME_COLLISION,
        format!("`{}` and `{}` would both answer to `{name}`, with different content", first.reference, second.reference),
    )
    .at(&second.span, format!("this is {}", second.facts.root.digest))
    .at(&first.span, format!("this is {}", first.facts.root.digest))
    .help(
        "name one of them in an `image` node with `short-names=#false`: it then answers only under names that begin \
         with its own registry's host",
    )
}

#[cfg(test)]
mod tests;
