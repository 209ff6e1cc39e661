//! What became of an image beside its layers.

use std::collections::BTreeMap;

use super::places::Places;
use super::{InputChange, Reason, changes};
use crate::ingredients::Ingredients;
use crate::input_value::InputValue;

/// What became of the platforms, and for each of what its image is made from beside its layers, and of their order.
pub(super) fn reason(
    (before, old): (&Ingredients, &Places<'_>),
    (now, new): (&Ingredients, &Places<'_>),
) -> Reason {
    let list = |all: &Ingredients| Some(InputValue::List(all.platforms()));
    let mut found: Vec<InputChange> =
        InputChange::of("platforms", list(before), list(now)).into_iter().collect();
    let mut of_platforms: BTreeMap<String, Vec<InputChange>> = BTreeMap::new();
    for platform in now.platforms() {
        if let (Some(was), Some(is)) = (before.image(&platform), now.image(&platform)) {
            let mut own: Vec<InputChange> = order(old, new, &platform).into_iter().collect();
            own.extend(changes(&was, &is));
            of_platforms.insert(platform, own);
        }
    }
    // What all have in common is said once.
    let is_common = |change: &InputChange| of_platforms.values().all(|changes| changes.contains(change));
    let first = of_platforms.values().next().into_iter().flatten();
    found.extend(first.filter(|change| is_common(change)).cloned());
    for (platform, own) in &of_platforms {
        let rest = own.iter().filter(|change| !is_common(change)).cloned();
        found.extend(rest.map(|change| InputChange { platform: Some(platform.clone()), ..change }));
    }
    if found.is_empty() { Reason::Unchanged } else { Reason::Changed(found) }
}

/// What became of the order of the layers of a platform that both have: those between the first and the last one that stands elsewhere.
fn order(before: &Places<'_>, now: &Places<'_>, platform: &str) -> Option<InputChange> {
    let common = |own: &Places<'_>, other: &Places<'_>| -> Vec<String> {
        let own = own.iter().filter(|place| place.name.platform == platform);
        let both = own.filter(|place| other.derivation(place).is_some());
        both.map(|place| format!("{} {}", place.name.kind, place.name.name)).collect()
    };
    let (old, new) = (common(before, now), common(now, before));
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same..], &new[same..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let list = |names: &[String]| Some(InputValue::List(names[..names.len() - same].to_vec()));
    InputChange::of("order of layers", list(old), list(new))
}

#[cfg(test)]
mod tests {
    use kic_base::Digest;

    use super::*;
    use crate::ingredients::LayerName;

    #[test]
    fn the_order_is_told_of_those_that_stand_elsewhere_and_not_of_those_that_came_or_went() {
        let compile = |names: &str| {
            let text = str::to_owned;
            let name = |name: &str| LayerName { platform: text("p"), kind: text("files"), name: text(name) };
            let mut ingredients = Ingredients::default();
            ingredients.layers = names.split(' ').map(|one| (name(one), Digest::of(b""))).collect();
            ingredients
        };
        for (before, now, from, to) in [
            ("a b c", "a b c", "", ""),
            ("a b c", "a x c", "", ""),
            ("a b c", "b c a d", "files a, files b, files c", "files b, files c, files a"),
            ("a b c d", "a c b d", "files b, files c", "files c, files b"),
            // Two of one name.
            ("a b b", "b b a", "files a, files b, files b", "files b, files b, files a"),
            ("a a b", "a b", "", ""),
        ] {
            let (old, new) = (compile(before), compile(now));
            let change = order(&Places::of(&old), &Places::of(&new), "p");
            let shown = change.map(|change| [change.from, change.to].map(|value| value.unwrap().to_string()));
            assert_eq!(shown.unwrap_or_default(), [from, to], "{before} | {now}");
        }
    }
}
