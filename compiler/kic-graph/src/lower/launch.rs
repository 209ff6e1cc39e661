//! The launch plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::Platform;
use kic_spec::{Content, Layer, LayerKind, Spec, Step};
use petgraph::graph::NodeIndex;

use super::{Hints, Lowering};
use crate::derivation::{BasePlan, Derivation, Launch, LaunchStep, LayerSettings, PlanImage};
use crate::graph::{ImageLayer, Kind};
use crate::launch_steps::steps;

impl Lowering {
    #[expect(clippy::too_many_arguments, reason = "one call, and a struct would only repeat their names")]
    pub(super) fn launch(
        &mut self,
        spec: &Spec,
        platform: &Platform,
        settings: LayerSettings,
        own: &BTreeMap<(LayerKind, usize), Vec<ImageLayer>>,
        images: &Arc<[PlanImage]>,
        base: BasePlan,
        source: Option<Arc<[u8]>>,
    ) -> NodeIndex {
        let steps = steps(spec, platform);
        let find = |kind: LayerKind, name: &str| {
            // What is applied is never cut.
            let layers = own.iter().filter_map(|(key, parts)| Some((key, parts.first()?)));
            layers.into_iter().find(|((own_kind, _), layer)| *own_kind == kind && layer.name == name)
        };
        let mut lowered = Vec::new();
        for step in steps {
            match step {
                // There is none left.
                Step::Rest => {}
                Step::Run(command) => lowered.push(LaunchStep::Run(command)),
                Step::Wait(name) => {
                    let layer = find(LayerKind::Readiness, &name).map(|(_, layer)| layer.node);
                    lowered.extend(layer.map(|layer| LaunchStep::Wait { name, layer }));
                }
                Step::Apply(kind, name) => {
                    let Some(((_, index), layer)) = find(kind, &name) else { continue };
                    for (namespace, files) in self.applied(&spec.layers[*index], spec, layer.node) {
                        lowered.push(LaunchStep::Apply {
                            kind: kind.name(),
                            name: name.clone(),
                            layer: layer.node,
                            files,
                            namespace,
                        });
                    }
                }
            }
        }
        let derivation = Derivation::Launch(Launch {
            settings,
            name: spec.name.value.clone(),
            version: spec.version.as_ref().map(|version| version.value.clone()),
            registries: spec.registries.iter().map(|registry| registry.host.value.clone()).collect(),
            base,
            steps: lowered,
            images: Arc::clone(images),
            source,
        });
        let name = "launch".to_owned();
        let hints = Hints { kind: Kind::Launch, name, span: None, origins: Vec::new(), is_document: false };
        self.node(derivation, hints)
    }

    /// The paths of a manifests layer's files in the order in which the spec names them, those of one namespace
    /// together: that of the layer, or that of a chart.
    pub(super) fn applied(
        &self,
        layer: &Layer,
        spec: &Spec,
        node: NodeIndex,
    ) -> Vec<(Option<String>, Vec<String>)> {
        let namespace = match &layer.content {
            Content::Manifests { namespace, .. } | Content::Policies { namespace, .. } => namespace.clone(),
            _ => None,
        };
        let Derivation::Tree { entries, .. } = &self.nodes[node].derivation else {
            return vec![(namespace, Vec::new())];
        };
        let order = crate::layer_entries::manifest_order(spec, layer);
        let known = |path: &str| order.get(path.rsplit('/').next().unwrap_or(path));
        let mut paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        paths.sort_by_key(|path| (known(path).map_or((usize::MAX, 0), |(place, _)| *place), *path));
        let mut applied: Vec<(Option<String>, Vec<String>)> = Vec::new();
        for path in paths {
            let own = known(path).and_then(|(_, namespace)| namespace.clone()).or_else(|| namespace.clone());
            match applied.last_mut() {
                Some((last, files)) if *last == own => files.push(path.to_owned()),
                _ => applied.push((own, vec![path.to_owned()])),
            }
        }
        if applied.is_empty() {
            applied.push((namespace, Vec::new()));
        }
        applied
    }
}
