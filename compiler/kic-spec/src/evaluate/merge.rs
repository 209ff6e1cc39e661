//! What several modules say of one thing becomes one: lists append in the order of the uses, maps merge, and two
//! different values for one scalar are an error, unless one is marked `(default)` or `(force)`.

use std::collections::BTreeMap;

use kic_base::{Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::Closed;

/// How much a value weighs against another one for the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Default,
    Plain,
    Force,
}

fn weight(annotation: Option<&Spanned<String>>) -> Option<Weight> {
    match annotation?.value.as_str() {
        "default" => Some(Weight::Default),
        "force" => Some(Weight::Force),
        _ => None,
    }
}

/// Merges the children of a cluster. `callers` tells where each instance of a module is used.
pub(super) fn merge(
    closed: Vec<Closed>,
    callers: &[Option<Span>],
    diagnostics: &mut Diagnostics,
) -> Vec<Node> {
    let mut merging = Merging { callers, diagnostics };
    let mut groups: BTreeMap<usize, Vec<Closed>> = BTreeMap::new();
    let mut keys: BTreeMap<(String, String), usize> = BTreeMap::new();
    let closed = merging.one_registry(closed);
    for one in closed {
        let name = one.node.name.value.clone();
        let first = one.node.arguments().next().map(|entry| entry.value.clone());
        let key = match (name.as_str(), first) {
            (
                "files" | "manifests" | "policies" | "readiness" | "registry" | "label",
                Some(Value::String(first)),
            ) => first,
            ("base" | "compression" | "launch" | "platform", _) => String::new(),
            // Unknown and broken nodes stay as they are, for decoding to report.
            _ => format!("\0{}", groups.len()),
        };
        let place = *keys.entry((name, key)).or_insert(groups.len());
        groups.entry(place).or_default().push(one);
    }
    groups.into_values().flat_map(|group| merging.group(group)).collect()
}

struct Merging<'a> {
    callers: &'a [Option<Span>],
    diagnostics: &'a mut Diagnostics,
}

