use std::path::PathBuf;

use clap::Args;
use kic::{Settings, Verification};
use kic_base::Digest;
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Format, Global, Network, setting};
use crate::report::{plural, printable, size};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, context, cores, looking_context};

/// Tell whether an image is whole and is what it says: every digest and size, the layers against the configuration, the
/// registry cache and its links, the plan and the annotations.
#[derive(Debug, Args)]
pub struct Verify {
    /// An OCI layout or archive, `oci:DIR:NAME`, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Layers to read at a time; as many as there are cores when left out
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Compile the image again, from what is recorded in it, and tell whether the same comes out
    #[arg(long)]
    rebuild: bool,
    /// The folder of the spec, with the files that its layers are made of; the working folder when left out
    #[arg(long, value_name = "DIR", requires = "rebuild")]
    source: Option<PathBuf>,
    /// The value that a parameter had, for `--rebuild`
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting, requires = "rebuild")]
    set: Vec<(String, String)>,
    #[command(flatten)]
    network: Network,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let jobs = self.jobs.map_or_else(cores, usize::from);
        let watch = watcher(terminal);
        // To compile takes a store.
        let context = match self.rebuild {
            true => context(global, &self.network, jobs, watch),
            false => looking_context(&[&self.image], global, &self.network, jobs, watch),
        }?;
        let mut verified = block_on(&context, kic::verify(&self.image, &context))?;
        let mut rebuilt = None;
        // What is damaged already gives nothing to compare with.
        if self.rebuild && !verified.findings.has_errors() {
            let folder = self.source.clone().unwrap_or_default();
            let settings = Settings { set: self.set.clone() };
            match block_on(&context, kic::rebuild(&self.image, &folder, &settings, &context)) {
                Ok(digest) => rebuilt = Some(digest),
                Err(errors) => verified.findings.append(errors),
            }
        }
        // What it shows on the screen goes with it.
        drop(context);
        match terminal.format {
            Format::Json => {
                let mut result = json!(verified);
                result["good"] = json!(!verified.findings.has_errors());
                if self.rebuild {
                    result["rebuilt"] = json!(rebuilt);
                }
                terminal.print(&format!("{result:#}\n"));
            }
            _ if terminal.quiet => {}
            _ => terminal.print(&as_text(&verified, rebuilt.as_ref())),
        }
        let ((), warnings) = verified.findings.or(())?;
        Ok(warnings)
    }
}

fn as_text(verified: &Verification, rebuilt: Option<&Digest>) -> String {
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
    if let Some(digest) = rebuilt {
        text.push_str(&format!("compiled again: the same, {digest}\n"));
    }
    text
}
