use std::collections::BTreeMap;

use clap::Args;
use kic::{LockMode, Prepared, State};
use kic_diag::Diagnostics;
use kic_graph::Kind;
use serde_json::json;

use crate::arguments::{Building, Format, Global};
use crate::report::{size, table};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// Tell what a compile would build, fetch and reuse. Tags that have no pin yet are resolved, but the lock is not
/// written.
#[derive(Debug, Args)]
pub struct Plan {
    /// Fail where kic.lock would have to change
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    building: Building,
}

impl Plan {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let lock = if self.locked { LockMode::Locked } else { LockMode::Add };
        let request = self.building.request(lock)?;
        let prepared = block_on(&context, kic::prepare(&request, &Disk, &context));
        drop(watch);
        let prepared = prepared?;
        let steps = steps(&prepared);
        match terminal.format {
            Format::Json => terminal.print(&format!("{}\n", as_json(&steps))),
            _ => terminal.print(&as_text(&steps, terminal)),
        }
        Ok(prepared.warnings)
    }
}

/// One thing to do or to reuse.
struct Step {
    action: &'static str,
    kind: Kind,
    name: String,
    bytes: Option<u64>,
    derivation: kic_base::Digest,
}

fn steps(prepared: &Prepared) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, state) in &prepared.plan.states {
        let node = &prepared.graph.nodes[*index];
        let (action, bytes) = match state {
            State::Build => ("build", None),
            State::Fetch(bytes) => ("fetch", Some(*bytes)),
            State::Layer(output) => ("reuse", Some(output.size)),
            State::Blob => match node.derivation {
                kic_graph::Derivation::Blob(content) => ("reuse", Some(content.size)),
                _ => ("reuse", None),
            },
        };
        steps.push(Step { action, kind: node.kind, name: node.name.clone(), bytes, derivation: node.digest });
    }
    steps.sort_by(|left, right| {
        (left.action, left.kind, &left.name).cmp(&(right.action, right.kind, &right.name))
    });
    steps
}

fn as_text(steps: &[Step], terminal: &Terminal) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let bytes = step.bytes.map_or_else(|| "-".to_owned(), size);
            vec![
                step.action.to_owned(),
                step.kind.name().to_owned(),
                bytes,
                step.derivation.short(),
                step.name.clone(),
            ]
        })
        .collect();
    let mut totals: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for step in steps {
        let total = totals.entry(step.action).or_default();
        total.0 += 1;
        total.1 += step.bytes.unwrap_or(0);
    }
    let mut text = String::new();
    if !terminal.quiet {
        text.push_str(&table(
            &["ACTION", "KIND", "SIZE", "DERIVATION", "NAME"],
            &rows,
            &[2],
            terminal.color_out,
        ));
        text.push('\n');
    }
    let total = |action: &str| totals.get(action).copied().unwrap_or_default();
    let ((built, _), (fetched, bytes), (reused, _)) = (total("build"), total("fetch"), total("reuse"));
    text.push_str(&format!("{built} to build, {fetched} to fetch ({}), {reused} to reuse\n", size(bytes)));
    text
}

fn as_json(steps: &[Step]) -> serde_json::Value {
    let one = |step: &Step| {
        json!({
            "action": step.action, "kind": step.kind.name(), "name": step.name, "size": step.bytes,
            "derivation": step.derivation,
        })
    };
    json!(steps.iter().map(one).collect::<Vec<_>>())
}
