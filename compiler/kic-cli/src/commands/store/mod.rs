//! `kic store`: what is in the store, what keeps it there, and whether it is whole. One file a subcommand.

mod gc;
mod path;
mod roots;
mod status;
mod verify;
mod why_alive;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_store::{Root, Store as Shelves, StoreError};
use serde_json::Value as Json;

use crate::arguments::Global;
use crate::report::printable;
use crate::terminal::Terminal;
use crate::world::store_path;

/// Look after the store: what it holds, what keeps it, whether it is whole; and remove what nothing needs.
#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    command: What,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
enum What {
    /// Tell how much the store holds, and how much of it nothing needs
    Status(status::Status),
    /// Remove what neither an output, nor a lock, nor a compile that runs needs
    Gc(gc::Gc),
    /// Hash every blob again; name and set aside what is damaged
    Verify(verify::Verify),
    /// Print the file that holds a blob
    Path(path::Place),
    /// List the outputs and locks that keep things in the store
    Roots(roots::Roots),
    /// Tell what keeps a blob in the store
    WhyAlive(why_alive::WhyAlive),
}

impl Store {
    /// Runs the command.
    pub fn run(&self, global: &Global, terminal: &Terminal) -> Result<Diagnostics, Diagnostics> {
        match &self.command {
            What::Status(command) => command.run(global, terminal),
            What::Gc(command) => command.run(global, terminal),
            What::Verify(command) => command.run(global, terminal),
            What::Path(command) => command.run(global, terminal),
            What::Roots(command) => command.run(global, terminal),
            What::WhyAlive(command) => command.run(global, terminal),
        }
    }
}

/// The store of this run, where there is one. A look makes none: a mistyped path would become an empty store, in which all is well.
struct Existing {
    path: PathBuf,
    store: Option<Shelves>,
}

impl Existing {
    fn open(global: &Global) -> Result<Self, Diagnostics> {
        let path = store_path(global)?;
        let store = Shelves::open_existing(&path).map_err(|error| fault::store(&error))?;
        Ok(Self { path: std::path::absolute(&path).unwrap_or(path), store })
    }

    /// The store, for whoever asks for something in it.
    fn store(&self) -> Result<&Shelves, Diagnostics> {
        self.store.as_ref().ok_or_else(|| {
            Diagnostic::new(&code::UNKNOWN_DIGEST, self.missing_in_words())
                .help("check `--store` and `KIC_STORE`")
                .into()
        })
    }

    /// What `look` finds; where there is no store, what it would find in an empty one.
    fn look<T: Default>(
        &self,
        look: impl FnOnce(&Shelves) -> Result<T, StoreError>,
    ) -> Result<T, Diagnostics> {
        let found = self.store.as_ref().map(look).transpose().map_err(|error| fault::store(&error))?;
        Ok(found.unwrap_or_default())
    }

    /// A warning where there is no store. It is no error, as a machine on which nothing was compiled has nothing to collect. An error where
    /// records of roots are damaged, for then it is not all that there is to tell.
    fn told(&self) -> Result<Diagnostics, Diagnostics> {
        let Some(store) = &self.store else {
            return Ok(Diagnostic::new(&code::STORE_MISSING, self.missing_in_words())
                .help("the first compile makes one; if there should be one, check `--store` and `KIC_STORE`")
                .into());
        };
        match store.damaged_roots().map_err(|error| fault::store(&error))?.len() {
            0 => Ok(Diagnostics::new()),
            count => Err(fault::store(&StoreError::DamagedRoots { count }).into()),
        }
    }

    fn missing_in_words(&self) -> String {
        format!("there is no store at `{}`", self.path.display())
    }
}

/// A root in words: what it is, where, and under which name.
fn in_words(root: &Root) -> String {
    let name = if root.name.is_empty() { String::new() } else { format!(" as {}", root.name) };
    printable(&format!("{} {}{name}", root.kind, root.path().display()))
}

/// The paths of roots, one a line and each once, for scripts.
fn paths<'a>(roots: impl Iterator<Item = &'a Root>) -> BTreeSet<OsString> {
    roots.map(|root| root.path().into_os_string()).collect()
}

/// A path in JSON, which holds text alone: what is no UTF-8 becomes `\u{fffd}`.
fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The hexadecimal digits of what a user gives as a digest, or as the beginning of one. Upper case means the same.
fn digits(text: &str) -> Result<String, Diagnostics> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.strip_prefix("sha256:").unwrap_or(&lower);
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("`{text}` is no digest, and does not begin one");
        return Err(Diagnostic::new(&code::UNKNOWN_DIGEST, message)
            .help("write `sha256:` and 64 hexadecimal digits, or the first few of them")
            .into());
    }
    Ok(digits.to_owned())
}

/// The one digest of `known` that begins with these digits.
fn one_digest(digits: &str, known: impl IntoIterator<Item = Digest>) -> Result<Digest, Diagnostics> {
    let found: BTreeSet<Digest> =
        known.into_iter().filter(|digest| digest.hex().starts_with(digits)).collect();
    let (message, help) = match found.iter().collect::<Vec<_>>().as_slice() {
        [one] => return Ok(**one),
        [] => (
            format!("the store knows nothing of `{digits}`"),
            "`kic inspect IMAGE` prints the digests of an image".to_owned(),
        ),
        [one, other] => (
            format!("2 digests begin with `{digits}`"),
            format!("give more digits, to tell {one} from {other}"),
        ),
        [one, other, ..] => (
            format!("{} digests begin with `{digits}`", found.len()),
            format!("give more digits; among them are {one} and {other}"),
        ),
    };
    Err(Diagnostic::new(&code::UNKNOWN_DIGEST, message).help(help).into())
}

/// JSON for machines, on lines for people.
fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}
