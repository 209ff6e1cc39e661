//! Puts layers together: configurations, manifests, and the index where there are several platforms.

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::{Digest, Platform};
use kic_diag::Diagnostics;
use kic_graph::{
    BaseConfig, DERIVATION_ANNOTATION, Graph, ImageLayer, KIND_ANNOTATION, NAME_ANNOTATION, PlatformImage,
};
use kic_oci::model::{
    Descriptor, DescriptorPlatform, History, ImageConfig, Index, Manifest, canonical_json, media_types,
};
use kic_spec::ImageSource;

use crate::fault;
use crate::realised::Realised;

/// An image whose every layer is in the store.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The manifest, or the index where there are several platforms.
    pub root: Descriptor,
    /// Every blob of the image, the root among them, sorted by digest, each once, without what a manifest says of it.
    pub blobs: Vec<Descriptor>,
    /// The manifest and the configuration of each platform.
    pub documents: BTreeMap<Platform, (Descriptor, Descriptor)>,
    /// The layers of each platform, bottom first, as its manifest has them; where nothing changed since the last run, without what
    /// that says of them.
    pub layers: BTreeMap<Platform, Vec<Descriptor>>,
    /// The bytes of its documents, where these are just made: the store has all others.
    pub made: BTreeMap<Digest, Arc<[u8]>>,
}

/// Makes the documents of the image from the outputs of its graph.
///
/// # Errors
/// None but bugs.
pub fn assemble(graph: &Graph, realised: &Realised) -> Result<Assembled, Diagnostics> {
    let image = &graph.image;
    let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    let mut layers_by_platform = BTreeMap::new();
    let mut manifests = Vec::new();
    let mut documents = BTreeMap::new();
    let mut made = BTreeMap::new();
    let mut make = |media_type: &str, bytes: Vec<u8>, blobs: &mut BTreeMap<Digest, Descriptor>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        made.insert(descriptor.digest, Arc::from(bytes));
        blobs.insert(descriptor.digest, descriptor.clone());
        descriptor
    };
    for (platform, own) in &image.platforms {
        let layers = own
            .layers
            .iter()
            .map(|layer| descriptor(graph, layer, realised))
            .collect::<Result<Vec<_>, _>>()?;
        let config = config(graph, platform, own, realised)?;
        let config = make(media_types::OCI_CONFIG, canonical_json(&config), &mut blobs);
        for layer in &layers {
            blobs.entry(layer.digest).or_insert_with(|| layer.plain());
        }
        let mut manifest = Manifest::new(config.clone(), layers.clone());
        manifest.annotations = annotations(graph, own);
        let mut manifest = make(media_types::OCI_MANIFEST, canonical_json(&manifest), &mut blobs);
        manifest.platform = Some(DescriptorPlatform::from(platform));
        layers_by_platform.insert(platform.clone(), layers);
        documents.insert(platform.clone(), (manifest.clone(), config));
        manifests.push(manifest);
    }
    let root = match manifests.as_slice() {
        [only] => only.clone(),
        _ => {
            let mut index = Index::new(manifests);
            if let Some(own) = image.platforms.values().next() {
                index.annotations = annotations(graph, own);
            }
            make(media_types::OCI_INDEX, canonical_json(&index), &mut blobs)
        }
    };
    Ok(Assembled { root, blobs: blobs.into_values().collect(), documents, layers: layers_by_platform, made })
}

/// The annotations of the manifest of an image.
pub fn annotations(graph: &Graph, image: &PlatformImage) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), graph.image.name.clone()),
        ("org.opencontainers.image.created".to_owned(), rfc3339(graph.image.created)),
    ]);
    if let Some(version) = &graph.image.version {
        annotations.insert("org.opencontainers.image.version".to_owned(), version.clone());
    }
    if let BaseConfig::Image { source: Some((ImageSource::Registry(reference), digest)), .. } = &image.base {
        annotations.insert("org.opencontainers.image.base.name".to_owned(), reference.to_string());
        annotations.insert("org.opencontainers.image.base.digest".to_owned(), digest.to_string());
    }
    annotations
}

fn descriptor(graph: &Graph, layer: &ImageLayer, realised: &Realised) -> Result<Descriptor, Diagnostics> {
    let mut descriptor = match (&layer.upstream, realised.layers.get(&layer.node)) {
        (Some((blob, _)), _) => Descriptor::new(&blob.media_type, blob.digest, blob.size),
        (None, Some(output)) => Descriptor::new(&output.media_type, output.digest, output.size),
        (None, None) => {
            return Err(fault::internal(format!("the layer `{}` was not built", layer.name)).into());
        }
    };
    descriptor.annotations.clone_from(&layer.annotations);
    // A base that kic built says all this itself.
    if !layer.annotations.contains_key(KIND_ANNOTATION) {
        descriptor = descriptor
            .annotated(KIND_ANNOTATION, layer.kind.name())
            .annotated(NAME_ANNOTATION, layer.name.clone())
            .annotated(DERIVATION_ANNOTATION, graph.nodes[layer.node].digest.to_string());
    }
    Ok(descriptor)
}

/// The configuration of an image, with its layers and what made them.
fn config(
    graph: &Graph,
    platform: &Platform,
    image: &PlatformImage,
    realised: &Realised,
) -> Result<ImageConfig, Diagnostics> {
    let mut config = config_without_layers(graph, platform, image)?;
    // A history that is there must tell of every layer.
    let told = config.history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in told..config.rootfs.diff_ids.len() {
        config
            .history
            .push(History { comment: Some("a layer of the base".to_owned()), ..History::default() });
    }
    for layer in &image.layers[config.rootfs.diff_ids.len()..] {
        let diff_id = match (&layer.upstream, realised.layers.get(&layer.node)) {
            (Some((_, diff_id)), _) => *diff_id,
            (None, Some(output)) => output.diff_id,
            (None, None) => {
                return Err(fault::internal(format!("the layer `{}` was not built", layer.name)).into());
            }
        };
        config.rootfs.diff_ids.push(diff_id);
        config.history.push(History {
            created: config.created.clone(),
            created_by: Some(format!("kic: {} {}", layer.kind.name(), layer.name)),
            ..History::default()
        });
    }
    Ok(config)
}

/// The configuration of the image that a base comes from, with the time and the labels of this one: all of the image's own but its
/// layers.
///
/// # Errors
/// None but bugs.
pub fn config_without_layers(
    graph: &Graph,
    platform: &Platform,
    image: &PlatformImage,
) -> Result<ImageConfig, Diagnostics> {
    let mut config = match &image.base {
        BaseConfig::Scratch => ImageConfig::new(platform),
        BaseConfig::Image { config, .. } => {
            serde_json::from_value(config.clone()).map_err(|error| fault::internal(error.to_string()))?
        }
        BaseConfig::Spec(base) => config_without_layers(graph, platform, base)?,
    };
    config.created = Some(rfc3339(graph.image.created));
    config.config.labels.extend(image.labels.clone());
    Ok(config)
}

/// Seconds since 1970 as RFC 3339 in UTC, such as `1970-01-01T00:00:00Z`.
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date of the proleptic Gregorian calendar, by eras of 400 years from March of year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}
