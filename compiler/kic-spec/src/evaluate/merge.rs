//! What several modules say of one thing becomes one: lists append in the order of the uses, maps merge, and two
//! different values for one scalar are an error, unless one is marked `(default)` or `(force)`.
//!
//! | node | what is merged |
//! |---|---|
//! | `base`, `compression`, `label NAME` | one value: equal, or one weighs more |
//! | `platform`, `launch` | a list: appended; one that weighs more stands for all |
//! | `apply`, `wait` and `rest` in `launch` | said by several, the first one stays; where only modules say steps, a `rest` follows |
//! | `files NAME` and other layers | properties are values; what stands inside is appended |
//! | `registry HOST` | what stands inside is appended; a forced host is that of every registry |
//! | `object` in a layer | fields merge by their names ([`super::merge_data`]) |
//! | `chart` in a layer | inline values merge by their names, the rest is appended ([`super::merge_charts`]) |

use std::collections::BTreeMap;

use kic_base::{Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::Override;
use super::evaluator::Closed;
use super::merge_data::{merge_objects, object_key};

/// How much a value weighs against another one for the same thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    Default,
    Plain,
    Force,
}

/// The weight that an annotation gives, where it is one that does.
pub(super) fn weight(annotation: Option<&Spanned<String>>) -> Option<Weight> {
    match annotation?.value.as_str() {
        "default" => Some(Weight::Default),
        "force" => Some(Weight::Force),
        _ => None,
    }
}

fn weight_of(node: &Node) -> Weight {
    weight(node.annotation.as_ref()).unwrap_or(Weight::Plain)
}

/// Merges the children of a cluster. `callers` tells where each instance of a module is used.
pub(super) fn merge(
    closed: Vec<Closed>,
    callers: &[Option<Span>],
    diagnostics: &mut Diagnostics,
) -> (Vec<Node>, Vec<Override>) {
    let mut merging = Merging { callers, diagnostics, overrides: Vec::new() };
    let mut groups: Vec<Vec<Closed>> = Vec::new();
    let mut keys: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for one in merging.one_registry(closed) {
        let name = one.node.name.value.clone();
        let first = one.node.arguments().next().map(|entry| entry.value.clone());
        let key = match (name.as_str(), first) {
            (
                "files" | "manifests" | "policies" | "readiness" | "registry" | "label",
                Some(Value::String(first)),
            ) => Some(first),
            ("base" | "compression" | "launch" | "platform", _) => None,
            // Unknown and broken nodes stay as they are, for decoding to report.
            _ => {
                groups.push(vec![one]);
                continue;
            }
        };
        let place = *keys.entry((name, key)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(one);
    }
    let nodes = groups.into_iter().flat_map(|group| merging.group(group)).collect();
    (nodes, merging.overrides)
}

pub(super) struct Merging<'a> {
    callers: &'a [Option<Span>],
    diagnostics: &'a mut Diagnostics,
    pub overrides: Vec<Override>,
}

/// A node that others have been added to, and the instance that each of its parts came by.
struct Merged {
    node: Node,
    entry_instances: Vec<usize>,
    /// What stands inside, in order; an object may be said by several instances.
    children: Vec<Vec<(Node, usize)>>,
    /// The objects among them, by what they are.
    objects: BTreeMap<Vec<String>, usize>,
    /// What was left out since another instance had said it.
    said_before: Vec<(Node, usize)>,
}

impl Merged {
    fn new(Closed { mut node, instance, .. }: Closed) -> Self {
        let children = node.children.take();
        let entry_instances = vec![instance; node.entries.len()];
        let mut merged = Self {
            node,
            entry_instances,
            children: Vec::new(),
            objects: BTreeMap::new(),
            said_before: Vec::new(),
        };
        merged.add_children(children, instance);
        merged
    }

