use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_import::Wrapping;
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::new_file::{is_output, write_new};
use crate::terminal::Terminal;
use crate::text_file::{read_file, read_input, unread};

/// Turn what others have written into KDL.
#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    what: What,
}

/// What is read.
#[derive(Debug, Subcommand)]
enum What {
    /// Turn a manifest of Kubernetes objects, YAML or JSON, into `object` nodes
    Manifest(Manifest),
}

/// Turn a manifest of Kubernetes objects into `object` nodes, which a `manifests` layer holds. Comments are lost.
#[derive(Debug, Args)]
struct Manifest {
    /// The manifest; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write, instead of standard output, for which `-` stands as well
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a module of this name that holds the objects in a layer, to be used as it is
    #[arg(long, value_name = "NAME")]
    module: Option<String>,
    /// Replace the file that is written, where there is one
    #[arg(long)]
    force: bool,
}

impl Import {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let What::Manifest(manifest) = &self.what;
        let wrapping = match &manifest.module {
            None => Wrapping::None,
            Some(name) if kic_spec::is_name(name) => Wrapping::Module(name),
            Some(name) => {
                return Err(Diagnostic::new(&code::INVALID_NAME, format!("`{name}` is no name"))
                    .help("a name has 1 to 63 of `a-z`, `0-9` and `-`, and begins and ends with a letter or digit")
                    .into());
            }
        };
        let text = kic_import::manifest(&read(&manifest.file)?, wrapping)?;
        let Some(output) = manifest.output.as_ref().filter(|output| !is_output(output)) else {
            terminal.print(&match terminal.format {
                Format::Json => format!("{}\n", json!({ "kdl": text })),
                _ => text,
            });
            return Ok(Diagnostics::new());
        };
        write_new(output, &text, manifest.force)?;
        match terminal.format {
            Format::Json => {
                terminal.print(&format!("{}\n", json!({ "written": output.display().to_string() })))
            }
            _ if terminal.quiet => {}
            _ => terminal.print(&format!("wrote {}\n", output.display())),
        }
        Ok(Diagnostics::new())
    }
}

/// The text at a path, `-` for standard input.
pub(super) fn read(path: &Path) -> Result<Source, Diagnostic> {
    let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let bytes = if path == Path::new("-") { read_input() } else { read_file(path) };
    let bytes = bytes.map_err(|error| unread(&name, &error, "give the path of a file"))?;
    String::from_utf8(bytes).map(|text| Source::new(name.as_str(), text)).map_err(|_| {
        Diagnostic::new(&code::INVALID_YAML, format!("`{name}` is not UTF-8 text")).help("save it as UTF-8")
    })
}