impl Merging<'_> {
    /// A registry that is forced takes in all others; one that is a default goes into the one that is not.
    fn one_registry(&mut self, mut closed: Vec<Closed>) -> Vec<Closed> {
        let is_registry = |one: &Closed| one.node.name.value == "registry";
        let heaviest = closed
            .iter()
            .filter(|one| is_registry(one))
            .map(|one| weight(one.node.annotation.as_ref()).unwrap_or(Weight::Plain))
            .max();
        let lighter = |one: &Closed| {
            weight(one.node.annotation.as_ref()).unwrap_or(Weight::Plain) < heaviest.unwrap_or(Weight::Plain)
        };
        let hosts: Vec<Entry> = closed
            .iter()
            .filter(|one| is_registry(one) && !lighter(one))
            .filter_map(|one| one.node.arguments().next().cloned())
            .collect();
        let Some(host) = hosts.first().cloned() else { return closed };
        let same = hosts.iter().all(|other| other.value == host.value);
        for one in closed.iter_mut().filter(|one| is_registry(one)) {
            if lighter(one) && same {
                for entry in one.node.entries.iter_mut().filter(|entry| entry.name.is_none()).take(1) {
                    *entry = host.clone();
                }
            }
        }
        if heaviest == Some(Weight::Force)
            && let Some(other) = hosts.iter().find(|other| other.value != host.value)
        {
            self.conflict("the host of the registry", &host.span, &other.span, None);
        }
        closed
    }

    /// One node of the nodes about one thing; several where one instance says it several times, which decoding
    /// reports.
    fn group(&mut self, mut group: Vec<Closed>) -> Vec<Node> {
        let name = group[0].node.name.value.clone();
        if group.iter().all(|one| one.instance == group[0].instance) {
            return group.into_iter().map(|one| unmarked(one.node)).collect();
        }
        if matches!(name.as_str(), "base" | "compression" | "launch" | "platform" | "label") {
            let of = |one: &Closed| weight(one.node.annotation.as_ref()).unwrap_or(Weight::Plain);
            let heaviest = group.iter().map(of).max();
            group.retain(|one| Some(of(one)) == heaviest);
        }
        keep_heaviest(&mut group);
        let mut group = group.into_iter();
        let Some(Closed { node: mut merged, instance }) = group.next() else { return Vec::new() };
        let mut instances = vec![instance];
        let mut rest = Vec::new();
        for one in group {
            if instances.contains(&one.instance) && !matches!(name.as_str(), "launch" | "platform") {
                // Said twice in one place: an error of that place, whatever others say.
                rest.push(unmarked(one.node));
                continue;
            }
            instances.push(one.instance);
            self.add(&mut merged, one);
        }
        let mut out = vec![unmarked(merged)];
        out.extend(rest);
        out
    }

    /// Adds what `other` says to `merged`.
    fn add(&mut self, merged: &mut Node, other: Closed) {
        let caller = self.callers.get(other.instance).cloned().flatten();
        let what = merged.name.value.clone();
        if what == "platform" {
            for entry in other.node.entries {
                if !merged.entries.iter().any(|own| own.value == entry.value) {
                    merged.entries.push(entry);
                }
            }
            return;
        }
        let arguments = |node: &Node| node.arguments().map(|entry| entry.value.clone()).collect::<Vec<_>>();
        if arguments(merged) != arguments(&other.node) {
            self.conflict(&format!("`{what}`"), &merged.head(), &other.node.head(), caller.as_ref());
            return;
        }
        for entry in other.node.entries.into_iter().filter(|entry| entry.name.is_some()) {
            let name = entry.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
            match merged.entries.iter().find(|own| own.name.as_ref().is_some_and(|own| own.value == name)) {
                None => merged.entries.push(entry),
                Some(own) if own.value == entry.value => {}
                Some(own) => {
                    let (first, second) = (own.span.clone(), entry.span.clone());
                    self.conflict(&format!("`{name}` of `{what}`"), &first, &second, caller.as_ref());
                }
            }
        }
        // Under `base`, one form says it; two that differ have been told apart by their arguments and properties.
        if let Some(children) = other.node.children {
            merged.children.get_or_insert_default().extend(children);
        }
    }

    fn conflict(&mut self, what: &str, first: &Span, second: &Span, caller: Option<&Span>) {
        let mut diagnostic =
            Diagnostic::new(&code::CONFLICTING_VALUES, format!("{what} is said in two ways"))
                .at(second, "here again")
                .at(first, "first here");
        if let Some(caller) = caller {
            diagnostic = diagnostic.at(caller, "used here");
        }
        self.diagnostics
            .push(diagnostic.help("mark the one that wins with `(force)`, or the other with `(default)`"));
    }
}

/// Takes away the properties that weigh less than the same one of another node.
fn keep_heaviest(group: &mut [Closed]) {
    let of = |node: &Node, entry: &Entry| {
        weight(entry.annotation.as_ref()).or(weight(node.annotation.as_ref())).unwrap_or(Weight::Plain)
    };
    let name = |entry: &Entry| entry.name.as_ref().map(|name| name.value.clone());
    let mut heaviest: BTreeMap<String, Weight> = BTreeMap::new();
    for Closed { node, .. } in group.iter() {
        for entry in &node.entries {
            let Some(name) = name(entry) else { continue };
            let known = heaviest.entry(name).or_insert(Weight::Default);
            *known = (*known).max(of(node, entry));
        }
    }
    for Closed { node, .. } in group {
        let lighter: Vec<bool> = node
            .entries
            .iter()
            .map(|entry| {
                name(entry)
                    .and_then(|name| heaviest.get(&name).copied())
                    .is_some_and(|most| of(node, entry) < most)
            })
            .collect();
        let mut lighter = lighter.into_iter();
        node.entries.retain(|_| !lighter.next().unwrap_or(false));
    }
}

/// A node without `(default)` and `(force)` on itself and its own entries.
fn unmarked(mut node: Node) -> Node {
    if weight(node.annotation.as_ref()).is_some() {
        node.annotation = None;
    }
    for entry in &mut node.entries {
        if weight(entry.annotation.as_ref()).is_some() {
            entry.annotation = None;
        }
    }
    node
}
