use serde_json::{Value as Json, json};

use super::place::{Place, places};
use super::section::{section, signature};
use super::tables::MARKS;
use crate::evaluate::{BUILT_IN, PARAMETER_TYPES};
use crate::schema::{Children, Count, Occurs, Type};

/// What the reference says of one name.
#[derive(Debug, Clone)]
pub struct Topic {
    /// What the name is: `node`, `built-in name`, `mark` or `type`.
    pub what: &'static str,
    /// Where it stands in a list: `rollout RESOURCE`.
    pub title: String,
    /// One sentence.
    pub doc: String,
    /// The section, as Markdown.
    pub text: String,
    /// The same as data.
    pub json: Json,
}

/// Every name that [`topics`] knows, each once; nodes come first.
pub fn topic_names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let nodes = places().into_iter().flat_map(|place| [place.schema.name.to_owned(), place.path]);
    let others = BUILT_IN.iter().chain(&PARAMETER_TYPES).map(|(name, _)| (*name).to_owned());
    for name in nodes.chain(others).chain(MARKS.iter().map(|(name, _)| (*name).to_owned())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What there is to say of a name: of each node that has it, and of built-in names, types and marks. A path such as
/// `files/fetch` is one node.
pub fn topics(name: &str) -> Vec<Topic> {
    let is_meant = |place: &Place| place.schema.name == name || place.path == name;
    let mut found: Vec<Topic> = places().iter().filter(|place| is_meant(place)).map(node).collect();
    let simple = |what: &'static str, title: &str, doc: &str, more: &str| Topic {
        what,
        title: title.to_owned(),
        doc: doc.to_owned(),
        text: format!("# `{title}`\n\n{doc}{more}\n"),
        json: json!({ "what": what, "name": title, "doc": doc }),
    };
    if let Some((name, doc)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        let more = format!(
            " It is there without a declaration: `($)\"${{{name}}}\"` in an argument or property, `{name}` behind `when`."
        );
        found.push(simple("built-in name", name, doc, &more));
    }
    if let Some((name, doc)) = PARAMETER_TYPES.iter().find(|(known, _)| *known == name) {
        found.push(simple("type", name, doc, " It is a type of parameters: `param \"NAME\" type=\"…\"`."));
    } else if let Some(value) = Type::ALL.iter().find(|value| value.name() == name) {
        found.push(simple("type", name, value.doc(), ""));
    }
    let bare = name.trim_start_matches('(').trim_end_matches(')');
    // `default` is a node, too, and both are shown.
    if let Some((name, doc)) =
        MARKS.iter().find(|(known, _)| known.trim_start_matches('(').trim_end_matches(')') == bare)
    {
        found.push(simple("mark", name, doc, ""));
    }
    found
}

fn node(place: &Place) -> Topic {
    let schema = place.schema;
    let arguments = schema.arguments.iter().map(|argument| {
        let count = match argument.count {
            Count::Optional => "optional",
            Count::One => "one",
            Count::Some => "one-or-more",
            Count::Any => "any",
        };
        json!({ "name": argument.name, "type": kind(argument.value), "count": count, "doc": argument.doc })
    });
    let properties = schema.properties.iter().map(|property| {
        json!({
            "name": property.name,
            "type": kind(property.value),
            "required": property.required,
            "default": property.default.map(|default| default.value().to_string()),
            "doc": property.doc,
        })
    });
    let children = match schema.children {
        Children::None => json!([]),
        Children::Nodes(nodes) => nodes.iter().map(|node| node.name).collect(),
        Children::Data => json!("data"),
    };
    let occurs = match schema.occurs {
        Occurs::Once => "once",
        Occurs::Optional => "optional",
        Occurs::Many => "many",
    };
    let json = json!({
        "what": "node",
        "name": schema.name,
        "path": place.path,
        "in": place.parents,
        "occurs": occurs,
        "doc": schema.doc,
        "arguments": arguments.collect::<Vec<_>>(),
        "properties": properties.collect::<Vec<_>>(),
        "children": children,
        "example": schema.example,
        "notes": super::notes::note(&place.path).map(str::trim_end),
    });
    let title = signature(schema);
    Topic { what: "node", title, doc: schema.doc.to_owned(), text: section(place, false), json }
}

fn kind(value: Type) -> Json {
    match value {
        Type::Choice(words) => json!({ "oneOf": words }),
        value => json!(value.name()),
    }
}
