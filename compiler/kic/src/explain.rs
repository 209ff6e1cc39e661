//! Why each layer was built or reused, and what became of the image: what they were made from, held against the last compile of the
//! spec.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Digest, without_secrets};
use kic_exec::{LayerOutput, Outcome};
use kic_graph::{Derivation, Graph, ImageLayer, Kind, Node, Origin};
use kic_store::Store;

use crate::compile::Compiled;
use crate::ingredients::{Ingredients, Inputs, LayerName};
use crate::input_value::InputValue;
use moves::Moves;
use places::{Place, Places};

mod image;
mod moves;
mod places;

/// What became of the image since the last compile of the spec, beside what became of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The parameters that were given otherwise: in the order of their names.
    pub parameters: Vec<ParameterChange>,
    /// What became of what the image is made from beside its layers: their order, annotations, labels, the configuration of its base,
    /// platforms.
    pub image: Reason,
    /// The layers that the last compile had and this one has not.
    pub gone: Vec<GoneLayer>,
}

/// A parameter that was given otherwise than at the last compile. Its values may be secret, and are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterChange {
    /// Its name.
    pub name: String,
    /// Whether the last compile was given it.
    pub was_given: bool,
    /// Whether this one is.
    pub is_given: bool,
}

/// A layer that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneLayer {
    /// The platform whose image it belonged to.
    pub platform: String,
    /// What it was called.
    pub layer: NamedLayer,
    /// The layers that have come to have files of it.
    pub files_now_in: Vec<NamedLayer>,
    /// Where there are any, what else was in it.
    pub changes: Vec<InputChange>,
}

/// What a layer is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedLayer {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Why a layer was built or reused, or what became of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing that it is made from changed since the last compile, and the store had it.
    Unchanged,
    /// Nothing that it is made from changed, but the store no longer had it.
    Gone,
    /// There was no compile of this spec before that is remembered.
    FirstCompile,
    /// The last compile had no such layer.
    New {
        /// What brings it in, where that is an image or a URL.
        needed_for: Vec<String>,
        /// The layers that had files of it, and have them no more.
        files_were_in: Vec<NamedLayer>,
        /// Where there are any, what else is new in it.
        changes: Vec<InputChange>,
    },
    /// Something that it is made from is another.
    Changed(Vec<InputChange>),
}

/// Something that a layer or an image is made from, and that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputChange {
    /// What it is: a path in the image, or a setting in words.
    pub input: String,
    /// Where it comes from, for files of this machine.
    pub source: Option<String>,
    /// What it was, there or elsewhere; `None` where it is new.
    pub from: Option<InputValue>,
    /// What it is now; `None` where it is gone from there.
    pub to: Option<InputValue>,
    /// The layer where that file was before, where it is new here; or is now, where it is gone from here.
    pub elsewhere: Option<NamedLayer>,
    /// The platform whose image it belongs to, where that of the others is as it was.
    pub platform: Option<String>,
}

impl InputChange {
    /// What became of an input, if anything did.
    fn of(input: &str, from: Option<InputValue>, to: Option<InputValue>) -> Option<Self> {
        let input = input.to_owned();
        (from != to).then_some(Self { input, source: None, from, to, elsewhere: None, platform: None })
    }
}

impl From<&LayerName> for NamedLayer {
    fn from(layer: &LayerName) -> Self {
        Self { kind: layer.kind.clone(), name: layer.name.clone() }
    }
}

/// Adds that nothing changed.
pub(crate) fn nothing_changed(compiled: &mut Compiled) {
    without_changes(compiled, &Reason::Unchanged);
}

fn without_changes(compiled: &mut Compiled, reason: &Reason) {
    for layer in compiled.layers.values_mut().flatten() {
        layer.reason = Some(reason.clone());
    }
    let image = reason.clone();
    compiled.explanation = Some(Explanation { parameters: Vec::new(), image, gone: Vec::new() });
}

/// Adds why each layer was built or reused, and what became of the image.
pub(crate) fn explain(
    compiled: &mut Compiled,
    graph: &Graph,
    now: &Ingredients,
    before: Option<&Ingredients>,
    store: &Store,
) {
    let Some(before) = before else {
        return without_changes(compiled, &Reason::FirstCompile);
    };
    let comparison = Comparison::of(now, before, store);
    let mut places = comparison.new.iter();
    for (platform, layers) in &mut compiled.layers {
        let own = graph.image.platforms.get(platform).map_or(&[][..], |own| own.layers.as_slice());
        for ((compiled, layer), place) in layers.iter_mut().zip(own).zip(places.by_ref()) {
            compiled.reason = Some(comparison.reason(graph, layer, place, compiled.outcome));
        }
    }
    let gone = comparison.old.iter().filter(|place| comparison.new.derivation(place).is_none());
    let gone = gone.map(|place| {
        let platform = place.name.platform.clone();
        let inputs = before.inputs(&place.derivation);
        let (files_now_in, changes) = comparison.moves.departed(&platform, inputs);
        GoneLayer { platform, layer: place.name.into(), files_now_in, changes }
    });
    let image = image::reason((before, &comparison.old), (now, &comparison.new));
    let parameters = parameters(&before.parameters, &now.parameters);
    compiled.explanation = Some(Explanation { parameters, image, gone: gone.collect() });
}

