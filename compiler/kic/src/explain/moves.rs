//! Files that another layer has than before: a large tree is cut elsewhere, or a layer has another name.

use std::collections::{BTreeMap, BTreeSet};

use super::places::Places;
use super::{InputChange, NamedLayer};
use crate::ingredients::{Ingredients, Inputs};
use crate::input_value::InputValue;

/// By platform and path, the files that layers came to have, and those that layers have no more.
#[derive(Debug, Default)]
pub(super) struct Moves {
    came: Files,
    went: Files,
}

/// Of each file by platform and path, what it is and in which layer.
type Files = BTreeMap<String, BTreeMap<String, (NamedLayer, InputValue)>>;

impl Moves {
    /// Those between the last compile and this one.
    pub fn between(before: (&Ingredients, &Places<'_>), now: (&Ingredients, &Places<'_>)) -> Self {
        Self { came: only_in(now, before), went: only_in(before, now) }
    }

    /// Says of a file that is new in a layer or gone from it, where else it was or is.
    pub fn complete(&self, change: &mut InputChange, platform: &str) {
        match (&change.from, &change.to) {
            (None, Some(_)) => {
                if let Some((layer, value)) = find(&self.went, platform, &change.input) {
                    (change.from, change.elsewhere) = (Some(value.clone()), Some(layer.clone()));
                }
            }
            (Some(_), None) => {
                let found = find(&self.came, platform, &change.input);
                change.elsewhere = found.map(|(layer, _)| layer.clone());
            }
            _ => {}
        }
    }

    /// The layers that had some of the files of a new one, and have them no more; and, where there are any, what else is new in it.
    pub fn arrived(&self, platform: &str, inputs: Inputs) -> (Vec<NamedLayer>, Vec<InputChange>) {
        let change = |(path, value): (String, InputValue)| InputChange::of(&path, None, Some(value));
        self.moved(platform, inputs.into_iter().filter_map(change))
    }

    /// The layers that have come to have some of the files of one that is gone; and, where there are any, what else was in it.
    pub fn departed(&self, platform: &str, inputs: Inputs) -> (Vec<NamedLayer>, Vec<InputChange>) {
        let change = |(path, value): (String, InputValue)| InputChange::of(&path, Some(value), None);
        self.moved(platform, inputs.into_iter().filter_map(change))
    }

    fn moved(
        &self,
        platform: &str,
        inputs: impl Iterator<Item = InputChange>,
    ) -> (Vec<NamedLayer>, Vec<InputChange>) {
        let (mut layers, mut rest) = (BTreeSet::new(), Vec::new());
        for mut change in inputs.filter(|change| change.input.starts_with('/')) {
            self.complete(&mut change, platform);
            let is_as_it_was = change.from == change.to || change.to.is_none();
            layers.extend(change.elsewhere.clone());
            if change.elsewhere.is_none() || !is_as_it_was {
                rest.push(change);
            }
        }
        if layers.is_empty() {
            rest.clear();
        }
        (layers.into_iter().collect(), rest)
    }
}

fn find<'a>(files: &'a Files, platform: &str, path: &str) -> Option<&'a (NamedLayer, InputValue)> {
    files.get(platform)?.get(path)
}

/// The files that layers of the first compile have, and those of the same names in the second one have not.
fn only_in(
    (first, places): (&Ingredients, &Places<'_>),
    (second, others): (&Ingredients, &Places<'_>),
) -> Files {
    let mut files = Files::new();
    for place in places.iter() {
        let other = others.derivation(place);
        if other == Some(place.derivation) {
            continue;
        }
        let kept = other.map(|derivation| second.inputs(&derivation)).unwrap_or_default();
        let own = first.inputs(&place.derivation).into_iter();
        let only = own.filter(|(input, _)| input.starts_with('/') && !kept.contains_key(input));
        let files = files.entry(place.name.platform.clone()).or_default();
        files.extend(only.map(|(path, value)| (path, (NamedLayer::from(place.name), value))));
    }
    files
}
