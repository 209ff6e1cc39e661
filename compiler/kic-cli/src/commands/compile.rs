use std::path::{Path, PathBuf};

use clap::Args;
use kic::{Begun, Compilation, Compiled, CompiledLayer, LockMode, Outcome, Output, Request};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_graph::Kind;
use serde_json::json;

use crate::arguments::{Building, Format, Global};
use crate::commands::reasons::{json as reasons_json, reasons};
use crate::new_file::is_output;
use crate::report::{short_digest, size, table, time};
use crate::terminal::Terminal;
use crate::watcher::watcher;
use crate::world::{Disk, block_on, block_on_short, building_context};

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
    /// Say of each layer why it was built or reused: what changed since the last compile, from what to what
    #[arg(long)]
    explain: bool,
    /// Record spec, modules and lock in the image, so that `kic verify --rebuild` can compile it again
    #[arg(long)]
    record_source: bool,
    #[command(flatten)]
    building: Building,
}

impl Compile {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let watch = watcher(terminal);
        let context = building_context(global, &self.building, watch.clone())?;
        let request = self.request()?;
        let compiled = match Compilation::begin(&request, &Disk, &context) {
            Begun::Done(compiled) => {
                // Whoever reads what is printed may take its time, and a collection must not wait for that.
                context.store.forgo().map_err(|error| fault::store(&error))?;
                Ok(*compiled)
            }
            Begun::Compilation(compilation) if compilation.is_short() => {
                block_on_short(&context, compilation.run())
            }
            Begun::Compilation(compilation) => block_on(&context, compilation.run()),
        };
        drop(watch);
        let mut compiled = compiled?;
        match terminal.format {
            Format::Json => terminal.print(&format!("{}\n", as_json(&compiled))),
            _ if terminal.quiet => terminal.print(&format!("{}\n", compiled.image.root.digest)),
            _ => terminal.print(&as_text(&compiled, self.check, terminal)),
        }
        let warnings = std::mem::take(&mut compiled.warnings);
        // The system is quicker with it.
        std::mem::forget(compiled);
        Ok(warnings)
    }

    fn request(&self) -> Result<Request, Diagnostics> {
        let lock = if self.locked { LockMode::Locked } else { LockMode::Add };
        let mut request = self.building.request(lock)?;
        request.output = match (&self.output, self.no_output) {
            (Some(path), _) => {
                check_parent(path)?;
                Some(Output::at(path.clone()))
            }
            (None, true) => None,
            (None, false) => Some(Output::Named),
        };
        request.check = self.check;
        request.explain = self.explain;
        request.record_source = self.record_source;
        Ok(request)
    }
}

/// A folder that is missing is found out before anything is downloaded.
fn check_parent(path: &Path) -> Result<(), Diagnostics> {
    if is_output(path) {
        // A layout of that name is nothing that anybody wants.
        return Err(Diagnostic::new(&code::INVALID_ARGUMENT, "an image is not written to standard output")
            .help("give a path with `-o`: of an archive where it ends with `.tar`, else of a layout")
            .into());
    }
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
fn outcome(layer: &CompiledLayer) -> (&'static str, String) {
    match layer.outcome {
        Outcome::Built(elapsed) => {
            (if layer.kind == Kind::Base { "fetched" } else { "built" }, time(elapsed))
        }
        Outcome::Reused => ("reused", "-".to_owned()),
    }
}

fn as_text(compiled: &Compiled, is_checked: bool, terminal: &Terminal) -> String {
    let mut text = String::new();
    for lock in &compiled.written_locks {
        text.push_str(&format!("wrote {}\n", lock.display()));
    }
    let several = compiled.layers.len() > 1;
    for (platform, layers) in &compiled.layers {
        if several {
            text.push_str(&format!("\n{platform}\n"));
        }
        let row = |layer: &CompiledLayer| {
            let name = if layer.kind == Kind::RegistryCache {
                short_digest(&layer.name)
            } else {
                layer.name.clone()
            };
            let descriptor = &layer.descriptor;
            let (kind, digest) = (layer.kind.name().to_owned(), descriptor.digest.short());
            vec![kind, name, size(descriptor.size), digest, outcome(layer).1]
        };
        text.push_str(&table(
            &["KIND", "NAME", "SIZE", "DIGEST", "TIME"],
            &layers.iter().map(row).collect::<Vec<_>>(),
            &[2, 4],
            terminal.color_out,
        ));
    }
    text.push_str(&reasons(compiled, terminal.color_out));
    if let Some(output) = &compiled.output {
        text.push_str(&format!("\n{} as {}\n", output.display(), compiled.tag));
    }
    if is_checked {
        text.push_str("built twice, and the same both times\n");
    }
    text.push_str(&format!("{}\n", compiled.image.root.digest));
    text
}

fn as_json(compiled: &Compiled) -> serde_json::Value {
    let layer = |layer: &CompiledLayer| {
        let milliseconds = match layer.outcome {
            Outcome::Built(elapsed) => Some(elapsed.as_secs_f64() * 1000.0),
            Outcome::Reused => None,
        };
        let descriptor = &layer.descriptor;
        let mut json = json!({
            "kind": layer.kind.name(), "name": layer.name, "size": descriptor.size, "digest": descriptor.digest,
            "mediaType": descriptor.media_type, "outcome": outcome(layer).0, "milliseconds": milliseconds,
        });
        if let (Some(reason), Some(object)) = (&layer.reason, json.as_object_mut()) {
            object.insert("reason".to_owned(), reasons_json::reason(reason));
        }
        json
    };
    let platforms = compiled.layers.iter().map(|(platform, layers)| {
        json!({ "platform": platform, "layers": layers.iter().map(layer).collect::<Vec<_>>() })
    });
    let mut json = json!({
        "digest": compiled.image.root.digest,
        "mediaType": compiled.image.root.media_type,
        "output": compiled.output.as_ref().map(|path| path.display().to_string()),
        "tag": compiled.tag,
        "platforms": platforms.collect::<Vec<_>>(),
        "warnings": kic_diag::json(&compiled.warnings),
    });
    if let (Some(explanation), Some(object)) = (&compiled.explanation, json.as_object_mut()) {
        reasons_json::add_explanation(object, explanation);
    }
    json
}
