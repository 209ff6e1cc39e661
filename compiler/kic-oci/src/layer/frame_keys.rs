//! By what a frame is known before it is compressed: what goes into it, by what entries say and the digests of their files.

use kic_base::packed::put_text;
use kic_base::{Digest, Sha256State, StableHasher};

use super::frames::VERSION;
use super::settings::FrameSettings;
use super::tar_header::Header;

/// Where frames come from that were compressed before. What it says of a frame is as it was noted when that was packed. Its bytes
/// may be gone or damaged since: whoever reads them holds them against a digest.
pub trait KnownFrames: Send + Sync {
    /// What was noted of the frame with that key.
    fn known(&self, key: &Digest) -> Option<PackedFrame>;

    /// Puts the compressed bytes of the frame with that key into `bytes`, whatever was in it, as they lie there.
    fn read(&self, key: &Digest, bytes: &mut Vec<u8>) -> Option<()>;
}

/// What the digest of the tar was before and after a frame. Where it is the same before, it is the same after.
pub type States = [Sha256State; 2];

/// A frame of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedFrame {
    /// By what it is known before it is compressed: all that decides its bytes.
    pub key: Digest,
    /// The digest of its compressed bytes.
    pub digest: Digest,
    /// Where it begins in the layer.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
    /// What the digest of the tar was before and after it.
    pub states: States,
    /// The digest of the layer from its first byte to the last one of this frame. After the same frames it is the same.
    pub so_far: Digest,
}

/// How a frame comes into a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As it was packed before, with all that comes before it: what is in it is not needed.
    TakenOver(PackedFrame),
    /// As it was packed before, behind something else: what is in it is needed for the digest of the tar, and then no more.
    Reused,
    /// It is packed, unless it turns out to be known.
    Packed,
}

/// A frame of a layer that is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlannedFrame {
    pub way: Way,
    /// By what it is known, where all that is in it is.
    pub key: Option<Digest>,
}

/// Where bytes of a tar come from.
pub(super) enum Source<'a> {
    /// The header of an entry: what [`Header::parts`] makes of it.
    Header(&'a Header<'a>),
    /// The body of a file, with its digest where that is known.
    Body(Option<Digest>),
    /// Zeros: what pads a body, and ends a tar.
    Zeros,
}

/// Puts the keys of frames together, one after the other: from where its bytes come, and which part of that they are. So no byte of
/// it is needed.
pub(super) struct FrameKeys {
    settings: FrameSettings,
    hasher: StableHasher,
    /// Whether all in the frame so far is known.
    is_known: bool,
    /// What the bytes come from now, packed; nothing where that is not known.
    source: Option<Vec<u8>>,
    /// What of it is in this frame.
    from: u64,
    to: u64,
}

impl FrameKeys {
    pub fn new(settings: FrameSettings) -> Self {
        let hasher = begin(settings);
        Self { settings, hasher, is_known: true, source: Some(Vec::new()), from: 0, to: 0 }
    }

    /// The bytes that follow come from there.
    pub fn begin(&mut self, source: &Source<'_>) {
        let mut bytes = self.source.take().unwrap_or_default();
        bytes.clear();
        match source {
            Source::Header(Header { path, kind, mode, size, link, mtime }) => {
                bytes.extend_from_slice(&[b'h', *kind as u8]);
                bytes.extend_from_slice(&mode.to_le_bytes());
                bytes.extend_from_slice(&size.to_le_bytes());
                bytes.extend_from_slice(&mtime.to_le_bytes());
                put_text(&mut bytes, path);
                put_text(&mut bytes, link);
            }
            Source::Body(Some(digest)) => {
                bytes.push(b'b');
                bytes.extend_from_slice(digest.as_bytes());
            }
            Source::Zeros => bytes.push(b'0'),
            Source::Body(None) => {
                (self.from, self.to) = (0, 0);
                return;
            }
        }
        (self.source, self.from, self.to) = (Some(bytes), 0, 0);
    }

    /// So many more bytes of it are in this frame.
    pub fn add(&mut self, count: usize) {
        self.to += count as u64;
    }

    /// There are no more of them.
    pub fn end(&mut self) {
        if self.from < self.to {
            match &self.source {
                Some(source) => {
                    self.hasher.bytes(source).number(self.from).number(self.to);
                }
                None => self.is_known = false,
            }
            self.from = self.to;
        }
    }

    /// The frame is over, and what follows comes from where its last bytes came from, unless something else begins: its key, where all
    /// that is in it is known.
    pub fn end_frame(&mut self) -> Option<Digest> {
        // However the bytes came: one part of them for each frame.
        self.end();
        let hasher = std::mem::replace(&mut self.hasher, begin(self.settings));
        std::mem::replace(&mut self.is_known, true).then(|| hasher.finish())
    }
}

fn begin(settings: FrameSettings) -> StableHasher {
    let mut hasher = StableHasher::new();
    hasher.text("kic frame 3").number(VERSION.into()).text(&settings.level.to_string());
    hasher
}
