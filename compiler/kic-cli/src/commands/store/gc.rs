use clap::Args;
use kic_diag::Diagnostics;
use kic_exec::fault;
use kic_store::{CollectOptions, Collected, ItemKind};
use serde_json::json;

use super::{Existing, in_words, pretty, shown};
use crate::arguments::{Format, Global};
use crate::quantity::{Age, Size};
use crate::report::{plural, size};
use crate::terminal::Terminal;
use crate::world::{before_now, interruptible};

/// Remove what neither an output, nor a lock, nor a compile that runs needs: the longest unused first. Safe at any time.
#[derive(Debug, Args)]
pub struct Gc {
    /// Remove only so much that the store becomes no larger than this, such as `20GB`
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Size>,
    /// Remove only what was not used for so long, such as `30d`
    #[arg(long, value_name = "TIME")]
    older_than: Option<Age>,
    /// Remove nothing, and tell what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let existing = Existing::open(global)?;
        let options = CollectOptions {
            max_size: self.max_size.map(|size| size.0),
            unused_since: self.older_than.map(|age| before_now(age.0)),
            dry_run: self.dry_run,
        };
        let collected = match existing.store.clone() {
            Some(store) => interruptible(move |stop| {
                kic_store::collect(&store, &options, &kic::counts, stop)
                    .map_err(|error| fault::store(&error).into())
            })?,
            None => Collected::default(),
        };
        match terminal.format {
            Format::Json => terminal.print(&pretty(&self.as_json(&collected))),
            _ if terminal.quiet && self.dry_run => {
                terminal.print(&format!("{}\n", collected.removed_bytes));
            }
            _ if terminal.quiet || existing.store.is_none() => {}
            _ => terminal.print(&self.as_text(&collected)),
        }
        existing.told()
    }

    fn as_json(&self, collected: &Collected) -> serde_json::Value {
        let mut removed = collected.removed.clone();
        removed.sort();
        let removed = removed.iter().map(|(kind, digest, size)| {
            let kind = match kind {
                ItemKind::Blob => "blob",
                ItemKind::Embedded => "embedded",
                ItemKind::Output => "output",
            };
            json!({ "kind": kind, "digest": digest, "bytes": size })
        });
        let roots = collected
            .stale_roots
            .iter()
            .map(|root| json!({ "kind": root.kind, "path": shown(&root.path()), "name": root.name, "digest": root.digest }));
        json!({
            "dryRun": self.dry_run,
            "removed": removed.collect::<Vec<_>>(),
            "removedBytes": collected.removed_bytes,
            "removedDamaged": collected.set_aside,
            "removedUnfinished": collected.partials,
            "staleRoots": roots.collect::<Vec<_>>(),
            "keptBytes": collected.kept_bytes,
            "neededBytes": collected.needed_bytes,
        })
    }

    fn as_text(&self, collected: &Collected) -> String {
        let mut text = String::new();
        for root in &collected.stale_roots {
            text.push_str(&format!("no longer counts: {}, {}\n", in_words(root), root.digest.short()));
        }
        let count = |kind: ItemKind| collected.removed.iter().filter(|(found, ..)| *found == kind).count();
        let records = count(ItemKind::Embedded) + count(ItemKind::Output);
        if collected.removed.is_empty() && collected.set_aside == 0 && collected.partials == 0 {
            let unused = if self.older_than.is_some() { " that was not used for so long" } else { "" };
            text.push_str(&format!("nothing to remove{unused}\n"));
        } else {
            let unfinished = match collected.partials {
                0 => String::new(),
                count => format!(", {}", plural(count, "unfinished download")),
            };
            text.push_str(&format!(
                "{} {}, {}{unfinished} and {}: {}\n",
                if self.dry_run { "would remove" } else { "removed" },
                plural(count(ItemKind::Blob), "blob"),
                plural(records, "record"),
                plural(collected.set_aside, "damaged blob"),
                size(collected.removed_bytes)
            ));
        }
        text.push_str(&format!(
            "{} stay, {} of them needed\n",
            size(collected.kept_bytes),
            size(collected.needed_bytes)
        ));
        if let Some(most) = self.max_size.filter(|most| collected.needed_bytes > most.0) {
            text.push_str(&format!(
                "more than {}: remove outputs or locks that keep things, see `kic store roots`\n",
                size(most.0)
            ));
        }
        text
    }
}
