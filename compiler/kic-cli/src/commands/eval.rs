use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use kic::{GatherOptions, LockMode, Request, Settings};
use kic_base::{Epoch, Platform, Span};
use kic_diag::Diagnostics;
use kic_spec::Override;
use kic_syntax::{Node, Plain, Value};
use serde_json::{Map, Value as Json, json};

use crate::arguments::{Format, Global, setting, spec_in};
use crate::terminal::Terminal;
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
        let gather = GatherOptions {
            lock: LockMode::Locked,
            source_date_epoch: 0,
            epoch: Epoch::CURRENT,
            allow_missing: BTreeSet::new(),
        };
        let settings = Settings { set: self.set.clone() };
        let request = Request {
            spec: spec_in(&self.spec),
            output: None,
            gather,
            settings,
            check: false,
            explain: false,
            record_source: false,
        };
        let (node, overrides, warnings) = kic::evaluate(&request, self.platform.as_ref(), &Disk)?;
        match (terminal.format, self.origins) {
            (Format::Json, origins) => {
                let origins = origins.then(|| Origins::new(&overrides));
                terminal.print(&format!("{:#}\n", as_json(&node, origins.as_ref())));
            }
            (_, false) => terminal.print(&Plain::from(&node).to_string()),
            (_, true) => {
                let mut text = String::new();
                Origins::new(&overrides).write(&node, 0, &mut text);
                terminal.print(&text);
            }
        }
        Ok(warnings)
    }
}

/// Where values come from, and what they took the place of.
struct Origins<'a>(BTreeMap<String, Vec<&'a Span>>);

impl<'a> Origins<'a> {
    fn new(overrides: &'a [Override]) -> Self {
        let mut kept: BTreeMap<String, Vec<&Span>> = BTreeMap::new();
        for one in overrides {
            kept.entry(one.kept.to_string()).or_default().push(&one.instead_of);
        }
        Self(kept)
    }

    /// What the value that is written at `span` took the place of.
    fn instead_of(&self, span: &Span) -> Vec<String> {
        let mut places: Vec<String> =
            self.0.get(&span.to_string()).into_iter().flatten().map(ToString::to_string).collect();
        places.dedup();
        places
    }

    /// A node a line, and behind it where it was written, where each of its values was, if that is elsewhere, and what
    /// they took the place of.
    fn write(&self, node: &Node, depth: usize, out: &mut String) {
        let head = Plain { children: None, ..Plain::from(node) }.to_string();
        let mut origins = vec![node.name.span.to_string()];
        let mut instead_of = self.instead_of(&node.head());
        for entry in &node.entries {
            let origin = entry.value_span.to_string();
            let line = |origin: &str| origin.rsplit_once(':').map(|(line, _)| line.to_owned());
            if !origins.iter().any(|known| line(known) == line(&origin)) {
                origins.push(origin);
            }
            instead_of.extend(self.instead_of(&entry.span));
        }
        let mut comment = origins.join(", ");
        if !instead_of.is_empty() {
            comment.push_str(&format!(", instead of {}", instead_of.join(", ")));
        }
        let open = if node.children.is_some() { " {" } else { "" };
        let indent = "    ".repeat(depth);
        out.push_str(&format!("{indent}{}{open} // {comment}\n", head.trim_end()));
        if let Some(children) = &node.children {
            for child in children {
                self.write(child, depth + 1, out);
            }
            out.push_str(&format!("{indent}}}\n"));
        }
    }
}

fn as_json(node: &Node, origins: Option<&Origins>) -> Json {
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
    if let Some(origins) = origins {
        object.insert("origin".to_owned(), json!(node.name.span.to_string()));
        let values: Vec<String> = node.entries.iter().map(|entry| entry.value_span.to_string()).collect();
        object.insert("origins".to_owned(), json!(values));
        let mut instead_of = origins.instead_of(&node.head());
        instead_of.extend(node.entries.iter().flat_map(|entry| origins.instead_of(&entry.span)));
        if !instead_of.is_empty() {
            object.insert("insteadOf".to_owned(), json!(instead_of));
        }
    }
    Json::Object(object)
}
