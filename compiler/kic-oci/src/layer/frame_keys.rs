//! By what a frame is known before it is compressed: what goes into it, by the digests of the files.

use kic_base::{Digest, Sha256State, StableHasher};

use super::frames::VERSION;
use super::settings::FrameSettings;

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

/// Puts the keys of frames together, one after the other: from the bytes of headers and paddings, and of the bodies of files
/// which part of which content they are.
pub(super) struct FrameKeys {
    settings: FrameSettings,
    hasher: StableHasher,
    /// Whether the contents of all bodies in the frame are known by digest.
    is_known: bool,
    body: Option<Body>,
}

struct Body {
    digest: Option<Digest>,
    /// What of it is in this frame.
    from: u64,
    to: u64,
}

impl FrameKeys {
    pub fn new(settings: FrameSettings) -> Self {
        Self { settings, hasher: begin(settings), is_known: true, body: None }
    }

    /// Bytes that are no file's.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.variant("Bytes").bytes(bytes);
    }

    /// A body begins.
    pub fn begin_body(&mut self, digest: Option<Digest>) {
        self.body = Some(Body { digest, from: 0, to: 0 });
    }

    /// So many more bytes of the body are in this frame.
    pub fn of_body(&mut self, count: usize) {
        if let Some(body) = &mut self.body {
            body.to += count as u64;
        }
    }

    /// The body is over.
    pub fn end_body(&mut self) {
        self.add_body();
        self.body = None;
    }

    /// The frame is over: its key, where all that is in it is known.
    pub fn end_frame(&mut self) -> Option<Digest> {
        self.add_body();
        let hasher = std::mem::replace(&mut self.hasher, begin(self.settings));
        std::mem::replace(&mut self.is_known, true).then(|| hasher.finish())
    }

    /// However the body was read: one part of it for each frame.
    fn add_body(&mut self) {
        let Some(Body { digest, from, to }) = &mut self.body else { return };
        if from < to {
            match digest {
                Some(digest) => {
                    self.hasher.variant("Body").digest(digest).number(*from).number(*to);
                }
                None => self.is_known = false,
            }
            *from = *to;
        }
    }
}

fn begin(settings: FrameSettings) -> StableHasher {
    let mut hasher = StableHasher::new();
    hasher.text("kic frame 2").number(VERSION.into()).text(&settings.level.to_string());
    hasher
}
