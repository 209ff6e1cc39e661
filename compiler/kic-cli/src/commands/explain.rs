use clap::Args;
use kic_base::closest;
use kic_diag::{Code, Diagnostic, Diagnostics, declared as code};
use kic_spec::reference::{Topic, places, topic_names, topics};
use serde_json::{Value, json};

use crate::arguments::{Format, Global};
use crate::terminal::Terminal;

/// Print what the book says of an error code, or of a name of the language: a node, a type, a built-in name or a mark.
/// Without a name, list them.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as it stands before a message; or the name, such as `rollout`, `files/fetch` or `platform.arch`
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Explain {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let is_json = terminal.format == Format::Json;
        let Some(name) = &self.name else {
            terminal.print(&if is_json { format!("{}\n", index()) } else { list() });
            return Ok(Diagnostics::new());
        };
        let (found, topics) = (kic_diag::by_name(name), topics(name));
        if found.is_none() && topics.is_empty() {
            return Err(unknown(name).into());
        }
        if is_json {
            let mut all: Vec<Value> = found.into_iter().map(as_json).collect();
            all.extend(topics.into_iter().map(|topic| topic.json));
            terminal.print(&format!("{}\n", json!(all)));
        } else {
            let mut pages: Vec<String> = found.into_iter().map(|code| code.page.to_owned()).collect();
            pages.extend(topics.into_iter().map(|topic| topic.text));
            terminal.print(
                &pages.iter().map(|page| format!("{}\n", page.trim_end())).collect::<Vec<_>>().join("\n"),
            );
        }
        Ok(Diagnostics::new())
    }
}

fn as_json(code: &Code) -> Value {
    json!({ "what": "code", "code": code.name, "summary": code.summary, "page": code.page })
}

fn unknown(name: &str) -> Diagnostic {
    let names = topic_names();
    let codes = kic_diag::ALL.iter().map(|code| code.name);
    Diagnostic::new(&code::UNKNOWN_CODE, format!("there is no code and no node `{name}`")).help(
        match closest(name, names.iter().map(String::as_str).chain(codes)) {
            Some(close) => format!("did you mean `{close}`?"),
            None => "`kic explain` lists them all".to_owned(),
        },
    )
}

/// The topics of the language but nodes: types, built-in names and marks.
fn others() -> Vec<Topic> {
    let mut others: Vec<Topic> = Vec::new();
    for topic in topic_names().iter().flat_map(|name| topics(name)) {
        let is_known = |other: &Topic| other.title == topic.title && other.what == topic.what;
        if topic.what != "node" && !others.iter().any(is_known) {
            others.push(topic);
        }
    }
    others
}

/// Every name: nodes as they stand inside each other, then the rest of the language, then the codes.
fn list() -> String {
    let mut text = "Nodes\n".to_owned();
    let line = |name: &str, doc: &str| format!("  {name:<28} {doc}\n");
    for place in places() {
        let depth = place.path.matches('/').count() + usize::from(is_in_cluster(&place.path));
        text.push_str(&line(&format!("{}{}", "  ".repeat(depth), place.schema.name), place.schema.doc));
    }
    for (what, heading) in
        [("type", "Types of parameters"), ("built-in name", "Built-in names"), ("mark", "Marks")]
    {
        text.push_str(&format!("\n{heading}\n"));
        for topic in others().iter().filter(|topic| topic.what == what) {
            text.push_str(&line(&topic.title, &topic.doc));
        }
    }
    text.push_str("\nCodes\n");
    text.extend(kic_diag::ALL.iter().map(|code| line(code.name, code.summary)));
    text
}

/// Whether the path is one of a node that stands in `cluster`.
fn is_in_cluster(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    let is_layer = |node: &&kic_spec::schema::NodeSchema| node.name == first;
    matches!(kic_spec::nodes::CLUSTER.children, kic_spec::schema::Children::Nodes(nodes) if nodes.iter().any(is_layer))
}

fn index() -> Value {
    let nodes = places()
        .into_iter()
        .map(|place| json!({ "what": "node", "name": place.path, "doc": place.schema.doc }));
    let others = others().into_iter().map(|topic| topic.json);
    let codes = kic_diag::ALL
        .iter()
        .map(|code| json!({ "what": "code", "code": code.name, "summary": code.summary }));
    nodes.chain(others).chain(codes).collect()
}
