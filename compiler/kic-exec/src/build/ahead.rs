//! Reads small files before they are needed, several at one time: most of the time that a small file takes is that of
//! opening it, and its digest need not be computed where the layer is written.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use kic_graph::{Bytes, ContentFacts, TreeEntry, TreeEntryKind};

use super::local_file::LocalFile;
use crate::context::Context;
use crate::parallel::parallel;
use crate::sources::KnownFiles;

/// Larger files are read when they are needed.
const SMALL: u64 = 1 << 20;

/// What is read at a time: this many bytes, or this many files. One such batch is being written, one waits, one is being
/// read.
const BATCH_BYTES: u64 = 4 << 20;
const BATCH_FILES: usize = 1024;

/// The most bytes that are held at a time.
pub(super) const MOST_BYTES: u64 = 3 * BATCH_BYTES;

/// With fewer small files it is not worth a thread.
const FEW: usize = 64;

/// A file to read: the place of its entry, its path, and what it held.
pub(super) type Wanted = (usize, PathBuf, ContentFacts);

/// The bytes of a file that holds what it held, or why not. Of a file with another length, as many as show that.
type ReadAhead = (usize, io::Result<Vec<u8>>);

/// The small files of a layer, in the order of its entries.
pub(super) struct Ahead {
    batches: Option<Receiver<Vec<ReadAhead>>>,
    files: VecDeque<ReadAhead>,
}

/// What is to be read of a layer's entries, in batches; nothing where that is not worth it.
pub(super) fn batches(entries: &[TreeEntry]) -> Vec<Vec<Wanted>> {
    let mut batches: Vec<Vec<Wanted>> = Vec::new();
    let (mut bytes, mut count) = (BATCH_BYTES, 0);
    for (place, entry) in entries.iter().enumerate() {
        let TreeEntryKind::File { content, bytes: Bytes::Local(path), .. } = &entry.kind else { continue };
        if content.size > SMALL {
            continue;
        }
        if bytes >= BATCH_BYTES || batches.last().is_none_or(|batch| batch.len() >= BATCH_FILES) {
            batches.push(Vec::new());
            bytes = 0;
        }
        if let Some(batch) = batches.last_mut() {
            batch.push((place, path.clone(), *content));
        }
        bytes += content.size;
        count += 1;
    }
    if count < FEW { Vec::new() } else { batches }
}

impl Ahead {
    /// Starts to read. The thread ends when everything is read, or when this is dropped.
    pub fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        batches: Vec<Vec<Wanted>>,
        known: &'scope KnownFiles,
        context: &'scope Context,
    ) -> Self {
        if batches.is_empty() {
            return Self { batches: None, files: VecDeque::new() };
        }
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || read(batches, &sender, known, context));
        Self { batches: Some(receiver), files: VecDeque::new() }
    }

    /// The file of the entry in that place, where it was read ahead. Places are asked for in their order.
    pub fn take(&mut self, place: usize) -> Option<io::Result<Vec<u8>>> {
        loop {
            match self.files.front() {
                Some((first, _)) if *first < place => drop(self.files.pop_front()),
                Some((first, _)) if *first == place => return self.files.pop_front().map(|(_, file)| file),
                Some(_) => return None,
                None => self.files.extend(self.batches.as_ref()?.recv().ok()?),
            }
        }
    }
}

fn read(
    batches: Vec<Vec<Wanted>>,
    sender: &SyncSender<Vec<ReadAhead>>,
    known: &KnownFiles,
    context: &Context,
) {
    for batch in batches {
        let one = |(): &mut (), (place, path, content): &Wanted| (*place, read_file(path, content, known));
        let files = parallel(&batch, context, || (), one).into_iter().flatten().collect();
        if context.cancel.is_cancelled() || sender.send(files).is_err() {
            return;
        }
    }
}

fn read_file(path: &Path, content: &ContentFacts, known: &KnownFiles) -> io::Result<Vec<u8>> {
    let mut file = LocalFile::open(path, content, known)?;
    // One byte more would be that of a longer file.
    let most = usize::try_from(content.size).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = vec![0; most];
    let mut filled = 0;
    while filled < most {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // With a fingerprint, its size was that of the content, before and after.
        if filled as u64 == content.size && file.is_sure() {
            break;
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use kic_base::Digest;

    use super::*;

    fn entry(path: &Path, size: u64) -> TreeEntry {
        let content = ContentFacts { digest: Digest::of(b""), size };
        let bytes = Bytes::Local(path.to_owned());
        TreeEntry { path: "x".to_owned(), kind: TreeEntryKind::File { mode: 0o644, content, bytes } }
    }

    #[test]
    fn batches_have_a_bound_and_few_files_have_none() {
        let path = Path::new("a");
        let sizes = |batches: Vec<Vec<Wanted>>| batches.iter().map(Vec::len).collect::<Vec<_>>();
        assert!(batches(&vec![entry(path, 10); FEW - 1]).is_empty());
        assert_eq!(sizes(batches(&vec![entry(path, 10); 2500])), [1024, 1024, 452]);
        assert_eq!(sizes(batches(&vec![entry(path, SMALL); 70])), [vec![4; 17], vec![2]].concat());
        let mut mixed = vec![entry(path, SMALL + 1); 5];
        mixed.extend(vec![entry(path, 0); FEW]);
        let places: Vec<usize> = batches(&mixed).concat().iter().map(|(place, ..)| *place).collect();
        assert_eq!(places, (5..5 + FEW).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_changed_is_told_from_one_that_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let content =
            |text: &str| ContentFacts { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
        let known = KnownFiles::default();
        assert_eq!(read_file(&path, &content("abc"), &known).unwrap(), b"abc");
        assert_eq!(read_file(&path, &content("abd"), &known).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_file(&path, &content("ab"), &known).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_file(&path, &content("abcd"), &known).unwrap().len(), 3, "shorter");
        assert!(read_file(&folder.path().join("b"), &content(""), &known).is_err());
    }
}
