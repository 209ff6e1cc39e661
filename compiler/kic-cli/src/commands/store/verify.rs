use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Args;
use kic::{Context, Repair, Repaired, Unwatched};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_store::{ItemKind, StoreCheck};
use serde_json::json;

use super::{Existing, pretty};
use crate::arguments::{Format, Global, Network};
use crate::report::{printable, size};
use crate::terminal::Terminal;
use crate::world::{block_on, context_with};

/// Hash every blob again, and set aside what is damaged. With `--repair`, put it back from the outputs that hold it, or fetch it
/// from where it came from.
#[derive(Debug, Args)]
pub struct Verify {
    /// Put back what is damaged, also what was set aside before
    #[arg(long)]
    repair: bool,
    /// Blobs to hash at a time; as many as there are cores when left out
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    #[command(flatten)]
    network: Network,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(cores, usize::from);
        let existing = Existing::open(global)?;
        let Some(store) = existing.store.clone() else {
            if terminal.format == Format::Json {
                terminal.print(&pretty(&as_json(&StoreCheck::default(), &[], 0)));
            }
            return Ok(existing.told());
        };
        let context = context_with(store, &self.network, jobs, Arc::new(Unwatched))?;
        let (found, repaired) = block_on(&context, self.work(&context)).map_err(of_a_check)?;
        let set_aside = context.store.set_aside().map_err(|error| fault::store(&error))?;
        match terminal.format {
            Format::Json => terminal.print(&pretty(&as_json(&found, &repaired, set_aside.len()))),
            _ if terminal.quiet => {}
            _ => terminal.print(&as_text(&found, set_aside.len())),
        }
        let names = names(&context)?;
        self.told(&found, &repaired, &names, &set_aside)
    }

    async fn work(&self, context: &Context) -> Result<(StoreCheck, Vec<Repaired>), Diagnostics> {
        let (store, cancel, jobs) = (context.store.clone(), context.cancel.clone(), context.jobs);
        let check = move || {
            kic_store::check(&store, jobs, &|_| {}, &|| cancel.is_cancelled())
                .map_err(|error| fault::store(&error).into())
        };
        let found = context.blocking(check).await?;
        if !found.complete {
            return Err(Diagnostic::new(&code::INTERRUPTED, "interrupted").into());
        }
        let repaired = if self.repair { kic::repair(context).await? } else { Vec::new() };
        Ok((found, repaired))
    }

    /// What there is to tell: a warning for what is good again, an error for what is not.
    fn told(
        &self,
        found: &StoreCheck,
        repaired: &[Repaired],
        names: &BTreeMap<Digest, String>,
        set_aside: &BTreeSet<Digest>,
    ) -> Result<Diagnostics, Diagnostics> {
        let mut told = Diagnostics::new();
        let named = |digest: &Digest, what: &str| {
            let what = if what.is_empty() { String::new() } else { format!(", {},", printable(what)) };
            format!("the stored bytes of {digest}{what} are damaged")
        };
        if self.repair {
            for Repaired { digest, what, repair } in repaired {
                let healed =
                    |help: String| Diagnostic::new(&code::STORE_HEALED, named(digest, what)).help(help);
                let lost =
                    |help: String| Diagnostic::new(&code::STORE_CORRUPT, named(digest, what)).help(help);
                told.push(match repair {
                    Repair::Done(from) => healed(format!("they were had again from {}", printable(from))),
                    Repair::Unneeded => healed("no root keeps them: they were thrown away".to_owned()),
                    Repair::Rebuild(spec) => {
                        lost(format!("run `kic compile` on {}: it builds them anew", printable(spec)))
                    }
                    Repair::Failed(why) => {
                        let why = why.iter().next().map(|one| one.message.clone()).unwrap_or_default();
                        lost(format!("they could not be had again: {why}"))
                    }
                });
            }
        } else {
            for damaged in &found.damaged {
                let what = names.get(&damaged.digest).map(String::as_str).unwrap_or_default();
                let diagnostic = Diagnostic::new(&code::STORE_CORRUPT, named(&damaged.digest, what));
                let diagnostic = match &damaged.unreadable {
                    Some(why) => diagnostic.note(format!("they cannot be read: {why}")),
                    None => diagnostic,
                };
                told.push(diagnostic.help(if set_aside.contains(&damaged.digest) {
                    "they were set aside: `kic store verify --repair` has them again, and so does the next compile that needs them"
                } else {
                    "they could not be set aside: check whether the store is read-only"
                }));
            }
        }
        let lost = damaged_records(found);
        if lost > 0 {
            let records = found.records.iter().map(|(kind, digest)| match kind {
                ItemKind::Output => format!("what the derivation {digest} gave"),
                _ => format!("where {digest} lies"),
            });
            let counted = [(found.roots, "of roots"), (found.memos, "of earlier runs")].into_iter();
            let counted =
                counted.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
            let mut diagnostic = Diagnostic::new(
                &code::STORE_HEALED,
                match lost {
                    1 => "1 record in the store was damaged or led nowhere".to_owned(),
                    _ => format!("{lost} records in the store were damaged or led nowhere"),
                },
            );
            for record in records.take(20).chain(counted) {
                diagnostic = diagnostic.note(record);
            }
            told.push(diagnostic.help("they were removed; the next compile makes them anew"));
        }
        let ((), warnings) = told.or(())?;
        Ok(warnings)
    }
}

