//! What manifests leave open of images, and what the spec says of it.

use std::collections::BTreeSet;

use kic_base::{DigestError, ImageReference, ImageReferenceError, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::Need;
use kic_manifest::{Gap, GapKind};
use kic_spec::{ImageSource, Spec};

/// What is left open, and what of the spec brings it in.
#[derive(Debug)]
pub(super) struct Open {
    pub gap: Gap,
    pub said: Span,
    /// Whether the text is written nowhere.
    pub is_generated: bool,
}

/// Says what is left open and not accepted: of the objects of one kind, the first.
pub(super) fn tell(open: &[Open], spec: &Spec, needs: &[Need]) -> Diagnostics {
    let accepted: BTreeSet<&str> = spec
        .registries
        .iter()
        .flat_map(|registry| &registry.accept)
        .map(|text| text.value.as_str())
        .collect();
    let mut kinds = BTreeSet::new();
    let mut diagnostics = Diagnostics::new();
    for one in open {
        let gap = &one.gap;
        let diagnostic = match &gap.kind {
            GapKind::Unreadable if accepted.contains(gap.written.as_str()) => continue,
            GapKind::Unreadable => of_another_digest(gap).unwrap_or_else(|| unreadable(gap)),
            GapKind::Versioned(kind) => {
                if accepted.contains(kind.as_str())
                    || is_named(&gap.written, spec, needs)
                    || !kinds.insert(kind)
                {
                    continue;
                }
                versioned(gap, kind)
            }
        };
        let place = format!("{} {}", gap.object, gap.path);
        diagnostics.push(if one.is_generated {
            diagnostic.at(&one.said, place)
        } else {
            diagnostic.at(&gap.span, place)
        });
    }
    diagnostics
}

/// A name that a cluster can ask for and no cache of ours has: its digest is none of SHA-256.
fn of_another_digest(gap: &Gap) -> Option<Diagnostic> {
    let Err(ImageReferenceError::Digest(DigestError::Algorithm(algorithm))) =
        gap.written.parse::<ImageReference>()
    else {
        return None;
    };
    let name: ImageReference = gap.written.split_once('@')?.0.parse().ok()?;
    let message = format!(
        "an image of `{}` is asked for by its {algorithm}, and would be missing in the cluster",
        name.name()
    );
    Some(Diagnostic::new(&code::INVALID_IMAGE, message).help(format!(
        "name it by tag or by `sha256:…`, which `crane digest` or `skopeo inspect` tells; where the cluster has it from elsewhere, add `accept {:?}` to the `registry`",
        gap.written
    )))
}

fn unreadable(gap: &Gap) -> Diagnostic {
    let message = match gap.written.trim() {
        "" => "the image of a container is empty".to_owned(),
        written => format!("`{written}` is no reference of an image, and a container is to run it"),
    };
    let help = if gap.written.contains("{{") {
        "this is a template: render it first, with `helm template` or the like, and name what comes out"
            .to_owned()
    } else {
        format!(
            "write the reference that the cluster is to ask for; where something puts it in later, name that by `image`, and add `accept {:?}` to the `registry`",
            gap.written
        )
    };
    Diagnostic::new(&code::IMAGE_UNREADABLE, message).help(help)
}

fn versioned(gap: &Gap, kind: &str) -> Diagnostic {
    let message = format!("the operator of `{kind}` may ask for images that no manifest names");
    Diagnostic::new(&code::IMAGE_NOT_NAMED, message).help(format!(
        "name them in a `registry`: `image \"…\"`, with `{}` in the tag; or `accept \"{kind}\"` if it asks for none",
        gap.written
    ))
}

/// Whether an image is known whose tag has the version in it.
fn is_named(version: &str, spec: &Spec, needs: &[Need]) -> bool {
    let version = version.strip_prefix('v').unwrap_or(version);
    let has = |reference: &ImageReference| reference.tag().is_some_and(|tag| tag.contains(version));
    let mut images = spec.registries.iter().flat_map(|registry| &registry.images);
    images.any(|image| match (&image.name, &image.from.value) {
        (Some(name), _) => has(&name.value),
        (None, ImageSource::Registry(reference)) => has(reference),
        (None, ImageSource::Disk { .. }) => false,
    }) || needs.iter().any(|need| has(&need.reference))
}
