use std::path::PathBuf;

use clap::Args;
use kic::{GatherOptions, LockMode, Request, Settings};
use kic_base::Platform;
use kic_diag::Diagnostics;
use kic_syntax::{Node, Plain, Value};
use serde_json::{Map, Value as Json, json};

use crate::arguments::{Format, Global, setting, spec_in};
use crate::terminal::{Terminal, print};
use crate::world::Disk;

/// Print a spec with nothing left to evaluate: no modules, parameters, conditions or repetitions.
#[derive(Debug, Args)]
pub struct Eval {
    /// The spec
    #[arg(value_name = "SPEC", default_value = "cluster.kdl")]
    spec: PathBuf,
    /// A value for a parameter that the spec declares
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// The platform to evaluate for; the first of the spec when left out
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Option<Platform>,
    /// Tell where each node and value comes from
    #[arg(long)]
    origins: bool,
}

impl Eval {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let gather = GatherOptions { lock: LockMode::Locked, source_date_epoch: 0 };
        let settings = Settings { set: self.set.iter().cloned().collect() };
        let request = Request { spec: spec_in(&self.spec), output: None, gather, settings, check: false };
        let (node, warnings) = kic::evaluate(&request, self.platform.as_ref(), &Disk)?;
        match (terminal.format, self.origins) {
            (Format::Json, origins) => print(&format!("{:#}\n", as_json(&node, origins))),
            (_, false) => print(&plain(&node).to_string()),
            (_, true) => {
                let mut text = String::new();
                with_origins(&node, 0, &mut text);
                print(&text);
            }
        }
        Ok(warnings)
    }
}

fn plain(node: &Node) -> Plain {
    let mut out = Plain::new(node.name.value.clone());
    out.annotation = node.annotation.as_ref().map(|annotation| annotation.value.clone());
    for entry in &node.entries {
        out = match &entry.name {
            None => out.argument(entry.value.clone()),
            Some(name) => out.property(name.value.clone(), entry.value.clone()),
        };
    }
    out.children = node.children.as_ref().map(|children| children.iter().map(plain).collect());
    out
}

/// A node a line, and behind it where it was written, and where each of its values was, if that is elsewhere.
fn with_origins(node: &Node, depth: usize, out: &mut String) {
    let head = Plain { children: None, ..plain(node) }.to_string();
    let mut origins = vec![node.name.span.to_string()];
    for entry in &node.entries {
        let origin = entry.value_span.to_string();
        let line = |origin: &str| origin.rsplit_once(':').map(|(line, _)| line.to_owned());
        if !origins.iter().any(|known| line(known) == line(&origin)) {
            origins.push(origin);
        }
    }
    let open = if node.children.is_some() { " {" } else { "" };
    let indent = "    ".repeat(depth);
    out.push_str(&format!("{indent}{}{open} // {}\n", head.trim_end(), origins.join(", ")));
    if let Some(children) = &node.children {
        for child in children {
            with_origins(child, depth + 1, out);
        }
        out.push_str(&format!("{indent}}}\n"));
    }
}

fn as_json(node: &Node, origins: bool) -> Json {
    let value = |value: &Value| match value {
        Value::String(text) => json!(text),
        Value::Integer(number) => {
            i64::try_from(*number).map_or_else(|_| json!(number.to_string()), |number| json!(number))
        }
        Value::Float(number) => json!(number),
        Value::Bool(bool) => json!(bool),
        Value::Null => Json::Null,
    };
    let mut object = Map::new();
    object.insert("node".to_owned(), json!(node.name.value));
    let arguments: Vec<Json> = node.arguments().map(|entry| value(&entry.value)).collect();
    if !arguments.is_empty() {
        object.insert("arguments".to_owned(), Json::Array(arguments));
    }
    let properties: Map<String, Json> = node
        .properties()
        .filter_map(|entry| Some((entry.name.as_ref()?.value.clone(), value(&entry.value))))
        .collect();
    if !properties.is_empty() {
        object.insert("properties".to_owned(), Json::Object(properties));
    }
    if let Some(annotation) = &node.annotation {
        object.insert("annotation".to_owned(), json!(annotation.value));
    }
    if let Some(children) = &node.children {
        object.insert("children".to_owned(), children.iter().map(|child| as_json(child, origins)).collect());
    }
    if origins {
        object.insert("origin".to_owned(), json!(node.name.span.to_string()));
        let values: Vec<String> = node.entries.iter().map(|entry| entry.value_span.to_string()).collect();
        object.insert("origins".to_owned(), json!(values));
    }
    Json::Object(object)
}
