//! Which layers came, went, changed or moved.

use std::collections::BTreeSet;

use kic_base::Digest;
use kic_graph::{DERIVATION_ANNOTATION, KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::model::Descriptor;
use serde_json::{Value as Json, json};

use super::json::{fields, without};
use super::read::LayerFiles;
use super::sequence::{Step, steps};
use super::side::Side;
use super::{Change, Difference, Value};

/// So many files are named that a layer changes and later ones replace.
const NAMED: usize = 10;

/// A layer of one side, and where it stands.
struct Place<'a> {
    layer: &'a Descriptor,
    at: usize,
    /// How many layers that both sides have, in their order, stand before it.
    after: usize,
}

/// Which layers differ. Where the files of one do not say in what, its bytes do; `told` are the paths that are told elsewhere.
pub(super) fn diff(left: &Side, right: &Side, told: &BTreeSet<&str>) -> Vec<Difference> {
    let (lefts, rights) = (&left.manifest.layers, &right.manifest.layers);
    let digests = |layers: &[Descriptor]| layers.iter().map(|layer| layer.digest).collect::<Vec<Digest>>();
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let mut differences = Vec::new();
    let mut after = 0;
    for step in steps(&digests(lefts), &digests(rights)) {
        match step {
            Step::Both(one, other) => {
                after += 1;
                let parts = fields(&said(&lefts[one], true), &said(&rights[other], true));
                differences.extend(Difference::group("layer", title(&lefts[one], one), parts));
            }
            Step::Left(at) => gone.push(Place { layer: &lefts[at], at, after }),
            Step::Right(at) => come.push(Place { layer: &rights[at], at, after }),
        }
    }
    // The same layer at another place is no change of it, so these are found first.
    let take = |gone: &mut Vec<Place<'_>>, is_it: &dyn Fn(&Place<'_>) -> bool| {
        gone.iter().position(is_it).map(|at| gone.remove(at).at)
    };
    let moved: Vec<Option<usize>> =
        come.iter().map(|new| take(&mut gone, &|old| old.layer.digest == new.layer.digest)).collect();
    for (new, moved) in come.iter().zip(moved) {
        let title = title(new.layer, new.at);
        if let Some(from) = moved {
            let place = |at: usize| Some(Value::Position { position: at + 1 });
            let parts = fields(&said(&lefts[from], true), &said(new.layer, true));
            differences.push(
                Difference::new(Change::Moved, "layer", title)
                    .between(place(from), place(new.at))
                    .with(parts),
            );
            continue;
        }
        differences.push(match take(&mut gone, &|old| is_another_form(old, new)) {
            Some(old) => {
                let old = &lefts[old];
                let mut parts = fields(&said(old, false), &said(new.layer, false));
                if let (Some(one), Some(other)) = (left.files(&old.digest), right.files(&new.layer.digest)) {
                    parts.extend(form(one, other, told));
                }
                Difference::changed("layer", title, old.into(), new.layer.into()).with(parts)
            }
            None => Difference::new(Change::Added, "layer", title).between(None, Some(new.layer.into())),
        });
    }
    differences.extend(gone.into_iter().map(|old| {
        Difference::new(Change::Removed, "layer", title(old.layer, old.at))
            .between(Some(old.layer.into()), None)
    }));
    differences
}

/// What the manifest says of a layer beside its digest and size.
fn said(layer: &Descriptor, is_same: bool) -> Json {
    let mut said = without(&json!(layer), &["digest", "size"]);
    // Another content comes from another derivation.
    if !is_same && let Some(annotations) = said.get_mut("annotations").and_then(Json::as_object_mut) {
        annotations.remove(DERIVATION_ANNOTATION);
    }
    said
}

/// In what two layers differ of which no file is told to differ.
fn form(left: &LayerFiles, right: &LayerFiles, told: &BTreeSet<&str>) -> Vec<Difference> {
    if left.tar == right.tar {
        return vec![Difference::form("the same tar, compressed otherwise")];
    }
    if (&left.files, &left.hidden, &left.emptied) == (&right.files, &right.hidden, &right.emptied) {
        let is_order = left.order != right.order;
        let what = if is_order { "the same files in another order" } else { "the same files in other bytes" };
        return vec![Difference::form(what)];
    }
    let paths: BTreeSet<&String> = left.files.keys().chain(right.files.keys()).collect();
    let differs = |path: &&String| left.files.get(*path) != right.files.get(*path);
    let differing: Vec<&String> = paths.into_iter().filter(differs).collect();
    if differing.is_empty() || differing.iter().any(|path| told.contains(path.as_str())) {
        return Vec::new();
    }
    let mut parts: Vec<Difference> = differing
        .iter()
        .take(NAMED)
        .map(|path| Difference::form(format!("{path}, which a later layer replaces")))
        .collect();
    if differing.len() > NAMED {
        parts.push(Difference::form(format!("and {} more", differing.len() - NAMED)));
    }
    parts
}

/// Whether one is the other in another form: of the same kind and name, or where kic gave them none, at the same place.
fn is_another_form(old: &Place<'_>, new: &Place<'_>) -> bool {
    match (named(old.layer), named(new.layer)) {
        (Some(old), Some(new)) => old == new,
        (None, None) => old.after == new.after,
        _ => false,
    }
}

/// What a layer is called: by its kind and name, or where kic gave it none, by its place.
fn title(layer: &Descriptor, at: usize) -> String {
    named(layer).unwrap_or_else(|| format!("layer {}", at + 1))
}

fn named(layer: &Descriptor) -> Option<String> {
    let kind = layer.annotations.get(KIND_ANNOTATION)?;
    let name = layer.annotations.get(NAME_ANNOTATION).map(String::as_str).unwrap_or_default();
    let name = name.parse::<Digest>().map_or_else(|_| name.to_owned(), |digest| digest.short());
    Some(format!("{kind} {name}").trim_end().to_owned())
}
