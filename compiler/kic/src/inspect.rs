use std::collections::BTreeMap;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Documents};
use kic_graph::{DERIVATION_ANNOTATION, KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::model::ImageConfig;
use serde::Serialize;
use serde_json::Value as Json;

use crate::image::open_image;

/// What an image is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// Where it is, as it was named.
    pub image: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The media type of that.
    pub media_type: String,
    /// The image of each platform.
    pub platforms: Vec<InspectedImage>,
}

/// The image of one platform.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedImage {
    /// `OS/ARCHITECTURE`
    pub platform: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The bytes of its layers.
    pub size: u64,
    /// When it was made, as it says.
    pub created: Option<String>,
    /// The labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// The annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its layers, bottom first.
    pub layers: Vec<InspectedLayer>,
    /// The launch plan with the list of cached images; `None` for an image that kic did not build.
    pub plan: Option<Json>,
}

/// One layer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedLayer {
    /// Its kind; `base` for layers that kic did not build.
    pub kind: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Their media type.
    pub media_type: String,
    /// The digest of its bytes without compression.
    pub diff_id: Option<Digest>,
    /// The digest of the derivation that it is the output of.
    pub derivation: Option<String>,
}

/// Reads what an image says of itself: documents and the launch layer, no other layer.
///
/// # Errors
/// What went wrong with the disk or the registry, and what is wrong with the image.
pub async fn inspect(image: &str, context: &Context) -> Result<Inspection, Diagnostics> {
    let opened = open_image(image, context).await?;
    let documents = Documents { context, origin: opened.origin(), span: None };
    let mut platforms = Vec::new();
    for (platform, descriptor, manifest) in &opened.manifests {
        let config = opened.config(image, manifest, context).await?;
        let own = config.as_ref().map(ImageConfig::platform);
        let layers = manifest.layers.iter().enumerate().map(|(index, layer)| {
            let annotation = |name: &str| layer.annotations.get(name).cloned();
            InspectedLayer {
                kind: annotation(KIND_ANNOTATION).unwrap_or_else(|| "base".to_owned()),
                name: annotation(NAME_ANNOTATION).unwrap_or_default(),
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
                diff_id: config.as_ref().and_then(|config| config.rootfs.diff_ids.get(index)).copied(),
                derivation: annotation(DERIVATION_ANNOTATION),
            }
        });
        platforms.push(InspectedImage {
            platform: platform.as_ref().or(own.as_ref()).map(ToString::to_string).unwrap_or_default(),
            digest: descriptor.digest,
            size: manifest.layers.iter().map(|layer| layer.size).sum(),
            created: config.as_ref().and_then(|config| config.created.clone()),
            labels: config.as_ref().map(|config| config.config.labels.clone()).unwrap_or_default(),
            annotations: manifest.annotations.clone(),
            layers: layers.collect(),
            plan: documents.plan(manifest).await?,
        });
    }
    Ok(Inspection {
        image: image.to_owned(),
        digest: opened.root.digest,
        media_type: opened.root.media_type.clone(),
        platforms,
    })
}
