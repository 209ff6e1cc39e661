//! Reads small files before they are needed, several at one time: most of the time that a small file takes is that of
//! opening it, and its digest need not be computed where the layer is written.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use kic_base::Digest;
use kic_graph::{Bytes, ContentFacts, TreeEntry, TreeEntryKind};

use super::local_file::changed;
use crate::context::Context;
use crate::sources::KnownFiles;

/// Larger files are read when they are needed.
const SMALL: u64 = 1 << 20;

/// What is read at a time: this many bytes, or this many files.
const BATCH_BYTES: u64 = 256 << 10;
const BATCH_FILES: usize = 256;

/// So many batches are read at a time, whatever the number of processors: where files come from a disk, most of the time is spent
/// waiting for it, and it takes many requests at once.
const READERS: usize = 8;

/// The most bytes that are held at a time: those batches, and the one that is being written.
pub(super) const MOST_BYTES: u64 = (READERS as u64 + 1) * (BATCH_BYTES + SMALL);

/// With fewer small files it is not worth a thread.
const FEW: usize = 64;

/// A file to read: its entry and the place of that, and what it held.
pub(super) type Wanted<'a> = (usize, &'a TreeEntry, ContentFacts);

/// Where in the bytes of its batch a file is that holds what it held, or why not. Of a file with another length, as many bytes as
/// show that.
type ReadAhead = (usize, io::Result<Range<usize>>);

/// Files that were read, in the order of their entries, one after the other in one buffer.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    files: Vec<ReadAhead>,
}

/// The small files of a layer, in the order of its entries.
pub(super) struct Ahead {
    /// They read batches in turns.
    readers: Vec<Reader>,
    /// How many batches came.
    came: usize,
    batch: Batch,
    /// The next file of the batch.
    next: usize,
}

struct Reader {
    batches: Receiver<Batch>,
    /// Gives buffers back that are read again into: fresh memory costs more than to read a small file.
    spare: Sender<Vec<u8>>,
}

/// The small files among a layer's entries.
fn small(entries: &[TreeEntry]) -> impl Iterator<Item = Wanted<'_>> {
    entries.iter().enumerate().filter_map(|(place, entry)| match &entry.kind {
        TreeEntryKind::File { content, bytes: Bytes::Local(_) | Bytes::Below(..), .. }
            if content.size <= SMALL =>
        {
            Some((place, entry, *content))
        }
        _ => None,
    })
}

/// Whether a layer has many small files.
pub(super) fn has_many(entries: &[TreeEntry]) -> bool {
    small(entries).nth(FEW - 1).is_some()
}

/// What is to be read of a layer's entries, in batches: those of its small files that are wanted, or nothing where these are few.
pub(super) fn batches<'a>(
    entries: &'a [TreeEntry],
    is_wanted: impl Fn(usize, &ContentFacts) -> bool,
) -> Vec<Vec<Wanted<'a>>> {
    let mut batches: Vec<Vec<Wanted>> = Vec::new();
    let (mut bytes, mut count) = (0, 0);
    for file in small(entries).filter(|(place, _, content)| is_wanted(*place, content)) {
        if bytes >= BATCH_BYTES || batches.last().is_none_or(|batch| batch.len() >= BATCH_FILES) {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += file.2.size;
        count += 1;
        if let Some(batch) = batches.last_mut() {
            batch.push(file);
        }
    }
    if count < FEW { Vec::new() } else { batches }
}

