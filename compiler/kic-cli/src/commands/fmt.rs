use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::arguments::Global;
use crate::terminal::Terminal;
use crate::text_file::{read_file, read_input, unread};

/// Format specs and modules in place. Comments, blank lines and the meaning stay as they are.
#[derive(Debug, Args)]
pub struct Fmt {
    /// Files, or folders whose `.kdl` files are meant; `-` for standard input, whose formatted text goes to standard output
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Change nothing; fail, and name the files, where something would change
    #[arg(long)]
    check: bool,
}

impl Fmt {
    /// Runs the command.
    pub fn run(&self, _: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        let mut all = Diagnostics::new();
        for path in &self.paths {
            if path == Path::new("-") {
                let text =
                    read_input().and_then(utf8).map_err(|error| unreadable("standard input", &error))?;
                let formatted = kic_syntax::format(&Source::new("standard input", text.clone()))?;
                if !self.check {
                    terminal.print(&formatted);
                } else if formatted != text {
                    all.push(unformatted("standard input"));
                }
                continue;
            }
            let mut files = Vec::new();
            collect(path, true, &mut files)?;
            for file in files {
                match self.file(&file) {
                    Ok(true) if self.check => all.push(unformatted(&file.display().to_string())),
                    Ok(true) if !terminal.quiet => terminal.print(&format!("formatted {}\n", file.display())),
                    Ok(_) => {}
                    Err(errors) => all.append(errors),
                }
            }
        }
        all.or(()).map(|((), warnings)| warnings)
    }

    /// Formats one file; whether that changes it.
    fn file(&self, path: &Path) -> Result<bool, Diagnostics> {
        let name = path.display().to_string();
        let text = read_file(path).and_then(utf8).map_err(|error| unreadable(&name, &error))?;
        let source = Source::new(name.clone(), text.clone());
        let formatted = kic_syntax::format(&source);
        // Some YAML is KDL as well, and must not be written anew as such.
        if (formatted.is_err() || path.extension().is_none_or(|extension| extension != "kdl"))
            && let Some(told) = kic::other_than_spec(&source)
        {
            return Err(told.into());
        }
        let formatted = formatted?;
        if formatted == text {
            return Ok(false);
        }
        if !self.check {
            write(path, &formatted).map_err(|error| {
                Diagnostic::new(&code::OUTPUT_UNWRITABLE, format!("`{name}` cannot be written: {error}"))
                    .help("check who owns the file and its folder")
            })?;
        }
        Ok(true)
    }
}

/// Replaces a file in one step; what it was stays where that fails. A symbolic link stays one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = fs::metadata(&path)?.permissions();
    let mut temporary = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    temporary.write_all(text.as_bytes())?;
    temporary.as_file().set_permissions(permissions)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}

/// The files that are meant: a file itself, or the `.kdl` files of a folder, but for those in hidden ones.
fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<(), Diagnostics> {
    let name = path.display().to_string();
    let metadata = fs::symlink_metadata(path).map_err(|error| unreadable(&name, &error))?;
    let is_folder = metadata.is_dir() || (named && path.is_dir());
    if !is_folder {
        if named || path.extension().is_some_and(|extension| extension == "kdl") {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(&name, &error))? {
        let entry = entry.map_err(|error| unreadable(&name, &error))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.file_name() != "target" {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|path| collect(path, false, files))
}

fn utf8(bytes: Vec<u8>) -> std::io::Result<String> {
    String::from_utf8(bytes).map_err(|_| {
        std::io::Error::new(std::io::ErrorKind::InvalidData, "stream did not contain valid UTF-8")
    })
}

fn unreadable(name: &str, error: &std::io::Error) -> Diagnostic {
    let told = unread(name, error, "give the path of a file or folder");
    if told.code == &code::UNREADABLE_FILE {
        told.help("check that it is a text in UTF-8, and that you may read it")
    } else {
        told
    }
}

fn unformatted(name: &str) -> Diagnostic {
    Diagnostic::new(&code::NOT_FORMATTED, format!("`{name}` is not formatted")).help("run `kic fmt`")
}
