//! Which frames of a layer were packed before: what is in those at its beginning need not be read, and what is in the others need
//! not be held.

use std::sync::Arc;

use kic_base::{Digest, Epoch, NestedSha256, Sha256State};

use super::LayerError;
use super::frame_keys::{FrameKeys, KnownFrames, PlannedFrame, Source, Way};
use super::settings::{Contents, Settings};
use super::tar_header::{END, Header, Kind, padding};

/// Looks which frames of a layer were packed before, without the bodies of its files. All entries are given in their order, as to
/// [`super::LayerWriter`].
///
/// **Invariant:** a frame at the beginning counts where its key is known, which stands for all that is in it, and where the digest
/// of the tar is before it what it was then. So it is after it what it was then; and the layer so far is, too.
pub struct FramePlan {
    known: Arc<dyn KnownFrames>,
    keys: FrameKeys,
    contents: Contents,
    mtime: u64,
    /// Bytes of the tar before the frame that is being put together, those of it so far, and those that it holds when it is full.
    before: u64,
    filled: usize,
    content: usize,
    frames: Vec<PlannedFrame>,
    /// The digest of the tar so far, while all frames are taken over.
    state: Option<Sha256State>,
    /// Entries so far, and those of them that are wholly in frames that are taken over.
    given: usize,
    entries: usize,
}

impl FramePlan {
    /// Of a layer that is compressed with zstd.
    pub fn new(known: Arc<dyn KnownFrames>, epoch: Epoch, mtime: u64) -> Self {
        let settings = Settings::of(epoch).frames;
        Self {
            known,
            keys: FrameKeys::new(settings),
            contents: settings.contents,
            mtime,
            before: 0,
            filled: 0,
            content: settings.contents.at(0),
            frames: Vec::new(),
            state: NestedSha256::new().state(),
            given: 0,
            entries: 0,
        }
    }

    /// How many entries are in frames that are taken over from their first byte to their last, all of them at the beginning.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether any frame is known that is full.
    pub fn knows_any(&self) -> bool {
        self.frames.iter().any(|frame| frame.way != Way::Packed)
    }

    /// How the frames come into the layer, which ends here.
    pub(super) fn frames(mut self) -> Vec<PlannedFrame> {
        self.add(&Source::Zeros, END as u64);
        if self.filled > 0 {
            self.end_frame();
        }
        self.frames
    }

    /// A file whose body has that digest.
    pub fn file(&mut self, path: &str, mode: u32, size: u64, digest: &Digest) -> Result<(), LayerError> {
        self.header(&Header { path, kind: Kind::File, mode, size, link: "", mtime: self.mtime })?;
        self.add(&Source::Body(Some(*digest)), size);
        self.add(&Source::Zeros, padding(size) as u64);
        self.given += 1;
        Ok(())
    }

    /// A directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), LayerError> {
        let header = Header { path, kind: Kind::Directory, mode, size: 0, link: "", mtime: self.mtime };
        self.header(&header)?;
        self.given += 1;
        Ok(())
    }

    /// A symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), LayerError> {
        let mtime = self.mtime;
        let header = Header { path, kind: Kind::Symlink, mode: 0o777, size: 0, link: target, mtime };
        self.header(&header)?;
        self.given += 1;
        Ok(())
    }

    fn header(&mut self, header: &Header) -> Result<(), LayerError> {
        self.add(&Source::Header(header), header.length()? as u64);
        Ok(())
    }

    /// So many bytes from there; where they fill the frame, it is looked up.
    fn add(&mut self, source: &Source<'_>, size: u64) {
        self.keys.begin(source);
        let mut left = size;
        while left > 0 {
            let room = self.content - self.filled;
            let count = usize::try_from(left).map_or(room, |left| left.min(room));
            self.keys.add(count);
            self.filled += count;
            left -= count as u64;
            if self.filled == self.content {
                self.end_frame();
            }
        }
        self.keys.end();
    }

    fn end_frame(&mut self) {
        let key = self.keys.end_frame();
        let known = key.and_then(|key| self.known.known(&key));
        let taken = known.filter(|known| Some(known.states[0]) == self.state);
        self.state = taken.map(|known| known.states[1]);
        if taken.is_some() {
            self.entries = self.given;
        }
        self.before += self.filled as u64;
        self.filled = 0;
        self.content = self.contents.at(self.before);
        let way = match (taken, known) {
            (Some(taken), _) => Way::TakenOver(taken),
            (None, Some(_)) => Way::Reused,
            (None, None) => Way::Packed,
        };
        self.frames.push(PlannedFrame { way, key });
    }
}
