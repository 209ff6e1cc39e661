//! The value that a node stands for, in a call, a `let` or a `default`.

use std::collections::BTreeMap;

use kic_base::Span;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node};

use super::binding::Binding;
use crate::decode::unknown_annotation;

/// The deepest that values lie inside each other.
pub(crate) const DEEPEST: usize = 128;

/// Several arguments, or children named `-`, are a list; properties and other children are a map; one argument is
/// itself. `scalar` gives the value of each entry.
pub(crate) fn shape(
    node: &Node,
    scalar: &mut dyn FnMut(&Entry) -> Binding,
    diagnostics: &mut Diagnostics,
) -> Binding {
    let before = diagnostics.error_count();
    let binding = Shaping { scalar, diagnostics }.node(node);
    if diagnostics.error_count() > before {
        return Binding::Unknown;
    }
    let extent = binding.extent();
    if extent.depth > DEEPEST {
        diagnostics.push(
            Diagnostic::new(&code::NESTED_TOO_DEEP, format!("the value nests deeper than {DEEPEST} levels"))
                .at(&node.head(), "this one")
                .help("use shallower lists and maps"),
        );
        return Binding::Unknown;
    }
    if extent.size > super::MOST_NODES {
        diagnostics.push(
            Diagnostic::new(&code::TOO_LARGE, format!("the value has more than {} parts", super::MOST_NODES))
                .at(&node.head(), "this one")
                .help("use smaller lists and maps, or put the data into files"),
        );
        return Binding::Unknown;
    }
    binding
}

struct Shaping<'a> {
    scalar: &'a mut dyn FnMut(&Entry) -> Binding,
    diagnostics: &'a mut Diagnostics,
}

impl Shaping<'_> {
    fn node(&mut self, node: &Node) -> Binding {
        if let Some(annotation) = &node.annotation {
            self.diagnostics.push(unknown_annotation(annotation));
        }
        let arguments: Vec<&Entry> = node.arguments().collect();
        let children = node.children();
        let is_map =
            node.properties().next().is_some() || children.iter().any(|child| child.name.value != "-");
        if is_map || (node.children.is_some() && children.is_empty() && arguments.is_empty()) {
            return self.map(node, &arguments);
        }
        match (arguments.as_slice(), children) {
            ([only], []) => self.scalar(only),
            _ => {
                let mut items = Vec::new();
                for entry in arguments {
                    match self.scalar(entry) {
                        // As in a node, a list among several values is all of its items.
                        Binding::List(list) => items.extend(list.items.iter().cloned()),
                        one => items.push(one),
                    }
                }
                items.extend(children.iter().map(|child| self.node(child)));
                Binding::list(items, node.head())
            }
        }
    }

    fn map(&mut self, node: &Node, arguments: &[&Entry]) -> Binding {
        if let Some(argument) = arguments.first() {
            self.mixed(&argument.span);
        }
        let mut fields = BTreeMap::new();
        let mut written: BTreeMap<String, Span> = BTreeMap::new();
        let mut add = |shaping: &mut Self, name: &kic_base::Spanned<String>, value: Binding| {
            if let Some(first) = written.insert(name.value.clone(), name.span.clone()) {
                shaping.diagnostics.push(
                    Diagnostic::new(
                        &code::DUPLICATE_NODE,
                        format!("`{}` stands twice in this map", name.value),
                    )
                    .at(&name.span, "here again")
                    .at(&first, "first here")
                    .help("keep one of the two; the items of a list are arguments, or nodes named `-`"),
                );
            }
            fields.insert(name.value.clone(), value);
        };
        for property in node.properties() {
            let value = self.scalar(property);
            if let Some(name) = &property.name {
                add(self, name, value);
            }
        }
        for child in node.children() {
            if child.name.value == "-" {
                self.mixed(&child.name.span);
            } else {
                let value = self.node(child);
                add(self, &child.name, value);
            }
        }
        Binding::map(fields, node.head())
    }

    fn mixed(&mut self, span: &Span) {
        self.diagnostics.push(
            Diagnostic::new(&code::INVALID_CONTROL, "a value is single values, or a map, and not both")
                .at(span, "this item stands beside names")
                .help("lists are arguments, or nodes named `-`; maps are properties, or named nodes"),
        );
    }

    fn scalar(&mut self, entry: &Entry) -> Binding {
        if let Some(annotation) = entry.annotation.as_ref().filter(|annotation| annotation.value != "$") {
            self.diagnostics.push(unknown_annotation(annotation));
        }
        (self.scalar)(entry)
    }
}
