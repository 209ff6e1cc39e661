//! What refers to an image: signatures, attestations, bills of materials.

use kic_base::{Digest, ImageReference};
use oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use reqwest::header::{ACCEPT, LINK};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::answer::Answer;
use crate::auth::Access;
use crate::error::RegistryError;
use crate::registries::{Registries, Source};
use crate::retry::Rounds;
use crate::transport::Ask;

/// As long as the longest manifest.
const LARGEST_PAGE: u64 = 8 << 20;
/// So many referrers of one image are read; no real image has as many.
const MOST_REFERRERS: usize = 4096;
/// So many pages, which may be empty.
const MOST_PAGES: usize = 256;

/// A manifest that refers to another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A page of the list.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    manifests: Option<Vec<Referrer>>,
}

impl Registries {
    /// What refers to the manifest of that digest in the repository of `image`, as the registry's list of referrers says,
    /// else as the index under the tag `sha256-HEX` does (distribution specification 1.1, "Listing Referrers"). Sorted,
    /// without doubles. Neither a list nor such a tag: nothing.
    pub async fn referrers(
        &self,
        image: &ImageReference,
        digest: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let wanted = format!("referrers of {}@{digest}", image.name());
        let mut rounds = Rounds::new(&self.inner.settings, self.sources(image).await?, 0);
        let mut found = loop {
            let failed = match self.list(rounds.source(), digest, &wanted).await {
                Ok(Some(found)) => break found,
                Ok(None) => break self.under_tag(image, digest).await?,
                Err(error) => error,
            };
            rounds.failed(failed).await?;
        };
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// The registry's own list; `None` where it keeps none.
    async fn list(
        &self,
        source: &Source,
        digest: &Digest,
        wanted: &str,
    ) -> Result<Option<Vec<Referrer>>, RegistryError> {
        let mut found = Vec::new();
        let mut next = Some(source.url(&format!("referrers/{digest}")));
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else { return Ok(Some(found)) };
            let ask = Ask::get(url).header(ACCEPT, OCI_IMAGE_INDEX_MEDIA_TYPE);
            let mut answer = self.call(source, &Access::pull(&source.repository), ask, wanted).await?;
            match answer.status() {
                StatusCode::OK => {}
                // Registries older than the list know no such address, and say so in several ways.
                StatusCode::NOT_FOUND
                | StatusCode::BAD_REQUEST
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_ACCEPTABLE
                | StatusCode::NOT_IMPLEMENTED
                    if found.is_empty() =>
                {
                    return Ok(None);
                }
                _ => return Err(answer.refusal().await),
            }
            // A page of the site around the registry is no list.
            if answer.media_type().as_deref() == Some("text/html") && found.is_empty() {
                return Ok(None);
            }
            let bytes = answer.read(LARGEST_PAGE).await?;
            let Ok(page) = serde_json::from_slice::<Page>(&bytes) else {
                return Err(answer.garbage("not a list of referrers", &bytes));
            };
            found.extend(page.manifests.unwrap_or_default());
            if found.len() > MOST_REFERRERS {
                return Err(answer.garbage(&format!("more than {MOST_REFERRERS} referrers"), b""));
            }
            next = next_page(&answer, source)?;
        }
        Ok(Some(found))
    }

    /// What the index under the tag `sha256-HEX` lists, as clients keep it where the registry keeps no list.
    async fn under_tag(
        &self,
        image: &ImageReference,
        digest: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let tag = format!("sha256-{}", digest.hex());
        let at = ImageReference::new(image.registry(), image.repository(), Some(&tag), None);
        match self.resolve(&at).await {
            // An image that happens to have that tag lists nothing.
            Ok(document) => Ok(serde_json::from_slice::<Page>(&document.bytes)
                .ok()
                .and_then(|page| page.manifests)
                .unwrap_or_default()),
            Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// The address of the next page (RFC 8288), which must be the same registry's.
fn next_page(answer: &Answer, source: &Source) -> Result<Option<Url>, RegistryError> {
    let Some(link) = answer.header(LINK) else { return Ok(None) };
    let is_next = |part: &&str| {
        let words = part.split(';').skip(1).map(|word| word.trim().to_ascii_lowercase());
        words.into_iter().any(|word| word == "rel=\"next\"" || word == "rel=next")
    };
    let Some(part) = link.split(',').find(is_next) else { return Ok(None) };
    let target = part.split(';').next().unwrap_or_default().trim();
    let target = target.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    match target.and_then(|target| answer.url().join(target).ok()) {
        Some(url) if url.origin() == source.base.origin() => Ok(Some(url)),
        _ => Err(answer.garbage("the next page of a list is elsewhere", b"")),
    }
}
