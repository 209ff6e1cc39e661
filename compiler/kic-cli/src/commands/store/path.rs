use clap::Args;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use serde_json::json;

use super::{Existing, digits, one_digest, pretty};
use crate::arguments::{Format, Global};
use crate::terminal::Terminal;

/// Print the file that holds a blob; for a blob inside another one, with where it begins and its size in bytes.
#[derive(Debug, Args)]
pub struct Path {
    /// The digest, or its first digits
    #[arg(value_name = "DIGEST")]
    digest: String,
}

impl Path {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let digits = digits(&self.digest)?;
        let existing = Existing::open(global)?;
        let store = existing.store()?;
        let known = store.find(&digits).map_err(|error| fault::store(&error))?;
        let digest = one_digest(&digits, known)?;
        let place = store.blob_place(&digest).map_err(|error| fault::store(&error))?;
        let Some(place) = place else {
            return Err(Diagnostic::new(&code::UNKNOWN_DIGEST, format!("{digest} is no blob"))
                .help("it is what a record is of: `kic store why-alive` tells what keeps it")
                .into());
        };
        match terminal.format {
            Format::Json => terminal.print(&pretty(&json!({
                "digest": digest, "path": place.path, "container": place.container, "offset": place.offset,
                "bytes": place.size,
            }))),
            _ if place.container.is_some() => {
                terminal.print(&format!("{}\t{}\t{}\n", place.path.display(), place.offset, place.size));
            }
            _ => terminal.print(&format!("{}\n", place.path.display())),
        }
        Ok(Diagnostics::new())
    }
}