/// A check that was interrupted begins anew, other than a compile.
fn of_a_check(errors: Diagnostics) -> Diagnostics {
    let of_a_check = |error: Diagnostic| match error.code == &code::INTERRUPTED {
        true => error.help("the next run hashes every blob again; what was found damaged is set aside"),
        false => error,
    };
    errors.into_iter().map(of_a_check).collect()
}

/// What roots call the blobs that they keep.
fn names(context: &Context) -> Result<BTreeMap<Digest, String>, Diagnostics> {
    let roots = context.store.roots().map_err(|error| fault::store(&error))?;
    let kept = roots.into_iter().flat_map(|found| found.root.kept);
    Ok(kept.map(|kept| (kept.digest, kept.what)).collect())
}

/// How many records of all kinds were damaged.
fn damaged_records(found: &StoreCheck) -> usize {
    found.records.len() + found.roots + found.memos
}

fn as_text(found: &StoreCheck, set_aside: usize) -> String {
    let good = found.blobs - found.damaged.len();
    let mut text = format!("{good} of {} blobs are good: {} read\n", found.blobs, size(found.bytes));
    if set_aside > 0 {
        let (lie, them) = if set_aside == 1 { ("blob lies", "it") } else { ("blobs lie", "them") };
        text.push_str(&format!(
            "{set_aside} damaged {lie} set aside: `kic store verify --repair` puts {them} back, `kic store gc` removes {them}\n"
        ));
    }
    text
}

fn as_json(found: &StoreCheck, repaired: &[Repaired], set_aside: usize) -> serde_json::Value {
    let damaged = found.damaged.iter().map(|damaged| {
        let inside: Vec<Digest> = damaged.inside.iter().map(|(digest, ..)| *digest).collect();
        json!({ "digest": damaged.digest, "bytes": damaged.size, "inside": inside, "unreadable": damaged.unreadable })
    });
    let repaired = repaired.iter().map(|one| {
        let (outcome, from, spec) = match &one.repair {
            Repair::Done(from) => ("repaired", Some(from), None),
            Repair::Unneeded => ("unneeded", None, None),
            Repair::Rebuild(spec) => ("needs-compile", None, Some(spec)),
            Repair::Failed(_) => ("failed", None, None),
        };
        json!({ "digest": one.digest, "what": one.what, "outcome": outcome, "from": from, "spec": spec })
    });
    json!({
        "blobs": found.blobs,
        "bytes": found.bytes,
        "damaged": damaged.collect::<Vec<_>>(),
        "damagedRecords": damaged_records(found),
        "repaired": repaired.collect::<Vec<_>>(),
        "setAside": set_aside,
    })
}