impl Ahead {
    /// Starts to read. The threads end when everything is read, or when this is dropped.
    pub fn start<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        batches: Vec<Vec<Wanted<'scope>>>,
        known: &'scope KnownFiles,
        context: &'scope Context,
    ) -> Self {
        let most = if context.jobs == 1 { 1 } else { READERS };
        let mut shares = vec![Vec::new(); most.min(batches.len())];
        let count = shares.len();
        for (number, batch) in batches.into_iter().enumerate() {
            shares[number % count].push(batch);
        }
        let start = |share| {
            let ((sender, batches), (spare, spares)) = (sync_channel(0), channel());
            scope.spawn(move || read(share, &sender, &spares, known, context));
            Reader { batches, spare }
        };
        Self { readers: shares.into_iter().map(start).collect(), came: 0, batch: Batch::default(), next: 0 }
    }

    /// The bytes of the entry's file in that place, where it was read ahead. Places are asked for in their order.
    pub fn take(&mut self, place: usize) -> Option<io::Result<&[u8]>> {
        loop {
            match self.batch.files.get_mut(self.next) {
                Some((first, _)) if *first < place => self.next += 1,
                Some((first, file)) if *first == place => {
                    let range = std::mem::replace(file, Ok(0..0));
                    return Some(range.map(|range| &self.batch.bytes[range]));
                }
                Some(_) => return None,
                None => {
                    let count = self.readers.len();
                    let batch = self.readers.get(self.came.checked_rem(count)?)?.batches.recv().ok()?;
                    let Batch { bytes, .. } = std::mem::replace(&mut self.batch, batch);
                    self.next = 0;
                    if let Some(before) = self.came.checked_sub(1) {
                        // Nobody wants it any more where everything is read.
                        let _ = self.readers[before % count].spare.send(bytes);
                    }
                    self.came += 1;
                }
            }
        }
    }
}

fn read(
    batches: Vec<Vec<Wanted>>,
    sender: &SyncSender<Batch>,
    spares: &Receiver<Vec<u8>>,
    known: &KnownFiles,
    context: &Context,
) {
    for wanted in batches {
        let mut bytes = spares.try_recv().unwrap_or_default();
        let files = read_batch(&wanted, &mut bytes, known);
        if context.cancel.is_cancelled() || sender.send(Batch { bytes, files }).is_err() {
            return;
        }
    }
}

fn read_batch(wanted: &[Wanted], bytes: &mut Vec<u8>, known: &KnownFiles) -> Vec<ReadAhead> {
    // One byte more would be that of a longer file.
    let room = |content: &ContentFacts| usize::try_from(content.size).unwrap_or(usize::MAX).saturating_add(1);
    let whole = wanted.iter().map(|(.., content)| room(content)).sum();
    if bytes.len() < whole {
        bytes.resize(whole, 0);
    }
    let mut begin = 0;
    let one = |(place, entry, content): &Wanted| {
        let part = &mut bytes[begin..begin + room(content)];
        let count = read_file(&entry.local().unwrap_or_default(), content, known, part);
        let file = (*place, count.map(|count| begin..begin + count));
        begin += room(content);
        file
    };
    wanted.iter().map(one).collect()
}

/// Reads a file into `bytes`, which has room for one byte more than it should have, and gives how many it has.
fn read_file(path: &Path, content: &ContentFacts, known: &KnownFiles, bytes: &mut [u8]) -> io::Result<usize> {
    let mut file = File::open(path)?;
    let expected = bytes.len().saturating_sub(1);
    let mut count = fill(&mut file, &mut bytes[..expected])?;
    // A file that has the fingerprint now with which it was hashed had it all the time that it was read.
    if count == expected && known.is_unchanged(path, &content.digest, &file)? {
        return Ok(count);
    }
    count += fill(&mut file, &mut bytes[count..])?;
    if count == expected && Digest::of(&bytes[..count]) != content.digest {
        return Err(changed());
    }
    Ok(count)
}

