//! The names of layers, and what `after` says of their order.

use std::collections::BTreeMap;

use kic_base::{Spanned, closest};
use kic_diag::{Diagnostic, declared as code};

use super::Context;
use crate::decode::list;
use crate::spec::{Layer, LayerKind};

/// So many names are looked through for one that is close to an unknown one.
const MOST_COMPARED: usize = 1000;

impl Context<'_> {
    pub(super) fn check_layer_names(&mut self, layers: &[Layer]) {
        let mut first_of: BTreeMap<(LayerKind, &str), &Layer> = BTreeMap::new();
        let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, layer) in layers.iter().enumerate() {
            let name = layer.name.value.as_str();
            named.entry(name).or_default().push(index);
            let Some(first) = first_of.get(&(layer.kind(), name)) else {
                first_of.insert((layer.kind(), name), layer);
                continue;
            };
            self.error(
                Diagnostic::new(
                    &code::DUPLICATE_LAYER,
                    format!("two `{}` layers are named `{name}`", layer.kind().name()),
                )
                .at(&layer.name.span, "here again")
                .at(&first.name.span, "first here")
                .help("give one of them another name, or put everything into one"),
            );
        }
        // The layer that each one comes after.
        let mut after: Vec<Option<usize>> = Vec::with_capacity(layers.len());
        for (index, layer) in layers.iter().enumerate() {
            let Some(name) = &layer.after else {
                after.push(None);
                continue;
            };
            let found =
                named.get(name.value.as_str()).and_then(|all| all.iter().find(|other| **other != index));
            after.push(found.copied());
            if found.is_none() {
                let others = layers.iter().enumerate().filter(|(other, _)| *other != index);
                self.error(unknown_layer(name, "layer", others.map(|(_, other)| other.name.value.as_str())));
            }
        }
        self.check_after_cycles(layers, &after);
    }

    /// Follows every `after` edge; a way back to where it was before is an error.
    fn check_after_cycles(&mut self, layers: &[Layer], after: &[Option<usize>]) {
        // The start of the walk that came by each layer.
        let mut walked: Vec<Option<usize>> = vec![None; layers.len()];
        for start in 0..layers.len() {
            let mut at = start;
            while walked[at].is_none() {
                walked[at] = Some(start);
                let Some(next) = after[at] else { break };
                at = next;
            }
            if walked[at] != Some(start) || after[at].is_none() {
                continue;
            }
            // This walk came back to `at`: the circle goes from there to there.
            let name = |index: usize| layers[index].name.value.as_str();
            let mut diagnostic =
                Diagnostic::new(&code::LAYER_CYCLE, format!("the layer `{}` comes after itself", name(at)));
            let mut place = at;
            loop {
                let span = layers[place].after.as_ref().map_or(&layers[place].span, |after| &after.span);
                diagnostic = diagnostic.at(span, format!("`{}` comes after this", name(place)));
                let Some(next) = after[place].filter(|next| *next != at) else { break };
                place = next;
                if diagnostic.labels.len() == 8 {
                    break;
                }
            }
            self.error(diagnostic.help("leave out one `after` of the circle"));
        }
    }
}

pub(super) fn unknown_layer<'a>(
    name: &Spanned<String>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = match closest(&name.value, known.clone().take(MOST_COMPARED)) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.clone().next().is_none() => {
            format!("the spec has no {}", if what == "layer" { "other layer" } else { what })
        }
        None => format!("there is {}", list(known.take(20))),
    };
    Diagnostic::new(&code::UNKNOWN_LAYER, format!("there is no {what} `{}`", name.value))
        .at(&name.span, "unknown layer")
        .help(help)
}
