//! What `docker save` wrote before version 25, and what other tools write like it: a `manifest.json` that names
//! a configuration and layers, which are mostly plain tars.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};

use flate2::read::MultiGzDecoder;
use kic_base::{Digest, Sha256};
use serde::Deserialize;

use super::layout::is_same;
use super::members::{Members, OpenMember};
use super::{DiskImageError, Root};
use crate::model::{
    DOCUMENT_LIMIT, Descriptor, ImageConfig, Manifest, ModelError, canonical_json, media_types,
};

const MANIFEST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the image, and makes the OCI manifest that the archive lacks. `located` gets the file of each blob.
///
/// Each layer is read once, for its digest, and checked against the configuration.
pub(super) fn find_root(
    members: &Members,
    reference: Option<&str>,
    located: &mut BTreeMap<Digest, String>,
) -> Result<Root, DiskImageError> {
    let path = members.path();
    let Some(bytes) = members.read(MANIFEST)? else {
        return Err(DiskImageError::NotAnImage {
            path: path.to_owned(),
            expected: "Docker archive",
            reason: "it has neither a `manifest.json` nor an `oci-layout`".to_owned(),
        });
    };
    let saved: Vec<Saved> = serde_json::from_slice(&bytes).map_err(|error| DiskImageError::Document {
        path: path.to_owned(),
        member: MANIFEST.to_owned(),
        source: ModelError::Json(error),
    })?;
    let saved = choose(members, &saved, reference)?;
    let config_bytes =
        members.read(&saved.config)?.ok_or_else(|| DiskImageError::missing(path, &saved.config))?;
    let config = ImageConfig::parse(&config_bytes).map_err(|source| DiskImageError::Document {
        path: path.to_owned(),
        member: saved.config.clone(),
        source,
    })?;
    let files = saved.layers.clone().unwrap_or_default();
    if files.len() != config.rootfs.diff_ids.len() {
        let (layers, diff_ids) = (files.len(), config.rootfs.diff_ids.len());
        let reason = format!("it names {layers} layers, and the configuration {diff_ids}");
        return Err(DiskImageError::invalid(path, MANIFEST, reason));
    }
    let mut known = BTreeMap::<&str, (Descriptor, Digest)>::new();
    let mut layers = Vec::new();
    for (file, diff_id) in files.iter().zip(&config.rootfs.diff_ids) {
        let (descriptor, found) = match known.get(file.as_str()) {
            Some(layer) => layer.clone(),
            None => known.entry(file).or_insert(describe(members, file)?).clone(),
        };
        if found != *diff_id {
            let reason = format!("its tar gives {found}, and the configuration says {diff_id}");
            return Err(DiskImageError::invalid(path, file, reason));
        }
        located.insert(descriptor.digest, file.clone());
        layers.push(descriptor);
    }
    let config = Descriptor::of(media_types::OCI_CONFIG, &config_bytes);
    let manifest = canonical_json(&Manifest::new(config.clone(), layers));
    if manifest.len() > DOCUMENT_LIMIT {
        return Err(DiskImageError::invalid(path, MANIFEST, "it names too many layers"));
    }
    let descriptor = Descriptor::of(media_types::OCI_MANIFEST, &manifest);
    let mut names = saved.repo_tags.clone().unwrap_or_default();
    names.sort_unstable();
    Ok(Root { made: vec![(descriptor.digest, manifest), (config.digest, config_bytes)], descriptor, names })
}

fn choose<'a>(
    members: &Members,
    saved: &'a [Saved],
    reference: Option<&str>,
) -> Result<&'a Saved, DiskImageError> {
    let path = members.path().to_owned();
    let tags = |image: &'a Saved| image.repo_tags.iter().flatten();
    let all_names = || {
        let of_one = |image: &'a Saved| {
            let names: Vec<String> = tags(image).cloned().collect();
            if names.is_empty() { vec![image.config.clone()] } else { names }
        };
        saved.iter().flat_map(of_one).collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>()
    };
    match reference {
        None => match saved {
            [] => Err(DiskImageError::Empty { path }),
            [one] => Ok(one),
            _ => Err(DiskImageError::Several { path, names: all_names() }),
        },
        Some(reference) => saved
            .iter()
            .find(|image| tags(image).any(|tag| tag == reference) || image.config == reference)
            .or_else(|| saved.iter().find(|image| tags(image).any(|tag| is_same(tag, reference))))
            .ok_or_else(|| DiskImageError::Unknown {
                path,
                reference: reference.to_owned(),
                names: all_names(),
            }),
    }
}

/// Reads a layer once: its descriptor, and the digest of its tar.
fn describe(members: &Members, file: &str) -> Result<(Descriptor, Digest), DiskImageError> {
    let path = members.path();
    let (mut reader, size): OpenMember =
        members.open(file)?.ok_or_else(|| DiskImageError::missing(path, file))?;
    let failed = |error| DiskImageError::at(path, error);
    let mut start = [0; 2];
    let count = read_some(&mut reader, &mut start).map_err(failed)?;
    let whole = (&start[..count]).chain(reader);
    if start[..count] == [0x1f, 0x8b] {
        // Written by other tools than Docker, and kept as it is.
        let mut hashing = Hashing { inner: whole, hasher: Sha256::new() };
        let invalid = |error: io::Error| DiskImageError::invalid(path, file, error.to_string());
        let diff_id = hash(MultiGzDecoder::new(&mut hashing)).map_err(invalid)?;
        io::copy(&mut hashing, &mut io::sink()).map_err(failed)?;
        let digest = hashing.hasher.finish();
        return Ok((Descriptor::new(media_types::OCI_LAYER_GZIP, digest, size), diff_id));
    }
    let digest = hash(whole).map_err(failed)?;
    Ok((Descriptor::new(media_types::OCI_LAYER, digest, size), digest))
}

struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn hash(mut reader: impl Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Fills the buffer as far as there are bytes.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
