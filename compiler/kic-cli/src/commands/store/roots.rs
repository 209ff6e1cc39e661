use clap::Args;
use kic_diag::Diagnostics;
use serde_json::json;

use super::{Existing, paths, pretty, shown};
use crate::arguments::{Format, Global};
use crate::report::table;
use crate::terminal::Terminal;

/// List the outputs and locks that keep things in the store. Those that are gone or changed no longer count.
#[derive(Debug, Args)]
pub struct Roots {}

impl Roots {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let existing = Existing::open(global)?;
        let roots = existing.look(kic_store::Store::roots)?;
        let roots: Vec<_> = roots.into_iter().map(|found| (kic::counts(&found.root), found.root)).collect();
        match terminal.format {
            Format::Json => {
                let one = |(counts, root): &(bool, kic_store::Root)| {
                    json!({
                        "kind": root.kind, "path": shown(&root.path()), "name": root.name, "digest": root.digest,
                        "madeFrom": shown(&root.made_from()), "counts": counts, "kept": root.kept.len(),
                    })
                };
                terminal.print(&pretty(&roots.iter().map(one).collect()));
            }
            _ if terminal.quiet => {
                let counted = roots.iter().filter(|(counts, _)| *counts);
                terminal.print_lines(paths(counted.map(|(_, root)| root)));
            }
            _ if existing.store.is_none() => {}
            _ if roots.is_empty() => {
                terminal.print("there are no roots: nothing that was compiled keeps anything\n")
            }
            _ => {
                let row = |(counts, root): &(bool, kic_store::Root)| {
                    let counts = if *counts { "yes" } else { "no" };
                    vec![
                        root.kind.clone(),
                        counts.to_owned(),
                        root.kept.len().to_string(),
                        root.digest.short(),
                        root.name.clone(),
                        root.path().display().to_string(),
                    ]
                };
                let rows: Vec<Vec<String>> = roots.iter().map(row).collect();
                let head = ["KIND", "COUNTS", "KEEPS", "DIGEST", "NAME", "PATH"];
                terminal.print(&table(&head, &rows, &[2], terminal.color_out));
            }
        }
        existing.told()
    }
}