    fn add_children(&mut self, children: Option<Vec<Node>>, instance: usize) {
        let Some(children) = children else { return };
        // Braces that hold nothing stay.
        self.node.children.get_or_insert_default();
        for child in children {
            let same_of_other = |(own, from): &(Node, usize)| *from != instance && is_same(own, &child);
            // Said twice by one instance, it stays, for decoding to report.
            let again = |(own, from): &(Node, usize)| *from == instance && is_same(own, &child);
            if is_said_once(&child)
                && self.children.iter().flatten().any(same_of_other)
                && !self.said_before.iter().any(again)
            {
                self.said_before.push((child, instance));
                continue;
            }
            let Some(key) = object_key(&child) else {
                self.children.push(vec![(child, instance)]);
                continue;
            };
            let known = self.objects.get(&key).and_then(|index| self.children.get_mut(*index));
            match known {
                // Said twice by one instance, it stays twice, for what comes later to report.
                Some(parts) if parts.last().is_some_and(|(_, last)| *last != instance) => {
                    parts.push((child, instance))
                }
                _ => {
                    self.objects.entry(key).or_insert(self.children.len());
                    self.children.push(vec![(child, instance)]);
                }
            }
        }
    }

    fn finish(mut self, merging: &mut Merging<'_>) -> Node {
        if let Some(children) = &mut self.node.children {
            *children = self.children.into_iter().map(|parts| merge_objects(merging, parts)).collect();
        }
        unmarked(self.node)
    }
}

