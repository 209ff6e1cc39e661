//! The layers of a compile, each told from all others.

use std::collections::BTreeMap;

use kic_base::Digest;
use kic_graph::Kind;

use crate::ingredients::{Ingredients, LayerName};

/// A layer in an image. An image above another one of kic's may have two of one name, such as `launch`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub name: &'a LayerName,
    /// How many of that name are below it.
    pub below: usize,
    pub derivation: Digest,
}

/// All of a compile, in their order.
pub(super) struct Places<'a> {
    places: Vec<Place<'a>>,
    derivations: BTreeMap<(&'a LayerName, usize), Digest>,
}

impl<'a> Places<'a> {
    pub fn of(ingredients: &'a Ingredients) -> Self {
        let mut counts: BTreeMap<&LayerName, usize> = BTreeMap::new();
        let place = |(name, derivation): &'a (LayerName, Digest)| {
            let count = counts.entry(name).or_default();
            *count += 1;
            Place { name, below: *count - 1, derivation: *derivation }
        };
        let places: Vec<Place<'a>> = ingredients.layers.iter().map(place).collect();
        let derivations = places.iter().map(|place| ((place.name, place.below), place.derivation)).collect();
        Self { places, derivations }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Place<'a>> {
        self.places.iter()
    }

    /// The derivation of the layer that is called like this one.
    pub fn derivation(&self, place: &Place<'_>) -> Option<Digest> {
        self.derivations.get(&(place.name, place.below)).copied()
    }

    /// The launch plan of the image that this layer was made for: the next one above it.
    pub fn launch_above(&self, place: &Place<'_>) -> Option<&Place<'a>> {
        let mut above = self.places.iter().skip_while(|other| !other.is_called_like(place));
        above.find(|other| {
            other.name.platform == place.name.platform && other.name.kind == Kind::Launch.name()
        })
    }
}

impl Place<'_> {
    /// Whether it has the name of another one, and as many below it that have.
    pub fn is_called_like(&self, other: &Place<'_>) -> bool {
        (self.name, self.below) == (other.name, other.below)
    }
}
