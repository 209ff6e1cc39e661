//! Which declared nodes, arguments and properties the cases use, rightly and wrongly.

use std::collections::BTreeSet;

use kic_diag::Diagnostics;
use kic_spec::nodes;
use kic_spec::schema::{Children, NodeSchema};
use kic_syntax::{File, Node};

/// What was seen: `cluster/files/copy`, `cluster/files/copy to=`, `cluster/files/copy SOURCE`.
#[derive(Default)]
pub struct Coverage {
    good: BTreeSet<String>,
    bad: BTreeSet<String>,
}

impl Coverage {
    /// Takes note of a case.
    pub fn add(&mut self, file: &File, said: &Diagnostics) {
        for node in file.nodes.iter().filter(|node| node.name.value == nodes::CLUSTER.name) {
            self.node(node, &nodes::CLUSTER, "cluster", said);
        }
    }

    fn node(&mut self, node: &Node, schema: &NodeSchema, path: &str, said: &Diagnostics) {
        let is_within = |inner: &kic_base::Span, outer: &kic_base::Span| {
            inner.source() == outer.source()
                && outer.range().start <= inner.range().start
                && inner.range().end <= outer.range().end
        };
        let is_wrong = |place: &kic_base::Span| {
            said.iter().any(|one| one.labels.first().is_some_and(|label| is_within(&label.span, place)))
        };
        let mut note = |name: String, wrong: bool| {
            if wrong {
                self.bad.insert(name)
            } else {
                self.good.insert(name)
            };
        };
        note(path.to_owned(), is_wrong(&node.span));
        for (index, entry) in node.arguments().enumerate() {
            // The last argument may be any number of values.
            if let Some(argument) = schema.arguments.get(index).or(schema.arguments.last()) {
                note(format!("{path} {}", argument.name), is_wrong(&entry.span));
            }
        }
        for entry in node.properties() {
            if let Some(name) = &entry.name
                && schema.properties.iter().any(|property| property.name == name.value)
            {
                note(format!("{path} {}=", name.value), is_wrong(&entry.span));
            }
        }
        if let Children::Nodes(allowed) = schema.children {
            for child in node.children() {
                if let Some(schema) = allowed.iter().find(|schema| schema.name == child.name.value) {
                    self.node(child, schema, &format!("{path}/{}", schema.name), said);
                }
            }
        }
    }

    /// What no case has.
    pub fn missing(&self) -> Vec<String> {
        let mut declared = BTreeSet::new();
        declare(&nodes::CLUSTER, "cluster", &mut declared);
        let mut missing = Vec::new();
        for name in declared {
            if !self.good.contains(&name) {
                missing.push(format!("{name}, rightly"));
            }
            if !self.bad.contains(&name) {
                missing.push(format!("{name}, wrongly"));
            }
        }
        missing
    }
}

fn declare(schema: &NodeSchema, path: &str, declared: &mut BTreeSet<String>) {
    declared.insert(path.to_owned());
    declared.extend(schema.arguments.iter().map(|argument| format!("{path} {}", argument.name)));
    declared.extend(schema.properties.iter().map(|property| format!("{path} {}=", property.name)));
    if let Children::Nodes(children) = schema.children {
        for child in children {
            declare(child, &format!("{path}/{}", child.name), declared);
        }
    }
}
