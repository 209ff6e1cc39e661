use std::io::Write as _;
use std::path::Path;

use kic_diag::{Diagnostic, declared as code};

/// Whether `path` stands for standard output, as `-` does wherever a text is written.
pub fn is_output(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a file that is not there yet, or whatever is there where `replaces` says so, in one step.
pub fn write_new(path: &Path, text: &str, replaces: bool) -> Result<(), Diagnostic> {
    let name = path.display();
    let unwritable = |error: &std::io::Error| {
        Diagnostic::new(&code::OUTPUT_UNWRITABLE, format!("`{name}` cannot be written: {error}"))
            .help("check that its folder is there, and who owns it")
    };
    let exists = || {
        Diagnostic::new(&code::FILE_EXISTS, format!("`{name}` is there already"))
            .help("give another name, or `--force` to replace it")
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Diagnostic::new(
            &code::OUTPUT_UNWRITABLE,
            format!("`{name}` cannot be written: its folder is not there"),
        )
        .help(format!("make `{}` first, or give another path", folder.display())));
    }
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(|error| unwritable(&error))?;
    temporary.write_all(text.as_bytes()).map_err(|error| unwritable(&error))?;
    set_mode(temporary.as_file()).map_err(|error| unwritable(&error))?;
    temporary.as_file().sync_all().map_err(|error| unwritable(&error))?;
    let persisted = if replaces { temporary.persist(path) } else { temporary.persist_noclobber(path) };
    persisted.map(|_| ()).map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(),
        _ => unwritable(&error.error),
    })
}

/// A temporary file is its owner's alone; a spec is to be read like any other file.
fn set_mode(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
