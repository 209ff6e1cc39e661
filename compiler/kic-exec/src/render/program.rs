use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use kic_base::{Digest, Sha256, Span, StableHasher};
use kic_diag::{Diagnostic, declared as code};
use serde_json::json;

use super::Programs;
use super::run::{Run, RunError, run};
use crate::context::{Context, interrupted};
use crate::fault;

/// A program of the user's.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub name: &'static str,
    pub path: PathBuf,
    /// What it says of itself.
    pub version: String,
    /// The digest of its file.
    pub digest: Digest,
}

/// The first of these programs that is there, each with the arguments that make it tell its version.
pub(crate) fn find_program(
    names: &[(&'static str, &[&str])],
    how_to_get: &str,
    span: &Span,
    context: &Context,
) -> Result<Program, Diagnostic> {
    for (name, arguments) in names {
        if let Some(path) = find(name, &context.programs.folders) {
            let of_names = names.iter().map(|(name, _)| (*name).to_owned()).collect();
            context.sources.note_program(of_names, path.clone());
            return identify(name, arguments, path, span, context);
        }
    }
    let wanted: Vec<String> = names.iter().map(|(name, _)| format!("`{name}`")).collect();
    let wanted = wanted.join(" or ");
    Err(Diagnostic::new(
        &code::RENDERER_MISSING,
        format!("{wanted} is needed, and is in no folder of `PATH`"),
    )
    .at(span, "rendered by it")
    .help(how_to_get.to_owned()))
}

impl Programs {
    /// The path of the first of these programs that is there.
    pub fn find(&self, names: &[String]) -> Option<PathBuf> {
        names.iter().find_map(|name| find(name, &self.folders))
    }
}

fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    // A program of the current folder is none that the user meant.
    folders.iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(is_program)
}

/// Hashes a program and asks for its version. Both are kept in the store as long as its file stays as it is.
fn identify(
    name: &'static str,
    arguments: &[&str],
    path: PathBuf,
    span: &Span,
    context: &Context,
) -> Result<Program, Diagnostic> {
    let unreadable = |error| failed(name, &format!("`{}` cannot be read: {error}", path.display()), span);
    let path = fs::canonicalize(&path).map_err(unreadable)?;
    let file = fs::metadata(&path).map_err(unreadable)?;
    let mut key = StableHasher::new();
    key.text("kic program").bytes(path.as_os_str().as_encoded_bytes());
    for number in [file.dev(), file.ino(), file.size()] {
        key.number(number);
    }
    for number in [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()] {
        key.bytes(&number.to_le_bytes());
    }
    let key = key.finish();
    let known = context.store.output(&key).map_err(|error| fault::store(&error))?;
    let known = known.as_ref().and_then(|known| {
        let digest: Digest = known.get("digest")?.as_str()?.parse().ok()?;
        Some((digest, known.get("version")?.as_str()?.to_owned()))
    });
    let (digest, version) = match known {
        Some(known) => known,
        None => {
            let digest = digest_of(&path).map_err(unreadable)?;
            let version = version(name, arguments, &path, span, context)?;
            let record = json!({ "digest": digest, "version": version });
            context.store.record(&key, &record).map_err(|error| fault::store(&error))?;
            (digest, version)
        }
    };
    Ok(Program { name, path, version, digest })
}

fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
    }
}

fn version(
    name: &'static str,
    arguments: &[&str],
    path: &Path,
    span: &Span,
    context: &Context,
) -> Result<String, Diagnostic> {
    let home = home()?;
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let asked = Run {
        program: path,
        arguments: &arguments,
        folder: home.path(),
        home: home.path(),
        time_zone: "UTC",
    };
    let finished =
        run(&asked, &context.programs, &context.cancel).map_err(|error| run_failed(name, &error, span))?;
    let text = String::from_utf8_lossy(&finished.output);
    let version = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !finished.status.success() || version.is_empty() || version.len() > 500 {
        let asked = arguments.join(" ");
        let said = finished.said.trim();
        return Err(failed(name, &format!("`{name} {asked}` tells no version ({})", finished.status), span)
            .note(if said.is_empty() { "it says nothing".to_owned() } else { said.to_owned() }));
    }
    Ok(version)
}

/// An empty folder for a program to run in; gone when it is dropped.
pub(super) fn home() -> Result<tempfile::TempDir, Diagnostic> {
    let parent = std::env::temp_dir();
    tempfile::Builder::new().prefix(".kic-render-").tempdir_in(&parent).map_err(|error| {
        // Without the name that it would have had, which is another one each time.
        let doing = format!("making a temporary folder in {}", parent.display());
        fault::temporary_folder(error.kind().into(), &doing)
    })
}

/// The diagnostic for a program that does not work.
pub(super) fn failed(name: &str, what: &str, span: &Span) -> Diagnostic {
    Diagnostic::new(&code::RENDERER_FAILED, what.to_owned())
        .at(span, "rendered by it")
        .help(format!("check that the `{name}` on your `PATH` works: run it by hand"))
}

/// The diagnostic for a program that gave nothing.
pub(super) fn run_failed(name: &str, error: &RunError, span: &Span) -> Diagnostic {
    let what = match error {
        RunError::Interrupted => return interrupted(),
        RunError::Start(error) => format!("`{name}` cannot be started: {error}"),
        RunError::Read(error) => format!("what `{name}` gives cannot be read: {error}"),
        RunError::TooSlow(limit) => {
            format!("`{name}` did not end within {} seconds", limit.as_secs_f64().ceil())
        }
        RunError::TooMuch => {
            format!("`{name}` gives more than {} MiB", super::run::OUTPUT_LIMIT >> 20)
        }
    };
    failed(name, &what, span)
}
