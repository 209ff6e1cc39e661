use std::collections::BTreeMap;

use kic_base::Digest;
use kic_graph::{KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::validate::ExaminedImage;

/// What to call the blobs of some images, in words of who made them.
pub(super) fn blob_names(images: &[ExaminedImage]) -> BTreeMap<Digest, String> {
    let mut names = BTreeMap::new();
    for image in images {
        let platform = image.descriptor.platform.as_ref().map(|platform| platform.platform());
        let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
        for (index, layer) in image.manifest.layers.iter().enumerate() {
            let annotation = |name: &str| layer.annotations.get(name).map(String::as_str);
            let name = match (annotation(KIND_ANNOTATION), annotation(NAME_ANNOTATION)) {
                (Some(kind), Some(name)) => format!("the layer {kind} `{name}`"),
                _ => format!("layer {}", index + 1),
            };
            names.entry(layer.digest).or_insert_with(|| format!("{name} of the image{platform}"));
        }
        let config = image.manifest.config.digest;
        names.entry(config).or_insert_with(|| format!("the configuration of the image{platform}"));
    }
    names
}
