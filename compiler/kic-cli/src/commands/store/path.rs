use clap::Args;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use serde_json::json;

use super::{Existing, digits, one_digest, pretty, shown};
use crate::arguments::{Format, Global};
use crate::terminal::Terminal;

/// Print the file that holds a blob; for a blob inside another one, with where it begins and its size in bytes.
#[derive(Debug, Args)]
pub struct Place {
    /// The digest, or its first digits
    #[arg(value_name = "DIGEST")]
    digest: String,
}

impl Place {
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
                "digest": digest, "path": shown(&place.path), "container": place.container, "offset": place.offset,
                "bytes": place.size,
            }))),
            _ => {
                let mut line = place.path.into_os_string();
                if place.container.is_some() {
                    line.push(format!("\t{}\t{}", place.offset, place.size));
                }
                terminal.print_lines([line]);
            }
        }
        Ok(Diagnostics::new())
    }
}