/// What a compile was made from, beside what the last one was.
struct Comparison<'a> {
    now: &'a Ingredients,
    before: &'a Ingredients,
    new: Places<'a>,
    old: Places<'a>,
    moves: Moves,
    store: &'a Store,
}

impl<'a> Comparison<'a> {
    fn of(now: &'a Ingredients, before: &'a Ingredients, store: &'a Store) -> Self {
        let (new, old) = (Places::of(now), Places::of(before));
        let moves = Moves::between((before, &old), (now, &new));
        Self { now, before, new, old, moves, store }
    }

    /// Why a layer was built or reused.
    fn reason(&self, graph: &Graph, layer: &ImageLayer, place: &Place<'_>, outcome: Outcome) -> Reason {
        let node = &graph.nodes[layer.node];
        match self.old.derivation(place) {
            None => {
                let (files_were_in, mut changes) =
                    self.moves.arrived(&place.name.platform, self.now.inputs(&place.derivation));
                add_sources(&mut changes, node);
                let needed_for = node.origins.iter().map(origin).collect();
                Reason::New { needed_for, files_were_in, changes }
            }
            Some(derivation) if derivation == place.derivation => match outcome {
                Outcome::Reused => Reason::Unchanged,
                Outcome::Built(_) => Reason::Gone,
            },
            Some(derivation) => {
                let (old, new) = (self.before.inputs(&derivation), self.now.inputs(&place.derivation));
                let mut found = self.cached_images(layer.kind, place);
                found.extend(changes(&old, &new));
                found.iter_mut().for_each(|change| self.complete(change, &place.name.platform));
                add_sources(&mut found, node);
                Reason::Changed(found)
            }
        }
    }

    /// What became of the images whose names are in this layer. Its files tell that by digests alone; the plan tells it by name.
    fn cached_images(&self, kind: Kind, place: &Place<'_>) -> Vec<InputChange> {
        if kind != Kind::RegistryCatalogue {
            return Vec::new();
        }
        let of_plan = |all: &Ingredients, places: &Places<'_>| -> Inputs {
            let inputs = places.launch_above(place).map(|launch| all.inputs(&launch.derivation));
            let mut inputs = inputs.unwrap_or_default();
            inputs.retain(|_, value| matches!(value, InputValue::Image { .. }));
            inputs
        };
        changes(&of_plan(self.before, &self.old), &of_plan(self.now, &self.new))
    }

    /// Adds where else files are or were, and the digests of layers.
    fn complete(&self, change: &mut InputChange, platform: &str) {
        self.moves.complete(change, platform);
        for value in [&mut change.from, &mut change.to].into_iter().flatten() {
            if let InputValue::Layer { derivation, digest } = value {
                // Of one that the store has no more, it is not said.
                let output = self.store.output(derivation).ok().flatten();
                let output = output.and_then(|json| serde_json::from_value::<LayerOutput>(json).ok());
                *digest = output.map(|output| output.digest);
            }
        }
    }
}

/// What became of the parameters that were given, each with the digest of its value.
fn parameters(old: &BTreeMap<String, Digest>, new: &BTreeMap<String, Digest>) -> Vec<ParameterChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let others = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let change = |name: &String| ParameterChange {
        name: name.clone(),
        was_given: old.contains_key(name),
        is_given: new.contains_key(name),
    };
    others.map(change).collect()
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Registry(reference) => reference.to_string(),
        Origin::Disk(source) => source.to_string(),
        Origin::Url(url) => without_secrets(url),
    }
}

/// What became of inputs, in their order.
fn changes(old: &Inputs, new: &Inputs) -> Vec<InputChange> {
    let gone = old.keys().filter(|input| !new.contains_key(*input));
    let mut inputs: Vec<&String> = new.keys().chain(gone).collect();
    inputs.sort();
    let change = |input: &String| InputChange::of(input, old.get(input).cloned(), new.get(input).cloned());
    inputs.into_iter().filter_map(change).collect()
}

/// Adds where files come from, for those of this machine.
fn add_sources(changes: &mut [InputChange], node: &Node) {
    let Derivation::Tree { entries, .. } = &node.derivation else { return };
    for change in changes.iter_mut().filter(|change| change.to.is_some()) {
        let Some(path) = change.input.strip_prefix('/') else { continue };
        // They are sorted by the bytes of their paths.
        let entry = entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok();
        let local = entry.and_then(|place| entries[place].local());
        change.source = local.map(|path| path.display().to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_came_or_went_is_told_in_order_and_the_rest_is_not() {
        let text = |text: &str| InputValue::Text(text.to_owned());
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(input, value)| ((*input).to_owned(), text(value))).collect()
        };
        let old = inputs(&[("/a", "1"), ("/b", "2"), ("/c", "3")]);
        let new = inputs(&[("/a", "1"), ("/b", "4"), ("/aa", "5")]);
        let change = |input: &str, from: Option<&str>, to: Option<&str>| {
            InputChange::of(input, from.map(text), to.map(text)).unwrap()
        };
        assert_eq!(
            changes(&old, &new),
            [
                change("/aa", None, Some("5")),
                change("/b", Some("2"), Some("4")),
                change("/c", Some("3"), None),
            ]
        );
    }
}
