use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clap::Args;
use kic::{Context, Event, Lost, Repair, Repaired};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_store::{CheckEvent, DamagedBlob, ItemKind, Store, StoreCheck, StoreError};
use serde_json::json;

use super::{Existing, pretty, shown};
use crate::arguments::{Format, Global, Network};
use crate::report::{printable, size};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{block_on, context_with, cores};

/// Hash every blob again, and set aside what is damaged. With `--repair`, put it back from the outputs that hold it, or fetch it
/// from where it came from.
#[derive(Debug, Args)]
pub struct Verify {
    /// Put back what is damaged, also what was set aside before
    #[arg(long)]
    repair: bool,
    /// Blobs to hash at a time; as many as there are cores when left out
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    #[command(flatten)]
    network: Network,
}

/// What was found, and done.
#[derive(Default)]
struct Work {
    found: StoreCheck,
    /// What is gone, where nothing is put back.
    lost: Vec<Lost>,
    repaired: Vec<Repaired>,
    /// How many damaged records of roots were removed.
    given_up: usize,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let jobs = self.jobs.map_or_else(cores, usize::from);
        let existing = Existing::open(global)?;
        let Some(store) = existing.store.clone() else {
            if terminal.format == Format::Json {
                terminal.print(&pretty(&as_json(&Work::default(), 0)));
            }
            return existing.told();
        };
        let context = context_with(store, &self.network, jobs, watcher(terminal))?;
        let work = block_on(&context, self.work(&context));
        // What it shows on the screen goes with it.
        let store = context.store.clone();
        drop(context);
        let work = work.map_err(of_a_check)?;
        let set_aside = store.set_aside().map_err(|error| fault::store(&error))?;
        match terminal.format {
            Format::Json => terminal.print(&pretty(&as_json(&work, set_aside.len()))),
            _ if terminal.quiet => {}
            _ => {
                let shared = set_aside.iter().filter(|digest| store.contains(digest)).count();
                terminal.print(&as_text(&work.found, set_aside.len() - shared, shared));
            }
        }
        let names = names(&store)?;
        self.told(&work, &names, &set_aside)
    }

    async fn work(&self, context: &Context) -> Result<Work, Diagnostics> {
        let (store, cancel, jobs) = (context.store.clone(), context.cancel.clone(), context.jobs);
        let watch = Arc::clone(&context.watch);
        let check = move || {
            let told = |event| match event {
                CheckEvent::Begun(bytes) => {
                    watch.event(Event::Reading { done: "verified", bytes: Some(bytes) });
                }
                CheckEvent::Read(bytes) => watch.event(Event::Read { bytes }),
            };
            kic_store::check(&store, jobs, &told, &|| cancel.is_cancelled())
                .map_err(|error| fault::store(&error).into())
        };
        let found = context.blocking(check).await?;
        if !found.complete {
            return Err(Diagnostic::new(&code::INTERRUPTED, "interrupted").into());
        }
        if self.repair {
            let repaired = kic::repair(context).await?;
            let given_up = context.store.remove_damaged_roots().map_err(|error| fault::store(&error))?;
            return Ok(Work { found, lost: Vec::new(), repaired, given_up });
        }
        let mut lost = kic::lost(context)?;
        let is_damaged = |digest: &Digest| {
            let inside = |damaged: &DamagedBlob| damaged.inside.iter().any(|(inner, ..)| inner == digest);
            found.damaged.iter().any(|damaged| damaged.digest == *digest || inside(damaged))
        };
        lost.retain(|lost| !is_damaged(&lost.digest));
        Ok(Work { found, lost, repaired: Vec::new(), given_up: 0 })
    }

    /// What there is to tell: a warning for what is good again, an error for what is not.
    fn told(
        &self,
        work: &Work,
        names: &BTreeMap<Digest, String>,
        set_aside: &BTreeSet<Digest>,
    ) -> Result<Diagnostics, Diagnostics> {
        let Work { found, lost, repaired, given_up } = work;
        let mut told = Diagnostics::new();
        let named = |digest: &Digest, what: &str, was_gone: bool| {
            let what = if what.is_empty() { String::new() } else { format!(", {},", printable(what)) };
            let are = if was_gone { "were gone" } else { "are damaged" };
            format!("the stored bytes of {digest}{what} {are}")
        };
        if self.repair {
            for Repaired { digest, what, was_gone, repair } in repaired {
                let healed = |help: String| {
                    Diagnostic::new(&code::STORE_HEALED, named(digest, what, *was_gone)).help(help)
                };
                let lost = |help: String| {
                    Diagnostic::new(&code::STORE_CORRUPT, named(digest, what, *was_gone)).help(help)
                };
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
                let diagnostic = Diagnostic::new(&code::STORE_CORRUPT, named(&damaged.digest, what, false));
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
        for Lost { digest, what, needed_by } in lost {
            let message = format!(
                "the store has lost {digest}, {}, which `{}` needs",
                printable(what),
                printable(&needed_by.display().to_string())
            );
            told.push(Diagnostic::new(&code::STORE_CORRUPT, message).help(
                "`kic store verify --repair` has it again, and so does the next compile that needs it",
            ));
        }
        if found.roots > 0 && *given_up == 0 {
            told.push(fault::store(&StoreError::DamagedRoots { count: found.roots }));
        }
        let damaged = damaged_records(found) + given_up;
        if damaged > 0 {
            let records = found.records.iter().map(|(kind, digest)| match kind {
                ItemKind::Output => format!("what the derivation {digest} gave"),
                _ => format!("where {digest} lies"),
            });
            let counted = [
                (*given_up, "of outputs or locks: `kic store gc` may now remove what only they kept"),
                (found.memos, "of earlier runs"),
            ]
            .into_iter();
            let counted =
                counted.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
            let mut diagnostic = Diagnostic::new(
                &code::STORE_HEALED,
                match damaged {
                    1 => "1 record in the store was damaged or led nowhere".to_owned(),
                    _ => format!("{damaged} records in the store were damaged or led nowhere"),
                },
            );
            for record in records.take(20).chain(counted) {
                diagnostic = diagnostic.note(record);
            }
            let removed = if damaged == 1 {
                "it was removed; the next compile makes it anew"
            } else {
                "they were removed; the next compile makes them anew"
            };
            told.push(diagnostic.help(removed));
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
fn names(store: &Store) -> Result<BTreeMap<Digest, String>, Diagnostics> {
    let roots = store.roots().map_err(|error| fault::store(&error))?;
    let kept = roots.into_iter().flat_map(|found| found.root.kept);
    Ok(kept.map(|kept| (kept.digest, kept.what)).collect())
}

/// How many records were damaged that only save work, and were removed.
fn damaged_records(found: &StoreCheck) -> usize {
    found.records.len() + found.memos
}

/// `set_aside` of the damaged blobs are lacking, and `shared` are there again, but an output has the damaged bytes.
fn as_text(found: &StoreCheck, set_aside: usize, shared: usize) -> String {
    let good = found.blobs - found.damaged.len();
    let mut text = format!("{good} of {} blobs are good: {} read\n", found.blobs, size(found.bytes));
    if set_aside > 0 {
        let (lie, them) = if set_aside == 1 { ("blob lies", "it") } else { ("blobs lie", "them") };
        text.push_str(&format!(
            "{set_aside} damaged {lie} set aside: `kic store verify --repair` puts {them} back, `kic store gc` removes {them}\n"
        ));
    }
    if shared > 0 {
        let (is, it) = if shared == 1 { ("blob is", "it") } else { ("blobs are", "them") };
        text.push_str(&format!(
            "{shared} damaged {is} still in an output that shares files with the store: the next compile into it replaces {it}\n"
        ));
    }
    text
}

fn as_json(work: &Work, set_aside: usize) -> serde_json::Value {
    let Work { found, lost, repaired, .. } = work;
    let damaged = found.damaged.iter().map(|damaged| {
        let inside: Vec<Digest> = damaged.inside.iter().map(|(digest, ..)| *digest).collect();
        json!({ "digest": damaged.digest, "bytes": damaged.size, "inside": inside, "unreadable": damaged.unreadable })
    });
    let lost = lost.iter().map(
        |Lost { digest, what, needed_by }| json!({ "digest": digest, "what": what, "neededBy": shown(needed_by) }),
    );
    let repaired = repaired.iter().map(|one| {
        let (outcome, from, spec) = match &one.repair {
            Repair::Done(from) => ("repaired", Some(from), None),
            Repair::Unneeded => ("unneeded", None, None),
            Repair::Rebuild(spec) => ("needs-compile", None, Some(spec)),
            Repair::Failed(_) => ("failed", None, None),
        };
        json!({
            "digest": one.digest, "what": one.what, "wasGone": one.was_gone, "outcome": outcome, "from": from, "spec": spec,
        })
    });
    json!({
        "blobs": found.blobs,
        "bytes": found.bytes,
        "damaged": damaged.collect::<Vec<_>>(),
        "damagedRecords": damaged_records(found),
        "damagedRoots": found.roots,
        "lost": lost.collect::<Vec<_>>(),
        "repaired": repaired.collect::<Vec<_>>(),
        "setAside": set_aside,
    })
}
