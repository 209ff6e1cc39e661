use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use kic_base::Digest;

use crate::blob_file::keep;
use crate::partial::{self, Download};
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError, record};

/// How much of what came early is read again at a time.
const BUFFER: usize = 256 << 10;
/// How much of it at most for one piece that comes, so that no single piece takes long.
const AT_ONCE: u64 = 4 << 20;

/// A new blob on its way whose bytes come in any order. Somebody else computes its digest, in order: of bytes that come in their
/// turn as they come, of those that came early from the file, as soon as what is before them is there.
///
/// What came of a download is kept where it is dropped before its end. What an earlier one left counts as come early.
pub(crate) struct PieceFile {
    store: Store,
    file: TemporaryFile,
    /// So far everything is there, and was given to the digest.
    done: u64,
    /// What came early: ends by beginnings, none overlapping or touching another.
    early: BTreeMap<u64, u64>,
    /// Where in the file the body begins that is fetched.
    begin: u64,
    /// The body, where it is to be kept when it is cut off.
    kept_as: Option<Digest>,
    /// What an earlier download left, where it was not to be used: with the blob, nobody needs it.
    superseded: Option<PathBuf>,
}

impl PieceFile {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = TemporaryFile::new(store.layout())?;
        Ok(Self { store, file, done: 0, early: BTreeMap::new(), begin: 0, kept_as: None, superseded: None })
    }

    /// The file of a download whose body is to begin at `begin`, and the ranges of the body that an earlier one left in it. They count
    /// once [`Self::came_before`] says so.
    pub(crate) fn of(
        store: Store,
        begin: u64,
        download: &Download,
    ) -> Result<(Self, Vec<Range<u64>>), StoreError> {
        let taken = if download.anew { None } else { partial::take(store.layout(), download, begin)? };
        let (file, ranges) = match taken {
            Some(taken) => taken,
            None => (TemporaryFile::new(store.layout())?, Vec::new()),
        };
        let (done, early, kept_as) = (0, BTreeMap::new(), Some(download.digest));
        let superseded = download.anew.then(|| store.layout().partial(&download.digest));
        Ok((Self { store, file, done, early, begin, kept_as, superseded }, ranges))
    }

    /// Takes these ranges of the body for come.
    pub(crate) fn came_before(&mut self, ranges: &[Range<u64>]) {
        let in_file = ranges.iter().map(|range| (range.start + self.begin, range.end + self.begin));
        self.early.extend(in_file);
    }

    /// The ranges of the body that are there: in order, none touching another.
    pub(crate) fn had(&self) -> Vec<Range<u64>> {
        let mut had: Vec<Range<u64>> = Vec::new();
        let all =
            [(self.begin, self.done)].into_iter().chain(self.early.iter().map(|(from, to)| (*from, *to)));
        for (from, to) in all.filter(|(from, to)| from < to) {
            let (from, to) = (from - self.begin, to - self.begin);
            match had.last_mut().filter(|last| last.end >= from) {
                Some(last) => last.end = last.end.max(to),
                None => had.push(from..to),
            }
        }
        had
    }

    /// Keeps nothing where it is dropped.
    pub(crate) fn forget(&mut self) {
        self.kept_as = None;
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// So far everything is there.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// Writes bytes to their place; `hash` is given those whose turn it is. Bytes that were given to it before are not written again.
    pub(crate) fn write_at(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        hash: &mut impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let had = usize::try_from(self.done.saturating_sub(offset)).unwrap_or(usize::MAX);
        bytes = bytes.get(had..).unwrap_or_default();
        offset = offset.max(self.done);
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset).inspect_err(|error| self.failed(error.kind()))?;
        let end = offset + bytes.len() as u64;
        if offset == self.done {
            hash(bytes);
            self.done = end;
        } else {
            self.came_early(offset, end);
        }
        self.catch_up(AT_ONCE, hash)
    }

    /// Gives the rest of what came early to `hash`, as far as nothing is missing before it.
    pub(crate) fn finish(&mut self, hash: &mut impl FnMut(&[u8])) -> Result<(), StoreError> {
        let caught = self.catch_up(u64::MAX, hash);
        caught.map_err(|error| StoreError::at(&self.store.layout().temporary(), error))
    }

    /// Gives some of that to `hash`; whether there is more.
    pub(crate) fn go_on(&mut self, hash: &mut impl FnMut(&[u8])) -> io::Result<bool> {
        self.catch_up(AT_ONCE, hash)?;
        Ok(self.early.first_key_value().is_some_and(|(from, _)| *from <= self.done))
    }

    /// As [`BlobFile::commit`](crate::blob_file::BlobFile::commit).
    pub(crate) fn commit(mut self, digest: &Digest) -> Result<(), StoreError> {
        self.forget();
        keep(&self.store, &mut self.file, digest)?;
        if let Some(path) = &self.superseded {
            record::remove(path)?;
        }
        Ok(())
    }

    /// A write failed. What was written before is as good as it was, but a full disk is to have its room back: whoever has to make room
    /// would look for it in vain, and in the next run the blob may not fit either.
    fn failed(&self, kind: io::ErrorKind) {
        if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.store.keep_no_partials();
        }
    }

    fn came_early(&mut self, mut begin: u64, mut end: u64) {
        if let Some((&before, &its_end)) = self.early.range(..=begin).next_back()
            && its_end >= begin
        {
            (begin, end) = (before, end.max(its_end));
        }
        while let Some((&next, &its_end)) = self.early.range(begin..=end).next() {
            self.early.remove(&next);
            end = end.max(its_end);
        }
        self.early.insert(begin, end);
    }

    fn catch_up(&mut self, most: u64, hash: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let until = self.done.saturating_add(most);
        let mut buffer = Vec::new();
        while let Some(first) = self.early.first_entry().filter(|first| *first.key() <= self.done) {
            let end = *first.get();
            if end <= self.done {
                first.remove();
                continue;
            }
            if self.done >= until {
                break;
            }
            let count = usize::try_from(end.min(until) - self.done).unwrap_or(BUFFER).min(BUFFER);
            buffer.resize(count, 0);
            // What cannot be read now cannot be in the next run either.
            self.file.read_exact_at(&mut buffer, self.done).inspect_err(|_| self.kept_as = None)?;
            hash(&buffer);
            self.done += count as u64;
        }
        Ok(())
    }
}

impl Drop for PieceFile {
    fn drop(&mut self) {
        if let Some(digest) = self.kept_as.filter(|_| self.store.keeps_partials()) {
            let had = self.had();
            partial::keep(self.store.layout(), &mut self.file, &digest, self.begin, &had);
        }
    }
}
