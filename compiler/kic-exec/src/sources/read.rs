//! Reads files of which it is not known what they hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kic_base::Sha256;
use kic_graph::{ContentFacts, FileFacts};
use kic_store::is_on_local_disk;

use super::fingerprint::{Fingerprint, now};
use super::walk::{is_executable, status};
use crate::context::Context;
use crate::parallel::parallel;
use crate::stoppable::Stoppable;

/// A file that was read.
pub(super) struct ReadFile {
    pub facts: FileFacts,
    /// The fingerprint with which it will always have this content.
    pub settled: Option<Fingerprint>,
}

/// Reads files; results in their order.
pub(super) fn read_all(wanted: &[(usize, usize, PathBuf)], context: &Context) -> Vec<io::Result<ReadFile>> {
    let buffer = || vec![0; 256 * 1024];
    let results = parallel(wanted, context, buffer, |buffer, (.., path)| read_file(path, buffer, context));
    let missing = || Err(io::Error::other("it was not read"));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// The content of a file, and whether its owner may execute it.
fn read_file(path: &Path, buffer: &mut [u8], context: &Context) -> io::Result<ReadFile> {
    // Before anything of it is looked at: what is written later is written after this.
    let now = now();
    let file = File::open(path)?;
    let before = status(&file)?;
    let mut reader = Stoppable::new(&file, context);
    let mut hasher = Sha256::new();
    let mut size = 0;
    loop {
        let count = match reader.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    let content = ContentFacts { digest: hasher.finish(), size };
    let facts = FileFacts { content, executable: is_executable(&before) };
    let fingerprint = Fingerprint::of(&before);
    let is_settled = fingerprint.is_settled(now)
        && fingerprint.size == size
        && fingerprint == Fingerprint::of(&status(&file)?)
        && is_on_local_disk(&file);
    Ok(ReadFile { facts, settled: is_settled.then_some(fingerprint) })
}
