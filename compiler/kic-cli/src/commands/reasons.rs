//! What `kic compile --explain` says.

use std::collections::BTreeSet;

use kic::{Compiled, CompiledLayer, InputChange, InputValue, NamedLayer, ParameterChange, Reason};
use kic_graph::Kind;

use crate::report::{printable, short_digest};

pub mod json;

/// So many changes of one layer are shown; JSON has them all.
const SHOWN: usize = 12;

/// So many layers are named in one line.
const NAMED: usize = 4;

/// What is said where something is left out.
const ALL: &str = "`--format json` has all";

/// Why each layer was built or reused, and what became of the image; nothing where that was not asked for.
pub fn reasons(compiled: &Compiled, color: bool) -> String {
    let Some(explanation) = &compiled.explanation else { return String::new() };
    let platforms: BTreeSet<String> = compiled
        .layers
        .keys()
        .map(ToString::to_string)
        .chain(explanation.gone.iter().map(|gone| gone.platform.clone()))
        .collect();
    let head = |name: &str, platform: Option<&str>| {
        let platform = platform.filter(|_| platforms.len() > 1);
        let platform = platform.map(|name| format!(" for {name}")).unwrap_or_default();
        format!("{}{platform}", paint("1", name, color))
    };
    let mut text = String::from("\n");
    for parameter in &explanation.parameters {
        let head = paint("1", &format!("parameter {}", parameter.name), color);
        text.push_str(&format!("{head}: {}\n", since(parameter)));
    }
    for (platform, layers) in &compiled.layers {
        let platform = platform.to_string();
        for layer in layers {
            let Some(reason) = &layer.reason else { continue };
            let head = head(&name(layer.kind.name(), &layer.name), Some(&platform));
            text.push_str(&format!("{head}: {}\n", sentence(layer, reason)));
            if let Reason::Changed(changes) | Reason::New { changes, .. } = reason {
                text.push_str(&shown(changes, layer.kind, color));
            }
        }
    }
    for gone in &explanation.gone {
        let head = head(&name(&gone.layer.kind, &gone.layer.name), Some(&gone.platform));
        let files = match gone.files_now_in.as_slice() {
            [] => String::new(),
            layers => format!("; files of it are now in {}", names(layers)),
        };
        text.push_str(&format!("{head}: gone{files}\n{}", shown(&gone.changes, Kind::Files, color)));
    }
    if let Reason::Changed(changes) = &explanation.image {
        text.push_str(&format!("{}: {} changed\n", head("image", None), count(changes.len())));
        changes.iter().for_each(|one| text.push_str(&line(one, false, color)));
    }
    text
}

/// What became of a parameter. Its values may be secret.
fn since(parameter: &ParameterChange) -> &'static str {
    match (parameter.was_given, parameter.is_given) {
        (true, true) => "another value than the last compile was given",
        (true, false) => "not given, and the last compile was given it",
        (false, _) => "given, and the last compile was not given it",
    }
}

/// A layer by its kind and name.
fn name(kind: &str, name: &str) -> String {
    let is_digest = kind == Kind::RegistryCache.name();
    let name = if is_digest { short_digest(name) } else { printable(name) };
    format!("{kind} {name}")
}

fn names(layers: &[NamedLayer]) -> String {
    let shown = layers.iter().take(NAMED).map(|layer| name(&layer.kind, &layer.name));
    let text = shown.collect::<Vec<_>>().join(", ");
    match layers.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text} and {more} more; {ALL}"),
    }
}

fn count(changes: usize) -> String {
    if changes == 1 { "one input".to_owned() } else { format!("{changes} inputs") }
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
        Reason::New { needed_for, files_were_in, .. } => {
            let mut text = format!("{done}, new");
            if !needed_for.is_empty() {
                text.push_str(&format!(", needed for {}", printable(&needed_for.join(", "))));
            }
            if !files_were_in.is_empty() {
                text.push_str(&format!(", with files that were in {}", names(files_were_in)));
            }
            format!("{text}{of_store}")
        }
        Reason::Changed(changes) => format!("{done}, {} changed{of_store}", count(changes.len())),
    }
}

