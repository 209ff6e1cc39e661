//! The image of one platform: its documents, and the layers that the other image does not have.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Documents, Event, obtain};
use kic_graph::{BlobFacts, KIND_ANNOTATION, NodeIndex};
use kic_oci::model::{Descriptor, ImageConfig, Manifest, media_types};
use kic_oci::unpack::UnpackLimits;
use kic_oci::validate::visit_layer;
use serde_json::Value as Json;

use super::read::LayerFiles;
use super::unused;
use crate::fetch::fetch_all;
use crate::image::ImageAt;
use crate::told_reader::ToldReader;

/// The image of one platform.
pub(super) struct Side {
    pub manifest: Manifest,
    /// The manifest as it is written.
    pub written: Json,
    pub config: Option<Json>,
    pub plan: Option<Json>,
    /// The layers that were read, the lowest first.
    pub layers: Vec<(Digest, Arc<LayerFiles>)>,
}

impl Side {
    /// What is in a layer, if it was read.
    pub fn files(&self, layer: &Digest) -> Option<&LayerFiles> {
        self.layers.iter().find(|(digest, _)| digest == layer).map(|(_, files)| files.as_ref())
    }
}

pub(super) type Found = (Descriptor, Manifest);

/// The manifest of each platform, by its name.
pub(super) async fn platforms(
    image: &ImageAt,
    context: &Context,
) -> Result<BTreeMap<String, Found>, Diagnostics> {
    let mut platforms = BTreeMap::new();
    for (platform, descriptor, manifest) in &image.manifests {
        let name = match platform {
            Some(platform) => platform.to_string(),
            None => {
                let config = image.config_bytes(manifest, context).await?;
                let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
                config.map(|config| config.platform().to_string()).unwrap_or_default()
            }
        };
        let name = if name.is_empty() { "no platform".to_owned() } else { name };
        platforms.insert(unused(&platforms, name), (descriptor.clone(), manifest.clone()));
    }
    Ok(platforms)
}

/// Reads the documents of one platform, and the layers that the other image does not have.
pub(super) async fn side(
    image: &ImageAt,
    (descriptor, manifest): &Found,
    other: &Manifest,
    read: &mut BTreeMap<Digest, Arc<LayerFiles>>,
    context: &Context,
) -> Result<Side, Diagnostics> {
    let documents = Documents { context, origin: image.origin(), span: None };
    let config = image.config_bytes(manifest, context).await?;
    let config = config.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let plan = documents.plan(manifest).await?;
    let is_read = |layer: &&Descriptor| {
        let kind = layer.annotations.get(KIND_ANNOTATION).map(String::as_str).unwrap_or_default();
        let is_listed = plan.is_some() && ["registry-cache", "registry-catalogue", "launch"].contains(&kind);
        let is_shared = other.layers.iter().any(|own| own.digest == layer.digest);
        !is_listed && !is_shared && media_types::layer_format(&layer.media_type).is_some()
    };
    let to_read: Vec<&Descriptor> = manifest.layers.iter().filter(is_read).collect();
    let is_unread = |layer: &&Descriptor| !read.contains_key(&layer.digest);
    let unread: Vec<&Descriptor> = to_read.iter().copied().filter(is_unread).collect();
    fetch_all(unread.iter().copied(), &image.origin(), context).await?;
    let bytes = unread.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    context.watch.event(Event::Reading { done: "compared", bytes: Some(bytes) });
    let mut layers = Vec::new();
    for layer in to_read {
        if let Some(known) = read.get(&layer.digest) {
            layers.push((layer.digest, Arc::clone(known)));
            continue;
        }
        let files = Arc::new(read_layer(image, layer, context).await?);
        read.insert(layer.digest, Arc::clone(&files));
        layers.push((layer.digest, files));
    }
    let written = serde_json::from_slice(&documents.raw(&descriptor.digest).await?).unwrap_or_default();
    Ok(Side { manifest: manifest.clone(), written, config, plan, layers })
}

async fn read_layer(
    image: &ImageAt,
    layer: &Descriptor,
    context: &Context,
) -> Result<LayerFiles, Diagnostics> {
    let facts = BlobFacts { media_type: layer.media_type.clone(), digest: layer.digest, size: layer.size };
    let reader = obtain(&facts, &image.origin(), NodeIndex::end(), context).await?;
    let reader: Box<dyn Read + Send> = Box::new(ToldReader::new(reader, context));
    let (media_type, digest) = (layer.media_type.clone(), layer.digest);
    context
        .blocking(move || {
            let mut files = LayerFiles::default();
            let tar = visit_layer(reader, &media_type, &UnpackLimits::default(), &mut files).map_err(|reason| {
                Diagnostic::new(&code::DAMAGED_IMAGE, format!("the layer {digest} cannot be read: {reason}"))
                    .help("copy the image again, or compile it with `--check`, which replaces what is damaged; and check the disk")
            })?;
            files.tar = Some(tar);
            Ok(files)
        })
        .await
}
