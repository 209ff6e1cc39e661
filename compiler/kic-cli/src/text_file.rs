//! Texts that the command line names, read with a bound: a device may never end, and a pipe may never begin.

use std::io::{self, Read as _};
use std::path::Path;

use kic::World as _;
use kic_diag::{Diagnostic, declared as code};

use crate::world::{Disk, MOST_READ};

/// The bytes of a file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    whole(Disk.read(path)?)
}

/// The bytes of standard input.
pub fn read_input() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().take(MOST_READ).read_to_end(&mut bytes)?;
    whole(bytes)
}

/// Refuses what was not read to its end: half of a text must not pass for the whole.
fn whole(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 == MOST_READ { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Why a text was not read; `missing` is what helps where there is no such file.
pub fn unread(name: &str, error: &io::Error, missing: &str) -> Diagnostic {
    match error.kind() {
        io::ErrorKind::NotFound => {
            Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{name}` does not exist")).help(missing)
        }
        io::ErrorKind::FileTooLarge => Diagnostic::new(
            &code::TEXT_TOO_LARGE,
            format!("`{name}` is longer than {} MiB, the most that kic reads", MOST_READ >> 20),
        )
        .help("give a shorter one, or several"),
        _ => Diagnostic::new(&code::UNREADABLE_FILE, format!("`{name}` cannot be read: {error}"))
            .help("check that it is a file, and that you may read it"),
    }
}
