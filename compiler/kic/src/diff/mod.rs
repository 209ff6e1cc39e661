//! What two images differ in, told by what it means: layers, cached images, objects, checks, the plan, files, configuration.
//!
//! Layers that both images have are not read, nor are those of registry caches: what they hold, the plan lists.

mod difference;
mod files;
mod json;
mod layers;
mod lines;
mod objects;
mod plan;
mod read;
mod secrets;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use kic_base::{Digest, Platform};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Documents, Stoppable, obtain};
use kic_graph::{BlobFacts, KIND_ANNOTATION};
use kic_oci::model::{Descriptor, ImageConfig, Manifest, media_types};
use kic_oci::unpack::UnpackLimits;
use kic_oci::validate::visit_layer;
use serde::Serialize;
use serde_json::Value as Json;

use crate::image::{ImageAt, open_image};
pub use difference::{BlobValue, Change, Difference, FileValue, Value};
use read::LayerFiles;

/// What two images differ in.
#[derive(Debug, Serialize)]
pub struct ImageDiff {
    /// The image on the left.
    pub left: DiffSide,
    /// The image on the right.
    pub right: DiffSide,
    /// Whether they are the same image.
    pub same: bool,
    /// What differs, by platform.
    pub differences: Vec<Difference>,
}

/// One of two images.
#[derive(Debug, Serialize)]
pub struct DiffSide {
    /// The image, as it was named.
    pub image: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

/// The image of one platform.
struct Side {
    manifest: Manifest,
    config: Option<Json>,
    plan: Option<Json>,
    layers: Vec<Arc<LayerFiles>>,
}

/// Compares two images.
///
/// # Errors
/// What went wrong with the disk or a registry, and what is wrong with an image.
pub async fn diff(left: &str, right: &str, context: &Context) -> Result<ImageDiff, Diagnostics> {
    let (first, second) = (open_image(left, context).await?, open_image(right, context).await?);
    let same = first.root.digest == second.root.digest;
    let mut differences = Vec::new();
    if !same {
        let (lefts, rights) = (platforms(&first, context).await?, platforms(&second, context).await?);
        let mut read = BTreeMap::new();
        let names: BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
        for name in names {
            differences.push(match (lefts.get(name), rights.get(name)) {
                (Some(_), None) => Difference::new(Change::Removed, "platform", name),
                (None, _) => Difference::new(Change::Added, "platform", name),
                (Some(one), Some(other)) => {
                    if one.0.digest == other.0.digest {
                        continue;
                    }
                    let one = side(&first, one, &other.1, &mut read, context).await?;
                    let other_side = side(&second, other, &one.manifest, &mut read, context).await?;
                    let parts = compare(&one, &other_side);
                    Difference::new(Change::Changed, "platform", name).with(parts)
                }
            });
        }
        differences.extend(Difference::group(
            "annotations",
            "annotations of the index",
            index_annotations(&first, &second, context).await?,
        ));
    }
    let of = |image: &str, opened: &ImageAt| DiffSide { image: image.to_owned(), digest: opened.root.digest };
    Ok(ImageDiff { left: of(left, &first), right: of(right, &second), same, differences })
}

fn compare(left: &Side, right: &Side) -> Vec<Difference> {
    let (lefts, rights) = (read::merged(&left.layers), read::merged(&right.layers));
    let mut parts = Vec::new();
    parts.extend(Difference::group("layers", "layers", layers::diff(&left.manifest, &right.manifest)));
    parts.extend(plan::diff(left.plan.as_ref(), right.plan.as_ref()));
    let (objects, told) = objects::diff(&lefts, &rights);
    parts.extend(objects);
    parts.extend(Difference::group("files", "files", files::diff(&lefts, &rights, &told)));
    let (one, other) = (left.config.clone().unwrap_or_default(), right.config.clone().unwrap_or_default());
    parts.extend(Difference::group("config", "configuration", json::fields(&one, &other)));
    let annotations = json::maps(&left.manifest.annotations, &right.manifest.annotations, "annotation");
    parts.extend(Difference::group("annotations", "annotations", annotations));
    parts
}

async fn index_annotations(
    left: &ImageAt,
    right: &ImageAt,
    context: &Context,
) -> Result<Vec<Difference>, Diagnostics> {
    let mut found = Vec::new();
    for image in [left, right] {
        let documents = Documents { context, origin: image.origin(), span: None };
        let is_index = media_types::is_index(&image.root.media_type);
        let document = documents.document(&image.root.digest, &image.root.media_type).await?;
        found.push(match document {
            kic_oci::model::Document::Index(index) if is_index => index.annotations,
            _ => BTreeMap::new(),
        });
    }
    let (Some(right), Some(left)) = (found.pop(), found.pop()) else { return Ok(Vec::new()) };
    Ok(json::maps(&left, &right, "annotation"))
}

type Found = (Descriptor, Manifest);

/// The manifest of each platform, by its name.
async fn platforms(image: &ImageAt, context: &Context) -> Result<BTreeMap<String, Found>, Diagnostics> {
    let mut platforms = BTreeMap::new();
    for (platform, descriptor, manifest) in &image.manifests {
        let name = match platform {
            Some(platform) => platform.to_string(),
            None => {
                own_platform(image, manifest, context).await?.map(|own| own.to_string()).unwrap_or_default()
            }
        };
        platforms.insert(name, (descriptor.clone(), manifest.clone()));
    }
    Ok(platforms)
}

async fn own_platform(
    image: &ImageAt,
    manifest: &Manifest,
    context: &Context,
) -> Result<Option<Platform>, Diagnostics> {
    if !media_types::is_config(&manifest.config.media_type) {
        return Ok(None);
    }
    let documents = Documents { context, origin: image.origin(), span: None };
    let bytes = documents.blob(&manifest.config).await?;
    Ok(ImageConfig::parse(&bytes).ok().map(|config| config.platform()))
}

/// Reads the documents of one platform, and the layers that the other image does not have.
async fn side(
    image: &ImageAt,
    (_, manifest): &Found,
    other: &Manifest,
    read: &mut BTreeMap<Digest, Arc<LayerFiles>>,
    context: &Context,
) -> Result<Side, Diagnostics> {
    let documents = Documents { context, origin: image.origin(), span: None };
    let config = if media_types::is_config(&manifest.config.media_type) {
        let bytes = documents.blob(&manifest.config).await?;
        let mut config: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(config) = config.as_object_mut() {
            // They follow from the layers.
            config.retain(|name, _| name != "rootfs" && name != "history");
        }
        Some(config)
    } else {
        None
    };
    let plan = documents.plan(manifest).await?;
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let kind = layer.annotations.get(KIND_ANNOTATION).map(String::as_str).unwrap_or_default();
        let is_listed = plan.is_some() && ["registry-cache", "registry-catalogue", "launch"].contains(&kind);
        let is_shared = other.layers.iter().any(|own| own.digest == layer.digest);
        if is_listed || is_shared || media_types::layer_format(&layer.media_type).is_none() {
            continue;
        }
        if let Some(known) = read.get(&layer.digest) {
            layers.push(Arc::clone(known));
            continue;
        }
        let files = Arc::new(read_layer(image, layer, context).await?);
        read.insert(layer.digest, Arc::clone(&files));
        layers.push(files);
    }
    Ok(Side { manifest: manifest.clone(), config, plan, layers })
}

async fn read_layer(
    image: &ImageAt,
    layer: &Descriptor,
    context: &Context,
) -> Result<LayerFiles, Diagnostics> {
    let facts = BlobFacts { media_type: layer.media_type.clone(), digest: layer.digest, size: layer.size };
    let reader = obtain(&facts, &image.origin(), context).await?;
    let reader: Box<dyn Read + Send> = Box::new(Stoppable::new(reader, context));
    let (media_type, digest) = (layer.media_type.clone(), layer.digest);
    context
        .blocking(move || {
            let mut files = LayerFiles::default();
            visit_layer(reader, &media_type, &UnpackLimits::default(), &mut files).map_err(|reason| {
                Diagnostic::new(&code::DAMAGED_IMAGE, format!("the layer {digest} cannot be read: {reason}"))
                    .help("copy the image again, or compile it with `--check`, which replaces what is damaged; and check the disk")
            })?;
            Ok(files)
        })
        .await
}
