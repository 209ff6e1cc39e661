use std::path::{Path, PathBuf};

use clap::Args;
use kic::{Compiled, LockMode, Outcome, Output};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::Context;
use kic_graph::Kind;
use serde_json::json;

use crate::arguments::{Building, Format, Global};
use crate::report::{short_digest, size, table, time};
use crate::terminal::{Terminal, print};
use crate::watcher::watcher;
use crate::world::{Disk, block_on, building_context};

/// Compile a spec to an OCI image, and print its layers and, last, its digest.
#[derive(Debug, Args)]
pub struct Compile {
    /// Where the image goes: an OCI layout, or an archive where it ends with `.tar`; NAME.oci when left out
    #[arg(short, long, value_name = "PATH", conflicts_with = "no_output")]
    output: Option<PathBuf>,
    /// Build into the store only, and write no image
    #[arg(long)]
    no_output: bool,
    /// Fail where kic.lock would have to change
    #[arg(long)]
    locked: bool,
    /// Build twice, the second time from an empty store, and show what differs
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    building: Building,
}

impl Compile {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let compiled = block_on(&context, self.compile(&context));
        drop(watch);
        let (compiled, output) = compiled?;
        match terminal.format {
            Format::Json => print(&format!("{}\n", as_json(&compiled, output.as_deref()))),
            _ if terminal.quiet => print(&format!("{}\n", compiled.image.root.digest)),
            _ => print(&as_text(&compiled, output.as_deref(), terminal)),
        }
        Ok(compiled.warnings)
    }

    async fn compile(&self, context: &Context) -> Result<(Compiled, Option<PathBuf>), Diagnostics> {
        let lock = if self.locked { LockMode::Locked } else { LockMode::Add };
        let mut request = self.building.request(lock)?;
        let output = match (&self.output, self.no_output) {
            (Some(path), _) => Some(path.clone()),
            (None, true) => None,
            // The name of the image is known once the spec is read.
            (None, false) => Some(default_output(&kic::resolve(&request, &Disk)?.0.name.value)),
        };
        request.output = output.clone().map(Output::at);
        if let Some(path) = &output {
            check_parent(path)?;
        }
        request.check = self.check;
        let compiled = kic::compile(&request, &Disk, context).await?;
        Ok((compiled, output))
    }
}

fn default_output(name: &str) -> PathBuf {
    PathBuf::from(format!("{name}.oci"))
}

/// A folder that is missing is found out before anything is downloaded.
fn check_parent(path: &Path) -> Result<(), Diagnostics> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) if !parent.is_dir() => Err(Diagnostic::new(
            &code::OUTPUT_UNWRITABLE,
            format!("`{}` is no folder, and the image was to be written there", parent.display()),
        )
        .help("make the folder, or choose another path with `-o`")
        .into()),
        _ => Ok(()),
    }
}

/// What was done for a layer, in one word, and how long it took.
fn outcome(compiled: &Compiled, node: kic_graph::NodeIndex, kind: Kind) -> (&'static str, String) {
    match compiled.realised.outcomes.get(&node) {
        Some(Outcome::Built(elapsed)) => {
            (if kind == Kind::Base { "fetched" } else { "built" }, time(*elapsed))
        }
        _ => ("reused", "-".to_owned()),
    }
}

fn as_text(compiled: &Compiled, output: Option<&Path>, terminal: &Terminal) -> String {
    let mut text = String::new();
    for lock in compiled.locks.iter().filter(|lock| lock.is_changed()) {
        text.push_str(&format!("wrote {}\n", lock.path.display()));
    }
    let several = compiled.image.layers.len() > 1;
    for (platform, layers) in &compiled.image.layers {
        if several {
            text.push_str(&format!("\n{platform}\n"));
        }
        let image = &compiled.graph.image.platforms[platform];
        let rows: Vec<Vec<String>> = image
            .layers
            .iter()
            .zip(layers)
            .map(|(layer, descriptor)| {
                let name = if layer.kind == Kind::RegistryCache {
                    short_digest(&layer.name)
                } else {
                    layer.name.clone()
                };
                let (_, time) = outcome(compiled, layer.node, layer.kind);
                vec![
                    layer.kind.name().to_owned(),
                    name,
                    size(descriptor.size),
                    descriptor.digest.short(),
                    time,
                ]
            })
            .collect();
        text.push_str(&table(
            &["KIND", "NAME", "SIZE", "DIGEST", "TIME"],
            &rows,
            &[2, 4],
            terminal.color_out,
        ));
    }
    if let Some(output) = output {
        text.push_str(&format!("\n{} as {}\n", output.display(), compiled.graph.image.tag));
    }
    text.push_str(&format!("{}\n", compiled.image.root.digest));
    text
}

fn as_json(compiled: &Compiled, output: Option<&Path>) -> serde_json::Value {
    let platform = |(platform, layers): (&kic_base::Platform, &Vec<kic_oci::model::Descriptor>)| {
        let image = &compiled.graph.image.platforms[platform];
        let layers = image.layers.iter().zip(layers).map(|(layer, descriptor)| {
            let milliseconds = match compiled.realised.outcomes.get(&layer.node) {
                Some(Outcome::Built(elapsed)) => Some(elapsed.as_secs_f64() * 1000.0),
                _ => None,
            };
            json!({
                "kind": layer.kind.name(), "name": layer.name, "size": descriptor.size, "digest": descriptor.digest,
                "mediaType": descriptor.media_type, "outcome": outcome(compiled, layer.node, layer.kind).0,
                "milliseconds": milliseconds,
            })
        });
        json!({ "platform": platform, "layers": layers.collect::<Vec<_>>() })
    };
    json!({
        "digest": compiled.image.root.digest,
        "mediaType": compiled.image.root.media_type,
        "output": output,
        "tag": compiled.graph.image.tag,
        "platforms": compiled.image.layers.iter().map(platform).collect::<Vec<_>>(),
        "warnings": kic_diag::json(&compiled.warnings),
    })
}