impl Merging<'_> {
    /// A registry that is forced takes in those of all others; one that is a default goes into the one that is not.
    fn one_registry(&mut self, mut closed: Vec<Closed>) -> Vec<Closed> {
        let is_registry = |one: &Closed| one.node.name.value == "registry";
        let Some(heaviest) =
            closed.iter().filter(|one| is_registry(one)).map(|one| weight_of(&one.node)).max()
        else {
            return closed;
        };
        let heavy = closed.iter().filter(|one| is_registry(one) && weight_of(&one.node) == heaviest);
        let hosts: Vec<(Entry, usize)> =
            heavy.filter_map(|one| Some((one.node.arguments().next().cloned()?, one.instance))).collect();
        let Some((host, from)) = hosts.first().cloned() else { return closed };
        let other = hosts.iter().find(|(other, _)| other.value != host.value);
        if let Some((other, instance)) = other {
            if heaviest == Weight::Force {
                self.conflict(
                    "the host of the registry",
                    (&host.span, from),
                    (&other.span, *instance),
                    heaviest,
                );
            } else {
                self.another_registry(&hosts);
            }
            return closed;
        }
        for one in closed.iter_mut().filter(|one| is_registry(one)) {
            if weight_of(&one.node) == heaviest || one.instance == from {
                continue;
            }
            one.is_moved = true;
            if let Some(entry) = one.node.entries.iter_mut().find(|entry| entry.name.is_none()) {
                if entry.value != host.value {
                    self.overrides.push(Override { kept: host.span.clone(), instead_of: entry.span.clone() });
                }
                *entry = host.clone();
            }
        }
        closed
    }

    /// Warns of registries that only modules name, beside that of the spec or the first one: a misspelt parameter makes
    /// such a one.
    fn another_registry(&mut self, hosts: &[(Entry, usize)]) {
        let Some((first, by)) = hosts.iter().find(|(_, by)| *by == 0).or_else(|| hosts.first()) else {
            return;
        };
        let first_place = self.callers.get(*by).and_then(Option::as_ref).unwrap_or(&first.span);
        let mut known = vec![&first.value];
        known.extend(hosts.iter().filter(|(_, by)| *by == 0).map(|(host, _)| &host.value));
        for (host, by) in hosts {
            let (Value::String(name), Value::String(first_name)) = (&host.value, &first.value) else {
                continue;
            };
            let Some(caller) = self.callers.get(*by).and_then(Option::as_ref) else { continue };
            if known.contains(&&host.value) {
                continue;
            }
            known.push(&host.value);
            self.diagnostics.push(
                Diagnostic::new(
                    &code::ANOTHER_REGISTRY,
                    format!("a module names the registry `{name}`, beside `{first_name}`"),
                )
                .at(caller, format!("this one names `{name}`"))
                .at(first_place, format!("`{first_name}` comes from here"))
                .help(format!(
                    "give both the same host; if the cluster has two registries, let the spec say so: `registry \"{name}\" {{}}`"
                )),
            );
        }
    }

    /// One node of the nodes about one thing; several where one instance says it several times, which decoding
    /// reports.
    fn group(&mut self, mut group: Vec<Closed>) -> Vec<Node> {
        let name = group[0].node.name.value.clone();
        if name == "launch" {
            with_rest(&mut group);
        }
        if group.iter().all(|one| one.instance == group[0].instance && !one.is_moved) {
            return group.into_iter().map(|one| unmarked(one.node)).collect();
        }
        if matches!(name.as_str(), "base" | "compression" | "launch" | "platform" | "label") {
            self.keep_heaviest_nodes(&mut group);
        }
        self.keep_heaviest_entries(&mut group);
        let mut group = group.into_iter();
        let Some(first) = group.next() else { return Vec::new() };
        let mut instances = std::collections::BTreeSet::from([first.instance]);
        let weight = weight_of(&first.node);
        let mut merged = Merged::new(first);
        let mut rest = Vec::new();
        for one in group {
            if !instances.insert(one.instance) && !one.is_moved {
                // Said twice in one place: an error of that place, whatever others say.
                rest.push(unmarked(one.node));
                continue;
            }
            self.add(&mut merged, one, weight);
        }
        let mut out = vec![merged.finish(self)];
        out.extend(rest);
        out
    }

    /// Adds what `other` says to `merged`; of what both say, both weigh `weight` or their entries' own.
    fn add(&mut self, merged: &mut Merged, other: Closed, weight: Weight) {
        let what = merged.node.name.value.clone();
        if what == "platform" {
            for entry in other.node.entries {
                if !merged.node.entries.iter().any(|own| own.value == entry.value) {
                    merged.node.entries.push(entry);
                }
            }
            return;
        }
        let own_instance = merged.entry_instances.first().copied().unwrap_or_default();
        if !merged
            .node
            .arguments()
            .map(|entry| &entry.value)
            .eq(other.node.arguments().map(|entry| &entry.value))
        {
            let (first, second) = (merged.node.head(), other.node.head());
            let what = match other.node.arguments().next() {
                Some(name) if what == "label" => format!("the label {}", name.value),
                _ => format!("`{what}`"),
            };
            self.conflict(&what, (&first, own_instance), (&second, other.instance), weight);
            return;
        }
        let other_weight = weight_of(&other.node);
        for entry in other.node.entries.into_iter().filter(|entry| entry.name.is_some()) {
            let name = entry.name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
            let is_same = |own: &Entry| own.name.as_ref().is_some_and(|own| own.value == name);
            match merged.node.entries.iter().position(is_same) {
                None => {
                    merged.node.entries.push(entry);
                    merged.entry_instances.push(other.instance);
                }
                Some(index) => {
                    let own = &merged.node.entries[index];
                    if own.value != entry.value {
                        let weight = self::weight(entry.annotation.as_ref()).unwrap_or(other_weight);
                        let (first, second) = (own.span.clone(), entry.span.clone());
                        let instance = merged.entry_instances[index];
                        self.conflict(
                            &format!("`{name}` of `{what}`"),
                            (&first, instance),
                            (&second, other.instance),
                            weight,
                        );
                    }
                }
            }
        }
        merged.add_children(other.node.children, other.instance);
    }

    /// Two values of one weight for one thing: their places, and the uses of the modules that say them.
    pub fn conflict(&mut self, what: &str, first: (&Span, usize), second: (&Span, usize), weight: Weight) {
        let mut diagnostic =
            Diagnostic::new(&code::CONFLICTING_VALUES, format!("{what} is said in two ways"))
                .at(second.0, "here again")
                .at(first.0, "first here");
        let mut callers: Vec<&Span> = Vec::new();
        for instance in [first.1, second.1] {
            if let Some(Some(caller)) = self.callers.get(instance)
                && !callers.contains(&caller)
            {
                callers.push(caller);
                diagnostic = diagnostic.at(caller, "by this use");
            }
        }
        self.diagnostics.push(diagnostic.help(match weight {
            Weight::Default => "both are defaults: say it without a mark, or mark one of them `(force)`",
            Weight::Plain => "mark the one that wins with `(force)`, or the other with `(default)`",
            Weight::Force => "both are forced: take `(force)` away from one of them",
        }));
    }

    /// Drops the nodes that weigh less than another one of the same thing.
    fn keep_heaviest_nodes(&mut self, group: &mut Vec<Closed>) {
        let Some(heaviest) = group.iter().map(|one| weight_of(&one.node)).max() else { return };
        let kept = group.iter().find(|one| weight_of(&one.node) == heaviest).map(|one| one.node.head());
        for lighter in group.iter().filter(|one| weight_of(&one.node) < heaviest) {
            if let Some(kept) = &kept {
                self.overrides.push(Override { kept: kept.clone(), instead_of: lighter.node.head() });
            }
        }
        group.retain(|one| weight_of(&one.node) == heaviest);
    }

    /// Takes away the properties that weigh less than the same one of another node.
    fn keep_heaviest_entries(&mut self, group: &mut [Closed]) {
        let of =
            |node: &Node, entry: &Entry| weight(entry.annotation.as_ref()).unwrap_or_else(|| weight_of(node));
        let name = |entry: &Entry| entry.name.as_ref().map(|name| name.value.clone());
        let mut heaviest: BTreeMap<String, (Weight, Span)> = BTreeMap::new();
        for Closed { node, .. } in group.iter() {
            for entry in &node.entries {
                let Some(name) = name(entry) else { continue };
                let this = (of(node, entry), entry.span.clone());
                let known = heaviest.entry(name).or_insert_with(|| this.clone());
                if this.0 > known.0 {
                    *known = this;
                }
            }
        }
        for Closed { node, .. } in group {
            let mut entries = std::mem::take(&mut node.entries);
            entries.retain(|entry| {
                let Some((most, kept)) = name(entry).and_then(|name| heaviest.get(&name)) else {
                    return true;
                };
                let stays = of(node, entry) == *most;
                if !stays {
                    self.overrides.push(Override { kept: kept.clone(), instead_of: entry.span.clone() });
                }
                stays
            });
            node.entries = entries;
        }
    }
}

