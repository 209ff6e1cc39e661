use clap::Args;
use kic_diag::Diagnostics;
use serde_json::json;

use super::differences::differences;
use crate::arguments::{Format, Global, Network};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, looking_context};

/// Tell what two images differ in: layers, cached images, objects field by field, checks, the plan, files, configuration.
/// Layers that both have are not read.
#[derive(Debug, Args)]
pub struct Diff {
    /// An OCI layout or archive, `oci:DIR:NAME` for one of several images in a layout, `docker-archive:FILE`, or a reference
    /// of an image in a registry
    #[arg(value_name = "LEFT")]
    left: String,
    /// The image to compare it with
    #[arg(value_name = "RIGHT")]
    right: String,
    /// End with exit status 1 where they differ
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    network: Network,
}

impl Diff {
    /// Runs the command. The status is what the process ends with where nothing went wrong.
    pub fn run(
        &self,
        global: &Global,
        terminal: &Terminal,
        status: &mut u8,
    ) -> Result<Diagnostics, Diagnostics> {
        let context =
            looking_context(&[&self.left, &self.right], global, &self.network, 1, watcher(terminal))?;
        let diff = block_on(&context, kic::diff(&self.left, &self.right, &context));
        // What it shows on the screen goes with it.
        drop(context);
        let diff = diff?;
        match terminal.format {
            Format::Json => terminal.print(&format!("{:#}\n", json!(diff))),
            _ if terminal.quiet => {}
            _ => terminal.print(&differences(&diff, terminal.color_out)),
        }
        *status = u8::from(self.exit_code && !diff.same);
        Ok(Diagnostics::new())
    }
}
