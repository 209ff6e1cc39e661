use std::io::Write;
use std::sync::Arc;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use kic_base::{Digest, Epoch, NestedSha256, Sha256State};

use super::LayerError;
use super::frame_keys::{FrameKeys, KnownFrames, PackedFrame, PlannedFrame, Source, Way};
use super::frames::{self, FrameName, Frames};
use super::hashing_writer::HashingWriter;
use super::settings::Settings;
use super::tar_header::{BLOCK, END};
use crate::model::media_types;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// `application/vnd.oci.image.layer.v1.tar+zstd`.
    Zstd,
    /// `application/vnd.oci.image.layer.v1.tar+gzip`.
    Gzip,
    /// `application/vnd.oci.image.layer.v1.tar`.
    None,
}

/// What a layer is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerDigests {
    /// Digest of the layer's bytes.
    pub digest: Digest,
    /// Size of the layer in bytes.
    pub size: u64,
    /// Digest of its tar, uncompressed: the `diff_id` of the configuration.
    pub diff_id: Digest,
    /// Size of its tar in bytes.
    pub diff_size: u64,
}

impl Compression {
    /// The media type of a layer so packed.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zstd => media_types::OCI_LAYER_ZSTD,
            Self::Gzip => media_types::OCI_LAYER_GZIP,
            Self::None => media_types::OCI_LAYER,
        }
    }
}

/// From tar bytes to hashed, compressed bytes in `W`. Each byte is hashed once before the compression and
/// once after it; once in all where there is none.
pub(super) struct Encoder<W: Write> {
    stage: Stage<W>,
    /// Tar bytes that wait; they go to the compression as soon as there are `piece` of them, which is what the frame holds, and the rest at
    /// the end. It is as large as `expected` to begin with, unless that is more.
    buffer: Vec<u8>,
    piece: usize,
    expected: usize,
    filled: usize,
    /// So many of them are in the digest of the tar: they get into it piece by piece, while they are near.
    hashed: usize,
    /// How many bytes of the frame came before them, and are not held.
    passed: usize,
    /// The digest of the tar; nothing where the output is the tar.
    diff: Option<NestedSha256>,
    diff_size: u64,
    /// What the digest of the tar was before the frame.
    before: Option<Sha256State>,
    /// Where frames may be used again, and are not planned.
    keys: Option<FrameKeys>,
    /// How the frame comes into the layer, and those after it, the last one first.
    frame: PlannedFrame,
    later: Vec<PlannedFrame>,
}

enum Stage<W: Write> {
    Plain(HashingWriter<W>),
    Gzip(GzEncoder<HashingWriter<W>>),
    Zstd(HashingWriter<W>, Frames),
}

const UNPLANNED: PlannedFrame = PlannedFrame { way: Way::Packed, key: None };

/// The pieces in which tar bytes are hashed, and go on where the compression has none of its own.
const PIECE: usize = 128 << 10;

/// The memory in which a layer of zstd frames is packed, taken from the system before there is anything to pack: to have it fresh
/// takes a good part of the time of a small layer.
#[derive(Debug)]
pub struct Workspace {
    tar: Vec<u8>,
}

impl Workspace {
    /// One for a tar of about so many bytes.
    pub fn new(size: usize) -> Self {
        let settings = Settings::of(Epoch::CURRENT).frames;
        let content = settings.contents.at(size as u64);
        let size = size.min(content);
        frames::make_ready(settings, size);
        // What it is filled with does not matter: the system gives a page when something is written to it.
        Self { tar: vec![1; (size + size / 64 + BLOCK).min(content)] }
    }
}

impl<W: Write> Encoder<W> {
    pub fn new(out: W, epoch: Epoch, compression: Compression, threads: usize) -> Result<Self, LayerError> {
        let settings = Settings::of(epoch);
        let out = HashingWriter::new(out);
        let (stage, piece) = match compression {
            Compression::None => (Stage::Plain(out), PIECE),
            Compression::Gzip => {
                let level = flate2::Compression::new(settings.gzip_level);
                // 255: an unknown operating system.
                (Stage::Gzip(GzBuilder::new().mtime(0).operating_system(255).write(out, level)), PIECE)
            }
            Compression::Zstd => {
                (Stage::Zstd(out, Frames::new(settings.frames, threads)?), settings.frames.contents.at(0))
            }
        };
        let diff = (compression != Compression::None).then(NestedSha256::new);
        Ok(Self {
            stage,
            buffer: Vec::new(),
            piece,
            expected: usize::MAX,
            filled: 0,
            hashed: 0,
            passed: 0,
            before: diff.as_ref().and_then(NestedSha256::state),
            diff,
            diff_size: 0,
            keys: None,
            frame: UNPLANNED,
            later: Vec::new(),
        })
    }

    /// Takes frames from there, and says at the end which there are. Before anything is written; with zstd alone.
    pub fn reuse(&mut self, known: Arc<dyn KnownFrames>) {
        if let Stage::Zstd(_, frames) = &mut self.stage {
            self.keys = Some(FrameKeys::new(frames.settings()));
            frames.reuse(known);
        }
    }

    /// Has frames come into the layer as they are planned, for what is written then. Before anything is written, and after
    /// [`Self::reuse`].
    pub fn follow(&mut self, mut frames: Vec<PlannedFrame>) {
        frames.reverse();
        self.later = frames;
        self.keys = None;
        self.next_frame();
    }

    fn next_frame(&mut self) {
        self.frame = self.later.pop().unwrap_or(UNPLANNED);
    }

