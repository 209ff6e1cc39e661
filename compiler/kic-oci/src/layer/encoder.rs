use std::io::{self, Write};
use std::sync::Arc;

use flate2::GzBuilder;
use flate2::write::GzEncoder;
use kic_base::{Digest, Epoch, NestedSha256, Sha256};

use super::LayerError;
use super::frame_keys::{FrameKeys, KnownFrames, PackedFrame, States};
use super::frames::{FrameName, FrameSettings, Frames};
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

/// What an epoch fixes of the compression.
pub(super) struct Settings {
    pub frames: FrameSettings,
    gzip_level: u32,
}

/// From tar bytes to hashed, compressed bytes in `W`. Each byte is hashed once before the compression and
/// once after it; once in all where there is none.
pub(super) struct Encoder<W: Write> {
    stage: Stage<W>,
    /// Tar bytes that wait; whole, they go to the compression in pieces that are always of the same size.
    buffer: Vec<u8>,
    filled: usize,
    /// The digest of the tar; nothing where the output is the tar.
    diff: Option<NestedSha256>,
    diff_size: u64,
    /// Where frames may be used again.
    keys: Option<FrameKeys>,
    /// The next frames that are taken over, whatever is given for them; the last one first.
    taken: Vec<States>,
    /// What waits was not given.
    is_unread: bool,
}

enum Stage<W: Write> {
    Plain(HashingWriter<W>),
    Gzip(GzEncoder<HashingWriter<W>>),
    Zstd(HashingWriter<W>, Frames),
}

struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

/// The pieces in which tar bytes go on where the compression has none of its own.
const PIECE: usize = 128 << 10;

impl Settings {
    pub fn of(epoch: Epoch) -> Self {
        // Epoch 1 is the only one so far; the next one makes this a `match` on its number.
        debug_assert_eq!(epoch.number(), 1);
        Self { frames: FrameSettings { level: 3, content: 4 << 20 }, gzip_level: 6 }
    }
}

impl<W: Write> Encoder<W> {
    pub fn new(out: W, epoch: Epoch, compression: Compression, threads: usize) -> Result<Self, LayerError> {
        let settings = Settings::of(epoch);
        let out = HashingWriter { inner: out, hasher: Sha256::new(), size: 0 };
        let (stage, piece) = match compression {
            Compression::None => (Stage::Plain(out), PIECE),
            Compression::Gzip => {
                let level = flate2::Compression::new(settings.gzip_level);
                // 255: an unknown operating system.
                (Stage::Gzip(GzBuilder::new().mtime(0).operating_system(255).write(out, level)), PIECE)
            }
            Compression::Zstd => {
                (Stage::Zstd(out, Frames::new(settings.frames, threads)?), settings.frames.content)
            }
        };
        let diff = (compression != Compression::None).then(NestedSha256::new);
        Ok(Self {
            stage,
            buffer: vec![0; piece],
            filled: 0,
            diff,
            diff_size: 0,
            keys: None,
            taken: Vec::new(),
            is_unread: false,
        })
    }

    /// Takes frames from there, and says at the end which there are. Before anything is written; with zstd alone.
    pub fn reuse(&mut self, known: Arc<dyn KnownFrames>) {
        if let Stage::Zstd(_, frames) = &mut self.stage {
            self.keys = Some(FrameKeys::new(frames.settings()));
            frames.reuse(known);
        }
    }

    /// Takes the first frames from there, which are known to begin and end with these states. Before anything is written, and
    /// after [`Self::reuse`].
    pub fn begin_with(&mut self, mut frames: Vec<States>) {
        frames.reverse();
        self.taken = frames;
    }

    /// As many bytes that are not given. Good for frames that are taken over; an error where there is another one.
    pub fn skip(&mut self, mut size: u64) -> Result<(), LayerError> {
        while size > 0 {
            let room = self.room()?.len();
            let count = usize::try_from(size).map_or(room, |size| size.min(room));
            self.is_unread = true;
            self.advance(count);
            size -= count as u64;
        }
        Ok(())
    }

    /// What comes next by [`Self::room`] is the body of a file, with that digest where it is known.
    pub fn begin_body(&mut self, digest: Option<Digest>) {
        if let Some(keys) = &mut self.keys {
            keys.begin_body(digest);
        }
    }

    /// The body is over.
    pub fn end_body(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.end_body();
        }
    }

    /// Where the next bytes go; never empty. [`Self::advance`] says how many came.
    pub fn room(&mut self) -> Result<&mut [u8], LayerError> {
        if self.filled == self.buffer.len() {
            self.pass_on()?;
        }
        Ok(&mut self.buffer[self.filled..])
    }

    /// Takes the first `count` bytes of [`Self::room`].
    pub fn advance(&mut self, count: usize) {
        self.filled += count;
        if let Some(keys) = &mut self.keys {
            keys.of_body(count);
        }
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            if let Some(keys) = &mut self.keys {
                keys.bytes(&bytes[..count]);
            }
            bytes = &bytes[count..];
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<(W, LayerDigests, Vec<PackedFrame>), LayerError> {
        if self.filled > 0 {
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
        out.inner.flush().map_err(LayerError::Output)?;
        let digest = out.hasher.finish();
        let diff_id = self.diff.map_or(digest, NestedSha256::finish);
        let digests = LayerDigests { digest, size: out.size, diff_id, diff_size: self.diff_size };
        Ok((out.inner, digests, packed))
    }

    fn pass_on(&mut self) -> Result<(), LayerError> {
        let key = self.keys.as_mut().and_then(FrameKeys::end_frame);
        if let Some(states) = self.taken.pop() {
            return self.take_over(key, states);
        }
        if self.is_unread {
            return Err(LayerError::KnownFrame);
        }
        let bytes = &self.buffer[..self.filled];
        let before = self.diff.as_ref().and_then(NestedSha256::state);
        if let Some(diff) = &mut self.diff {
            diff.update(bytes);
        }
        self.diff_size += bytes.len() as u64;
        match &mut self.stage {
            Stage::Plain(out) => out.write_all(bytes).map_err(LayerError::Output)?,
            Stage::Gzip(encoder) => encoder.write_all(bytes).map_err(LayerError::Output)?,
            Stage::Zstd(out, frames) => {
                let after = self.diff.as_ref().and_then(NestedSha256::state);
                let name = match (key, before, after) {
                    (Some(key), Some(before), Some(after)) => {
                        Some(FrameName { key, states: [before, after] })
                    }
                    _ => None,
                };
                self.buffer = frames.push(std::mem::take(&mut self.buffer), self.filled, name, out)?;
            }
        }
        self.filled = 0;
        Ok(())
    }

    fn take_over(&mut self, key: Option<Digest>, states: States) -> Result<(), LayerError> {
        let (Some(key), Stage::Zstd(out, frames), Some(diff)) = (key, &mut self.stage, &mut self.diff) else {
            return Err(LayerError::KnownFrame);
        };
        if diff.state() != Some(states[0]) {
            return Err(LayerError::KnownFrame);
        }
        frames.take_over(FrameName { key, states }, out)?;
        diff.go_on_from(states[1], self.filled as u64);
        self.diff_size += self.filled as u64;
        (self.filled, self.is_unread) = (0, false);
        Ok(())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
