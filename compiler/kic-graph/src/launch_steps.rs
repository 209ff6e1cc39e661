//! The steps of a start.

use kic_base::Platform;
use kic_spec::{Layer, LayerKind, Spec, Step};

/// The steps that the spec says, with those that `rest` stands for in its place; without any, those that follow from
/// the layers.
pub(crate) fn steps(spec: &Spec, platform: &Platform) -> Vec<Step> {
    let Some(said) = &spec.launch else { return default_steps(spec, platform) };
    let said = || said.iter().map(|step| &step.value);
    let mut steps = Vec::new();
    for step in said() {
        if *step == Step::Rest {
            steps.extend(
                default_steps(spec, platform).into_iter().filter(|one| !said().any(|own| own == one)),
            );
        } else {
            steps.push(step.clone());
        }
    }
    steps
}

/// Manifests, the readiness checks that belong to them, policies, and theirs. A readiness layer belongs to the
/// layer that its `after` names, or that has its name; one that belongs to none comes after the manifests,
/// or, where the spec has none, at the end. `after` between two layers of one kind decides their order.
fn default_steps(spec: &Spec, platform: &Platform) -> Vec<Step> {
    let manifests = ordered(spec, platform, LayerKind::Manifests);
    let policies = ordered(spec, platform, LayerKind::Policies);
    let readiness = ordered(spec, platform, LayerKind::Readiness);
    let owner = |layer: &Layer| {
        let named = |name: &str, group: &[&Layer]| group.iter().any(|owner| owner.name.value == name);
        let after = layer.after.as_ref().map(|after| after.value.as_str());
        let own = Some(layer.name.value.as_str());
        for name in [after, own].into_iter().flatten() {
            for (kind, group) in [(LayerKind::Policies, &policies), (LayerKind::Manifests, &manifests)] {
                if named(name, group) {
                    return kind;
                }
            }
        }
        if manifests.is_empty() { LayerKind::Policies } else { LayerKind::Manifests }
    };
    let mut steps = Vec::new();
    for (kind, group) in [(LayerKind::Manifests, &manifests), (LayerKind::Policies, &policies)] {
        steps.extend(group.iter().map(|layer| Step::Apply(kind, layer.name.value.clone())));
        let checks = readiness.iter().filter(|layer| owner(layer) == kind);
        steps.extend(checks.map(|layer| Step::Wait(layer.name.value.clone())));
    }
    steps
}

/// The layers of one kind for a platform, each after the one that its `after` names, else in the order of the spec.
fn ordered<'a>(spec: &'a Spec, platform: &Platform, kind: LayerKind) -> Vec<&'a Layer> {
    let is_here =
        |layer: &&Layer| layer.kind() == kind && layer.platform.as_ref().is_none_or(|only| only == platform);
    let mut waiting: Vec<&Layer> = spec.layers.iter().filter(is_here).collect();
    let mut placed: Vec<&Layer> = Vec::new();
    while !waiting.is_empty() {
        let free = waiting.iter().position(|layer| {
            let Some(after) = &layer.after else { return true };
            // Names are unique among the layers of a kind; two may have one span, as those of a `for`.
            let is_other = |other: &&&Layer| other.name.value != layer.name.value;
            !waiting.iter().filter(is_other).any(|other| other.name.value == after.value)
        });
        // The language refuses circles of `after`.
        placed.push(waiting.remove(free.unwrap_or(0)));
    }
    placed
}
