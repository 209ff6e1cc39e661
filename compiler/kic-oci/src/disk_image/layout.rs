//! Which image of an OCI layout is meant.

use std::collections::BTreeSet;

use kic_base::{Digest, ImageReference, Platform};
use serde::Deserialize;

use super::members::Members;
use super::{DiskImageError, Root};
use crate::layout::REFERENCE_NAME;
use crate::model::{Descriptor, DescriptorPlatform, Document, Index, ModelError, media_types};

/// The annotation under which containerd, and `docker save` since version 25, keep an image's whole name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

const INDEX: &str = "index.json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutVersion {
    image_layout_version: String,
}

/// Finds the image in an OCI layout.
pub(super) fn find_root(members: &Members, reference: Option<&str>) -> Result<Root, DiskImageError> {
    let path = members.path();
    let not_a_layout =
        |reason: String| DiskImageError::NotAnImage { path: path.to_owned(), expected: "OCI layout", reason };
    let Some(version) = members.read("oci-layout")? else {
        let hint = if members.read("manifest.json").is_ok_and(|found| found.is_some()) {
            "it has no `oci-layout`, but a `manifest.json`: it is a Docker archive"
        } else {
            "it has no `oci-layout`"
        };
        return Err(not_a_layout(hint.to_owned()));
    };
    match serde_json::from_slice::<LayoutVersion>(&version) {
        Ok(version) if version.image_layout_version == "1.0.0" => {}
        Ok(version) => {
            return Err(not_a_layout(format!("its version is {:?}", version.image_layout_version)));
        }
        Err(error) => return Err(not_a_layout(format!("`oci-layout`: {error}"))),
    }
    let bytes = members.read(INDEX)?.ok_or_else(|| DiskImageError::missing(path, INDEX))?;
    let document = Document::parse(media_types::OCI_INDEX, &bytes).map_err(|source| {
        DiskImageError::Document { path: path.to_owned(), member: INDEX.to_owned(), source }
    })?;
    let Document::Index(index) = document else {
        return Err(DiskImageError::Document {
            path: path.to_owned(),
            member: INDEX.to_owned(),
            source: ModelError::Neither,
        });
    };
    choose(members, index, bytes, reference)
}

fn choose(
    members: &Members,
    index: Index,
    bytes: Vec<u8>,
    reference: Option<&str>,
) -> Result<Root, DiskImageError> {
    let path = members.path().to_owned();
    let matching: Vec<&Descriptor> = match reference {
        None => index.manifests.iter().collect(),
        Some(reference) => with_reference(&index.manifests, reference),
    };
    let all_names = || {
        let of_one = |entry: &Descriptor| {
            let names = names(entry);
            if names.is_empty() { vec![entry.digest.to_string()] } else { names }
        };
        let unique: BTreeSet<String> = index.manifests.iter().flat_map(of_one).collect();
        unique.into_iter().collect::<Vec<_>>()
    };
    let Some(first) = matching.first() else {
        return Err(match reference {
            Some(reference) if !index.manifests.is_empty() => {
                DiskImageError::Unknown { path, reference: reference.to_owned(), names: all_names() }
            }
            _ => DiskImageError::Empty { path },
        });
    };
    if matching.iter().any(|entry| entry.digest != first.digest) {
        // Some tools list the platforms of one image here; then `index.json` itself is its index.
        let platforms: BTreeSet<Platform> = matching
            .iter()
            .filter_map(|entry| entry.platform.as_ref().map(DescriptorPlatform::platform))
            .collect();
        let same_names = matching.iter().all(|entry| names(entry) == names(first));
        if same_names && platforms.len() == matching.len() && matching.len() == index.manifests.len() {
            let descriptor = Descriptor::of(media_types::OCI_INDEX, &bytes);
            return Ok(Root { names: names(first), made: vec![(descriptor.digest, bytes)], descriptor });
        }
        return Err(DiskImageError::Several { path, names: all_names() });
    }
    let media_type = first.media_type.as_str();
    if media_types::is_schema1(media_type) {
        let source = ModelError::Schema1;
        return Err(DiskImageError::Document { path, member: INDEX.to_owned(), source });
    }
    let names: BTreeSet<String> =
        index.manifests.iter().filter(|entry| entry.digest == first.digest).flat_map(names).collect();
    let mut descriptor = (*first).clone();
    descriptor.annotations.remove(REFERENCE_NAME);
    descriptor.annotations.remove(CONTAINERD_NAME);
    Ok(Root { descriptor, names: names.into_iter().collect(), made: Vec::new() })
}

/// The entries of that name: letter for letter, else by digest, else as the same reference in another form.
fn with_reference<'a>(entries: &'a [Descriptor], reference: &str) -> Vec<&'a Descriptor> {
    let exact: Vec<&Descriptor> =
        entries.iter().filter(|entry| names(entry).iter().any(|name| name == reference)).collect();
    if !exact.is_empty() {
        return exact;
    }
    if let Ok(digest) = reference.parse::<Digest>() {
        return entries.iter().filter(|entry| entry.digest == digest).collect();
    }
    entries.iter().filter(|entry| names(entry).iter().any(|name| is_same(name, reference))).collect()
}

/// The names that an entry of an `index.json` has.
fn names(entry: &Descriptor) -> Vec<String> {
    [CONTAINERD_NAME, REFERENCE_NAME]
        .iter()
        .filter_map(|key| entry.annotations.get(*key))
        .filter(|name| !name.is_empty())
        .cloned()
        .collect()
}

/// Whether both are forms of one reference, as `nginx` and `docker.io/library/nginx:latest` are.
pub(super) fn is_same(left: &str, right: &str) -> bool {
    match (left.parse::<ImageReference>(), right.parse::<ImageReference>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
