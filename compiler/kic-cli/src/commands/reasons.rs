//! What `kic compile --explain` says.

use kic::{Compiled, CompiledLayer, InputChange, Reason};
use kic_graph::Kind;
use serde_json::json;

use crate::report::{printable, short_digest};

/// So many changes of one layer are shown; JSON has them all.
const SHOWN: usize = 12;

/// Why each layer was built or reused; nothing where that was not asked for.
pub fn reasons(compiled: &Compiled, color: bool) -> String {
    let several = compiled.layers.len() > 1;
    let mut text = String::new();
    for (platform, layers) in &compiled.layers {
        for layer in layers {
            let Some(reason) = &layer.reason else { continue };
            let platform = if several { format!(" for {platform}") } else { String::new() };
            text.push_str(&format!(
                "{}{platform}: {}\n",
                paint("1", &name(layer.kind.name(), &layer.name, layer.kind == Kind::RegistryCache), color),
                sentence(layer, reason)
            ));
            if let Reason::Changed(changes) = reason {
                for one in changes.iter().take(SHOWN) {
                    text.push_str(&change(one, color));
                }
                if changes.len() > SHOWN {
                    text.push_str(&format!("  and {} more\n", changes.len() - SHOWN));
                }
            }
        }
    }
    for (platform, kind, layer) in &compiled.gone {
        let platform = if several { format!(" for {platform}") } else { String::new() };
        let name = name(kind, layer, *kind == Kind::RegistryCache.name());
        text.push_str(&format!("{}{platform}: gone\n", paint("1", &name, color)));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn name(kind: &str, name: &str, is_digest: bool) -> String {
    let name = if is_digest { short_digest(name) } else { printable(name) };
    format!("{kind} {name}")
}

fn sentence(layer: &CompiledLayer, reason: &Reason) -> String {
    let done = match layer.outcome {
        kic::Outcome::Reused => "reused",
        kic::Outcome::Built(_) if layer.kind == Kind::Base => "fetched",
        kic::Outcome::Built(_) => "built",
    };
    let is_reused = layer.outcome == kic::Outcome::Reused;
    let of_store = if is_reused { "; the store had it" } else { "" };
    match reason {
        Reason::Unchanged => format!("{done}, nothing changed"),
        Reason::Gone => format!("{done}, nothing changed, but the store no longer had it"),
        Reason::FirstCompile => format!("{done}, no compile of this spec before it is known{of_store}"),
        Reason::New(origins) if origins.is_empty() => format!("{done}, new{of_store}"),
        Reason::New(origins) => {
            format!("{done}, new, needed for {}{of_store}", printable(&origins.join(", ")))
        }
        Reason::Changed(changes) => {
            let count = match changes.len() {
                1 => "one input".to_owned(),
                count => format!("{count} inputs"),
            };
            format!("{done}, {count} changed{of_store}")
        }
    }
}

fn change(change: &InputChange, color: bool) -> String {
    let (sign, tint, what) = match (&change.from, &change.to) {
        (Some(from), Some(to)) => ('~', "33", difference(from, to)),
        (None, Some(to)) => ('+', "32", short(to)),
        (Some(from), None) => ('-', "31", short(from)),
        (None, None) => (' ', "0", String::new()),
    };
    let source = change.source.as_ref().map(|source| format!(" ({})", printable(source))).unwrap_or_default();
    let input = printable(&change.input);
    format!("  {}{source}  {}\n", paint(tint, &format!("{sign} {input}"), color), printable(&what))
}

/// The parts of two values that differ.
fn difference(from: &str, to: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (from.split(", ").collect(), to.split(", ").collect());
    if old.len() != new.len() {
        return format!("{} → {}", short(from), short(to));
    }
    let parts = old.iter().zip(&new).filter(|(old, new)| old != new);
    parts.map(|(old, new)| format!("{} → {}", short(old), short(new))).collect::<Vec<_>>().join(", ")
}

/// A value with its digests cut.
fn short(value: &str) -> String {
    let part = |part: &str| if part.starts_with("sha256:") { short_digest(part) } else { part.to_owned() };
    value.split(", ").map(part).collect::<Vec<_>>().join(", ")
}

fn paint(tint: &str, text: &str, color: bool) -> String {
    if color { format!("\u{1b}[{tint}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A reason for machines.
pub fn reason_as_json(reason: &Reason) -> serde_json::Value {
    match reason {
        Reason::Unchanged => json!({ "why": "unchanged" }),
        Reason::Gone => json!({ "why": "gone-from-store" }),
        Reason::FirstCompile => json!({ "why": "first-compile" }),
        Reason::New(origins) => json!({ "why": "new", "neededFor": origins }),
        Reason::Changed(changes) => {
            let change = |change: &InputChange| json!({ "input": change.input, "source": change.source, "from": change.from, "to": change.to });
            json!({ "why": "changed", "changes": changes.iter().map(change).collect::<Vec<_>>() })
        }
    }
}
