use kic_base::{Digest, ImageReference};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use serde::Deserialize;

use crate::answer::Answer;
use crate::auth::Access;
use crate::error::RegistryError;
use crate::registries::{Registries, Source};
use crate::retry::Rounds;
use crate::transport::Ask;

/// The specification asks registries to take 4 MiB; some give more.
const LARGEST_MANIFEST: u64 = 8 << 20;

/// A manifest or an index, exactly as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBytes {
    /// What the digest is computed over.
    pub bytes: Vec<u8>,
    /// The media type, such as `application/vnd.oci.image.index.v1+json`: as the manifest says, else as its registry
    /// says, else by what is in it.
    pub media_type: String,
    /// Computed here, and equal to the one that was asked for or announced.
    pub digest: Digest,
}

impl Registries {
    /// The manifest or index that a reference names: by its digest if it has one, else by its tag.
    pub async fn resolve(&self, image: &ImageReference) -> Result<ManifestBytes, RegistryError> {
        let wanted = image.to_string();
        let mut rounds = Rounds::new(&self.inner.settings, self.sources(image).await?, 0);
        loop {
            let failed = match self.manifest(rounds.source(), image, &wanted).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => error,
            };
            rounds.failed(failed).await?;
        }
    }

    async fn manifest(
        &self,
        source: &Source,
        image: &ImageReference,
        wanted: &str,
    ) -> Result<ManifestBytes, RegistryError> {
        let by = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        const TYPES: [&str; 4] = [
            OCI_IMAGE_INDEX_MEDIA_TYPE,
            OCI_IMAGE_MEDIA_TYPE,
            IMAGE_MANIFEST_LIST_MEDIA_TYPE,
            IMAGE_MANIFEST_MEDIA_TYPE,
        ];
        let ask = Ask::get(source.url(&format!("manifests/{by}"))).header(ACCEPT, &TYPES.join(", "));
        let mut answer = self.call(source, &Access::pull(&source.repository), ask, wanted).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.refusal().await);
        }
        let bytes = answer.read(LARGEST_MANIFEST).await?;
        let digest = Digest::of(&bytes);
        let announced = answer.header("docker-content-digest").and_then(|text| text.trim().parse().ok());
        let expected = image.digest().copied().into_iter().chain(announced).find(|one| *one != digest);
        let mismatch = expected.map(|expected| RegistryError::DigestMismatch {
            place: answer.place(),
            expected,
            found: digest,
        });
        // A login page has a wrong digest too, but that is not what is wrong with it; what calls itself a manifest was
        // changed on its way.
        match (media_type(&answer, &bytes), mismatch) {
            (Ok(media_type), None) => Ok(ManifestBytes { bytes, media_type, digest }),
            (Err(error @ RegistryError::Schema1 { .. }), _) => Err(error),
            (Err(error), Some(mismatch)) => Err(if is_manifest(&answer) { mismatch } else { error }),
            (Err(error), None) => Err(error),
            (Ok(_), Some(mismatch)) => Err(mismatch),
        }
    }
}

/// Whether an answer calls itself a manifest or an index.
fn is_manifest(answer: &Answer) -> bool {
    answer.media_type().is_some_and(|media_type| media_type.starts_with("application/vnd."))
}

/// The parts of a manifest that tell what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
}

fn media_type(answer: &Answer, bytes: &[u8]) -> Result<String, RegistryError> {
    let header = answer.media_type();
    let schema1 = |media_type: &Option<String>| {
        media_type.as_deref().is_some_and(|media_type| {
            media_type.starts_with("application/vnd.docker.distribution.manifest.v1")
        })
    };
    if schema1(&header) {
        return Err(RegistryError::Schema1 { place: answer.place() });
    }
    let shape = match serde_json::from_slice::<Shape>(bytes) {
        Ok(shape) => shape,
        // A page needs no more words; of what is called a manifest, they tell what is wrong with it.
        Err(error) if is_manifest(answer) => {
            return Err(answer.garbage(&format!("not a manifest ({error})"), bytes));
        }
        Err(_) => return Err(answer.garbage("not a manifest", bytes)),
    };
    if shape.schema_version == Some(1) || schema1(&shape.media_type) {
        return Err(RegistryError::Schema1 { place: answer.place() });
    }
    let specific = header.filter(|media_type| media_type.starts_with("application/vnd."));
    match (shape.media_type, specific) {
        // A manifest that is one thing to its registry and another to its reader is a known attack.
        (Some(inside), Some(outside)) if inside != outside => {
            Err(answer.garbage(&format!("a manifest that calls itself `{inside}`"), bytes))
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) if shape.manifests.is_some() => Ok(OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned()),
        (None, None) if shape.layers.is_some() && shape.config.is_some() => {
            Ok(OCI_IMAGE_MEDIA_TYPE.to_owned())
        }
        (None, None) => Err(answer.garbage("not a manifest", bytes)),
    }
}
