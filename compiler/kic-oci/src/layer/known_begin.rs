//! The frames at the beginning of a layer that were packed before: what is in them need not be read.

use std::sync::Arc;

use kic_base::{Digest, Epoch, NestedSha256};

use super::LayerError;
use super::encoder::Settings;
use super::frame_keys::{FrameKeys, KnownFrames, States};
use super::tar_header::{BLOCK, Header, Kind, padding};

/// Looks how far a layer begins as one that was packed before, without the bodies of its files. Entries are given in their order, as
/// to [`super::LayerWriter`], for as long as [`Self::goes_on`].
///
/// **Invariant:** a frame counts where its key is known, which stands for all that is in it, and where the digest of the tar is
/// before it what it was then. So it is after it what it was then.
pub struct KnownBegin {
    known: Arc<dyn KnownFrames>,
    keys: FrameKeys,
    content: usize,
    mtime: u64,
    /// Bytes of the frame that is being put together.
    filled: usize,
    frames: Vec<States>,
    /// Entries so far, and those of them that are wholly in known frames.
    given: usize,
    entries: usize,
    goes_on: bool,
}

impl KnownBegin {
    /// Of a layer that is compressed with zstd.
    pub fn new(known: Arc<dyn KnownFrames>, epoch: Epoch, mtime: u64) -> Self {
        let settings = Settings::of(epoch).frames;
        Self {
            known,
            keys: FrameKeys::new(settings),
            content: settings.content,
            mtime,
            filled: 0,
            frames: Vec::new(),
            given: 0,
            entries: 0,
            goes_on: true,
        }
    }

    /// Whether more may be known.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// How many entries are in known frames from their first byte to their last, all of them at the beginning.
    pub fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn frames(self) -> Vec<States> {
        self.frames
    }

    /// A file whose body has that digest.
    pub fn file(&mut self, path: &str, mode: u32, size: u64, digest: &Digest) -> Result<(), LayerError> {
        self.bytes(&Header { path, kind: Kind::File, mode, size, link: "", mtime: self.mtime }.bytes()?);
        self.keys.begin_body(Some(*digest));
        let mut left = size;
        while left > 0 && self.goes_on {
            let room = self.content - self.filled;
            let count = usize::try_from(left).map_or(room, |left| left.min(room));
            self.keys.of_body(count);
            self.fill(count);
            left -= count as u64;
        }
        self.keys.end_body();
        self.bytes(&[0; BLOCK][..padding(size)]);
        self.given += 1;
        Ok(())
    }

    /// A directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        let header = Header { path, kind: Kind::Directory, mode, size: 0, link: "", mtime: self.mtime };
        self.bytes(&header.bytes()?);
        self.given += 1;
        Ok(())
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        let mtime = self.mtime;
        let header = Header { path, kind: Kind::Symlink, mode: 0o777, size: 0, link: target, mtime };
        self.bytes(&header.bytes()?);
        self.given += 1;
        Ok(())
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.goes_on {
            let count = bytes.len().min(self.content - self.filled);
            self.keys.bytes(&bytes[..count]);
            self.fill(count);
            bytes = &bytes[count..];
        }
    }

    /// So many more bytes; where they fill the frame, it is looked up.
    fn fill(&mut self, count: usize) {
        self.filled += count;
        if self.filled < self.content {
            return;
        }
        self.filled = 0;
        let before =
            self.frames.last().map_or_else(|| NestedSha256::new().state(), |[_, after]| Some(*after));
        let states = self.keys.end_frame().and_then(|key| self.known.states(&key));
        match states.filter(|states| Some(states[0]) == before) {
            Some(states) => {
                self.frames.push(states);
                self.entries = self.given;
            }
            None => self.goes_on = false,
        }
    }
}
