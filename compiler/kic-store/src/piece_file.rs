use std::collections::BTreeMap;
use std::io;

use kic_base::Digest;

use crate::blob_file::keep;
use crate::temporary_file::TemporaryFile;
use crate::{Store, StoreError};

/// How much of what came early is read again at a time.
const BUFFER: usize = 256 << 10;
/// How much of it at most for one piece that comes, so that no single piece takes long.
const AT_ONCE: u64 = 4 << 20;

/// A new blob on its way whose bytes come in any order. Somebody else computes its digest, in order: of bytes that come in their
/// turn as they come, of those that came early from the file, as soon as what is before them is there.
pub(crate) struct PieceFile {
    store: Store,
    file: TemporaryFile,
    /// So far everything is there, and was given to the digest.
    done: u64,
    /// What came early: ends by beginnings, none overlapping or touching another.
    early: BTreeMap<u64, u64>,
}

impl PieceFile {
    pub(crate) fn new(store: Store) -> Result<Self, StoreError> {
        let file = TemporaryFile::new(store.layout())?;
        Ok(Self { store, file, done: 0, early: BTreeMap::new() })
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
        self.file.write_all_at(bytes, offset)?;
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

    /// As [`BlobFile::commit`](crate::blob_file::BlobFile::commit).
    pub(crate) fn commit(self, digest: &Digest) -> Result<(), StoreError> {
        keep(&self.store, self.file, digest)
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
            self.file.read_exact_at(&mut buffer, self.done)?;
            hash(&buffer);
            self.done += count as u64;
        }
        Ok(())
    }
}
