//! `launch`.

use std::collections::BTreeMap;

use kic_base::Spanned;
use kic_diag::{Diagnostic, declared as code};

use super::Context;
use super::order::unknown_layer;
use crate::decode::Decoded;
use crate::spec::{Layer, LayerKind, Step};

impl Context<'_> {
    pub(super) fn launch(&mut self, node: &Decoded, layers: &[Layer]) -> Vec<Spanned<Step>> {
        let mut steps = Vec::new();
        let mut named: BTreeMap<&str, Vec<LayerKind>> = BTreeMap::new();
        for layer in layers {
            named.entry(&layer.name.value).or_default().push(layer.kind());
        }
        let kinds_named = |name: &str, kinds: &[LayerKind]| {
            let all = named.get(name).into_iter().flatten();
            all.copied().filter(|kind| kinds.contains(kind)).collect::<Vec<_>>()
        };
        for child in &node.children {
            if child.schema.name == "rest" {
                steps.push(Spanned::new(Step::Rest, child.span().clone()));
                continue;
            }
            let Some(text) = child.text(0) else { continue };
            let step = match child.schema.name {
                "run" => Step::Run(text.value),
                "wait" => {
                    if kinds_named(&text.value, &[LayerKind::Readiness]).is_empty() {
                        self.error(unknown_layer(
                            &text,
                            "readiness layer",
                            names_of(layers, &[LayerKind::Readiness]),
                        ));
                        continue;
                    }
                    Step::Wait(text.value)
                }
                _ => {
                    let kinds = [LayerKind::Manifests, LayerKind::Policies];
                    match kinds_named(&text.value, &kinds).as_slice() {
                        [kind] => Step::Apply(*kind, text.value),
                        [] => {
                            self.error(unknown_layer(
                                &text,
                                "manifests or policies layer",
                                names_of(layers, &kinds),
                            ));
                            continue;
                        }
                        _ => {
                            self.error(
                                Diagnostic::new(
                                    &code::DUPLICATE_LAYER,
                                    format!("`{}` names a manifests layer and a policies layer", text.value),
                                )
                                .at(&text.span, "which of the two?")
                                .help("give one of them another name"),
                            );
                            continue;
                        }
                    }
                }
            };
            steps.push(Spanned::new(step, child.span().clone()));
        }
        steps
    }
}

pub(super) fn names_of<'a>(
    layers: &'a [Layer],
    kinds: &'a [LayerKind],
) -> impl Iterator<Item = &'a str> + Clone {
    layers.iter().filter(|layer| kinds.contains(&layer.kind())).map(|layer| layer.name.value.as_str())
}
