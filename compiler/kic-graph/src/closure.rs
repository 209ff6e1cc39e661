//! The proven closure: every image that something names is in the cache, under the name by which it will be
//! asked for.

use std::collections::BTreeSet;

use kic_base::{ImageReference, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::inputs::Need;

/// What the cluster can have without the outside world.
#[derive(Debug, Default)]
pub(crate) struct Available {
    /// `REPOSITORY:TAG` and `REPOSITORY@DIGEST`: what the caches of the image and its bases answer to.
    pub names: BTreeSet<String>,
    /// `REGISTRY/REPOSITORY:TAG` and `REGISTRY/REPOSITORY@DIGEST`: what these caches hold.
    pub upstream_names: BTreeSet<String>,
    /// The hosts that these caches answer for.
    pub hosts: BTreeSet<String>,
    /// The images that the spec leaves out on purpose.
    pub excluded: BTreeSet<ImageReference>,
}

impl Available {
    /// Whether the caches give `reference`. A node that has a digest ignores the tag. A reference to the private
    /// registry itself is looked up as that registry will; any other one must be held as what it is, since
    /// another registry's image of the same path is another image.
    pub fn has(&self, reference: &ImageReference) -> bool {
        let end = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => format!("@{digest}"),
            (None, tag) => format!(":{}", tag.unwrap_or("latest")),
        };
        if self.hosts.contains(reference.registry()) {
            self.names.contains(&format!("{}{end}", reference.repository()))
        } else {
            self.upstream_names.contains(&format!("{}{end}", reference.name()))
        }
    }
}

/// Reports every need that `available` does not meet; the same image once, with all the places that name it.
pub(crate) fn prove(needs: &[Need], available: &Available, diagnostics: &mut Diagnostics) {
    let mut reported: BTreeSet<&ImageReference> = BTreeSet::new();
    for need in needs.iter().filter(|need| need.certain) {
        let met = available.excluded.contains(&need.reference) || available.has(&need.reference);
        if met || !reported.insert(&need.reference) {
            continue;
        }
        let mut diagnostic = Diagnostic::new(
            &code::IMAGE_NOT_CACHED,
            format!("`{}` would be missing in the cluster: no registry caches it", need.reference),
        )
        .at(&need.span, need.place.clone());
        let others =
            needs.iter().filter(|other| other.reference == need.reference && other.span != need.span);
        for other in others.take(3) {
            diagnostic = diagnostic.at(&other.span, other.place.clone());
        }
        let asked = format!("{}:{}", need.reference.repository(), need.reference.tag().unwrap_or("latest"));
        let close =
            closest(&asked, available.names.iter().map(String::as_str).filter(|name| !name.contains('@')));
        let help = match close {
            _ if available.hosts.is_empty() => {
                format!(
                    "add `registry \"HOST\" {{ discover; }}`, or `image \"{}\"` inside it",
                    need.reference
                )
            }
            Some(close) if !close.is_empty() => {
                format!("the cache answers to `{close}`: is that the one that is meant?")
            }
            _ if available.hosts.contains(need.reference.registry()) => format!(
                "`{}` is the private registry itself: name the image in a `registry` node as upstream names it",
                need.reference.registry()
            ),
            _ => format!(
                "add `discover` or `image \"{0}\"` to a `registry` node, or `exclude \"{0}\"` if the cluster can do without it",
                need.reference
            ),
        };
        diagnostics.push(diagnostic.help(help));
    }
}
