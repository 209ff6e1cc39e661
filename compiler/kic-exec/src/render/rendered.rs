use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kic_base::{Digest, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::Rendering;
use serde::{Deserialize, Serialize};

use super::differences::differences;
use super::program::{Program, failed, home, run_failed};
use super::run::{Run, run};
use crate::context::Context;
use crate::fault;

/// What a program made of a chart or kustomization.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rendered {
    /// What is applied: names of files and their texts, in order.
    pub files: Vec<(String, String)>,
    /// What is not: hooks that an installation does not run.
    pub dropped: String,
}

/// One thing to render.
pub(super) struct Job<'a> {
    pub program: &'a Program,
    pub arguments: Vec<String>,
    /// What the program sees, by path.
    pub files: &'a BTreeMap<String, Vec<u8>>,
    /// What the spec calls it, such as `` the chart `shop` ``.
    pub name: String,
    /// Where the spec names it.
    pub span: &'a Span,
    /// Whether it may ask for the time of day.
    pub reads_clock: bool,
    /// Takes the text apart.
    pub split: &'a dyn Fn(&str) -> Rendered,
    /// What the program's own error means.
    pub explain: &'a dyn Fn(&str) -> Diagnostic,
}

/// Zones whose dates are never the same.
const ZONES: [&str; 2] = ["Etc/GMT+12", "Etc/GMT-14"];

/// What the store knows of the rendering, else what the program gives, twice, and each time the same.
pub(super) fn rendered(job: &Job, context: &Context) -> Result<Rendered, Diagnostics> {
    let rendering = Rendering {
        program: job.program.name.to_owned(),
        version: job.program.version.clone(),
        binary: job.program.digest,
        arguments: job.arguments.clone(),
        files: job.files.iter().map(|(path, bytes)| (path.clone(), Digest::of(bytes))).collect(),
    };
    let digest = rendering.digest();
    let known = context.store.output(&digest).map_err(|error| fault::store(&error))?;
    if let Some(known) = known.and_then(|known| serde_json::from_value(known).ok()) {
        return Ok(known);
    }
    let first = once(job, ZONES[0], context)?;
    if job.reads_clock {
        // Within one second, the time of day may look as if it stood still; and the first run may have asked at its end.
        std::thread::sleep(Duration::from_millis(1_100));
    }
    let second = once(job, ZONES[1], context)?;
    if first != second {
        let mut diagnostic = Diagnostic::new(
            &code::RENDERING_DIFFERS,
            format!("{} becomes something else whenever it is rendered", job.name),
        )
        .at(job.span, format!("`{}` was run twice on the same files", job.program.name));
        for difference in differences(&first, &second) {
            diagnostic = diagnostic.note(format!("differs: {difference}"));
        }
        return Err(diagnostic
            .help("give these fields a value of your own, so that none is made up: `values { … }` with a password, or with the name of a secret that is there already")
            .into());
    }
    let rendered = (job.split)(&first);
    let record = serde_json::to_value(&rendered).map_err(|error| fault::internal(error.to_string()))?;
    context.store.record(&digest, &record).map_err(|error| fault::store(&error))?;
    Ok(rendered)
}

/// Runs the program once, in a folder that holds the files and nothing else.
fn once(job: &Job, time_zone: &str, context: &Context) -> Result<String, Diagnostic> {
    let (folder, home) = (home()?, home()?);
    stage(folder.path(), job.files)?;
    let asked = Run {
        program: &job.program.path,
        arguments: &job.arguments,
        folder: folder.path(),
        home: home.path(),
        time_zone,
    };
    let name = job.program.name;
    let finished = run(&asked, &context.programs, &context.cancel)
        .map_err(|error| run_failed(name, &error, job.span))?;
    if !finished.status.success() {
        // An error of the chart's is said; a program that is ended by a signal says nothing.
        if finished.status.code().is_some() && !finished.said.trim().is_empty() {
            return Err((job.explain)(&finished.said));
        }
        return Err(failed(
            name,
            &format!("`{name}` ended with {}, and says nothing", finished.status),
            job.span,
        ));
    }
    String::from_utf8(finished.output)
        .map_err(|_| failed(name, &format!("what `{name}` gives is not UTF-8 text"), job.span))
}

fn stage(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Diagnostic> {
    let doing = |error| fault::temporary_folder(error, "writing to a temporary folder");
    for (path, bytes) in files {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(doing)?;
        }
        fs::write(&path, bytes).map_err(doing)?;
    }
    Ok(())
}
