//! Which layers came, went, changed or moved.

use kic_base::Digest;
use kic_graph::{KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::model::{Descriptor, Manifest};

use super::sequence::{Step, steps};
use super::{Change, Difference, Value};

/// A layer of one side, and where it stands.
struct Place<'a> {
    layer: &'a Descriptor,
    at: usize,
    /// How many layers that both sides have, in their order, stand before it.
    after: usize,
}

pub(super) fn diff(left: &Manifest, right: &Manifest) -> Vec<Difference> {
    let digests =
        |manifest: &Manifest| manifest.layers.iter().map(|layer| layer.digest).collect::<Vec<Digest>>();
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let mut after = 0;
    for step in steps(&digests(left), &digests(right)) {
        match step {
            Step::Both(..) => after += 1,
            Step::Left(at) => gone.push(Place { layer: &left.layers[at], at, after }),
            Step::Right(at) => come.push(Place { layer: &right.layers[at], at, after }),
        }
    }
    // The same layer at another place is no change of it, so these are found first.
    let take = |gone: &mut Vec<Place<'_>>, is_it: &dyn Fn(&Place<'_>) -> bool| {
        gone.iter().position(is_it).map(|at| gone.remove(at).at)
    };
    let moved: Vec<Option<usize>> =
        come.iter().map(|new| take(&mut gone, &|old| old.layer.digest == new.layer.digest)).collect();
    let mut differences = Vec::new();
    for (new, moved) in come.iter().zip(moved) {
        let title = title(new.layer, new.at);
        if let Some(from) = moved {
            let place = |at: usize| Some(Value::Position { position: at + 1 });
            differences
                .push(Difference::new(Change::Moved, "layer", title).between(place(from), place(new.at)));
            continue;
        }
        differences.push(match take(&mut gone, &|old| is_another_form(old, new)) {
            Some(old) => Difference::changed("layer", title, (&left.layers[old]).into(), new.layer.into()),
            None => Difference::new(Change::Added, "layer", title).between(None, Some(new.layer.into())),
        });
    }
    differences.extend(gone.into_iter().map(|old| {
        Difference::new(Change::Removed, "layer", title(old.layer, old.at))
            .between(Some(old.layer.into()), None)
    }));
    differences
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
