use clap::Args;
use kic_diag::Diagnostics;
use kic_store::{Files, Usage};
use serde_json::json;

use super::{Existing, pretty, shown};
use crate::arguments::{Format, Global};
use crate::report::{size, table};
use crate::terminal::Terminal;

/// Tell how much the store holds, and how much of it nothing needs.
#[derive(Debug, Args)]
pub struct Status {}

impl Status {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let existing = Existing::open(global)?;
        let usage = existing.look(|store| store.usage(&kic::counts))?;
        let bytes = total(&usage);
        match terminal.format {
            Format::Json => terminal.print(&pretty(&json!({
                "store": shown(&existing.path),
                "bytes": bytes,
                "blobs": files(usage.blobs),
                "embedded": files(usage.embedded),
                "outputs": files(usage.outputs),
                "removable": files(removable(&usage)),
                "unfinished": files(usage.partials),
                "damaged": files(usage.set_aside),
                "inUse": files(usage.temporary),
                "memoBytes": usage.memos.bytes,
                "roots": usage.roots,
                "staleRoots": usage.stale_roots,
            }))),
            _ if terminal.quiet => terminal.print(&format!("{bytes}\n")),
            _ if existing.store.is_none() => {}
            _ => terminal.print(&as_text(&existing.path.display().to_string(), &usage, terminal)),
        }
        existing.told()
    }
}

fn files(files: Files) -> serde_json::Value {
    json!({ "count": files.count, "bytes": files.bytes })
}

fn total(usage: &Usage) -> u64 {
    [usage.blobs, usage.embedded, usage.outputs, usage.partials, usage.set_aside, usage.temporary]
        .iter()
        .map(|files| files.bytes)
        .sum()
}

/// What `kic store gc` would remove: what nothing needs, what is unfinished, and what is damaged.
fn removable(usage: &Usage) -> Files {
    let all = [usage.unneeded, usage.partials, usage.set_aside];
    Files {
        count: all.iter().map(|files| files.count).sum(),
        bytes: all.iter().map(|files| files.bytes).sum(),
    }
}

fn as_text(path: &str, usage: &Usage, terminal: &Terminal) -> String {
    let rows = [
        ("blobs", usage.blobs),
        ("blobs inside others", usage.embedded),
        ("records of outputs", usage.outputs),
        ("unfinished downloads", usage.partials),
        ("damaged, set aside", usage.set_aside),
        ("in use right now", usage.temporary),
    ];
    let row =
        |(name, files): &(&str, Files)| vec![(*name).to_owned(), files.count.to_string(), size(files.bytes)];
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    let mut text =
        format!("{path}\n\n{}", table(&["WHAT", "COUNT", "SIZE"], &rows, &[1, 2], terminal.color_out));
    text.push_str(&format!("\n{} in all", size(total(usage))));
    let stale = match usage.stale_roots {
        0 => String::new(),
        stale => format!(", and {stale} that no longer count"),
    };
    let roots = if usage.roots == 1 { "1 root".to_owned() } else { format!("{} roots", usage.roots) };
    text.push_str(&format!(", kept by {roots}{stale}\n"));
    match removable(usage) {
        Files { count: 0, .. } => text.push_str("everything is needed\n"),
        Files { bytes, .. } => text.push_str(&format!("`kic store gc` would remove {}\n", size(bytes))),
    }
    if usage.memos.count > 0 {
        text.push_str(&format!("memos of earlier runs, not counted above: {}\n", size(usage.memos.bytes)));
    }
    if usage.set_aside.count > 0 {
        text.push_str(
            "what is damaged is put back by `kic store verify --repair`, and removed by `kic store gc`\n",
        );
    }
    text
}
