use std::fs;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use kic_base::{ImageReference, Platform, Source, without_login};
use kic_diag::{Code, Diagnostic, Diagnostics, declared as code};
use kic_import::{Folder, Kind, KubefileOptions, NewSpec};
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::new_file::{is_output, write_new};
use crate::terminal::Terminal;
use crate::text_file::{read_file, unread};

/// The most files below one folder that a Kubefile is held against.
const MOST_FILES: usize = 100_000;

/// Start a spec: from a Kubefile of sealer's, or from a few answers. On a terminal, what no option says is asked for.
#[derive(Debug, Args)]
#[command(override_usage = "kic init [OPTIONS] [DIR]\n       kic init [OPTIONS] --from <KUBEFILE>")]
pub struct Init {
    /// The folder of the new spec
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// The Kubefile to turn into a spec, which is written beside it
    #[arg(long, value_name = "KUBEFILE", conflicts_with_all = ["base", "platform", "manifest", "folder"])]
    from: Option<PathBuf>,
    /// The file to write, `-` for standard output; cluster.kdl in the folder when left out
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
    /// A manifest of what the cluster is to start, as seen from the folder of the spec
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
        let output = self.output.clone().unwrap_or_else(|| folder.join("cluster.kdl"));
        if !is_output(&output) && output.exists() && !self.force {
            // Before anything is asked.
            write_new(&output, "", false)?;
        }
        let name = match &self.name {
            Some(name) => valid_name(name).map_err(Refused::told)?,
            None => name_of(folder),
        };
        self.version.as_deref().map(valid_version).transpose().map_err(Refused::told)?;
        self.base.as_deref().map(valid_base).transpose().map_err(Refused::told)?;
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
        if is_output(&output) {
            terminal.print(&match terminal.format {
                Format::Json => format!("{}\n", json!({ "kdl": text })),
                _ => text,
            });
            return Ok(warnings);
        }
        if self.from.is_none() && self.output.is_none() {
            // Not before all is answered: who stops there leaves nothing behind.
            fs::create_dir_all(folder).map_err(|error| {
                Diagnostic::new(
                    &code::OUTPUT_UNWRITABLE,
                    format!("`{}` cannot be made: {error}", folder.display()),
                )
                .help("give another folder, or check who owns the one around it")
            })?;
        }
        write_new(&output, &text, self.force)?;
        match terminal.format {
            Format::Json => {
                terminal.print(&format!("{}\n", json!({ "written": output.display().to_string() })))
            }
            _ if terminal.quiet => {}
            _ => terminal.print(&format!("wrote {}\n", plain(&output).display())),
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
            // Nobody reads this where it cannot be written.
            drop(writeln!(
                questions,
                "Four questions. Enter takes what stands in brackets; Ctrl-C leaves all as it is."
            ));
            let mut ask = |question: &str, default: &str, check: Check| {
                ask(&mut answers, &mut questions, question, default, check)
            };
            spec.name = ask("Name of the cluster image", &spec.name, valid_name)?;
            spec.version = Some(ask("Version", "v1", valid_version)?);
            spec.base = ask("Image that installs Kubernetes, or scratch", &spec.base, valid_base)?;
            let file = ask("Manifest of what it is to start, or nothing", "", valid_file)?;
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

/// An answer that is none, and what one is like.
struct Refused {
    code: &'static Code,
    message: String,
    help: &'static str,
}

impl Refused {
    fn told(self) -> Diagnostic {
        Diagnostic::new(self.code, self.message).help(self.help)
    }
}

/// What an answer says, as far as it is one.
type Check = fn(&str) -> Result<String, Refused>;

/// Asks a question until its answer is one; an empty answer is the default.
fn ask(
    answers: &mut dyn BufRead,
    questions: &mut dyn Write,
    question: &str,
    default: &str,
    check: Check,
) -> Result<String, Diagnostic> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    loop {
        // Nobody reads the question where it cannot be written.
        drop(write!(questions, "{question}{shown}: ").and_then(|()| questions.flush()));
        let mut answer = String::new();
        match answers.read_line(&mut answer) {
            Ok(0) => {
                drop(writeln!(questions));
                return Err(Diagnostic::new(
                    &code::INTERRUPTED,
                    "the answers ended, and nothing was written",
                )
                .help("`kic init --help` lists the options that answer the questions"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => "\u{fffd}".clone_into(&mut answer),
            Err(error) => {
                return Err(Diagnostic::new(
                    &code::INTERRUPTED,
                    format!("no answer can be read: {error}; nothing was written"),
                )
                .help("`kic init --help` lists the options that answer the questions"));
            }
        }
        let answer = if answer.trim().is_empty() { default } else { answer.trim() };
        match check(answer) {
            Ok(answer) => return Ok(answer),
            Err(refused) => {
                let why = format!("  {}: {}\n", refused.message, refused.help);
                drop(questions.write_all(why.as_bytes()));
            }
        }
    }
}

/// A path without the `./` in front.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn valid_name(name: &str) -> Result<String, Refused> {
    if kic_spec::is_name(name) {
        return Ok(name.to_owned());
    }
    Err(Refused {
        code: &code::INVALID_NAME,
        message: format!("`{}` is no name", name.escape_debug()),
        help: "a name has 1 to 63 of `a-z`, `0-9` and `-`, and begins and ends with a letter or digit",
    })
}

fn valid_version(version: &str) -> Result<String, Refused> {
    if kic_spec::is_version(version) {
        return Ok(version.to_owned());
    }
    Err(Refused {
        code: &code::INVALID_VERSION,
        message: format!("`{}` is no version", version.escape_debug()),
        help: "a version has 1 to 128 letters, digits, `.`, `_`, `+` and `-`, with a letter or digit first",
    })
}

fn valid_base(base: &str) -> Result<String, Refused> {
    if base == "scratch" || kic_spec::ImageSource::parse(base).is_ok() {
        return Ok(base.to_owned());
    }
    Err(Refused {
        code: &code::INVALID_IMAGE,
        message: format!("`{}` is no image", without_login(base).escape_debug()),
        help: "write a reference such as `registry.example.com/kubernetes:v1.31.0`, `oci:DIR`, or `scratch`",
    })
}

fn valid_file(file: &str) -> Result<String, Refused> {
    if !file.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
        return Ok(file.to_owned());
    }
    Err(Refused {
        code: &code::INVALID_PATH,
        message: format!("`{}` is no path", file.escape_debug()),
        help: "write the path of a file, as seen from the folder of the spec",
    })
}

/// The name of a folder, as far as it can be one of a cluster image.
fn name_of(folder: &Path) -> String {
    let whole = folder.canonicalize().or_else(|_| std::path::absolute(folder)).unwrap_or_default();
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
    let bytes = read_file(path).map_err(|error| unread(&name, &error, "give the path of a Kubefile"))?;
    String::from_utf8(bytes).map(|text| Source::new(name.as_str(), text)).map_err(|_| {
        Diagnostic::new(&code::INVALID_KUBEFILE, format!("`{name}` is not UTF-8 text"))
            .help("save it as UTF-8")
    })
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

    fn asked(input: &[u8], default: &str, check: Check) -> (Result<String, Diagnostic>, String) {
        let mut questions = Vec::new();
        let answer = ask(&mut io::Cursor::new(input), &mut questions, "Name", default, check);
        (answer, String::from_utf8_lossy(&questions).into_owned())
    }

    #[test]
    fn an_empty_answer_is_the_default() {
        assert_eq!(asked(b"\n", "x", valid_name).0.ok().as_deref(), Some("x"));
        assert_eq!(asked(b"  v2  \n", "v1", valid_version).0.ok().as_deref(), Some("v2"));
        let (answer, questions) = asked(b"\n", "", valid_file);
        assert_eq!((answer.ok().as_deref(), questions.as_str()), (Some(""), "Name: "));
    }

    #[test]
    fn an_answer_that_is_none_is_asked_for_again() {
        let (answer, questions) = asked(b"My Cluster\n\xff\nmine\n", "x", valid_name);
        assert_eq!(answer.ok().as_deref(), Some("mine"));
        assert!(
            questions.starts_with("Name [x]:   `My Cluster` is no name: a name has 1 to 63"),
            "{questions}"
        );
        assert_eq!(questions.matches("Name [x]: ").count(), 3, "{questions}");
        assert_eq!(asked(b"v 1\nv1\n", "", valid_version).0.ok().as_deref(), Some("v1"));
        assert_eq!(asked(b"a b\nscratch\n", "", valid_base).0.ok().as_deref(), Some("scratch"));
        assert_eq!(asked(b"\x1b[D\na.yaml\n", "", valid_file).0.ok().as_deref(), Some("a.yaml"));
    }

    #[test]
    fn answers_that_end_are_no_defaults() {
        let (answer, questions) = asked(b"", "x", valid_name);
        assert_eq!(answer.err().map(|error| error.code.name), Some("interrupted"));
        assert_eq!(questions, "Name [x]: \n");
    }

    #[test]
    fn names_of_folders_become_names() {
        assert_eq!(plain_name("My_Cluster.d", "x"), "my-cluster-d");
        assert_eq!(plain_name("日本", "x"), "x");
    }
}
