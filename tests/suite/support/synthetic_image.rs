//! Container images made up for the tests: real ones in every way but their content, and the same on every run.

use std::io::Write as _;

use kic_base::Digest;
use serde_json::{Value, json};

use super::random::Random;
use super::stock_registry::StockRegistry;

/// The media types of one family: index, manifest, configuration, layer.
#[derive(Debug, Clone, Copy)]
pub enum Family {
    Oci,
    Docker,
}

impl Family {
    pub const fn types(self) -> [&'static str; 4] {
        match self {
            Self::Oci => [
                "application/vnd.oci.image.index.v1+json",
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            Self::Docker => [
                "application/vnd.docker.distribution.manifest.list.v2+json",
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
        }
    }
}

/// A manifest with its blobs.
#[derive(Debug, Clone)]
pub struct SyntheticImage {
    pub media_type: &'static str,
    pub manifest: Vec<u8>,
    /// The configuration, then the layers.
    pub blobs: Vec<Vec<u8>>,
    pub architecture: &'static str,
}

impl SyntheticImage {
    /// An image for Linux on `architecture`. Each layer is `(seed, bytes)`: the same seed and size, the same layer.
    pub fn new(family: Family, architecture: &'static str, layers: &[(u64, usize)]) -> Self {
        let [_, manifest_type, config_type, layer_type] = family.types();
        let layers: Vec<(Digest, Vec<u8>)> = layers.iter().map(|(seed, size)| layer(*seed, *size)).collect();
        let diff_ids: Vec<&Digest> = layers.iter().map(|(diff_id, _)| diff_id).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "created": "2022-04-01T12:00:00Z",
            "config": { "Env": ["PATH=/usr/sbin:/usr/bin"], "Cmd": ["/start"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": descriptor(config_type, &config),
            "layers": layers.iter().map(|(_, bytes)| descriptor(layer_type, bytes)).collect::<Vec<_>>(),
        });
        // As upstream tools write it, which is not as kic does: with spaces, keys in an order of their own.
        let manifest = serde_json::to_string_pretty(&manifest).unwrap().replace("  ", "   ").into_bytes();
        let blobs = std::iter::once(config).chain(layers.into_iter().map(|(_, bytes)| bytes)).collect();
        Self { media_type: manifest_type, manifest, blobs, architecture }
    }

    pub fn digest(&self) -> String {
        Digest::of(&self.manifest).to_string()
    }

    /// Puts it into a registry, by its digest and, if there is one, by a tag.
    pub fn push(&self, registry: &StockRegistry, repository: &str, tag: Option<&str>) {
        for blob in &self.blobs {
            registry.push_blob(repository, blob);
        }
        registry.push_manifest(repository, tag.unwrap_or(&self.digest()), self.media_type, &self.manifest);
    }
}

/// An index of images. One for the architecture `unknown` stands for an attestation, as it rides along on Docker Hub.
pub fn index(family: Family, images: &[SyntheticImage]) -> Vec<u8> {
    let [index_type, manifest_type, ..] = family.types();
    let mut manifests = Vec::new();
    for image in images {
        let mut entry = descriptor(manifest_type, &image.manifest);
        let os = if image.architecture == "unknown" { "unknown" } else { "linux" };
        entry["platform"] = json!({ "os": os, "architecture": image.architecture });
        manifests.push(entry);
    }
    serde_json::to_vec_pretty(&json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": manifests }))
        .unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// A layer with one file of `size` random bytes: the digest of the tar, and the tar in gzip.
fn layer(seed: u64, size: usize) -> (Digest, Vec<u8>) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o755);
    header.set_mtime(1_648_814_400);
    archive
        .append_data(&mut header, format!("opt/part-{seed}"), Random::new(seed).bytes(size).as_slice())
        .unwrap();
    let bytes = archive.into_inner().unwrap();
    // Stored, not compressed: the same bytes whatever the compressor's version.
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    compressed.write_all(&bytes).unwrap();
    (Digest::of(&bytes), compressed.finish().unwrap())
}
