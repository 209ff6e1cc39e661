use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use kic::{GatherOptions, LockMode, Request, Settings};
use kic_base::Epoch;
use kic_diag::Diagnostics;
use serde_json::json;

use crate::arguments::{Format, Global, setting, spec_in};
use crate::terminal::Terminal;
use crate::world::Disk;

/// Tell whether specs are well formed: everything but looking at files, fetching and building. Made for editors and
/// hooks.
#[derive(Debug, Args)]
pub struct Check {
    /// The specs
    #[arg(value_name = "SPEC", default_value = "cluster.kdl")]
    specs: Vec<PathBuf>,
    /// A value for a parameter that the specs declare
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
}

impl Check {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let mut all = Diagnostics::new();
        for spec in &self.specs {
            let gather = GatherOptions {
                lock: LockMode::Locked,
                source_date_epoch: 0,
                epoch: Epoch::CURRENT,
                allow_missing: BTreeSet::new(),
            };
            let settings = Settings { set: self.set.clone() };
            let request = Request {
                spec: spec_in(spec),
                output: None,
                gather,
                settings,
                check: false,
                explain: false,
                record_source: false,
            };
            match kic::resolve(&request, &Disk) {
                Ok((_, warnings)) => all.append(warnings),
                Err(errors) => all.append(errors),
            }
        }
        let ((), warnings) = all.or(())?;
        match terminal.format {
            Format::Json => {
                let specs: Vec<String> = self.specs.iter().map(|spec| spec.display().to_string()).collect();
                terminal.print(&format!("{}\n", json!({ "checked": specs })));
            }
            _ if terminal.quiet => {}
            _ => {
                let count = self.specs.len();
                let specs = if count == 1 { "1 spec is".to_owned() } else { format!("{count} specs are") };
                terminal.print(&format!("{specs} well formed\n"));
            }
        }
        Ok(warnings)
    }
}
