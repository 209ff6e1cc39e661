use clap::Args;
use kic::LockMode;
use kic_base::Span;
use kic_diag::Diagnostics;
use kic_graph::{ImageState, ListedImage, Need};
use kic_spec::Spec;
use serde_json::{Value as Json, json};

use crate::arguments::{Building, Format, Global};
use crate::report::{size, table};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// List the images that a spec has to do with: in its cache, left out, missing, or for you to decide on; with `--quiet`
/// those that the cluster will have. Tags that have no pin yet are resolved, but the lock is not written.
#[derive(Debug, Args)]
pub struct Images {
    /// Fail where kic.lock would have to change
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    building: Building,
}

impl Images {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let images = list(global, &self.building, self.locked, terminal)?;
        match terminal.format {
            Format::Json => {
                let list: Vec<Json> = images.list.iter().map(|image| as_json(image, &images.spec)).collect();
                terminal.print(&format!("{}\n", json!(list)));
            }
            _ if terminal.quiet => terminal.print(&names(&images.list)),
            _ => terminal.print(&as_text(&images.list, terminal)),
        }
        if images.diagnostics.has_errors() { Err(images.diagnostics) } else { Ok(images.diagnostics) }
    }
}

/// The images of the spec that a command names.
pub fn list(
    global: &Global,
    building: &Building,
    locked: bool,
    terminal: &Terminal,
) -> Result<kic::Images, Diagnostics> {
    let watch = watcher(terminal);
    let context = building_context(global, building, watch.clone())?;
    let request = building.request(if locked { LockMode::Locked } else { LockMode::Add })?;
    let images = block_on(&context, kic::images(&request, &Disk, &context));
    drop(watch);
    images
}

/// `FILE:LINE`
pub fn place(span: &Span) -> String {
    let (line, _) = span.source().line_column(span.range().start);
    format!("{}:{line}", span.source().name())
}

/// Where a need is written: in its manifest, or in the spec where that makes the manifest.
pub fn place_of(need: &Need) -> String {
    place(if need.is_generated { &need.said } else { &need.span })
}

/// One line for each image that the cluster will have.
fn names(list: &[ListedImage]) -> String {
    let has = |image: &&ListedImage| matches!(image.state, ImageState::Cached | ImageState::InBase);
    list.iter().filter(has).map(|image| format!("{}\n", image.reference)).collect()
}

fn as_text(list: &[ListedImage], terminal: &Terminal) -> String {
    if list.is_empty() {
        return "no images\n".to_owned();
    }
    let rows: Vec<Vec<String>> = list.iter().map(row).collect();
    table(&["IMAGE", "STATE", "SIZE", "DIGEST", "SURE", "FOUND", "WHY"], &rows, &[2], terminal.color_out)
}

fn row(image: &ListedImage) -> Vec<String> {
    let none = || "-".to_owned();
    let contents = image.contents.as_ref();
    let (sure, found, why) = match (image.needs.split_first(), image.named.first(), image.excluded.first()) {
        (Some((first, others)), ..) => {
            let more = if others.is_empty() { String::new() } else { format!(" (+{})", others.len()) };
            let field = format!("{} {}", first.object, first.path);
            let found = format!("{}{more}", place_of(first));
            (first.confidence.name().to_owned(), found, format!("{}: {}", field.trim_end(), first.reason))
        }
        (None, Some(named), _) => (none(), place(named), "named by the spec".to_owned()),
        (None, None, Some(excluded)) => (none(), place(excluded), "excluded by the spec".to_owned()),
        (None, None, None) => (none(), none(), "part of the base".to_owned()),
    };
    vec![
        image.reference.to_string(),
        image.state.name().to_owned(),
        contents.and_then(|contents| contents.size).map_or_else(none, size),
        contents.map_or_else(none, |contents| contents.digest.short()),
        sure,
        found,
        why,
    ]
}

/// An image with all the places that have to do with it.
pub fn as_json(image: &ListedImage, spec: &Spec) -> Json {
    let at = |span: &Span| {
        let (line, column) = span.source().line_column(span.range().start);
        json!({ "file": span.source().name(), "line": line, "column": column })
    };
    let way = |span: &Span| spec.way_to(span).iter().map(at).collect::<Vec<_>>();
    let need = |need: &Need| {
        json!({
            "confidence": need.confidence.name(), "reason": need.reason, "object": need.object, "path": need.path,
            "asked": need.asked.as_ref().map(ToString::to_string),
            "found": if need.is_generated { Json::Null } else { at(&need.span) }, "spec": way(&need.said),
        })
    };
    let contents = image.contents.as_ref();
    json!({
        "reference": image.reference.to_string(),
        "state": image.state.name(),
        "digest": contents.map(|contents| contents.digest),
        "size": contents.and_then(|contents| contents.size),
        "platforms": contents.map(|contents| &contents.platforms),
        "discovered": image.is_discovered,
        "named": image.named.iter().map(way).collect::<Vec<_>>(),
        "excluded": image.excluded.iter().map(way).collect::<Vec<_>>(),
        "needs": image.needs.iter().map(need).collect::<Vec<_>>(),
    })
}
