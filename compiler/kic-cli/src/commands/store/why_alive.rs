use clap::Args;
use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::fault;
use kic_store::{Kept, Root};
use serde_json::json;

use super::{Existing, digits, in_words, one_digest, paths, pretty, shown};
use crate::arguments::{Format, Global};
use crate::report::{printable, short_quoted};
use crate::terminal::Terminal;

/// Tell what keeps a blob in the store: each output and lock that does, and the way from there to the blob.
#[derive(Debug, Args)]
pub struct WhyAlive {
    /// The digest, or its first digits
    #[arg(value_name = "DIGEST")]
    digest: String,
}

impl WhyAlive {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let digits = digits(&self.digest)?;
        let existing = Existing::open(global)?;
        let store = existing.store()?;
        let held = store.find(&digits).map_err(|error| fault::store(&error))?;
        let roots = store.roots().map_err(|error| fault::store(&error))?;
        let roots: Vec<Root> = roots.into_iter().map(|found| found.root).filter(kic::counts).collect();
        let kept = roots.iter().flat_map(|root| root.kept.iter().map(|kept| kept.digest));
        let digest = one_digest(&digits, held.into_iter().chain(kept))?;
        // A layer is kept with what lies in it.
        let place = store.blob_place(&digest).map_err(|error| fault::store(&error))?;
        let chains: Vec<(&Root, Vec<&Kept>)> = roots
            .iter()
            .map(|root| (root, root.chain(&digest)))
            .filter(|(_, chain)| !chain.is_empty())
            .collect();
        match terminal.format {
            Format::Json => terminal.print(&pretty(&json!({
                "digest": digest,
                "inStore": place.is_some(),
                "roots": chains.iter().map(|(root, chain)| json!({
                    "kind": root.kind, "path": shown(&root.path()), "name": root.name,
                    "chain": chain.iter().map(|kept| json!({ "digest": kept.digest, "what": kept.what }))
                        .collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            }))),
            _ if terminal.quiet => {
                terminal.print_lines(paths(chains.iter().map(|(root, _)| *root)));
            }
            _ => {
                let is_record = store.output(&digest).is_ok_and(|output| output.is_some());
                terminal.print(&as_text(&digest, &chains, place.is_none() && !is_record));
            }
        }
        existing.told()
    }
}

fn as_text(digest: &Digest, chains: &[(&Root, Vec<&Kept>)], is_gone: bool) -> String {
    if chains.is_empty() {
        return format!("{digest}\nnothing keeps it: `kic store gc` removes it\n");
    }
    let mut text = format!("{digest}\n");
    if is_gone {
        text.push_str("it is not in the store: `kic store verify --repair` has it again\n");
    }
    for (root, chain) in chains {
        text.push_str(&format!("\n{}\n", in_words(root)));
        for (depth, kept) in chain.iter().enumerate() {
            let indent = "   ".repeat(depth);
            text.push_str(&format!(
                "{indent}└─ {} {}\n",
                kept.digest.short(),
                printable(&short_quoted(&kept.what))
            ));
        }
    }
    text
}
