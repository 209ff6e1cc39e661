//! Images named anew: which of them, and by what.

use std::collections::BTreeSet;

use kic_base::{ImageReference, Source, Span};
use kic_diag::{Diagnostic, declared as code};
use kic_graph::private_name;
use kic_manifest::{Confidence, Found};
use kic_spec::{ImageSource, Spec};

/// What decides whether an image is named anew.
#[derive(Debug, Clone)]
pub(super) struct Rewriting {
    /// The registry that images are named after.
    pub host: String,
    hosts: BTreeSet<String>,
    excluded: BTreeSet<ImageReference>,
    decided: BTreeSet<ImageReference>,
}

impl Rewriting {
    /// For the layers of `spec` that name their images after `host`.
    pub fn new(spec: &Spec, host: &str) -> Self {
        let images = || spec.registries.iter().flat_map(|registry| &registry.images);
        let named = images().filter_map(|image| match (&image.name, &image.from.value) {
            (Some(name), _) => Some(name.value.clone()),
            (None, ImageSource::Registry(reference)) => Some(reference.clone()),
            (None, ImageSource::Disk { .. }) => None,
        });
        let hosts = spec.registries.iter().map(|registry| registry.host.value.clone());
        let excluded = spec.registries.iter().flat_map(|registry| &registry.exclude);
        Self {
            host: host.to_owned(),
            hosts: hosts.chain([host.to_owned()]).collect(),
            excluded: excluded.map(|reference| reference.value.clone()).collect(),
            decided: named.collect(),
        }
    }

    /// The name by which the cluster is to ask for what was found; `None` where it stays: an image that the cluster does
    /// without, that is named after a private registry already, or that is only possibly one and not decided on.
    pub fn name(&self, found: &Found) -> Option<ImageReference> {
        let reference = &found.reference;
        let stays = self.hosts.contains(reference.registry())
            || self.excluded.contains(reference)
            || (found.confidence == Confidence::Possible && !self.decided.contains(reference));
        (!stays).then(|| private_name(reference, &self.host))
    }
}

/// The text with its images named anew, and those that could not be.
pub(super) fn rewritten(source: &Source, rewriting: &Rewriting) -> (String, Vec<Found>) {
    let change = |found: &Found| rewriting.name(found).map(|name| name.to_string());
    let rewritten = kic_manifest::rewrite(source, &change);
    (rewritten.text, rewritten.left)
}

/// The warning for an image that could not be named anew.
pub(super) fn left(found: &Found, said: &Span) -> Diagnostic {
    Diagnostic::new(
        &code::IMAGE_NOT_REWRITTEN,
        format!("`{}` keeps its name, since it does not stand there in one piece", found.reference),
    )
    .at(&found.span, format!("{} {}", found.object, found.path))
    .at(said, "rewritten because of this")
    .help("write the whole reference there; else the cluster asks for it by this name, and needs a mirror or policy that sends it to the private registry")
}
