//! The images that are fetched: made up, the same on every run, and laid into the data folder of a stock registry.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kic_base::Digest;
use serde_json::{Value, json};

use crate::Result;

/// Layers of bases, in KiB.
const DEBIAN: &[u64] = &[28_000];
const JAVA: &[u64] = &[28_000, 76_000];
const NODE: &[u64] = &[28_000, 46_000];
const PYTHON: &[u64] = &[28_000, 18_000];
const ALPINE: &[u64] = &[3_300];
const DISTROLESS: &[u64] = &[900, 2_400];

/// Name, base, and the layers of its own, in KiB.
const IMAGES: [(&str, &[u64], &[u64]); 20] = [
    ("gateway", ALPINE, &[21_000, 14_500, 3]),
    ("web", DEBIAN, &[31_000, 900, 2]),
    ("cache", DEBIAN, &[9_800, 4]),
    ("database", DEBIAN, &[48_000, 11_000, 6]),
    ("queue", JAVA, &[38_000, 210, 5]),
    ("search", JAVA, &[60_000, 1_900, 8]),
    ("dashboard", NODE, &[12_500, 340]),
    ("portal", NODE, &[7_400, 5_200, 3]),
    ("worker", PYTHON, &[26_000, 1_800, 4]),
    ("notebook", PYTHON, &[8_900, 1_400]),
    ("operator", DISTROLESS, &[14_000]),
    ("webhook", DISTROLESS, &[11_000]),
    ("exporter", ALPINE, &[6_200, 900]),
    ("proxy", DISTROLESS, &[15_500, 2]),
    ("dns", DISTROLESS, &[9_100]),
    ("storage", ALPINE, &[8_800, 3_100, 1]),
    ("scheduler", DISTROLESS, &[10_200]),
    ("logger", DEBIAN, &[7_300, 600]),
    ("mailer", PYTHON, &[2_100, 300]),
    ("backup", ALPINE, &[4_300, 2]),
];

/// The image of which there is a second version, with another last layer.
pub const CHANGED: &str = "dashboard";

/// Raised when the images change, so that old ones are not taken.
const VERSION: &str = "1";

/// The corpus on disk.
pub struct Corpus {
    /// The folder that holds `docker/registry/v2`.
    pub data: PathBuf,
    /// `REPOSITORY:TAG` of every image, first versions.
    pub images: Vec<String>,
    /// The bytes of all blobs of linux/amd64, each once.
    pub bytes: u64,
    /// Their number.
    pub blobs: usize,
}

impl Corpus {
    /// Makes the corpus in `folder`, unless it is there. A small one has a 64th of the bytes.
    pub fn at(folder: &Path, small: bool) -> Result<Self> {
        let data = folder.join(if small { "corpus-small" } else { "corpus" });
        let images = IMAGES.iter().map(|(name, ..)| format!("bench/{name}:v1")).collect();
        let stamp = data.join("stamp");
        let known = fs::read_to_string(&stamp).unwrap_or_default();
        let mut words = known.split_whitespace();
        if words.next() == Some(VERSION)
            && let (Some(bytes), Some(blobs)) = (words.next(), words.next())
        {
            return Ok(Self { data, images, bytes: bytes.parse()?, blobs: blobs.parse()? });
        }
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let mut maker = Maker {
            root: data.join("docker/registry/v2"),
            divisor: if small { 64 } else { 1 },
            layers: BTreeMap::new(),
            counted: BTreeMap::new(),
        };
        for (number, (name, base, own)) in IMAGES.iter().enumerate() {
            let family = if number % 2 == 0 { Family::Docker } else { Family::Oci };
            let kibibytes = || base.iter().chain(*own).copied();
            // Layers of a base are those of every image with it; the others are this image's own.
            let seeds = (0..base.len()).map(|place| kibibytes().nth(place).unwrap_or(0) << 8);
            let layers: Vec<(u64, u64)> = seeds
                .chain((0..own.len()).map(|place| (number * 16 + place + 1) as u64))
                .zip(kibibytes())
                .collect();
            let manifest = maker.image(family, name, "amd64", &layers, true)?;
            let root = if number % 4 == 0 {
                // Another platform, much smaller: nobody should fetch it.
                let other: Vec<(u64, u64)> =
                    layers.iter().map(|(seed, size)| (seed + (1 << 40), size / 64 + 1)).collect();
                let other = maker.image(family, name, "arm64", &other, false)?;
                maker.index(family, name, &[manifest, other])?
            } else {
                manifest
            };
            maker.tag(name, "v1", &root)?;
            if *name == CHANGED {
                let mut layers = layers.clone();
                if let Some((seed, _)) = layers.last_mut() {
                    *seed += 1 << 41;
                }
                let root = maker.image(family, name, "amd64", &layers, false)?;
                maker.tag(name, "v2", &root)?;
            }
        }
        let corpus = Self { data, images, bytes: maker.counted.values().sum(), blobs: maker.counted.len() };
        fs::write(stamp, format!("{VERSION} {} {}\n", corpus.bytes, corpus.blobs))?;
        Ok(corpus)
    }
}

