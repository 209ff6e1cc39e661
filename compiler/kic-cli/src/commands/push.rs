use clap::Args;
use kic::PushedImage;
use kic_base::ImageReference;
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Format, Global, Network};
use crate::report::size;
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, looking_context};

/// Send an image to a registry, and print its digest. What the registry has already is not sent again.
#[derive(Debug, Args)]
pub struct Push {
    /// An OCI layout or archive, `oci:DIR:NAME`, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where it goes, such as `registry.example.com/cluster:v1`
    #[arg(value_name = "REFERENCE")]
    reference: ImageReference,
    #[command(flatten)]
    network: Network,
}

impl Push {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let context = looking_context(&[&self.image], global, &self.network, 1, watcher(terminal))?;
        let pushed = block_on(&context, kic::push(&self.image, &self.reference, &context));
        // What it shows on the screen goes with it.
        drop(context);
        let PushedImage { digest, sent, sent_bytes, kept } = pushed?;
        match terminal.format {
            Format::Json => terminal.print(&format!(
                "{}\n",
                json!({ "reference": self.reference, "digest": digest, "sent": sent, "sentBytes": sent_bytes, "kept": kept })
            )),
            _ if terminal.quiet => terminal.print(&format!("{digest}\n")),
            _ => terminal.print(&format!(
                "{}: {sent} blobs sent ({}), {kept} there already\n{digest}\n",
                self.reference,
                size(sent_bytes)
            )),
        }
        Ok(Diagnostics::new())
    }
}
