//! Puts together what a spec is on each of its platforms.

use kic_base::Platform;
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::spec::{Layer, Spec};

/// One spec of the variants: a layer that is the same on all platforms stands once, any other one once for each
/// platform that has it. Registries hold the images of all. Everything else must be the same.
pub(crate) fn combine(variants: Vec<(Platform, Spec)>, diagnostics: &mut Diagnostics) -> Option<Spec> {
    let mut layers: Vec<Layer> = Vec::new();
    for (platform, spec) in &variants {
        for layer in &spec.layers {
            let everywhere = variants.iter().all(|(_, other)| other.layers.contains(layer));
            if !everywhere {
                layers.push(Layer { platform: Some(platform.clone()), ..layer.clone() });
            } else if !layers.contains(layer) {
                layers.push(layer.clone());
            }
        }
    }
    let mut variants = variants.into_iter();
    let (_, mut combined) = variants.next()?;
    for (platform, spec) in variants {
        let mut differs = |what: &str, same: bool, span: &kic_base::Span| {
            if !same {
                diagnostics.push(
                    Diagnostic::new(
                        &code::PLATFORM_DEPENDENT,
                        format!("{what} is another one for `{platform}`"),
                    )
                    .at(span, "it must be the same for all platforms")
                    .help("only layers and the images of a registry may depend on the platform"),
                );
            }
        };
        let labels = |spec: &Spec| {
            spec.labels.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect::<Vec<_>>()
        };
        let launch = |spec: &Spec| {
            spec.launch.as_ref().map(|steps| steps.iter().map(|step| step.value.clone()).collect::<Vec<_>>())
        };
        differs("a label", labels(&combined) == labels(&spec), &spec.name.span);
        differs("the launch", launch(&combined) == launch(&spec), &spec.name.span);
        differs("the compression", combined.compression == spec.compression, &spec.name.span);
        differs("the version", combined.tag() == spec.tag(), &spec.name.span);
        differs(
            "the base",
            format!("{:?}", combined.base.value) == format!("{:?}", spec.base.value),
            &spec.base.span,
        );
        for registry in spec.registries {
            match combined.registries.iter_mut().find(|own| own.host.value == registry.host.value) {
                None => combined.registries.push(registry),
                Some(own) => {
                    own.discover = own.discover.take().or(registry.discover);
                    for image in registry.images {
                        if !own.images.iter().any(|known| known.from.value == image.from.value) {
                            own.images.push(image);
                        }
                    }
                    for reference in registry.exclude {
                        if !own.exclude.iter().any(|known| known.value == reference.value) {
                            own.exclude.push(reference);
                        }
                    }
                }
            }
        }
    }
    combined.layers = layers;
    Some(combined)
}
