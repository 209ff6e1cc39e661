//! A file of this machine that must hold what it held when its digest was computed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kic_base::{Digest, Sha256};
use kic_graph::ContentFacts;

use crate::sources::{Fingerprint, KnownFiles};

/// Reads such a file, and fails at its end unless it is what it was.
///
/// A file that has the fingerprint with which it was hashed, before it is read and afterwards, is what it was, as
/// [`crate::Sources`] says why; any other one is hashed once more.
pub(super) struct LocalFile {
    file: File,
    check: Option<Check>,
    expected: Digest,
    left: u64,
}

enum Check {
    Fingerprint(Fingerprint),
    Digest(Sha256),
}

impl LocalFile {
    /// Opens it.
    pub fn open(path: &Path, content: &ContentFacts, known: &KnownFiles) -> io::Result<Self> {
        let file = File::open(path)?;
        let known = known.fingerprint(path, &content.digest);
        let check = match known {
            Some(known) if known == Fingerprint::of_file(&file)? => Check::Fingerprint(known),
            _ => Check::Digest(Sha256::new()),
        };
        Ok(Self { file, check: Some(check), expected: content.digest, left: content.size })
    }

    fn check(&mut self) -> io::Result<()> {
        let is_same = match self.check.take() {
            None => true,
            Some(Check::Fingerprint(known)) => known == Fingerprint::of_file(&self.file)?,
            Some(Check::Digest(hasher)) => hasher.finish() == self.expected,
        };
        if is_same { Ok(()) } else { Err(changed()) }
    }
}

/// What is wrong with a file that is no longer what it was.
pub(super) fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its content is another one")
}

impl Read for LocalFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if let Some(Check::Digest(hasher)) = &mut self.check {
            hasher.update(&buffer[..count]);
        }
        self.left = self.left.saturating_sub(count as u64);
        // Whoever reads takes exactly as many bytes as there should be, and perhaps never sees the end.
        if self.left == 0 {
            self.check()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path, content: &ContentFacts, known: &KnownFiles) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        LocalFile::open(path, content, known)?.take(content.size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn a_file_that_is_what_it_was_is_read_and_one_that_is_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let content =
            |text: &str| ContentFacts { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
        let fingerprint = Fingerprint::at(&path).unwrap();
        let nothing = KnownFiles::default();
        let known = KnownFiles::of(&path, fingerprint, content("abc").digest);
        for known in [&nothing, &known] {
            assert_eq!(read(&path, &content("abc"), known).unwrap(), b"abc");
            assert_eq!(read(&path, &content("abd"), known).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        // What has the fingerprint is believed: that is what it is for.
        let believed = KnownFiles::of(&path, fingerprint, content("abd").digest);
        assert_eq!(read(&path, &content("abd"), &believed).unwrap(), b"abc");
        // Another file in its place has another one, and is hashed.
        std::fs::write(folder.path().join("b"), "abe").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        for known in [&nothing, &known] {
            assert!(read(&path, &content("abc"), known).is_err());
        }
        // It is written to while it is read.
        let fingerprint = Fingerprint::at(&path).unwrap();
        let known = KnownFiles::of(&path, fingerprint, content("abe").digest);
        let mut file = LocalFile::open(&path, &content("abe"), &known).unwrap();
        assert_eq!(file.read(&mut [0; 2]).unwrap(), 2);
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(&path, "abf").unwrap();
        assert_eq!(file.read(&mut [0; 2]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
