use crate::evaluate::{BUILT_IN, PARAMETER_TYPES};
use crate::schema::{Argument, Count, Literal, NodeSchema, Occurs, Property, Type};

use super::section::signature;

/// What marks mean: as they are written, and what they say.
pub(super) const MARKS: [(&str, &str); 3] = [
    (
        "($)",
        "Before a string that is an argument or a property's value: it holds references to values, `${NAME}`.",
    ),
    (
        "(default)",
        "Before a node of a spec or module, a property of one, or a field of an object: it gives way to what another module, or the spec, says without a mark.",
    ),
    (
        "(force)",
        "Before a node of a spec or module, a property of one, or a field of an object: it wins over what others say.",
    ),
];

/// The arguments and properties of a node; `None` where it has none.
pub(super) fn value_table(schema: &NodeSchema, is_book: bool) -> Option<String> {
    if schema.arguments.is_empty() && schema.properties.is_empty() {
        return None;
    }
    let mut table = "| | type | default | meaning |\n|---|---|---|---|\n".to_owned();
    for argument in schema.arguments {
        table.push_str(&row(
            &format!("`{}`", argument.name),
            argument.value,
            presence(argument),
            argument.doc,
            is_book,
        ));
    }
    for property in schema.properties {
        let default = default(property);
        table.push_str(&row(
            &format!("`{}=`", property.name),
            property.value,
            &default,
            property.doc,
            is_book,
        ));
    }
    Some(table)
}

fn row(name: &str, value: Type, default: &str, doc: &str, is_book: bool) -> String {
    let kind = match value {
        Type::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        value if is_book => format!("[{}](#types)", value.name()),
        value => value.name().to_owned(),
    };
    format!("| {name} | {kind} | {default} | {} |\n", cell(doc))
}

fn presence(argument: &Argument) -> &'static str {
    match argument.count {
        Count::One => "required",
        Count::Some => "one or more",
        Count::Optional => "",
        Count::Any => "any number",
    }
}

fn default(property: &Property) -> String {
    match property.default {
        // As it may be written: a text that is one word needs no quotes.
        Some(Literal::Text(text)) => format!("`\"{text}\"`"),
        Some(other) => format!("`{}`", other.value()),
        None if property.required => "required".to_owned(),
        None => String::new(),
    }
}

/// The nodes that may stand in another one.
pub(super) fn child_table(children: &[&NodeSchema], is_book: bool) -> String {
    let mut table = "| inside | how often | |\n|---|---|---|\n".to_owned();
    for child in children {
        let name = format!("`{}`", signature(child));
        let name = match super::places().iter().find(|place| std::ptr::eq(place.schema, *child)) {
            Some(place) if is_book => format!("[{name}](#{})", place.anchor()),
            _ => name,
        };
        let often = match child.occurs {
            Occurs::Once => "once",
            Occurs::Optional => "once or never",
            Occurs::Many => "any number",
        };
        table.push_str(&format!("| {name} | {often} | {} |\n", cell(child.doc)));
    }
    table
}

/// Two columns of names and what they are.
fn table(heading: &str, rows: impl Iterator<Item = (String, String)>) -> String {
    let mut table = format!("| {heading} | |\n|---|---|\n");
    for (name, doc) in rows {
        table.push_str(&format!("| {name} | {} |\n", cell(&doc)));
    }
    table
}

pub(super) fn built_in() -> String {
    table("name", BUILT_IN.iter().map(|(name, doc)| (format!("`{name}`"), (*doc).to_owned())))
}

pub(super) fn parameter_types() -> String {
    table("type", PARAMETER_TYPES.iter().map(|(name, doc)| (format!("`{name}`"), (*doc).to_owned())))
}

pub(super) fn value_types() -> String {
    table("type", Type::ALL.iter().map(|value| (value.name().to_owned(), value.doc().to_owned())))
}

pub(super) fn marks() -> String {
    table("mark", MARKS.iter().map(|(name, doc)| (format!("`{name}`"), (*doc).to_owned())))
}

/// A text as it stands in a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
