//! `kic store`: what is in the store, what keeps it there, and whether it is whole. One file a subcommand.

mod gc;
mod path;
mod roots;
mod status;
mod verify;
mod why_alive;

use clap::{Args, Subcommand};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::fault;
use kic_store::{Store as Shelves, StoreError};
use serde_json::Value as Json;

use crate::arguments::Global;
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
    Path(path::Path),
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

/// The store of this run.
fn open(global: &Global) -> Result<Shelves, Diagnostics> {
    Shelves::open(&store_path(global)?).map_err(|error| fault::store(&error).into())
}

/// What was told of roots is all there is to tell, unless records of them are damaged.
fn all_roots_are_known(store: &Shelves) -> Result<Diagnostics, Diagnostics> {
    match store.damaged_roots().map_err(|error| fault::store(&error))?.len() {
        0 => Ok(Diagnostics::new()),
        count => Err(fault::store(&StoreError::DamagedRoots { count }).into()),
    }
}

/// The one digest of `known` that a user means: whole, or so many of its first digits that there is no other.
fn one_digest(text: &str, known: impl IntoIterator<Item = Digest>) -> Result<Digest, Diagnostics> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let wrong = |message: String, help: String| {
        Err(Diagnostic::new(&code::UNKNOWN_DIGEST, message).help(help).into())
    };
    let is_prefix = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(is_prefix) {
        return wrong(
            format!("`{text}` is no digest, and does not begin one"),
            "write `sha256:` and 64 hexadecimal digits, or the first few of them".to_owned(),
        );
    }
    let mut found: Vec<Digest> =
        known.into_iter().filter(|digest| digest.hex().starts_with(digits)).collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => wrong(
            format!("the store knows nothing of `{text}`"),
            "`kic inspect IMAGE` prints the digests of an image".to_owned(),
        ),
        several => wrong(
            format!("{} digests begin with `{digits}`", several.len()),
            format!("give more digits: {} and {} are two of them", several[0], several[1]),
        ),
    }
}

/// JSON for machines, on lines for people.
fn pretty(json: &Json) -> String {
    format!("{json:#}\n")
}
