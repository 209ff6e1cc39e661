use std::sync::Arc;

use clap::Args;
use kic::{Unwatched, Verification};
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Format, Global, Network};
use crate::report::{printable, size};
use crate::terminal::{Terminal, print};
use crate::world::{block_on, context};

/// Tell whether an image is whole and is what it says: every digest and size, the layers against the configuration, the
/// registry cache and its links, the plan and the annotations.
#[derive(Debug, Args)]
pub struct Verify {
    /// An OCI layout or archive, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Layers to read at a time; as many as there are cores when left out
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    #[command(flatten)]
    network: Network,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, usize::from);
        let context = context(global, &self.network, jobs, Arc::new(Unwatched))?;
        let verified = block_on(&context, kic::verify(&self.image, &context))?;
        match terminal.format {
            Format::Json => {
                let mut result = json!(verified);
                result["good"] = json!(!verified.findings.has_errors());
                print(&format!("{result:#}\n"));
            }
            _ if terminal.quiet => {}
            _ => print(&as_text(&verified)),
        }
        let ((), warnings) = verified.findings.or(())?;
        Ok(warnings)
    }
}

fn as_text(verified: &Verification) -> String {
    let mut text = format!("{}\n", printable(&verified.image));
    for image in &verified.images {
        let layers = plural(image.layers, "layer");
        let built = match (image.cached_images, image.steps) {
            (Some(images), Some(steps)) => {
                format!(", {}, {}", plural(images, "cached image"), plural(steps, "step"))
            }
            _ => String::new(),
        };
        text.push_str(&format!("{} {}: {layers}{built}\n", printable(&image.platform), image.digest.short()));
    }
    let errors = verified.findings.error_count();
    let outcome = if errors == 0 { "good".to_owned() } else { format!("{} found", plural(errors, "error")) };
    text.push_str(&format!(
        "{}, {} read: {outcome}\n",
        plural(verified.blobs, "whole blob"),
        size(verified.bytes)
    ));
    text
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
