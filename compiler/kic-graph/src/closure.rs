//! The proven closure: every image that the cluster will ask for is in the cache, under the name by which it will
//! be asked for, and the author has decided on every other one that something may mean.
//!
//! | the surest place that names an image | with `discover` | without | neither cached nor excluded |
//! |---|---|---|---|
//! | certain | cached | not cached | an error |
//! | likely | cached, with a note | not cached | a warning |
//! | possible | not cached | not cached | a warning |

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{ImageReference, Span, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_manifest::Confidence;

use crate::inputs::Need;
use crate::redirects::{Redirects, Verdict};

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
    /// The images that are cached because they were discovered, and that the spec does not name.
    pub discovered: BTreeSet<ImageReference>,
    /// The images that are to be cached, and of which nothing else is known.
    pub assumed: BTreeSet<ImageReference>,
    /// The policies and mirrors of the bases.
    pub redirects: Redirects,
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

    /// Whether every one of the places that name `reference` gets it: where images are named anew, the private registry is
    /// asked by that name.
    pub fn gives(&self, reference: &ImageReference, places: &[&Need]) -> bool {
        let is_given = |need: &&Need| self.has(need.asked.as_ref().unwrap_or(reference));
        if places.is_empty() { self.has(reference) } else { places.iter().all(is_given) }
    }
}

/// So many images are named in one message, and so many places shown.
const SHOWN: usize = 5;

/// Holds every need against `available`; the same image once, with the places that name it. What is missing and in
/// `allowed` is a warning. An image that policies and mirrors turn into another one that is there, by `verdicts`, is there.
pub(crate) fn prove(
    needs: &[Need],
    verdicts: &[Vec<Verdict>],
    available: &Available,
    allowed: &BTreeSet<ImageReference>,
    diagnostics: &mut Diagnostics,
) {
    let mut undecided = Vec::new();
    let mut likely = Vec::new();
    let is_answered = |reference: &ImageReference| {
        let mut own = needs.iter().zip(verdicts).filter(|(need, _)| need.reference == *reference).peekable();
        own.peek().is_some()
            && own.all(|(_, verdicts)| {
                !verdicts.is_empty() && verdicts.iter().all(|one| *one == Verdict::Answered)
            })
    };
    for (reference, places) in by_image(needs) {
        let Some(surest) = places.iter().map(|need| need.confidence).max() else { continue };
        let is_met = available.excluded.contains(reference)
            || available.assumed.contains(reference)
            || available.gives(reference, &places)
            || is_answered(reference);
        match (is_met, surest) {
            (false, Confidence::Certain) if allowed.contains(reference) => {
                diagnostics.push(allowed_missing(reference, &places));
            }
            (false, Confidence::Certain) => diagnostics.push(missing(reference, &places, available)),
            (false, _) => undecided.push((reference, places)),
            (true, Confidence::Likely) if available.discovered.contains(reference) => {
                likely.push((reference, places));
            }
            (true, _) => {}
        }
    }
    if let [(first, _), ..] = undecided.as_slice() {
        let them = if undecided.len() == 1 { "it" } else { "them" };
        let message =
            format!("{} may be needed, and nothing says whether to cache {them}", names(&undecided));
        let help = format!(
            "decide in a `registry` node: `image \"{first}\"` caches it, `exclude \"{first}\"` leaves it out; `kic images` shows them all"
        );
        diagnostics.push(listing(&code::IMAGE_UNDECIDED, message, &undecided).help(help));
    }
    if let [(first, _), ..] = likely.as_slice() {
        let are = if likely.len() == 1 { "is" } else { "are" };
        let message = format!("{} {are} most likely needed, and cached for that", names(&likely));
        let help = format!(
            "decide in a `registry` node: `image \"{first}\"` keeps it without this note, `exclude \"{first}\"` leaves it out; `kic images` shows them all"
        );
        diagnostics.push(listing(&code::IMAGE_LIKELY, message, &likely).help(help));
    }
}

