use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kic_base::{ImageReference, Platform, Source};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_import::{Folder, Kind, KubefileOptions, NewSpec};
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::new_file::write_new;
use crate::terminal::{Terminal, print};

/// The most files below one folder that a Kubefile is held against.
const MOST_FILES: usize = 100_000;

/// Start a spec: from a Kubefile of sealer's, or from a few answers. On a terminal, what no option says is asked for.
#[derive(Debug, Args)]
pub struct Init {
    /// The folder of the new spec
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The Kubefile to turn into a spec, which is written beside it
    #[arg(long, value_name = "KUBEFILE", conflicts_with_all = ["base", "platform", "manifest", "folder"])]
    from: Option<PathBuf>,
    /// The file to write; cluster.kdl in the folder when left out
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the spec that is there
    #[arg(long)]
    force: bool,
    /// The name of the cluster image; that of the folder when left out
    #[arg(long)]
    name: Option<String>,
    /// Its version, which is the tag of the image
    #[arg(long)]
    version: Option<String>,
    /// The image below, or scratch
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
    /// A platform to build for
    #[arg(long, value_name = "OS/ARCHITECTURE")]
    platform: Vec<Platform>,
    /// The host and port of the registry in the cluster
    #[arg(long, value_name = "HOST", default_value = "sea.hub:5000")]
    registry: String,
    /// A manifest of what the cluster is to start
    #[arg(long, value_name = "FILE")]
    manifest: Vec<String>,
}

impl Init {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        if !ImageReference::is_registry(&self.registry) {
            return Err(Diagnostic::new(
                &code::INVALID_REGISTRY,
                format!("`{}` is no registry host", self.registry),
            )
            .help("write `HOST` or `HOST:PORT`, such as `sea.hub:5000`")
            .into());
        }
        let folder = match &self.from {
            Some(kubefile) => folder_of(kubefile),
            None => self.folder.as_path(),
        };
        if self.from.is_none() && self.output.is_none() {
            fs::create_dir_all(folder).map_err(|error| {
                Diagnostic::new(
                    &code::OUTPUT_UNWRITABLE,
                    format!("`{}` cannot be made: {error}", folder.display()),
                )
                .help("give another folder, or check who owns the one around it")
            })?;
        }
        let output = self.output.clone().unwrap_or_else(|| folder.join("cluster.kdl"));
        if output.exists() && !self.force {
            // Before anything is asked.
            write_new(&output, "", false)?;
        }
        let name = match &self.name {
            Some(name) => valid_name(name)?,
            None => name_of(folder),
        };
        let (text, warnings) = match &self.from {
            Some(kubefile) => {
                let options = KubefileOptions {
                    name: &name,
                    version: self.version.as_deref(),
                    registry: &self.registry,
                };
                kic_import::kubefile(&read(kubefile)?, &options, &Context(folder.to_owned()))?
            }
            None => (kic_import::new_spec(&self.answers(name)?)?, Diagnostics::new()),
        };
        // What cannot be read again is told now, and not written.
        let (_, said) = kic_syntax::parse(&Source::new(output.display().to_string(), text.as_str()));
        said.or(())?;
        write_new(&output, &text, self.force)?;
        if !terminal.quiet {
            print(&match terminal.format {
                Format::Json => format!("{}\n", json!({ "written": output })),
                _ => format!("wrote {}\n", output.display()),
            });
        }
        Ok(warnings)
    }

    /// What the options say, and on a terminal what is asked beyond them.
    fn answers(&self, name: String) -> Result<NewSpec, Diagnostic> {
        let mut spec = NewSpec {
            name,
            version: self.version.clone(),
            base: self.base.clone().unwrap_or_else(|| "scratch".to_owned()),
            platforms: self.platform.iter().map(Platform::to_string).collect(),
            registry: self.registry.clone(),
            manifests: Vec::new(),
        };
        let mut files = self.manifest.clone();
        let is_said =
            self.name.is_some() || self.base.is_some() || self.version.is_some() || !files.is_empty();
        if !is_said && io::stdin().is_terminal() && io::stderr().is_terminal() {
            let (mut answers, mut questions) = (io::stdin().lock(), io::stderr().lock());
            let mut ask =
                |question: &str, default: &str| ask(&mut answers, &mut questions, question, default);
            spec.name = valid_name(&ask("Name of the cluster image", &spec.name))?;
            spec.version = Some(ask("Version", "v1"));
            spec.base = ask("Image that installs Kubernetes, or scratch", &spec.base);
            let file = ask("Manifest of what it is to start, or nothing", "");
            files.extend((!file.is_empty()).then_some(file));
        }
        let mut layers: Vec<String> = Vec::new();
        for file in files {
            let stem = Path::new(&file).file_stem().unwrap_or_default().to_string_lossy();
            let mut layer = plain_name(&stem, "manifests");
            while layers.contains(&layer) {
                layer.push_str("-2");
            }
            layers.push(layer.clone());
            spec.manifests.push((layer, file));
        }
        Ok(spec)
    }
}

