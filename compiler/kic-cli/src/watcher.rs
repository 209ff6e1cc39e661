//! Progress: bars on a terminal, plain lines elsewhere, nothing when it is to be quiet.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::{self, JoinHandle};
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

/// What is over sooner shows nothing, as that would only flicker.
const MOMENT: Duration = Duration::from_millis(300);

/// How often the screen is drawn in a second, at most.
const DRAWN: u8 = 10;

/// A bar for the whole, and one for each thing under way.
struct Bars {
    all: MultiProgress,
    /// Whether they are on the screen.
    shown: Arc<Once>,
    state: Mutex<BarState>,
}

struct BarState {
    /// Shows them after a moment, unless the sender is gone by then.
    curtain: Option<(Sender<()>, JoinHandle<()>)>,
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
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let total = all.add(ProgressBar::hidden());
        let (nodes, resolving) = (BTreeMap::new(), BTreeMap::new());
        let state = BarState { curtain: None, total, nodes, resolving };
        Self { all, shown: Arc::new(Once::new()), state: Mutex::new(state) }
    }

    /// Shows the bars in a moment.
    fn show_soon(&self, state: &mut BarState) {
        if state.curtain.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let (all, shown) = (self.all.clone(), Arc::clone(&self.shown));
        let wait = move || {
            if receiver.recv_timeout(MOMENT) == Err(RecvTimeoutError::Timeout) {
                show(&all, &shown);
            }
        };
        state.curtain = thread::Builder::new()
            .name("kic-bars".to_owned())
            .spawn(wait)
            .ok()
            .map(|thread| (sender, thread));
    }

    /// The bar for the whole, in place of the one before.
    fn begin(&self, state: &mut BarState, bar: ProgressBar) {
        state.total.finish_and_clear();
        state.total = self.all.add(bar);
        state.total.tick();
        state.total.enable_steady_tick(Duration::from_millis(120));
        self.show_soon(state);
    }

    fn spinner(&self, state: &mut BarState, text: String) -> ProgressBar {
        self.show_soon(state);
        let bar = ProgressBar::new_spinner().with_style(style("  {spinner} {wide_msg}")).with_message(text);
        let bar = self.all.insert_before(&state.total, bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

fn show(all: &MultiProgress, shown: &Once) {
    shown.call_once(|| all.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWN)));
}

impl Watch for Bars {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match event {
            Event::Resolving(what) => {
                let bar = self.spinner(state, format!("resolving {what}"));
                state.resolving.insert(what.to_owned(), bar);
            }
            // How many there are to be is not known.
            Event::Fetched { what, bytes } => {
                if let Some(bar) = state.resolving.get(what) {
                    if bar.position() == 0 {
                        bar.set_style(style("  {spinner} {bytes}, {bytes_per_sec} {wide_msg}"));
                    }
                    bar.inc(bytes);
                }
            }
            Event::Resolved(what) => {
                if let Some(bar) = state.resolving.remove(what) {
                    bar.finish_and_clear();
                }
            }
            Event::Waiting(what) => {
                show(&self.all, &self.shown);
                drop(self.all.println(format!("  {what}")));
            }
            Event::Planned { nodes, bytes } => {
                for (_, bar) in std::mem::take(&mut state.resolving) {
                    bar.finish_and_clear();
                }
                state.total.finish_and_clear();
                if nodes == 0 {
                    return;
                }
                let template = if bytes > 0 {
                    "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
                } else {
                    "{spinner} building {elapsed}"
                };
                self.begin(state, ProgressBar::new(bytes).with_style(style(template)));
            }
            Event::Reading { done, bytes: Some(bytes) } => {
                let template = "{bar:30} {bytes} of {total_bytes} {msg}, {bytes_per_sec}, {eta} left";
                let bar = ProgressBar::new(bytes).with_style(style(template)).with_message(done.to_owned());
                self.begin(state, bar);
            }
            Event::Reading { done, bytes: None } => {
                let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
                self.begin(state, bar.with_message(format!("the image is being {done}")));
            }
            // Documents are read again after their image.
            Event::Read { bytes } => {
                let left = state.total.length().map(|length| length.saturating_sub(state.total.position()));
                state.total.inc(left.map_or(bytes, |left| left.min(bytes)));
            }
            Event::Started { node, kind, name, bytes } => {
                let text = format!("{} {name}", kind.name());
                let bar = match bytes {
                    None => self.spinner(state, text),
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
                let bar = self.spinner(state, "writing the image".to_owned());
                state.total = bar;
            }
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // Nothing is to come on the screen after this.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, thread)) = state.curtain.take() {
            drop(sender);
            drop(thread.join());
        }
        // What an error left on the screen would be torn by its message.
        drop(self.all.clear());
    }
}