/// Reads until `bytes` are full, or the file is at its end.
fn fill(file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use kic_store::Store;

    use super::*;
    use crate::sources::{Fingerprint, Sources};

    fn entry(path: &Path, size: u64) -> TreeEntry {
        let content = ContentFacts { digest: Digest::of(b""), size };
        let bytes = Bytes::Local(path.to_owned());
        TreeEntry { path: "x".to_owned(), kind: TreeEntryKind::File { mode: 0o644, content, bytes } }
    }

    #[test]
    fn batches_have_a_bound_and_few_files_have_none() {
        let path = Path::new("a");
        let all =
            |entries: &[TreeEntry]| batches(entries, |_, _| true).iter().map(Vec::len).collect::<Vec<_>>();
        assert!(all(&vec![entry(path, 10); FEW - 1]).is_empty());
        assert!(!has_many(&vec![entry(path, 10); FEW - 1]));
        assert!(has_many(&vec![entry(path, 10); FEW]));
        assert_eq!(all(&vec![entry(path, 10); 2500]), [&[256; 9][..], &[196]].concat());
        assert_eq!(all(&vec![entry(path, SMALL); 70]), [1; 70]);
        assert_eq!(all(&vec![entry(path, SMALL / 8); 70]), [2; 35]);
        let mut mixed = vec![entry(path, SMALL + 1); 5];
        mixed.extend(vec![entry(path, 0); FEW]);
        let places = |wanted: fn(usize, &ContentFacts) -> bool| -> Vec<usize> {
            batches(&mixed, wanted).concat().iter().map(|(place, ..)| *place).collect()
        };
        assert_eq!(places(|_, _| true), (5..5 + FEW).collect::<Vec<_>>());
        // Nor have those of many that are not known otherwise.
        assert!(places(|place, _| place > 5).is_empty());
    }

    #[test]
    fn a_file_that_changed_is_told_from_one_that_did_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let content =
            |text: &str| ContentFacts { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
        let read = |path: &Path, content: ContentFacts, known: &KnownFiles| {
            let mut bytes = vec![7; content.size as usize + 1];
            read_file(path, &content, known, &mut bytes).map(|count| bytes[..count].to_vec())
        };
        let fingerprint = Fingerprint::at(&path).unwrap();
        let known = KnownFiles::of(&path, fingerprint, content("abc").digest);
        for known in [&KnownFiles::default(), &known] {
            assert_eq!(read(&path, content("abc"), known).unwrap(), b"abc");
            assert_eq!(read(&path, content("abd"), known).unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(read(&path, content("ab"), known).unwrap(), b"abc", "longer");
            assert_eq!(read(&path, content("abcd"), known).unwrap(), b"abc", "shorter");
            assert!(read(&folder.path().join("b"), content(""), known).is_err());
        }
        // What has the fingerprint is believed: that is what it is for. Another file in its place is hashed.
        let believed = KnownFiles::of(&path, fingerprint, content("abd").digest);
        assert_eq!(read(&path, content("abd"), &believed).unwrap(), b"abc");
        std::fs::write(folder.path().join("b"), "abe").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert!(read(&path, content("abd"), &believed).is_err());
        assert_eq!(read(&path, content("abe"), &believed).unwrap(), b"abe");
    }

    #[test]
    fn files_of_a_batch_come_from_one_buffer_that_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = |place: usize| folder.path().join(place.to_string());
        let file = |place: usize| {
            let text = "x".repeat(place * 7 % 40);
            std::fs::write(path(place), &text).unwrap();
            let content = ContentFacts { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
            let kind = TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Local(path(place)) };
            (TreeEntry { path: "x".to_owned(), kind }, content)
        };
        let files: Vec<_> = (0..400).map(file).collect();
        let wanted = |place: usize| -> Wanted { (place, &files[place].0, files[place].1) };
        let mut batches: Vec<Vec<Wanted>> =
            [0, 100, 200, 300].map(|from| (from..from + 70).map(wanted).collect()).to_vec();
        // It came between, and is another one.
        std::fs::write(path(205), "another").unwrap();
        batches[3].remove(4);
        let store = Store::open(&folder.path().join("store")).unwrap();
        let context = Context::for_tests(store, Sources::default());
        let known = KnownFiles::default();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(scope, batches, &known, &context);
            for place in (0..400).filter(|place| place % 100 < 70 && place % 3 > 0) {
                let file = ahead.take(place);
                match place {
                    205 => assert_eq!(file.unwrap().unwrap(), b"another"),
                    304 => assert!(file.is_none()),
                    _ => assert_eq!(file.unwrap().unwrap(), "x".repeat(place * 7 % 40).as_bytes()),
                }
            }
        });
    }
}
