//! Puts together what a spec is on each of its platforms.

use std::collections::BTreeMap;

use kic_base::{Platform, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::resolve::Variant;
use crate::spec::{Layer, LayerKind, Registry, Spec};

/// One spec of the variants: a layer that is the same on all platforms stands once, any other one once for each
/// platform that has it. Registries hold the images of all. Everything else must be the same.
pub(crate) fn combine(
    platforms: &[Platform],
    variants: Vec<(Platform, Variant)>,
) -> Result<(Spec, Diagnostics), Diagnostics> {
    let mut all = Diagnostics::new();
    let mut specs: Vec<(Platform, Spec)> = Vec::new();
    for (platform, variant) in variants {
        all.append(variant.diagnostics);
        if variant.platforms != platforms
            && let Some(spec) = &variant.spec
        {
            let span = spec.platforms.first().map_or(&spec.name.span, |named| &named.span);
            all.push(dependent("the list of platforms", &platform, span));
        }
        specs.extend(variant.spec.map(|spec| (platform, spec)));
    }
    if all.has_errors() || specs.is_empty() {
        return Err(all);
    }
    let layers = layers(&specs);
    let mut specs = specs.into_iter();
    let Some((_, mut combined)) = specs.next() else { return Err(all) };
    for (platform, spec) in specs {
        for (what, span) in differences(&combined, &spec) {
            all.push(dependent(&what, &platform, &span));
        }
        for (module, places) in spec.uses {
            let uses = combined.uses.entry(module).or_default();
            uses.extend(places.into_iter().filter(|place| !uses.contains(place)).collect::<Vec<_>>());
        }
        spec.registries.into_iter().for_each(|registry| add_registry(&mut combined.registries, registry));
    }
    combined.layers = layers;
    all.or(combined)
}

fn dependent(what: &str, platform: &Platform, span: &Span) -> Diagnostic {
    Diagnostic::new(&code::PLATFORM_DEPENDENT, format!("{what} is another one for `{platform}`"))
        .at(span, "it must be the same for all platforms")
        .help("only layers and the images of a registry may depend on the platform")
}

/// The layers of all: first those of the first platform, in its order.
fn layers(specs: &[(Platform, Spec)]) -> Vec<Layer> {
    // Names are unique among the layers of a kind.
    let by_name = |spec: &'_ Spec| -> BTreeMap<(LayerKind, String), Layer> {
        spec.layers.iter().map(|layer| ((layer.kind(), layer.name.value.clone()), layer.clone())).collect()
    };
    let named: Vec<_> = specs.iter().map(|(_, spec)| by_name(spec)).collect();
    let everywhere = |layer: &Layer| {
        let key = (layer.kind(), layer.name.value.clone());
        named.iter().all(|layers| layers.get(&key) == Some(layer))
    };
    let mut layers: Vec<Layer> = Vec::new();
    for (index, (platform, spec)) in specs.iter().enumerate() {
        for layer in &spec.layers {
            if !everywhere(layer) {
                layers.push(Layer { platform: Some(platform.clone()), ..layer.clone() });
            } else if index == 0 {
                layers.push(layer.clone());
            }
        }
    }
    layers
}

/// What must be the same in both, and is not: what it is, and where it is said.
fn differences(first: &Spec, other: &Spec) -> Vec<(String, Span)> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, same: bool, span: &Span| {
        if !same {
            differences.push((what.to_owned(), span.clone()));
        }
    };
    compare("the name", first.name.value == other.name.value, &other.name.span);
    let version =
        other.version.as_ref().or(first.version.as_ref()).map_or(&other.name.span, |version| &version.span);
    compare("the version", first.tag() == other.tag(), version);
    compare("the compression", first.compression == other.compression, &other.name.span);
    let base = |spec: &Spec| format!("{:?}", spec.base.value);
    compare("the base", base(first) == base(other), &other.base.span);
    for (name, value) in first.labels.iter().chain(&other.labels) {
        let both = (first.labels.get(name), other.labels.get(name));
        let same = matches!(both, (Some(left), Some(right)) if left.value == right.value);
        compare(&format!("the label `{name}`"), same, both.1.map_or(&value.span, |value| &value.span));
    }
    let steps = |spec: &Spec| {
        spec.launch.as_ref().map(|steps| steps.iter().map(|step| step.value.clone()).collect::<Vec<_>>())
    };
    if steps(first) != steps(other) {
        let (ours, theirs) =
            (first.launch.as_deref().unwrap_or_default(), other.launch.as_deref().unwrap_or_default());
        let at = ours.iter().zip(theirs).take_while(|(left, right)| left.value == right.value).count();
        let step = theirs.get(at).or(ours.get(at));
        compare("the launch", false, step.map_or(&other.name.span, |step| &step.span));
    }
    differences
}

fn add_registry(registries: &mut Vec<Registry>, other: Registry) {
    let Some(own) = registries.iter_mut().find(|own| own.host.value == other.host.value) else {
        registries.push(other);
        return;
    };
    own.discover = own.discover.take().or(other.discover);
    own.with_referrers |= other.with_referrers;
    for image in other.images {
        if !own.images.iter().any(|known| known.from == image.from && known.name == image.name) {
            own.images.push(image);
        }
    }
    for reference in other.exclude {
        if !own.exclude.iter().any(|known| known.value == reference.value) {
            own.exclude.push(reference);
        }
    }
    for text in other.accept {
        if !own.accept.iter().any(|known| known.value == text.value) {
            own.accept.push(text);
        }
    }
}
