//! Which layers came, went, changed or moved.

use std::collections::BTreeSet;

use kic_base::Digest;
use kic_graph::{KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::model::{Descriptor, Manifest};

use super::sequence::{Step, steps};
use super::{Change, Difference};

pub(super) fn diff(left: &Manifest, right: &Manifest) -> Vec<Difference> {
    let digests =
        |manifest: &Manifest| manifest.layers.iter().map(|layer| layer.digest).collect::<Vec<Digest>>();
    let (lefts, rights) = (digests(left), digests(right));
    let (in_left, in_right): (BTreeSet<Digest>, BTreeSet<Digest>) =
        (lefts.iter().copied().collect(), rights.iter().copied().collect());
    let mut differences = Vec::new();
    let mut gone: Vec<&Descriptor> =
        left.layers.iter().filter(|layer| !in_right.contains(&layer.digest)).collect();
    for step in steps(&lefts, &rights) {
        let Step::Right(at) = step else { continue };
        let layer = &right.layers[at];
        if in_left.contains(&layer.digest) {
            let from = lefts.iter().position(|digest| *digest == layer.digest).unwrap_or_default();
            let place = |at: usize| Some(format!("layer {}", at + 1));
            differences
                .push(Difference::new(Change::Moved, "layer", title(layer)).between(place(from), place(at)));
            continue;
        }
        // Of the same kind and name, and so the same thing in another form.
        let known = layer.annotations.contains_key(KIND_ANNOTATION);
        let before = gone.iter().position(|old| known && title(old) == title(layer));
        differences.push(match before.map(|at| gone.remove(at)) {
            Some(old) => Difference::new(Change::Changed, "layer", title(layer))
                .between(Some(described(old)), Some(described(layer))),
            None => {
                Difference::new(Change::Added, "layer", title(layer)).between(None, Some(described(layer)))
            }
        });
    }
    for layer in gone {
        differences.push(
            Difference::new(Change::Removed, "layer", title(layer)).between(Some(described(layer)), None),
        );
    }
    differences
}

fn title(layer: &Descriptor) -> String {
    let annotation = |name: &str| layer.annotations.get(name).map(String::as_str);
    let name = annotation(NAME_ANNOTATION).unwrap_or_default();
    let name = name.parse::<Digest>().map_or_else(|_| name.to_owned(), |digest| digest.short());
    format!("{} {name}", annotation(KIND_ANNOTATION).unwrap_or("base")).trim_end().to_owned()
}

fn described(layer: &Descriptor) -> String {
    format!("{} ({} bytes)", layer.digest, layer.size)
}
