//! `use`.

use kic_base::Spanned;
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::control::malformed;
use super::evaluator::{Closed, Evaluator};
use super::parameter::{Given, bind};
use super::scope::Scope;
use super::{is_marked, module};
use crate::nodes;

/// The most modules inside each other.
const DEEPEST: usize = 64;

/// The most uses of modules in one spec.
const MOST_USES: usize = 20_000;

impl Evaluator<'_> {
    pub(super) fn use_module(&mut self, node: &Node, out: &mut Vec<Closed>) {
        if self.is_checking() {
            self.call(node, out);
        } else if self.call(node, out).is_none() {
            self.is_incomplete = true;
        }
    }

    /// `None` where the module could not be used; errors are reported.
    fn call(&mut self, node: &Node, out: &mut Vec<Closed>) -> Option<()> {
        self.refuse_annotation(node);
        let name = self.module_name(node)?;
        let given = self.arguments(node);
        let identity = module::identity(&name, self.diagnostics)?;
        if let Some(place) = self.stack.iter().position(|(outer, _)| *outer == identity) {
            self.cycle(place, &identity, &name);
            return None;
        }
        if self.stack.len() == DEEPEST {
            self.error(
                Diagnostic::new(&code::TOO_LARGE, format!("modules use each other more than {DEEPEST} deep"))
                    .at(&name.span, "at this use")
                    .help("use the inner modules side by side"),
            );
            return None;
        }
        if self.callers.len() > MOST_USES {
            self.stop(
                Diagnostic::new(&code::TOO_LARGE, format!("modules are used more than {MOST_USES} times"))
                    .at(&name.span, "at this use")
                    .help("use a module once, with a list, and go over the list inside it"),
            );
            return None;
        }
        let module = self.library.find(&identity, &name, self.world, self.diagnostics)?;
        let size: usize = given.iter().map(|one| one.value.extent().size).sum();
        if !self.spend(size, &name.span) {
            return None;
        }
        let what = format!("the module `{}`", name.value);
        let values = bind(&what, &module.parameters, given, &node.head(), self.diagnostics);
        let inner = Scope::new(self.scope.built_in().clone());
        let outer = std::mem::replace(&mut self.scope, inner);
        for (name, value) in values {
            self.scope.add(name, value);
        }
        self.callers.push(Some(node.head()));
        let instance = self.callers.len() - 1;
        let uses = self.uses.entry(identity.clone()).or_default();
        if !uses.contains(&node.head()) {
            uses.push(node.head());
        }
        self.stack.push((identity, node.head()));
        self.children(module.children(), instance, Some(&nodes::CLUSTER), true, out);
        self.stack.pop();
        self.scope = outer;
        Some(())
    }

    /// The one argument: which module.
    fn module_name(&mut self, node: &Node) -> Option<Spanned<String>> {
        let mut arguments = node.arguments();
        let Some(entry) = arguments.next() else {
            self.error(malformed(&nodes::USE, node, "the module is missing"));
            return None;
        };
        for more in arguments {
            self.error(
                Diagnostic::new(&code::UNEXPECTED_ARGUMENT, "`use` takes one argument, the module")
                    .at(&more.span, "this one is too many")
                    .help("give parameters by their names: `NAME=VALUE`, or `NAME VALUE…` inside"),
            );
        }
        if let Some(annotation) = &entry.annotation {
            let help = if is_marked(entry) {
                "choose with `when`, and a `use` inside each"
            } else {
                "leave the mark out"
            };
            self.error(
                Diagnostic::new(&code::INVALID_CONTROL, "the name of a module is literal")
                    .at(&annotation.span, "this mark means nothing here")
                    .help(help),
            );
            return None;
        }
        match entry {
            Entry { value: Value::String(name), value_span, .. } => {
                Some(Spanned::new(name.clone(), value_span.clone()))
            }
            entry => {
                self.error(
                    Diagnostic::new(&code::WRONG_TYPE, "the name of a module is a string")
                        .at(&entry.value_span, "this is none")
                        .help("write `std:NAME`, or the path of a `.kdl` file"),
                );
                None
            }
        }
    }

    /// The values that a call gives: properties, and nodes inside.
    fn arguments(&mut self, node: &Node) -> Vec<Given> {
        let mut given = Vec::new();
        for entry in node.properties() {
            let Some(name) = &entry.name else { continue };
            if let Some(annotation) = entry.annotation.as_ref().filter(|_| !is_marked(entry)) {
                self.error(crate::decode::unknown_annotation(annotation));
            }
            let value = self.value(entry);
            // What was left out further out is left out here.
            if is_marked(entry) && value.is_null() {
                continue;
            }
            given.push(Given {
                name: name.value.clone(),
                value,
                span: name.span.clone(),
                place: entry.span.clone(),
            });
        }
        for child in node.children() {
            if child.name.value == "-" {
                self.error(
                    Diagnostic::new(&code::INVALID_CONTROL, "a value has no parameter that it is for")
                        .at(&child.name.span, "this item stands alone")
                        .help("write the parameter's name, and the items behind it or inside it"),
                );
                continue;
            }
            given.push(Given {
                name: child.name.value.clone(),
                value: self.shape(child),
                span: child.name.span.clone(),
                place: child.span.clone(),
            });
        }
        given
    }

    /// A circle of modules: the labels follow it round, and the note draws it.
    fn cycle(&mut self, place: usize, identity: &str, name: &Spanned<String>) {
        let message = if place + 1 == self.stack.len() {
            format!("the module `{}` uses itself", name.value)
        } else {
            format!("the module `{}` uses itself through others", name.value)
        };
        let mut diagnostic =
            Diagnostic::new(&code::MODULE_CYCLE, message).at(&name.span, "this leads back to it");
        let mut way = String::new();
        for (outer, span) in &self.stack[place..] {
            diagnostic = diagnostic.at(span, format!("`{outer}` is used here"));
            way.push_str(&format!("{outer} → "));
        }
        self.error(
            diagnostic
                .help("take one `use` of the circle out")
                .note(format!("the circle is {way}{identity}")),
        );
    }
}