#[derive(Clone, Copy)]
enum Family {
    Oci,
    Docker,
}

impl Family {
    /// The media types of an index, a manifest, a configuration and a layer.
    const fn types(self) -> [&'static str; 4] {
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

struct Maker {
    root: PathBuf,
    divisor: u64,
    /// By seed and size: digest, size and diff ID.
    layers: BTreeMap<(u64, u64), (Digest, u64, Digest)>,
    /// The blobs that are fetched.
    counted: BTreeMap<Digest, u64>,
}

impl Maker {
    /// An image of layers `(seed, KiB)`; returns the descriptor of its manifest.
    fn image(
        &mut self,
        family: Family,
        name: &str,
        architecture: &str,
        layers: &[(u64, u64)],
        counted: bool,
    ) -> Result<Value> {
        let [_, manifest_type, config_type, layer_type] = family.types();
        let mut descriptors = Vec::new();
        let mut diff_ids = Vec::new();
        for (seed, kibibytes) in layers {
            let (digest, size, diff_id) = self.layer(*seed, kibibytes * 1024 / self.divisor)?;
            self.link(name, "_layers", &digest)?;
            descriptors.push(json!({ "mediaType": layer_type, "digest": digest, "size": size }));
            diff_ids.push(diff_id);
            if counted {
                self.counted.insert(digest, size);
            }
        }
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Cmd": [format!("/{name}")] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = self.document(config_type, &config)?;
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": descriptors,
        });
        let mut manifest = self.document(manifest_type, &manifest)?;
        for (links, document) in [("_layers", &config), ("_manifests/revisions", &manifest)] {
            let digest: Digest = serde_json::from_value(document["digest"].clone())?;
            self.link(name, links, &digest)?;
            if counted {
                self.counted.insert(digest, document["size"].as_u64().unwrap_or(0));
            }
        }
        manifest["platform"] = json!({ "os": "linux", "architecture": architecture });
        Ok(manifest)
    }

    fn index(&mut self, family: Family, name: &str, manifests: &[Value]) -> Result<Value> {
        let [index_type, ..] = family.types();
        let index = json!({ "schemaVersion": 2, "mediaType": index_type, "manifests": manifests });
        let index = self.document(index_type, &index)?;
        self.link(name, "_manifests/revisions", &serde_json::from_value(index["digest"].clone())?)?;
        Ok(index)
    }

    fn tag(&self, name: &str, tag: &str, root: &Value) -> Result<()> {
        let path = self.root.join(format!("repositories/bench/{name}/_manifests/tags/{tag}/current/link"));
        write(&path, root["digest"].as_str().unwrap_or_default().as_bytes())
    }

    fn document(&self, media_type: &str, value: &Value) -> Result<Value> {
        let bytes = serde_json::to_vec_pretty(value)?;
        let digest = self.blob(&bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    }

    /// A layer with one file that does not compress. The gzip around it stores it as it is, so that the bytes do not
    /// depend on a compressor.
    fn layer(&mut self, seed: u64, size: u64) -> Result<(Digest, u64, Digest)> {
        if let Some(known) = self.layers.get(&(seed, size)) {
            return Ok(*known);
        }
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o755);
        header.set_mtime(1_648_814_400);
        archive.append_data(
            &mut header,
            format!("opt/part-{seed}"),
            noise(seed, size as usize).as_slice(),
        )?;
        let bytes = archive.into_inner()?;
        let diff_id = Digest::of(&bytes);
        let mut stored = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        stored.write_all(&bytes)?;
        let stored = stored.finish()?;
        let layer = (self.blob(&stored)?, stored.len() as u64, diff_id);
        self.layers.insert((seed, size), layer);
        Ok(layer)
    }

    fn blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let hex = digest.hex();
        write(&self.root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])), bytes)?;
        Ok(digest)
    }

    fn link(&self, name: &str, links: &str, digest: &Digest) -> Result<()> {
        let path = self.root.join(format!("repositories/bench/{name}/{links}/sha256/{}/link", digest.hex()));
        write(&path, digest.to_string().as_bytes())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(fs::write(path, bytes)?)
}

/// Bytes that look random, by a xorshift generator.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
