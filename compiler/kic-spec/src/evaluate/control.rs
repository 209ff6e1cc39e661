//! `let`, `when` and `for`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use kic_base::closest;
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::binding::{self, Binding, Form, Scalar};
use super::evaluator::{Closed, Evaluator};
use super::scope::Missing;
use super::version::ComparableVersion;
use super::{interpolate, is_marked, no_scalar, parameter_type, shape};
use crate::decode::decode;
use crate::nodes;
use crate::schema::{NodeSchema, Type};
use crate::value;

impl Evaluator<'_> {
    pub(super) fn let_value(&mut self, node: &Node) {
        self.refuse_annotation(node);
        let Some(name) = self.new_name(node, &nodes::LET) else { return };
        let mut entries = node.entries.clone();
        entries.retain(|entry| entry.value_span != name.value_span);
        let rest = Node { entries, annotation: None, ..node.clone() };
        if rest.entries.is_empty() && rest.children.is_none() {
            self.error(malformed(&nodes::LET, node, "the value is missing"));
            self.scope.add(text(name), Binding::Unknown);
            return;
        }
        let value = self.shape(&rest);
        self.scope.add(text(name), value);
    }

    /// The value of a node in a call or a `let`.
    pub(super) fn shape(&mut self, node: &Node) -> Binding {
        // Shaping takes the diagnostics for itself; those of the values go to their place at once.
        let mut diagnostics = kic_diag::Diagnostics::new();
        let binding = shape::shape(node, &mut |entry| self.value(entry), &mut diagnostics);
        self.diagnostics.append(diagnostics);
        if self.is_checking() { Binding::Unknown } else { binding }
    }

    /// The first argument: a name for a value.
    fn new_name<'n>(&mut self, node: &'n Node, schema: &'static NodeSchema) -> Option<&'n Entry> {
        let Some(entry) = node.arguments().next() else {
            self.error(malformed(schema, node, "the name is missing"));
            return None;
        };
        if let Some(annotation) = &entry.annotation {
            self.error(
                Diagnostic::new(
                    &code::INVALID_CONTROL,
                    format!("the name behind `{}` is literal", schema.name),
                )
                .at(&annotation.span, "this mark means nothing here")
                .help(format!("write `{} \"NAME\" …`", schema.name)),
            );
            return None;
        }
        match value::read(&entry.value, Type::Name, &entry.value_span) {
            Ok(_) => Some(entry),
            Err(error) => {
                self.error(error);
                None
            }
        }
    }

    pub(super) fn when(
        &mut self,
        node: &Node,
        instance: usize,
        parent: Option<&'static NodeSchema>,
        out: &mut Vec<Closed>,
    ) {
        self.refuse_annotation(node);
        match self.condition(node) {
            Some(true) => self.children(node.children(), instance, parent, false, out),
            holds => {
                self.is_incomplete |= holds.is_none() && !self.is_checking();
                self.check_block(node, instance, parent, out);
            }
        }
    }

    /// Checks what stands in a block whose values are left open.
    fn check_block(
        &mut self,
        node: &Node,
        instance: usize,
        parent: Option<&'static NodeSchema>,
        out: &mut Vec<Closed>,
    ) {
        if self.is_checking() {
            // It is checked with what is around it.
            self.children(node.children(), instance, parent, false, out);
        } else {
            self.check(|this, out| this.children(node.children(), instance, parent, false, out), parent);
        }
    }

    /// Whether the condition of a `when` holds; `None` where that is not known, errors being reported.
    fn condition(&mut self, node: &Node) -> Option<bool> {
        let before = self.diagnostics.error_count();
        let plain = Node { children: None, annotation: None, ..node.clone() };
        decode(&plain, &nodes::WHEN, self.diagnostics);
        let name = node.arguments().next()?;
        if let Some(annotation) = &name.annotation {
            let meant = name
                .value_span
                .text()
                .trim_matches('"')
                .trim_start_matches("${")
                .trim_end_matches('}')
                .to_owned();
            self.error(
                Diagnostic::new(&code::INVALID_CONTROL, "`when` takes the name of a value, without a mark")
                    .at(&annotation.span, "this mark means nothing here")
                    .help(format!("write `when \"{meant}\" is=…`")),
            );
        }
        let properties: Vec<&Entry> = node.properties().collect();
        if properties.len() != 1 {
            self.error(malformed(
                &nodes::WHEN,
                node,
                if properties.is_empty() {
                    "the condition is missing"
                } else {
                    "this says more than one condition"
                },
            ));
        }
        if node.children().is_empty() {
            self.error(malformed(&nodes::WHEN, node, "it holds nothing"));
        }
        if self.diagnostics.error_count() > before {
            return None;
        }
        let path = text(name);
        if !interpolate::is_path(&path) {
            self.error(
                Diagnostic::new(&code::INVALID_REFERENCE, format!("`{path}` is no name of a value"))
                    .at(&name.value_span, "this is no name")
                    .help("write a name, such as `engine` or `platform.arch`"),
            );
            return None;
        }
        let property = properties.first()?;
        if self.is_checking() {
            if let Err(error) = self.scope.check(&path, &name.value_span) {
                self.error(error);
            }
            self.value(property);
            return None;
        }
        let left = match self.scope.look_up(&path, &name.value_span) {
            Ok(found) => {
                self.uses_platform |= found.is_of_platform;
                Some(found.binding)
            }
            Err(Missing::Unknown) => None,
            Err(Missing::Error(error)) => {
                self.error(error);
                None
            }
        };
        let right = self.value(property);
        let Binding::Scalar(left) = left? else {
            self.error(
                Diagnostic::new(
                    &code::WRONG_TYPE,
                    format!("`{path}` is no single value, and `when` compares single values"),
                )
                .at(&name.value_span, "this is a list or a map")
                .help("compare one of its parts, or go over it with `for`"),
            );
            return None;
        };
        self.holds(&path, &left, property, &right)
    }

    fn holds(&mut self, path: &str, left: &Scalar, property: &Entry, right: &Binding) -> Option<bool> {
        let name = property.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
        match (name, right) {
            (_, Binding::Unknown) => None,
            ("in", Binding::List(list)) => {
                // Comparing is quick, but there is a bound to it.
                if !self.spend(list.items.len() / 32, &property.span) {
                    return None;
                }
                let mut holds = false;
                for item in &list.items {
                    let Binding::Scalar(item) = item else {
                        self.error(no_scalar(property, item));
                        return None;
                    };
                    holds |= self.equal(path, left, property, item)?;
                }
                Some(holds)
            }
            ("in", other) => {
                self.error(
                    Diagnostic::new(&code::WRONG_TYPE, format!("`in=` takes a list, and this is {}", other.describe()))
                        .at(&property.span, "this is no list")
                        .help("name a list: `let \"engines\" \"kyverno\" \"containerd\"`, then `in=($)\"${engines}\"`"),
                );
                None
            }
            ("at-least" | "below", Binding::Scalar(right)) => {
                let ordering = self.order(path, left, property, right)?;
                Some(ordering.is_lt() == (name == "below"))
            }
            (_, Binding::Scalar(right)) => {
                self.equal(path, left, property, right).map(|equal| equal == (name == "is"))
            }
            (_, other) => {
                self.error(
                    Diagnostic::new(
                        &code::WRONG_TYPE,
                        format!("`{name}=` takes a single value, and this is {}", other.describe()),
                    )
                    .at(&property.span, "this is no single value")
                    .help(format!("to compare with each of a list, write `in={}`", written(property))),
                );
                None
            }
        }
    }

    /// How two versions, or two numbers, compare; `None`, and an error, where they are neither.
    fn order(&mut self, path: &str, left: &Scalar, property: &Entry, right: &Scalar) -> Option<Ordering> {
        let (wrong, span) = match (&left.value, &right.value) {
            (Value::Integer(left), Value::Integer(right)) => return Some(left.cmp(right)),
            (Value::String(one), Value::String(other)) => {
                match (ComparableVersion::parse(one), ComparableVersion::parse(other)) {
                    (Some(one), Some(other)) => return Some(one.cmp(&other)),
                    (None, _) => (one.as_str(), &left.span),
                    (_, None) => (other.as_str(), &property.value_span),
                }
            }
            (is, with) => {
                let (is, with) = (binding::describe(is), binding::describe(with));
                self.error(
                    Diagnostic::new(&code::WRONG_TYPE, format!("`{path}` is {is}, and this is {with}"))
                        .at(&property.span, "only two versions, or two whole numbers, are compared")
                        .help("a version is a string, such as `\"v1.10\"`"),
                );
                return None;
            }
        };
        let mut diagnostic = Diagnostic::new(
            &code::INVALID_VERSION,
            format!("`{}` is no version that can be compared", value::shown(wrong)),
        );
        if span.source().name() != super::BUILT_IN_SOURCE {
            diagnostic = diagnostic.at(span, "this one");
        }
        if !crate::decode::is_within(span, &property.span) {
            diagnostic = diagnostic.at(&property.span, "compared here");
        }
        self.error(
            diagnostic.help("write numbers with points between them, such as `v1.10` or `1.13.0-rc.1`"),
        );
        None
    }

    /// Whether two values are equal; `None`, and an error, where they never can be.
    fn equal(&mut self, path: &str, left: &Scalar, property: &Entry, right: &Scalar) -> Option<bool> {
        if left.value != Value::Null
            && right.value != Value::Null
            && std::mem::discriminant(&left.value) != std::mem::discriminant(&right.value)
        {
            let (is, with) = (binding::describe(&left.value), binding::describe(&right.value));
            let bare = matches!(&right.value, Value::String(text) if left.value.to_string().trim_start_matches('#') == *text);
            self.error(
                Diagnostic::new(&code::WRONG_TYPE, format!("`{path}` is {is}, and never equal to {with}"))
                    .at(&property.span, format!("compared with {with}"))
                    .help(if bare {
                        format!("write `{}`", left.value)
                    } else {
                        format!("compare it with {is}")
                    }),
            );
            return None;
        }
        if let (Form::OneOf(words), Value::String(text)) = (&left.form, &right.value)
            && !words.contains(text)
        {
            let known = || words.iter().map(String::as_str);
            self.error(
                Diagnostic::new(&code::UNKNOWN_CHOICE, format!("`{path}` is never `{}`", value::shown(text)))
                    .at(&property.value_span, "compared with this")
                    .help(match closest(text, known()) {
                        Some(close) => format!("did you mean `{close}`?"),
                        None => format!("it is {}", Type::describe_words(known())),
                    }),
            );
            return None;
        }
        Some(left.value == right.value)
    }

    /// `fail`: the values that led here are refused.
    pub(super) fn fail(&mut self, node: &Node) {
        let closed = self.closed_head(node, false);
        let before = self.diagnostics.error_count();
        let plain = Node { children: node.children.clone(), ..closed };
        let decoded = decode(&plain, &nodes::FAIL, self.diagnostics);
        if self.is_checking() || self.diagnostics.error_count() > before {
            return;
        }
        self.is_incomplete = true;
        let Some(message) = decoded.text(0) else { return };
        let mut diagnostic = Diagnostic::new(&code::REFUSED_VALUES, message.value);
        for (_, use_) in &self.stack {
            diagnostic = diagnostic.at(use_, "by this use");
        }
        diagnostic = diagnostic.at(&node.head(), "refused here");
        let help = decoded.text_property("help").map(|text| text.value);
        self.error(diagnostic.help(help.unwrap_or_else(|| "give other values".to_owned())));
    }

    pub(super) fn each(
        &mut self,
        node: &Node,
        instance: usize,
        parent: Option<&'static NodeSchema>,
        out: &mut Vec<Closed>,
    ) {
        self.refuse_annotation(node);
        let Some(name) = self.new_name(node, &nodes::FOR) else {
            self.is_incomplete = true;
            return;
        };
        let items = self.items(node);
        if items.is_none() {
            self.is_incomplete |= !self.is_checking();
        }
        let items = items.unwrap_or_default();
        if items.is_empty() {
            let mark = self.scope.mark();
            self.scope.add(text(name), Binding::Unknown);
            self.check_block(node, instance, parent, out);
            self.scope.back_to(mark);
        }
        for item in items {
            if !self.spend(1, &node.name.span) {
                return;
            }
            let mark = self.scope.mark();
            self.scope.add(text(name), item);
            self.children(node.children(), instance, parent, false, out);
            self.scope.back_to(mark);
        }
    }

    /// What a `for` goes over; `None` where that is not known, errors being reported.
    fn items(&mut self, node: &Node) -> Option<Vec<Binding>> {
        let before = self.diagnostics.error_count();
        let plain = Node { children: None, annotation: None, ..node.clone() };
        decode(&plain, &nodes::FOR, self.diagnostics);
        let values: Vec<&Entry> = node.arguments().skip(1).collect();
        let list = node.property("in");
        match (list, values.as_slice()) {
            _ if self.diagnostics.error_count() > before => {}
            (Some(_), [_, ..]) => {
                self.error(malformed(&nodes::FOR, node, "this says its values in two ways"))
            }
            (None, []) => self.error(malformed(&nodes::FOR, node, "the values are missing")),
            _ => {}
        }
        if node.children().is_empty() {
            self.error(malformed(&nodes::FOR, node, "it holds nothing"));
        }
        if self.diagnostics.error_count() > before {
            return None;
        }
        let Some(entry) = list else {
            let mut items = Vec::new();
            for entry in values {
                match self.value(entry) {
                    // As in a node, a list among values is all of its items.
                    Binding::List(list) => items.extend(list.items.iter().cloned()),
                    one => items.push(one),
                }
            }
            return (!self.is_checking()).then_some(items);
        };
        match self.value(entry) {
            Binding::Unknown => None,
            Binding::List(list) => self.spend(list.items.len(), &entry.span).then(|| list.items.clone()),
            Binding::Map(map) => {
                let pair = |(key, value): (&String, &Binding)| {
                    let at = value.span().unwrap_or(&map.span).clone();
                    let key = Binding::scalar(key.as_str(), at.clone());
                    Binding::map(
                        BTreeMap::from([("key".to_owned(), key), ("value".to_owned(), value.clone())]),
                        at,
                    )
                };
                self.spend(map.fields.len(), &entry.span).then(|| map.fields.iter().map(pair).collect())
            }
            Binding::Scalar(one) => {
                let mut diagnostic = Diagnostic::new(
                    &code::WRONG_TYPE,
                    format!("`for` goes over a list or a map, and this is {}", binding::describe(&one.value)),
                )
                .at(&entry.span, "this is no list");
                if is_marked(entry) {
                    diagnostic = diagnostic.at(&one.span, "its value is this");
                }
                self.error(diagnostic.help(format!(
                    "name a list, such as a parameter of type `{}`, or write the values: `for \"one\" \"a\" \"b\"`",
                    parameter_type::TYPES[11].0.replace("TYPE", "string")
                )));
                None
            }
        }
    }
}

/// The diagnostic of a control node that lacks something, or has too much.
pub(super) fn malformed(schema: &NodeSchema, node: &Node, label: &str) -> Diagnostic {
    let example = schema.example.lines().next().unwrap_or_default().trim_end_matches(" {");
    Diagnostic::new(&code::INVALID_CONTROL, format!("this `{}` is not well formed", schema.name))
        .at(&node.head(), label)
        .help(format!("{} For example: `{example}`", schema.doc))
}

fn text(entry: &Entry) -> String {
    if let Value::String(text) = &entry.value { text.clone() } else { String::new() }
}

/// An entry's value as it is written, with its mark.
fn written(entry: &Entry) -> String {
    let mark = if is_marked(entry) { "($)" } else { "" };
    format!("{mark}{}", entry.value_span.text())
}
