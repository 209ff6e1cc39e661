//! Texts and numbers as bytes, one after the other, as what is kept for the next run holds them. All numbers are little-endian; a
//! text or list has its length (4) before it, and what may be missing a byte that says whether it is there.

use std::str::FromStr;

use kic_base::Digest;
use kic_graph::BlobFacts;

pub(super) fn put_length(bytes: &mut Vec<u8>, length: usize) {
    // More than memos hold.
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_bytes(bytes, text.as_bytes());
}

pub(super) fn put_bytes(bytes: &mut Vec<u8>, more: &[u8]) {
    put_length(bytes, more.len());
    bytes.extend_from_slice(more);
}

pub(super) fn put_option<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

pub(super) fn put_list<T>(
    bytes: &mut Vec<u8>,
    values: impl ExactSizeIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    put_length(bytes, values.len());
    for value in values {
        put(bytes, value);
    }
}

pub(super) fn put_blob(bytes: &mut Vec<u8>, blob: &BlobFacts) {
    put_text(bytes, &blob.media_type);
    bytes.extend_from_slice(blob.digest.as_bytes());
    bytes.extend_from_slice(&blob.size.to_le_bytes());
}

/// Takes from the front of bytes what was put there. Other bytes give nothing, or something else.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A value that is known by its text.
    pub fn value<T: FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    pub fn digest(&mut self) -> Option<Digest> {
        Some(Digest::from_bytes(self.take(32)?.try_into().ok()?))
    }

    pub fn blob(&mut self) -> Option<BlobFacts> {
        let (media_type, digest) = (self.text()?.to_owned(), self.digest()?);
        Some(BlobFacts { media_type, digest, size: u64::from_le_bytes(self.take(8)?.try_into().ok()?) })
    }

    pub fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take(1)? {
            [0] => Some(None),
            _ => Some(Some(take(self)?)),
        }
    }

    pub fn list<T>(&mut self, mut take: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.length()?).map(|_| take(self)).collect()
    }
}
