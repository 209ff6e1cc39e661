//! The base: its layers, its configuration, and what its registry cache answers to.

use std::collections::BTreeMap;

use kic_base::{ImageReference, Platform, Span};
use kic_diag::{Diagnostic, declared as code};
use kic_spec::{ImageSource, Spec};
use serde_json::Value as Json;

use super::{Hints, Lowering};
use crate::closure::Available;
use crate::derivation::BasePlan;
use crate::graph::{BaseConfig, ImageLayer, Kind};
use crate::inputs::{BaseFacts, BaseImage, Inputs};

impl Lowering {
    pub(super) fn base(
        &mut self,
        spec: &Spec,
        inputs: &Inputs,
        available: &mut Available,
    ) -> BTreeMap<Platform, LoweredBase> {
        match (&inputs.base, &spec.base.value) {
            (BaseFacts::Spec(base_inputs), kic_spec::Base::Spec(base_spec)) => {
                let (image, base_available) = self.image(base_spec, base_inputs);
                available.names.extend(base_available.names);
                available.upstream_names.extend(base_available.upstream_names);
                available.hosts.extend(base_available.hosts);
                available.redirects = base_available.redirects;
                available.redirects.add(base_inputs);
                let mut bases = BTreeMap::new();
                for platform in &spec.platforms {
                    let Some(base) = image.platforms.get(&platform.value) else {
                        self.diagnostics.push(missing_platform(
                            &platform.value,
                            &platform.span,
                            &spec.base.span,
                        ));
                        continue;
                    };
                    let lowered = LoweredBase {
                        layers: base.layers.clone(),
                        plan: BasePlan::Node(base.launch),
                        config: BaseConfig::Spec(Box::new(base.clone())),
                    };
                    bases.insert(platform.value.clone(), lowered);
                }
                bases
            }
            (BaseFacts::Image(images), base) => {
                let source = match base {
                    kic_spec::Base::Image(source @ ImageSource::Registry(_)) => Some(source.clone()),
                    _ => None,
                };
                let mut bases = BTreeMap::new();
                for platform in &spec.platforms {
                    let Some(image) = images.get(&platform.value) else {
                        self.diagnostics.push(missing_platform(
                            &platform.value,
                            &platform.span,
                            &spec.base.span,
                        ));
                        continue;
                    };
                    available_in_plan(image.plan.as_ref(), available);
                    if image.plan.is_none()
                        && let kic_spec::Base::Image(source) = base
                    {
                        available.redirects.foreign = Some((source.to_string(), spec.base.span.clone()));
                    }
                    available.redirects.add_base(&image.contents);
                    bases.insert(
                        platform.value.clone(),
                        self.base_image(image, source.clone(), &spec.base.span),
                    );
                }
                bases
            }
            _ => {
                let scratch =
                    || LoweredBase { layers: Vec::new(), plan: BasePlan::None, config: BaseConfig::Scratch };
                spec.platforms.iter().map(|platform| (platform.value.clone(), scratch())).collect()
            }
        }
    }

    pub(super) fn base_image(
        &mut self,
        image: &BaseImage,
        source: Option<ImageSource>,
        span: &Span,
    ) -> LoweredBase {
        let mut layers = Vec::new();
        for (index, layer) in image.layers.iter().enumerate() {
            let kind = layer.annotations.get(crate::KIND_ANNOTATION).map(String::as_str);
            let name = layer.annotations.get(crate::NAME_ANNOTATION).cloned();
            let name = name.unwrap_or_else(|| format!("layer-{}", index + 1));
            let hints = Hints {
                kind: Kind::Blob,
                name: name.clone(),
                span: Some(span),
                origins: vec![image.origin.clone()],
                is_document: false,
            };
            let node = self.blob(&layer.blob, hints);
            layers.push(ImageLayer {
                node,
                kind: kind.and_then(kind_by_name).unwrap_or(Kind::Base),
                name,
                upstream: Some((layer.blob.clone(), layer.diff_id)),
                annotations: layer.annotations.clone(),
            });
        }
        LoweredBase {
            layers,
            plan: image.plan.clone().map_or(BasePlan::None, BasePlan::Json),
            config: BaseConfig::Image {
                config: image.config.clone(),
                source: source.map(|source| (source, image.manifest)),
            },
        }
    }
}

pub(super) struct LoweredBase {
    pub layers: Vec<ImageLayer>,
    pub plan: BasePlan,
    pub config: BaseConfig,
}

pub(super) fn missing_platform(platform: &Platform, span: &Span, base: &Span) -> Diagnostic {
    Diagnostic::new(&code::PLATFORM_MISSING, format!("the base has no image for `{platform}`"))
        .at(base, "this base")
        .at(span, "this platform")
        .help("take a base that is built for it, or leave the platform out")
}

pub(super) fn kind_by_name(name: &str) -> Option<Kind> {
    use Kind::{Base, Files, Launch, Manifests, Policies, Readiness, RegistryCache, RegistryCatalogue};
    [Base, Files, Manifests, Policies, Readiness, RegistryCache, RegistryCatalogue, Launch]
        .into_iter()
        .find(|kind| kind.name() == name)
}

/// What a base that kic built says of its registry cache.
pub(super) fn available_in_plan(plan: Option<&Json>, available: &mut Available) {
    let list = |value: &Json, key: &str| -> Vec<String> {
        let texts = value.get(key).and_then(Json::as_array).into_iter().flatten();
        texts.filter_map(Json::as_str).map(str::to_owned).collect()
    };
    let Some(plan) = plan else { return };
    available.hosts.extend(list(plan, "registries"));
    for image in plan.get("images").and_then(Json::as_array).into_iter().flatten() {
        let names = list(image, "names");
        let reference = image
            .get("reference")
            .and_then(Json::as_str)
            .and_then(|text| text.parse::<ImageReference>().ok());
        let Some((reference, digest)) = reference.zip(image.get("digest").and_then(Json::as_str)) else {
            continue;
        };
        let upstream = reference.name();
        available.upstream_names.extend(reference.tag().map(|tag| format!("{upstream}:{tag}")));
        available.upstream_names.insert(format!("{upstream}@{digest}"));
        for name in names {
            let repository = name.split('@').next().unwrap_or(&name);
            let colon = repository.rfind(':').filter(|colon| !repository[*colon..].contains('/'));
            let repository = colon.map_or(repository, |colon| &repository[..colon]);
            available.names.insert(format!("{repository}@{digest}"));
            available.names.insert(name);
        }
    }
}