/// The changes of a layer.
fn shown(changes: &[InputChange], kind: Kind, color: bool) -> String {
    let is_registry = matches!(kind, Kind::RegistryCache | Kind::RegistryCatalogue);
    // Where it is told by image, the files that the registry has for them tell nothing more.
    let is_image = |change: &InputChange| {
        [&change.from, &change.to]
            .into_iter()
            .flatten()
            .any(|value| matches!(value, InputValue::Image { .. }))
    };
    let is_by_image = is_registry && changes.iter().any(is_image);
    let (files, told): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| is_by_image && change.input.starts_with('/'));
    let mut text: String = told.iter().take(SHOWN).map(|one| line(one, is_registry, color)).collect();
    if told.len() > SHOWN {
        text.push_str(&format!("  and {} more; {ALL}\n", told.len() - SHOWN));
    }
    if !files.is_empty() {
        let files = if files.len() == 1 { "one file".to_owned() } else { format!("{} files", files.len()) };
        text.push_str(&format!("  and {files} of the registry's for them; {ALL}\n"));
    }
    text
}

fn line(change: &InputChange, is_registry: bool, color: bool) -> String {
    let (sign, tint, what) = match (&change.from, &change.to, &change.elsewhere) {
        (Some(from), Some(to), None) => ('~', "33", difference(from, to)),
        (Some(from), Some(to), Some(layer)) => {
            let layer = format!("was in {}", name(&layer.kind, &layer.name));
            ('<', "36", if from == to { layer } else { format!("{layer}, {}", difference(from, to)) })
        }
        (Some(_), None, Some(layer)) => ('>', "36", format!("now in {}", name(&layer.kind, &layer.name))),
        (None, Some(to), _) => ('+', "32", short(to)),
        (Some(from), None, None) => ('-', "31", short(from)),
        (None, None, _) => (' ', "0", String::new()),
    };
    let input = if is_registry { without_long_digits(&change.input) } else { change.input.clone() };
    let source = change.source.as_ref().map(|source| format!(" ({})", printable(source))).unwrap_or_default();
    let platform = change.platform.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let what = if what.is_empty() { what } else { format!("  {}", printable(&what)) };
    format!("  {}{platform}{source}{what}\n", paint(tint, &format!("{sign} {}", printable(&input)), color))
}

/// The parts of two values that differ.
fn difference(from: &InputValue, to: &InputValue) -> String {
    match (from, to) {
        (InputValue::Layer { digest: old, .. }, InputValue::Layer { digest: new, .. }) => {
            return match (old, new) {
                (Some(old), Some(new)) if old == new => "made in another way, the same bytes".to_owned(),
                (Some(old), Some(new)) => format!("{} → {}", old.short(), new.short()),
                (None, Some(new)) => format!("another one, now {}", new.short()),
                (_, None) => "another one".to_owned(),
            };
        }
        (InputValue::Several { count: old, .. }, InputValue::Several { count: new, .. }) if old == new => {
            return format!("{new}, others or in another order");
        }
        _ => {}
    }
    let (old, new) = (from.parts(), to.parts());
    if old.len() != new.len() {
        return format!("{} → {}", short(from), short(to));
    }
    let parts = old.iter().zip(&new).filter(|(old, new)| old != new);
    let parts = parts.map(|(old, new)| format!("{} → {}", short_digest(old), short_digest(new)));
    parts.collect::<Vec<_>>().join(", ")
}

/// A value with its digests cut.
fn short(value: &InputValue) -> String {
    value.parts().iter().map(|part| short_digest(part)).collect::<Vec<_>>().join(", ")
}

/// A path of a registry with its digests cut.
fn without_long_digits(path: &str) -> String {
    let part = |part: &str| {
        let is_digest = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_digest { format!("{}…", part.chars().take(12).collect::<String>()) } else { part.to_owned() }
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn paint(tint: &str, text: &str, color: bool) -> String {
    if color { format!("\u{1b}[{tint}m{text}\u{1b}[0m") } else { text.to_owned() }
}
