//! What two images differ in, told by what it means: layers, cached images, objects, checks, the plan, files, configuration.
//!
//! **Invariant:** where two digests differ, something says in what; where nothing that means something does, their bytes.
//!
//! Layers that both images have are not read, nor are those of registry caches: what they hold, the plan lists.

mod difference;
mod documents;
mod files;
mod json;
mod layers;
mod lines;
mod objects;
mod plan;
mod read;
mod secrets;
mod sequence;
mod side;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::Context;
use serde::Serialize;

use crate::image::{ImageAt, open_image};
pub use difference::{BlobValue, Change, Difference, FileValue, Value};
use side::{Side, platforms, side};
use tree::tree;

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
        differences.extend(documents::index(&first, &second, context).await?);
        if differences.is_empty() {
            differences.push(Difference::form("the same index in other bytes"));
        }
    }
    let of = |image: &str, opened: &ImageAt| DiffSide { image: image.to_owned(), digest: opened.root.digest };
    Ok(ImageDiff { left: of(left, &first), right: of(right, &second), same, differences })
}

fn compare(left: &Side, right: &Side) -> Vec<Difference> {
    let trees = [left, right].map(|side| tree(side.layers.iter().map(|(_, layer)| layer.as_ref())));
    let [lefts, rights] = &trees;
    let (objects, told) = objects::diff(&lefts.files, &rights.files);
    let files = files::diff(lefts, rights, &told);
    let told_files = files.iter().flat_map(|file| {
        let times = if file.kind == "times" { &file.parts[..] } else { &[] };
        std::iter::once(file.name.as_str()).chain(times.iter().map(|file| file.name.as_str()))
    });
    let told: BTreeSet<&str> = told.differing.iter().copied().chain(told_files).collect();
    let mut parts = Vec::new();
    parts.extend(Difference::group("layers", "layers", layers::diff(left, right, &told)));
    parts.extend(plan::diff(left.plan.as_ref(), right.plan.as_ref()));
    parts.extend(objects);
    parts.extend(Difference::group("files", "files", files));
    parts.extend(documents::config(left, right));
    let annotations = json::maps(&left.manifest.annotations, &right.manifest.annotations, "annotation");
    parts.extend(Difference::group("annotations", "annotations", annotations));
    parts.extend(Difference::group("manifest", "manifest", documents::manifest(left, right)));
    if parts.is_empty() {
        parts.push(Difference::form("the same manifest in other bytes"));
    }
    parts
}

/// The name, with a number where several things of that name are told.
fn unused<T>(told: &BTreeMap<String, T>, name: String) -> String {
    let mut own = name.clone();
    for count in 2.. {
        if !told.contains_key(&own) {
            break;
        }
        own = format!("{name} (number {count} of this name)");
    }
    own
}
