use std::path::PathBuf;

use clap::Args;
use kic_base::Platform;
use kic_diag::Diagnostics;
use kic_oci::unpack::UnpackOptions;
use serde_json::json;

use crate::arguments::{Format, Global, Network};
use crate::report::plural;
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, looking_context};

/// Unpack the root file system of an image into a folder that is new or empty.
#[derive(Debug, Args)]
pub struct Unpack {
    /// An OCI layout or archive, `oci:DIR:NAME`, `docker-archive:FILE`, or a reference of an image in a registry
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Where it goes
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The platform, where the image is there for several
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,
    #[command(flatten)]
    network: Network,
}

impl Unpack {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let context = looking_context(&[&self.image], global, &self.network, 1, watcher(terminal))?;
        let work = kic::unpack(
            &self.image,
            self.platform.as_ref(),
            &self.directory,
            UnpackOptions::default(),
            &context,
        );
        let unpacked = block_on(&context, work);
        // What it shows on the screen goes with it.
        drop(context);
        let unpacked = unpacked?;
        let path = self.directory.display();
        match terminal.format {
            Format::Json => terminal
                .print(&format!("{}\n", json!({ "directory": path.to_string(), "layers": unpacked.layers }))),
            _ if terminal.quiet => {}
            _ => terminal.print(&format!("{} unpacked into {path}\n", plural(unpacked.layers, "layer"))),
        }
        Ok(Diagnostics::new())
    }
}
