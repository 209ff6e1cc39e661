use clap::Args;
use kic_base::{ImageReference, Span};
use kic_diag::{Diagnostics, declared as code};
use kic_graph::{ImageState, ListedImage};
use kic_spec::Spec;

use super::images::{as_json, list, place, place_of};
use crate::arguments::{Building, Format, Global};
use crate::report::{printable, size};
use crate::terminal::Terminal;

/// Tell what needs an image: each place in the manifests and commands of a spec that names it, and the line of the spec
/// by which that place comes in; and whether the cluster will have it, and why.
#[derive(Debug, Args)]
pub struct Why {
    /// The image
    #[arg(value_name = "REF")]
    image: ImageReference,
    /// Fail where kic.lock would have to change
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    building: Building,
}

impl Why {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let images = list(global, &self.building, self.locked, terminal)?;
        // Who stops it has not been told all, and a name that is not found may be one that nobody asked for yet.
        if let Some(interrupted) = images.diagnostics.iter().find(|one| one.code == &code::INTERRUPTED) {
            return Err(interrupted.clone().into());
        }
        let known = images.list.iter().map(|image| &image.reference);
        let Some(image) = images.list.iter().find(|image| image.reference == self.image) else {
            return Err(kic_exec::unknown_image("kic why", &self.image, known).into());
        };
        match terminal.format {
            Format::Json => terminal.print(&format!("{}\n", as_json(image, &images.spec))),
            _ if terminal.quiet => terminal.print(&places(image)),
            _ => terminal.print(&as_text(image, &images.spec)),
        }
        // What other images lack is the matter of `kic images`.
        Ok(Diagnostics::new())
    }
}

/// The places that name, exclude or need an image, one a line.
fn places(image: &ListedImage) -> String {
    let spans = image.named.iter().chain(&image.excluded).map(place);
    spans.chain(image.needs.iter().map(place_of)).map(|place| format!("{place}\n")).collect()
}

fn as_text(image: &ListedImage, spec: &Spec) -> String {
    let mut text = format!("{}\n", image.reference);
    if let Some(contents) = &image.contents {
        let size = contents.size.map(|bytes| format!("{}, ", size(bytes))).unwrap_or_default();
        text.push_str(&format!("  {}, {size}{}\n", contents.digest, contents.platforms.join(", ")));
    }
    let verdict = match image.state {
        ImageState::Cached if image.is_discovered => {
            "cached: it was discovered, and `discover` in the registry takes it"
        }
        ImageState::Cached => "cached",
        ImageState::InBase => "in the registry cache of the base",
        ImageState::Pinned => "to be cached; the lock says what it is, and the store does not have it yet",
        ImageState::Unresolved => "to be cached; what it is is not known yet",
        ImageState::Excluded => "left out, as the spec says",
        ImageState::Undecided => "not cached: it may be needed, and `image` or `exclude` decides",
        ImageState::Missing => "missing: it is needed, and no registry caches it",
    };
    text.push_str(&format!("  {verdict}\n"));
    let mut says = |what: &str, spans: &[Span]| {
        for span in spans {
            text.push_str(&format!("\n{what} {}\n  {}\n", place(span), first_line(span)));
            text.push_str(&way(spec, span));
        }
    };
    says("named at", &image.named);
    says("excluded at", &image.excluded);
    for need in &image.needs {
        let field = format!("{} {}", need.object, need.path);
        let (sure, field) = (need.confidence.name(), printable(field.trim_end()));
        text.push_str(&format!("\n{sure} at {}\n  {field}\n  {}\n", place_of(need), printable(&need.reason)));
        if let Some(asked) = &need.asked {
            text.push_str(&format!("  asked for as {asked}\n"));
        }
        if need.span != need.said && !need.is_generated {
            text.push_str(&format!("  by {}: {}\n", place(&need.said), first_line(&need.said)));
        }
        text.push_str(&way(spec, &need.said));
    }
    if image.named.is_empty() && image.excluded.is_empty() && image.needs.is_empty() {
        text.push_str("\nnothing in this spec names it\n");
    }
    text
}

/// The uses of modules by which a place comes in, innermost first.
fn way(spec: &Spec, span: &Span) -> String {
    let uses = spec.way_to(span);
    uses.iter().skip(1).map(|one| format!("  used at {}: {}\n", place(one), first_line(one))).collect()
}

/// The line on which a place begins.
fn first_line(span: &Span) -> String {
    let text = span.source().text();
    let start = text[..span.range().start].rfind('\n').map_or(0, |at| at + 1);
    printable(text[start..].lines().next().unwrap_or_default().trim())
}
