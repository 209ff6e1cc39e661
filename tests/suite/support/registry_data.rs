//! Images laid into the data folder of the stock registry: large ones and many, whose bytes are not pushed through it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kic_base::{Digest, Sha256};
use serde_json::{Value, json};

use super::random::Random;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The data folder of a registry.
pub struct RegistryData {
    root: PathBuf,
}

impl RegistryData {
    pub fn new(data: &Path) -> Self {
        Self { root: data.join("docker/registry/v2") }
    }

    /// A layer of so many mebibytes. Returns its descriptor.
    pub fn large_layer(&self, repository: &str, seed: u64, mebibytes: usize) -> Value {
        fs::create_dir_all(&self.root).unwrap();
        let waiting = self.root.join("waiting");
        let digest = write_large(&waiting, seed, mebibytes);
        let place = self.place(&digest);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(waiting, place).unwrap();
        self.link(repository, "_layers", &digest);
        json!({ "mediaType": LAYER, "digest": digest, "size": mebibytes << 20 })
    }

    /// A layer of these bytes. Returns its descriptor.
    pub fn layer(&self, repository: &str, bytes: &[u8]) -> Value {
        self.blob(repository, LAYER, bytes, "_layers")
    }

    /// An image with the tag `v1`.
    pub fn image(&self, repository: &str, layers: &[Value]) {
        // No layer is compressed.
        let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = self.blob(repository, CONFIG, config.to_string().as_bytes(), "_layers");
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let manifest =
            self.blob(repository, MANIFEST, manifest.to_string().as_bytes(), "_manifests/revisions");
        let link = self.root.join(format!("repositories/{repository}/_manifests/tags/v1/current/link"));
        write(&link, manifest["digest"].as_str().unwrap().as_bytes());
    }

    fn blob(&self, repository: &str, media_type: &str, bytes: &[u8], links: &str) -> Value {
        let digest = Digest::of(bytes);
        write(&self.place(&digest), bytes);
        self.link(repository, links, &digest);
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    fn place(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    fn link(&self, repository: &str, links: &str, digest: &Digest) {
        let link = self.root.join(format!("repositories/{repository}/{links}/sha256/{}/link", digest.hex()));
        write(&link, digest.to_string().as_bytes());
    }
}

/// Writes a file of so many mebibytes that do not repeat within any window that a compressor looks at.
pub fn write_large(path: &Path, seed: u64, mebibytes: usize) -> Digest {
    const PIECE: usize = 8;
    let mut piece = Random::new(seed).bytes(PIECE << 20);
    let (mut file, mut hash) = (File::create(path).unwrap(), Sha256::new());
    for begin in (0..mebibytes).step_by(PIECE) {
        piece[..8].copy_from_slice(&begin.to_le_bytes());
        let piece = &piece[..(mebibytes - begin).min(PIECE) << 20];
        hash.update(piece);
        file.write_all(piece).unwrap();
    }
    hash.finish()
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