    /// Takes no more memory than so many bytes of tar need, unless there are more after all. Before anything is written.
    pub fn expect(&mut self, size: u64) {
        self.expected = usize::try_from(size).unwrap_or(usize::MAX);
    }

    /// Works in memory that is there already, of which there may be too little. Before anything is written; with zstd alone.
    pub fn work_in(&mut self, workspace: Workspace) {
        if matches!(self.stage, Stage::Zstd(..)) {
            self.buffer = workspace.tar;
        }
    }

    /// As many bytes that are not given. Good for frames that are taken over; an error where there is another one.
    pub fn skip(&mut self, mut size: u64) -> Result<(), LayerError> {
        while size > 0 {
            let room = self.room()?.len();
            if !matches!(self.frame.way, Way::TakenOver(_)) {
                return Err(LayerError::KnownFrame);
            }
            let count = usize::try_from(size).map_or(room, |size| size.min(room));
            self.advance(count);
            size -= count as u64;
        }
        Ok(())
    }

    /// What is written next comes from there.
    pub fn begin(&mut self, source: &Source<'_>) {
        if let Some(keys) = &mut self.keys {
            keys.begin(source);
        }
    }

    /// There is no more of it.
    pub fn end(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.end();
        }
    }

    /// Where the next bytes go; never empty. [`Self::advance`] says how many came.
    pub fn room(&mut self) -> Result<&mut [u8], LayerError> {
        if self.passed + self.filled == self.piece {
            self.pass_on()?;
        }
        if self.filled - self.hashed >= PIECE {
            self.hash();
        }
        match self.buffer.len() {
            0 => self.buffer = vec![0; self.expected.clamp(1, self.piece)],
            length if length == self.filled => {
                self.buffer.resize((length + length / 8 + PIECE).min(self.piece), 0);
            }
            _ => {}
        }
        let end = (self.hashed + PIECE).min(self.buffer.len()).min(self.piece - self.passed);
        Ok(&mut self.buffer[self.filled..end])
    }

    /// Adds what waits to the digest of the tar, and holds it no longer where it is not to be packed.
    fn hash(&mut self) {
        let is_taken_over = matches!(self.frame.way, Way::TakenOver(_));
        if let Some(diff) = self.diff.as_mut().filter(|_| !is_taken_over) {
            diff.update(&self.buffer[self.hashed..self.filled]);
        }
        self.hashed = self.filled;
        if self.frame.way != Way::Packed {
            self.passed += self.filled;
            (self.filled, self.hashed) = (0, 0);
        }
    }

    /// Takes the first `count` bytes of [`Self::room`].
    pub fn advance(&mut self, count: usize) {
        self.filled += count;
        if let Some(keys) = &mut self.keys {
            keys.add(count);
        }
    }

    /// So many zeros.
    pub fn zeros(&mut self, count: usize) -> Result<(), LayerError> {
        self.begin(&Source::Zeros);
        self.write(&[0; END][..count])?;
        self.end();
        Ok(())
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.advance(count);
            bytes = &bytes[count..];
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<(W, LayerDigests, Vec<PackedFrame>), LayerError> {
        if self.passed + self.filled > 0 {
            self.pass_on()?;
        }
        let mut packed = Vec::new();
        let mut out = match self.stage {
            Stage::Plain(out) => out,
            Stage::Gzip(encoder) => encoder.finish().map_err(LayerError::Output)?,
            Stage::Zstd(mut out, mut frames) => {
                packed = frames.finish(&mut out)?;
                out
            }
        };
        out.flush().map_err(LayerError::Output)?;
        let (out, digest, size) = out.finish();
        let diff_id = self.diff.map_or(digest, NestedSha256::finish);
        Ok((out, LayerDigests { digest, size, diff_id, diff_size: self.diff_size }, packed))
    }

    /// The frame is over.
    fn pass_on(&mut self) -> Result<(), LayerError> {
        self.hash();
        let size = self.passed + self.filled;
        let key = self.keys.as_mut().map_or(self.frame.key, FrameKeys::end_frame);
        if let (Way::TakenOver(taken), Some(diff)) = (self.frame.way, &mut self.diff) {
            if self.before != Some(taken.states[0]) {
                return Err(LayerError::KnownFrame);
            }
            diff.go_on_from(taken.states[1], size as u64);
        }
        let after = self.diff.as_ref().and_then(NestedSha256::state);
        let name = match (key, self.before, after) {
            (Some(key), Some(before), Some(after)) => Some(FrameName { key, states: [before, after] }),
            _ => None,
        };
        let bytes = &self.buffer[..self.filled];
        match (&mut self.stage, self.frame.way, name) {
            (Stage::Plain(out), ..) => out.write_all(bytes).map_err(LayerError::Output)?,
            (Stage::Gzip(encoder), ..) => encoder.write_all(bytes).map_err(LayerError::Output)?,
            (Stage::Zstd(out, frames), Way::Packed, name) => {
                self.buffer = frames.push(std::mem::take(&mut self.buffer), self.filled, name, out)?;
            }
            (Stage::Zstd(out, frames), Way::Reused, Some(name)) => frames.push_known(name, out)?,
            (Stage::Zstd(out, frames), Way::TakenOver(taken), Some(name)) if taken.key == name.key => {
                frames.take_over(taken, out)?;
            }
            _ => return Err(LayerError::KnownFrame),
        }
        self.diff_size += size as u64;
        (self.filled, self.hashed, self.passed) = (0, 0, 0);
        if let Stage::Zstd(_, frames) = &self.stage {
            self.piece = frames.settings().contents.at(self.diff_size);
        }
        self.before = after;
        self.next_frame();
        Ok(())
    }
}
