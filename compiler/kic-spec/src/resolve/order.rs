//! The names of layers, and what `after` says of their order.

use kic_base::{Spanned, closest};
use kic_diag::{Diagnostic, declared as code};

use super::Context;
use crate::decode::list;
use crate::spec::Layer;

impl Context<'_> {
    pub(super) fn check_layer_names(&mut self, layers: &[Layer]) {
        for (index, layer) in layers.iter().enumerate() {
            let kind = layer.kind().name();
            let twin = layers[..index]
                .iter()
                .find(|other| other.kind() == layer.kind() && *other.name == *layer.name);
            if let Some(first) = twin {
                self.error(
                    Diagnostic::new(
                        &code::DUPLICATE_LAYER,
                        format!("two `{kind}` layers are named `{}`", layer.name.value),
                    )
                    .at(&layer.name.span, "here again")
                    .at(&first.name.span, "first here")
                    .help("give one of them another name, or put everything into one"),
                );
            }
            let Some(after) = &layer.after else { continue };
            let others = || {
                layers.iter().filter(|other| other.span != layer.span).map(|other| other.name.value.as_str())
            };
            if !others().any(|name| name == after.value) {
                self.error(unknown_layer(after, "layer", others()));
            }
        }
        self.check_after_cycles(layers);
    }

    /// Follows every `after` edge; a way back to where it began is an error.
    pub(super) fn check_after_cycles(&mut self, layers: &[Layer]) {
        let next = |layer: &Layer| {
            let after = layer.after.as_ref()?;
            layers.iter().position(|other| other.span != layer.span && other.name.value == after.value)
        };
        for (start, layer) in layers.iter().enumerate() {
            let mut at = start;
            for _ in 0..layers.len() {
                let Some(following) = next(&layers[at]) else { break };
                at = following;
                if at == start {
                    let span = layer.after.as_ref().map_or(&layer.span, |after| &after.span);
                    self.error(
                        Diagnostic::new(
                            &code::LAYER_CYCLE,
                            format!("the layer `{}` comes after itself", layer.name.value),
                        )
                        .at(span, "")
                        .help("leave out one `after` of the circle"),
                    );
                    return;
                }
            }
        }
    }
}

pub(super) fn unknown_layer<'a>(
    name: &Spanned<String>,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Diagnostic {
    let help = match closest(&name.value, known.clone()) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.clone().next().is_none() => format!("the spec has no {what}"),
        None => format!("there is {}", list(known)),
    };
    Diagnostic::new(&code::UNKNOWN_LAYER, format!("there is no {what} `{}`", name.value))
        .at(&name.span, "unknown layer")
        .help(help)
}
