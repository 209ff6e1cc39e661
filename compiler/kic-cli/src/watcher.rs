//! Progress: bars on a terminal, plain lines elsewhere, nothing when it is to be quiet.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kic::{Event, Unwatched, Watch};

use crate::report::{size, time};
use crate::terminal::Terminal;

/// What watches, given where output goes.
pub fn watcher(terminal: &Terminal) -> Arc<dyn Watch> {
    if !terminal.progress {
        Arc::new(Unwatched)
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bars::new())
    } else {
        Arc::new(Lines)
    }
}

/// A line for each thing that took work.
struct Lines;

impl Watch for Lines {
    fn event(&self, event: Event) {
        let line = match event {
            Event::Resolved(what) => format!("resolved {what}"),
            Event::Waiting(what) => what.to_owned(),
            Event::Finished { kind, name, bytes, elapsed, .. } => {
                format!("{} {name} ({}, {})", kind.name(), size(bytes), time(elapsed))
            }
            _ => return,
        };
        drop(writeln!(std::io::stderr(), "{line}"));
    }
}

/// A bar for the whole, and one for each thing under way.
struct Bars {
    all: MultiProgress,
    state: Mutex<BarState>,
}

struct BarState {
    total: ProgressBar,
    nodes: BTreeMap<usize, ProgressBar>,
    resolving: BTreeMap<String, ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl Bars {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let total = all.add(ProgressBar::hidden());
        Self {
            all,
            state: Mutex::new(BarState { total, nodes: BTreeMap::new(), resolving: BTreeMap::new() }),
        }
    }

    fn spinner(&self, state: &BarState, text: String) -> ProgressBar {
        let bar = ProgressBar::new_spinner().with_style(style("  {spinner} {wide_msg}")).with_message(text);
        let bar = self.all.insert_before(&state.total, bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Watch for Bars {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Resolving(what) => {
                let bar = self.spinner(&state, format!("resolving {what}"));
                state.resolving.insert(what.to_owned(), bar);
            }
            Event::Resolved(what) => {
                if let Some(bar) = state.resolving.remove(what) {
                    bar.finish_and_clear();
                }
            }
            Event::Waiting(what) => drop(self.all.println(format!("  {what}"))),
            Event::Planned { nodes, bytes } => {
                for (_, bar) in std::mem::take(&mut state.resolving) {
                    bar.finish_and_clear();
                }
                if nodes == 0 {
                    return;
                }
                let template = if bytes > 0 {
                    "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
                } else {
                    "{spinner} building {elapsed}"
                };
                let bar = ProgressBar::new(bytes).with_style(style(template));
                state.total = self.all.add(bar);
                state.total.enable_steady_tick(Duration::from_millis(120));
            }
            Event::Started { node, kind, name, bytes } => {
                let text = format!("{} {name}", kind.name());
                let bar = match bytes {
                    None => self.spinner(&state, text),
                    // Many wait for others to be received, or for the disk at their end: not shown, as the screen is small.
                    Some(bytes) => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden())
                        .with_style(style("  {bar:20} {bytes:>10} of {total_bytes:<10} {wide_msg}"))
                        .with_message(text),
                };
                state.nodes.insert(node.index(), bar);
            }
            Event::Had { node, bytes } | Event::Progress { node, bytes } => {
                state.total.inc(bytes);
                // It says nothing of the speed.
                let is_had = matches!(event, Event::Had { .. });
                if is_had {
                    state.total.reset_eta();
                }
                if let Some(bar) = state.nodes.get(&node.index()) {
                    if bar.position() == 0 {
                        self.all.insert_before(&state.total, bar.clone());
                    }
                    bar.inc(bytes);
                    if is_had {
                        bar.reset_eta();
                    }
                    if bar.length().is_some_and(|length| bar.position() >= length) {
                        bar.finish_and_clear();
                    }
                }
            }
            Event::Finished { node, .. } => {
                if let Some(bar) = state.nodes.remove(&node.index()) {
                    bar.finish_and_clear();
                }
            }
            Event::Writing => {
                state.total.finish_and_clear();
                let bar = self.spinner(&state, "writing the image".to_owned());
                state.total = bar;
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // What an error left on the screen would be torn by its message.
        drop(self.all.clear());
    }
}