/// The needs of each image, in the order in which the images are named first; the surest places of one first.
pub(crate) fn by_image(needs: &[Need]) -> Vec<(&ImageReference, Vec<&Need>)> {
    let mut order: Vec<(&ImageReference, Vec<&Need>)> = Vec::new();
    let mut places: BTreeMap<&ImageReference, usize> = BTreeMap::new();
    for need in needs {
        let index = *places.entry(&need.reference).or_insert_with(|| {
            order.push((&need.reference, Vec::new()));
            order.len() - 1
        });
        order[index].1.push(need);
    }
    for (_, needs) in &mut order {
        needs.sort_by_key(|need| std::cmp::Reverse(need.confidence));
    }
    order
}

fn missing(reference: &ImageReference, places: &[&Need], available: &Available) -> Diagnostic {
    let diagnostic = shown_at(
        Diagnostic::new(
            &code::IMAGE_NOT_CACHED,
            format!("`{reference}` would be missing in the cluster: no registry caches it"),
        ),
        places,
    );
    let asked = format!("{}:{}", reference.repository(), reference.tag().unwrap_or("latest"));
    let close =
        closest(&asked, available.names.iter().map(String::as_str).filter(|name| !name.contains('@')));
    diagnostic.help(match close {
        _ if available.hosts.is_empty() => {
            format!("add `registry \"HOST\" {{ discover; }}`, or `image \"{reference}\"` inside it")
        }
        Some(close) if !close.is_empty() => {
            format!("the cache answers to `{close}`: is that the one that is meant?")
        }
        _ if available.hosts.contains(reference.registry()) => format!(
            "`{}` is the private registry itself: name the image in a `registry` node as upstream names it",
            reference.registry()
        ),
        _ => format!(
            "add `discover` or `image \"{reference}\"` to a `registry` node, or `exclude \"{reference}\"` if the cluster can do without it"
        ),
    })
}

fn allowed_missing(reference: &ImageReference, places: &[&Need]) -> Diagnostic {
    let message = format!("`{reference}` will be missing in the cluster, as `--allow-missing` says");
    shown_at(Diagnostic::new(&code::MISSING_IMAGE_ALLOWED, message), places)
        .help(format!("`exclude \"{reference}\"` in a `registry` node says so once and for all"))
}

/// The first line of a place: nodes of the spec are long.
pub(crate) fn first_line(span: &Span) -> Span {
    let length = span.text().lines().next().map_or(0, str::len);
    let start = span.range().start;
    span.source().span(start..start + length)
}

/// The first of the places that name an image.
fn shown_at(diagnostic: Diagnostic, places: &[&Need]) -> Diagnostic {
    let diagnostic =
        places.iter().take(4).fold(diagnostic, |diagnostic, need| diagnostic.at(&need.span, need.place()));
    // A text that is made from the spec is no file that could be opened.
    match places.first().filter(|need| need.is_generated) {
        Some(need) => diagnostic.at(&first_line(&need.said), "written here"),
        None => diagnostic,
    }
}

/// One message on several images: a place and a reason for each of the first.
fn listing(
    code: &'static kic_diag::Code,
    message: String,
    images: &[(&ImageReference, Vec<&Need>)],
) -> Diagnostic {
    let first = images.iter().take(SHOWN).filter_map(|(_, places)| places.first());
    first.fold(Diagnostic::new(code, message), |diagnostic, need| {
        diagnostic.at(&need.span, need.reason.clone())
    })
}

/// `a`, `b` and 3 more.
fn names(images: &[(&ImageReference, Vec<&Need>)]) -> String {
    let mut names: Vec<String> =
        images.iter().take(SHOWN).map(|(reference, _)| format!("`{reference}`")).collect();
    if images.len() > SHOWN {
        names.push(format!("{} more", images.len() - SHOWN));
    }
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} and {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}
