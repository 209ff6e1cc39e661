use std::fmt;
use std::io::{self, ErrorKind, Read};

use kic_base::{Digest, Sha256};

/// Reads exactly `size` bytes, and fails unless they give the digest.
///
/// The read that would give the last bytes fails instead, so nobody sees a whole blob that is a wrong one.
pub(crate) struct VerifyingReader<R> {
    inner: R,
    digest: Digest,
    left: u64,
    /// Nothing once the digest was compared and was right.
    hasher: Option<Sha256>,
}

impl<R: Read> VerifyingReader<R> {
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, digest, left: size, hasher: Some(Sha256::new()) }
    }

    fn compare(&mut self) -> io::Result<()> {
        match self.hasher.take() {
            Some(hasher) => {
                let found = hasher.clone().finish();
                if found == self.digest {
                    return Ok(());
                }
                // Whoever reads on after the error gets it again.
                self.hasher = Some(hasher);
                let message = format!("the bytes of {} give {found}", self.digest);
                Err(io::Error::new(ErrorKind::InvalidData, message))
            }
            None => Ok(()),
        }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.compare()?;
            return Ok(0);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            let message = format!("{} ends {} bytes early", self.digest, self.left);
            return Err(io::Error::new(ErrorKind::UnexpectedEof, message));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.left -= count as u64;
        if self.left == 0 {
            self.compare()?;
        }
        Ok(count)
    }
}

impl<R> fmt::Debug for VerifyingReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingReader").field("digest", &self.digest).field("left", &self.left).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_short_and_empty_blobs_fail_and_right_ones_pass() {
        let read = |bytes: &[u8], digest: Digest, size: u64| {
            let mut out = Vec::new();
            let mut reader = VerifyingReader::new(bytes, digest, size);
            let first = reader.read_to_end(&mut out).map_err(|error| error.kind());
            assert_eq!(first.is_err(), reader.read(&mut [0]).is_err(), "an error stays");
            first.map(|_| out)
        };
        assert_eq!(read(b"hello", Digest::of(b"hello"), 5), Ok(b"hello".to_vec()));
        assert_eq!(read(b"", Digest::of(b""), 0), Ok(Vec::new()));
        assert_eq!(read(b"hellO", Digest::of(b"hello"), 5), Err(ErrorKind::InvalidData));
        assert_eq!(read(b"hell", Digest::of(b"hello"), 5), Err(ErrorKind::UnexpectedEof));
        assert_eq!(read(b"", Digest::of(b"hello"), 0), Err(ErrorKind::InvalidData));
        assert_eq!(read(b"hello, world", Digest::of(b"hello"), 5), Ok(b"hello".to_vec()));
    }
}
