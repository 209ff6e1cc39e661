use std::path::PathBuf;

use clap::Args;
use kic::LockMode;
use kic_base::without_login;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::Redirected;
use serde_json::{Value as Json, json};

use super::images::place;
use crate::arguments::{Building, Format, Global, Network, setting};
use crate::report::table;
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// Say what the policies and mirrors of a spec make of an image's name, engine by engine, and whether the registry cache
/// answers to that.
#[derive(Debug, Args)]
pub struct Redirect {
    /// Images, as pods name them
    #[arg(value_name = "REF", required = true)]
    images: Vec<String>,
    /// The spec, or a folder that holds a `cluster.kdl`
    #[arg(long, value_name = "SPEC", default_value = "cluster.kdl")]
    spec: PathBuf,
    /// The namespace of the pods
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// A value for a parameter that the spec declares
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Fail where kic.lock would have to change
    #[arg(long)]
    locked: bool,
    #[command(flatten)]
    network: Network,
}

impl Redirect {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        for image in &self.images {
            if let Err(error) = image.parse::<kic_base::ImageReference>() {
                let message = format!("`{}` is no image reference: {error}", without_login(image));
                return Err(Diagnostic::new(&code::INVALID_IMAGE, message)
                    .help("write it as a pod would, such as `nginx` or `ghcr.io/example/app:v1`")
                    .into());
            }
        }
        if !kic_spec::is_name(&self.namespace) {
            return Err(Diagnostic::new(
                &code::INVALID_NAME,
                format!("`{}` is no namespace", self.namespace.escape_debug()),
            )
            .help(
                "a namespace has 1 to 63 of `a-z`, `0-9` and `-`, and begins and ends with a letter or digit",
            )
            .into());
        }
        let building = Building {
            spec: self.spec.clone(),
            jobs: None,
            set: self.set.clone(),
            allow_missing: Vec::new(),
            network: self.network.clone(),
        };
        let watch = watcher(terminal);
        let context = building_context(global, &building, watch.clone())?;
        let request = building.request(if self.locked { LockMode::Locked } else { LockMode::Add })?;
        let found = kic::redirect(&request, &self.images, &self.namespace, &Disk, &context);
        let result = block_on(&context, found);
        drop(watch);
        let (rows, diagnostics) = result?;
        match terminal.format {
            Format::Json => {
                terminal.print(&format!("{}\n", json!(rows.iter().map(as_json).collect::<Vec<_>>())))
            }
            _ if terminal.quiet => terminal.print(&rows.iter().map(line).collect::<String>()),
            _ => terminal.print(&as_text(&rows, terminal.color_out)),
        }
        if diagnostics.has_errors() { Err(diagnostics) } else { Ok(diagnostics) }
    }
}

/// A line for scripts: image, engine, and the name that becomes of it, with a tab between each.
fn line(row: &Redirected) -> String {
    let becomes = row.becomes.as_deref().unwrap_or("-");
    format!("{}\t{}\t{becomes}\n", row.image, row.engine)
}

fn as_text(rows: &[Redirected], color: bool) -> String {
    let row = |row: &Redirected| {
        let engine = match row.list {
            Some(list) => format!("{} ({list})", row.engine),
            None => row.engine.to_owned(),
        };
        let (becomes, cache) = match &row.becomes {
            Ok(name) if row.answered.is_none() && *name == row.image => ("unchanged".to_owned(), "not asked"),
            Ok(name) => (
                name.clone(),
                match row.answered {
                    Some(true) => "answers",
                    Some(false) => "has no such name",
                    None => "not asked",
                },
            ),
            Err(problem) => (problem.clone(), "-"),
        };
        let said = match &row.note {
            Some(note) => format!("{} {note}", row.by),
            None => row.by.clone(),
        };
        let by = match (&row.span, said.as_str()) {
            (_, "") => "-".to_owned(),
            (Some(span), by) => format!("{by} ({})", place(span)),
            (None, by) => by.to_owned(),
        };
        vec![row.image.clone(), engine, becomes, cache.to_owned(), by]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table(&["IMAGE", "ENGINE", "BECOMES", "CACHE", "BY"], &rows, &[], color)
}

fn as_json(row: &Redirected) -> Json {
    let (becomes, problem) = match &row.becomes {
        Ok(name) => (Some(name), None),
        Err(problem) => (None, Some(problem)),
    };
    json!({
        "image": row.image,
        "engine": row.engine,
        "by": row.by,
        "containers": row.list,
        "becomes": becomes,
        "problem": problem,
        "answered": row.answered,
        "place": row.span.as_ref().map(place),
        "note": row.note,
    })
}
