//! Texts and numbers as bytes, one after the other, as what is kept for the next run holds them. All numbers are little-endian; a
//! text or list has its length (4) before it, and what may be missing a byte that says whether it is there.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Digest;

/// Adds a length, or another number that fits.
pub fn put_length(bytes: &mut Vec<u8>, length: usize) {
    // More than memos hold.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

/// Adds a number of 8 bytes.
pub fn put_number(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

/// Adds the 32 bytes of a digest.
pub fn put_digest(bytes: &mut Vec<u8>, digest: &Digest) {
    bytes.extend_from_slice(digest.as_bytes());
}

/// Adds a text and its length.
pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_bytes(bytes, text.as_bytes());
}

/// Adds a path, which need not be text.
pub fn put_path(bytes: &mut Vec<u8>, path: &Path) {
    put_bytes(bytes, path.as_os_str().as_bytes());
}

/// Adds bytes and their length.
pub fn put_bytes(bytes: &mut Vec<u8>, more: &[u8]) {
    put_length(bytes, more.len());
    bytes.extend_from_slice(more);
}

/// Adds what may be missing.
pub fn put_option<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

/// Adds how many values there are, and each.
pub fn put_list<T>(
    bytes: &mut Vec<u8>,
    values: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    put_length(bytes, values.len());
    for value in values {
        put(bytes, value);
    }
}

/// Takes from the front of bytes what was put there. Other bytes give nothing, or something else.
#[derive(Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length.
    pub fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    /// Bytes that have their length before them.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    /// A text.
    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A path.
    pub fn path(&mut self) -> Option<PathBuf> {
        Some(OsStr::from_bytes(self.bytes()?).into())
    }

    /// A value that is known by its text.
    pub fn value<T: FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// The 32 bytes of a digest.
    pub fn digest(&mut self) -> Option<Digest> {
        Some(Digest::from_bytes(self.take(32)?.try_into().ok()?))
    }

    /// A byte that says yes or no.
    pub fn boolean(&mut self) -> Option<bool> {
        Some(self.take(1)? != [0])
    }

    /// A number of 8 bytes.
    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// What may be missing.
    pub fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take(1)? {
            [0] => Some(None),
            _ => Some(Some(take(self)?)),
        }
    }

    /// As many values as it says.
    pub fn list<T>(&mut self, mut take: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.length()?;
        // None takes less than a byte: what says that there are more is nothing that was put there.
        let mut list = Vec::with_capacity(length.min(self.0.len()));
        for _ in 0..length {
            list.push(take(self)?);
        }
        Some(list)
    }
}
