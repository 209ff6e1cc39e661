use super::notes::note;
use super::place::Place;
use super::tables::{child_table, value_table};
use crate::decode::list;
use crate::schema::{Children, Count, NodeSchema, Occurs};

/// The section on a node. `is_book` tells whether it stands in the book, where there are links and other sections.
pub(super) fn section(place: &Place, is_book: bool) -> String {
    let schema = place.schema;
    let is_top = place.depth() == 0 && !crate::nodes::CONTROL.iter().any(|node| std::ptr::eq(*node, schema));
    let mut text = if is_book {
        let level = if is_top { "##" } else { "###" };
        format!("{level} `{}` {{#{}}}\n\n", signature(schema), place.anchor())
    } else {
        format!("# `{}`\n\n", signature(schema))
    };
    text.push_str(schema.doc);
    if let Some(occurs) = occurs(place) {
        text.push(' ');
        text.push_str(&occurs);
    }
    text.push_str("\n\n");
    text.push_str(&format!("```{}\n{}\n```\n\n", fence(place), schema.example));
    if let Some(table) = value_table(schema, is_book) {
        text.push_str(&table);
        text.push('\n');
    }
    if let Some(note) = note(&place.path) {
        text.push_str(note.trim_end());
        text.push_str("\n\n");
    }
    if let Children::Nodes(children) = schema.children
        && !children.is_empty()
    {
        text.push_str(&child_table(children, is_book));
        text.push('\n');
    }
    text
}

/// `` rollout RESOURCE ``
pub(super) fn signature(schema: &NodeSchema) -> String {
    let mut text = schema.name.to_owned();
    for argument in schema.arguments {
        text.push_str(&match argument.count {
            Count::One => format!(" {}", argument.name),
            Count::Optional => format!(" [{}]", argument.name),
            Count::Some => format!(" {}…", argument.name),
            Count::Any => format!(" [{}…]", argument.name),
        });
    }
    text
}

/// Where it stands, and how often.
fn occurs(place: &Place) -> Option<String> {
    if place.parents.is_empty() {
        return None;
    }
    let often = match place.schema.occurs {
        Occurs::Once => "Exactly once",
        Occurs::Optional => "At most once",
        Occurs::Many => "Any number",
    };
    Some(format!("{often} in {}.", list(place.parents.iter().copied())))
}

/// What the test of the book is to do with the example.
fn fence(place: &Place) -> String {
    let parent = place.ancestors.last();
    let is_around = |around: &&NodeSchema| place.schema.example.starts_with(&format!("{} ", around.name));
    match (place.schema.name, parent) {
        ("cluster", _) => "kdl".to_owned(),
        ("module", _) => "kdl,module".to_owned(),
        (_, Some(around)) if !is_around(around) => {
            let path = place.path.rsplit_once('/').map_or("", |(path, _)| path);
            format!("kdl,fragment,in={path}")
        }
        _ => "kdl,fragment".to_owned(),
    }
}
