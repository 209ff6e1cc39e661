//! What manifests, configurations and indexes say beside what is told of layers and platforms.

use std::collections::BTreeMap;

use kic_diag::Diagnostics;
use kic_exec::{Context, Documents};
use kic_oci::model::{Descriptor, Document, Index, media_types};
use serde_json::{Value as Json, json};

use super::json::{fields, maps, without};
use super::side::Side;
use super::{Change, Difference};
use crate::image::ImageAt;

/// What begins the history of a layer that kic made.
const OWN_HISTORY: &str = "kic: ";

/// What an entry of an index is called that is of no platform.
const NO_PLATFORM: &str = "a manifest of no platform, such as an attestation";

/// The rest of the manifests: media types, the subject, and what else stands there.
pub(super) fn manifest(left: &Side, right: &Side) -> Vec<Difference> {
    let rest = |side: &Side| {
        let mut rest = without(&side.written, &["layers", "annotations"]);
        if let Some(config) = rest.get_mut("config") {
            *config = without(config, &["digest", "size"]);
        }
        rest
    };
    fields(&rest(left), &rest(right))
}

/// The configurations.
pub(super) fn config(left: &Side, right: &Side) -> Option<Difference> {
    let (one, other) = (&left.manifest.config, &right.manifest.config);
    if one.digest == other.digest {
        return None;
    }
    let (Some(left_config), Some(right_config)) = (&left.config, &right.config) else {
        return Some(Difference::changed("config", "configuration", one.into(), other.into()));
    };
    let digests = |side: &Side| side.manifest.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
    let follows = digests(left) != digests(right);
    let said = |config: &Json| if follows { without_layers(config) } else { config.clone() };
    let mut parts = fields(&said(left_config), &said(right_config));
    if parts.is_empty() && !follows {
        parts.push(Difference::form("the same configuration in other bytes"));
    }
    Difference::group("config", "configuration", parts)
}

/// A configuration without what follows from its layers.
fn without_layers(config: &Json) -> Json {
    let mut config = without(config, &["rootfs"]);
    if let Some(history) = config.get_mut("history").and_then(Json::as_array_mut) {
        let by = |entry: &Json| entry.get("created_by").and_then(Json::as_str).unwrap_or_default().to_owned();
        history.retain(|entry| !by(entry).starts_with(OWN_HISTORY));
    }
    config
}

/// The indexes that the images begin with; or that only one of them does.
pub(super) async fn index(
    left: &ImageAt,
    right: &ImageAt,
    context: &Context,
) -> Result<Vec<Difference>, Diagnostics> {
    let (one, other) = (read(left, context).await?, read(right, context).await?);
    let annotations = |index: &Option<(Index, Json)>| {
        index.as_ref().map(|(index, _)| index.annotations.clone()).unwrap_or_default()
    };
    let mut differences = Vec::new();
    differences.extend(Difference::group(
        "annotations",
        "annotations of the index",
        maps(&annotations(&one), &annotations(&other), "annotation"),
    ));
    let parts = match (&one, &other) {
        (None, None) => Vec::new(),
        (Some((one, left)), Some((other, right))) => {
            let rest = |json: &Json| without(json, &["manifests", "annotations"]);
            let mut parts = fields(&rest(left), &rest(right));
            parts.extend(entries(&one.manifests, &other.manifests));
            parts
        }
        _ => {
            let kind = |image: &ImageAt| json!({ "mediaType": image.root.media_type });
            fields(&kind(left), &kind(right))
        }
    };
    differences.extend(Difference::group("index", "index", parts));
    Ok(differences)
}

async fn read(image: &ImageAt, context: &Context) -> Result<Option<(Index, Json)>, Diagnostics> {
    if !media_types::is_index(&image.root.media_type) {
        return Ok(None);
    }
    let documents = Documents { context, origin: image.origin(), span: None };
    let written = serde_json::from_slice(&documents.raw(&image.root.digest).await?).unwrap_or_default();
    match documents.document(&image.root.digest, &image.root.media_type).await? {
        Document::Index(index) => Ok(Some((index, written))),
        Document::Manifest(_) => Ok(None),
    }
}

/// What two indexes say of their manifests; the manifests of platforms are told by themselves.
fn entries(left: &[Descriptor], right: &[Descriptor]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let (lefts, rights) = (by_platform(left), by_platform(right));
    let mut said_of = |name: &str, one: &Descriptor, other: &Descriptor| {
        let said = |entry: &Descriptor| without(&json!(entry), &["digest", "size"]);
        differences.extend(Difference::group("entry", name, fields(&said(one), &said(other))));
    };
    for (name, one) in &lefts {
        if let Some(other) = rights.get(name) {
            said_of(name, one, other);
        }
    }
    for one in left.iter().filter(|entry| platform(entry).is_none()) {
        if let Some(other) = right.iter().find(|other| other.digest == one.digest) {
            said_of(NO_PLATFORM, one, other);
        }
    }
    let only = |own: &[Descriptor], others: &[Descriptor]| -> Vec<Descriptor> {
        let is_there = |entry: &&Descriptor| others.iter().any(|other| other.digest == entry.digest);
        own.iter().filter(|entry| platform(entry).is_none() && !is_there(entry)).cloned().collect()
    };
    let (gone, come) = (only(left, right), only(right, left));
    for at in 0..gone.len().max(come.len()) {
        let (one, other) = (gone.get(at), come.get(at));
        let change = match (one, other) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        differences.push(
            Difference::new(change, "entry", NO_PLATFORM).between(one.map(Into::into), other.map(Into::into)),
        );
    }
    let order = |entries: &[Descriptor]| entries.iter().map(platform).collect::<Vec<_>>();
    if differences.is_empty() && lefts.keys().eq(rights.keys()) && order(left) != order(right) {
        differences.push(Difference::form("the manifests in another order"));
    }
    differences
}

fn platform(entry: &Descriptor) -> Option<String> {
    let platform = entry.platform.as_ref()?.platform();
    (platform.os != "unknown").then(|| platform.to_string())
}

fn by_platform(entries: &[Descriptor]) -> BTreeMap<String, &Descriptor> {
    entries.iter().filter_map(|entry| Some((platform(entry)?, entry))).collect()
}