/// Asks a question; an empty answer, or none at all, is the default.
fn ask(answers: &mut dyn BufRead, questions: &mut dyn Write, question: &str, default: &str) -> String {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    // Nobody reads the question where it cannot be written.
    drop(write!(questions, "{question}{shown}: ").and_then(|()| questions.flush()));
    let mut answer = String::new();
    if answers.read_line(&mut answer).is_err() || answer.trim().is_empty() {
        return default.to_owned();
    }
    answer.trim().to_owned()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn valid_name(name: &str) -> Result<String, Diagnostic> {
    if kic_spec::is_name(name) {
        return Ok(name.to_owned());
    }
    Err(Diagnostic::new(&code::INVALID_NAME, format!("`{name}` is no name"))
        .help("a name has 1 to 63 of `a-z`, `0-9` and `-`, and begins and ends with a letter or digit"))
}

/// The name of a folder, as far as it can be one of a cluster image.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_default();
    plain_name(&whole.file_name().unwrap_or_default().to_string_lossy(), "cluster")
}

fn plain_name(text: &str, otherwise: &str) -> String {
    let lower: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let trimmed = lower.trim_matches('-');
    if trimmed.is_empty() { otherwise.to_owned() } else { trimmed.to_owned() }
}

fn read(path: &Path) -> Result<Source, Diagnostic> {
    let name = path.display().to_string();
    match fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Source::new(name, text)),
        Ok(Err(_)) => Err(Diagnostic::new(&code::INVALID_KUBEFILE, format!("`{name}` is not UTF-8 text"))
            .help("save it as UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{name}` does not exist"))
                .help("give the path of a Kubefile"))
        }
        Err(error) => {
            Err(Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` cannot be read: {error}"))
                .help("check that it is a file, and that you may read it"))
        }
    }
}

/// The folder of a Kubefile.
struct Context(PathBuf);

impl Folder for Context {
    fn kind(&self, path: &str) -> Option<Kind> {
        let metadata = fs::metadata(self.0.join(path)).ok()?;
        Some(if metadata.is_dir() { Kind::Folder } else { Kind::File })
    }

    fn files(&self, path: &str) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.0.join(&folder)) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let below = if folder == "." { name } else { format!("{folder}/{name}") };
                // A link to a folder may lead in a circle; it is copied as a link.
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(below),
                    Ok(_) if files.len() < MOST_FILES => files.push(below),
                    _ => {}
                }
            }
        }
        files.sort();
        files
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_answer_is_the_default() {
        let mut answers = io::Cursor::new("shop\n\n  v2  \n");
        let mut questions = Vec::new();
        assert_eq!(ask(&mut answers, &mut questions, "Name", "x"), "shop");
        assert_eq!(ask(&mut answers, &mut questions, "Base", "scratch"), "scratch");
        assert_eq!(ask(&mut answers, &mut questions, "Version", ""), "v2");
        assert_eq!(ask(&mut answers, &mut questions, "Manifest", ""), "");
        assert_eq!(String::from_utf8_lossy(&questions), "Name [x]: Base [scratch]: Version: Manifest: ");
    }

    #[test]
    fn names_of_folders_become_names() {
        assert_eq!(plain_name("My_Cluster.d", "x"), "my-cluster-d");
        assert_eq!(plain_name("日本", "x"), "x");
    }
}