/// Whether a node inside a layer says something that it is enough to say once, whoever does.
fn is_said_once(node: &Node) -> bool {
    let arguments = match node.name.value.as_str() {
        "discover" | "rest" => 0,
        "apply" | "wait" => 1,
        _ => return false,
    };
    node.entries.len() == arguments && node.children.is_none()
}

fn is_same(one: &Node, other: &Node) -> bool {
    let values = |node: &Node| node.entries.iter().map(|entry| entry.value.clone()).collect::<Vec<_>>();
    one.name.value == other.name.value && one.children.is_none() && values(one) == values(other)
}

/// Steps that only modules say leave open what becomes of the layers of the spec: those follow.
fn with_rest(group: &mut [Closed]) {
    let is_rest = |node: &Node| node.name.value == "rest";
    let says_rest = |one: &Closed| one.node.children().iter().any(is_rest);
    if group.iter().any(|one| one.instance == 0 || says_rest(one)) {
        return;
    }
    let Some(last) = group.iter_mut().max_by_key(|one| weight_of(&one.node)) else { return };
    let span = last.node.name.span.clone();
    let name = Spanned::new("rest".to_owned(), span.clone());
    let rest = Node { annotation: None, name, entries: Vec::new(), children: None, span };
    last.node.children.get_or_insert_default().push(rest);
}

/// A node without `(default)` and `(force)` on itself, its own properties, and the fields of its objects.
pub(super) fn unmarked(mut node: Node) -> Node {
    unmark(&mut node);
    for child in node.children.iter_mut().flatten() {
        match child.name.value.as_str() {
            "object" => child.children.iter_mut().flatten().for_each(unmark_field),
            "chart" => {
                let values = child.children.iter_mut().flatten().filter(|child| child.name.value == "values");
                values.flat_map(|values| values.children.iter_mut().flatten()).for_each(unmark_field);
            }
            _ => {}
        }
    }
    node
}

fn unmark(node: &mut Node) {
    if weight(node.annotation.as_ref()).is_some() {
        node.annotation = None;
    }
    for entry in node.entries.iter_mut().filter(|entry| entry.name.is_some()) {
        if weight(entry.annotation.as_ref()).is_some() {
            entry.annotation = None;
        }
    }
}

fn unmark_field(field: &mut Node) {
    unmark(field);
    field.children.iter_mut().flatten().for_each(unmark_field);
}
