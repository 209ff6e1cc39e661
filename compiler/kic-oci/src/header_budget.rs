use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::rc::Rc;

/// The most that the headers of one tar entry may have in bytes, long names and extended headers included: the
/// tar reader holds them in memory.
const LIMIT: u64 = 1 << 20;

/// How many bytes may still be read before the next entry of a tar is there.
#[derive(Clone)]
pub(crate) struct HeaderBudget(Rc<Cell<u64>>);

/// A reader under a [`HeaderBudget`]; it fails where the budget is spent.
pub(crate) struct Budgeted<R> {
    inner: R,
    left: HeaderBudget,
}

impl HeaderBudget {
    /// A budget, and the reader that is under it.
    pub fn around<R>(inner: R) -> (Self, Budgeted<R>) {
        let budget = Self(Rc::new(Cell::new(LIMIT)));
        (budget.clone(), Budgeted { inner, left: budget })
    }

    /// Says that headers come now.
    pub fn headers(&self) {
        self.0.set(LIMIT);
    }

    /// Says that an entry's content comes now, which is not read into memory.
    pub fn content(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.0.get();
        if left == 0 {
            let message = "the headers of one entry have over 1 MiB";
            return Err(io::Error::new(ErrorKind::InvalidData, message));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if left != u64::MAX {
            self.left.0.set(left - count as u64);
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}
