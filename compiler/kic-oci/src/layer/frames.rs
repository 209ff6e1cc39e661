use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kic_base::Digest;
use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, compress_bound, get_error_name, version_number,
};

use super::LayerError;
use super::frame_keys::{KnownFrames, PackedFrame, States};
use super::hashing_writer::HashingWriter;
use super::settings::FrameSettings;

/// zstd 1.5.7, the version of all epochs so far.
pub(super) const VERSION: u32 = 10_507;

/// Independent zstd frames, compressed on several threads and written in order.
///
/// Memory: at most `threads` + 1 frames are being compressed, each with its content and its compressed bytes; those that are done
/// and wait for one before them take no more, and fewer are compressed for that. One that was packed before has no content here;
/// one that is taken over takes nothing until its turn has come.
pub(super) struct Frames {
    settings: FrameSettings,
    threads: usize,
    pool: Option<Pool>,
    /// The frames under way, oldest first.
    pending: VecDeque<Pending>,
    /// Buffers to use again, for contents and for compressed bytes: memory that comes fresh from the system costs more than what
    /// is done in it.
    spare: Vec<Vec<u8>>,
    spare_packed: Vec<Vec<u8>>,
    known: Option<Arc<dyn KnownFrames>>,
    /// The frames that are written and have a key.
    written: Vec<PackedFrame>,
    /// How many bytes are written.
    size: u64,
}

/// Threads that compress; they end when the sender of their jobs is dropped.
struct Pool {
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    threads: usize,
}

struct Job {
    content: Vec<u8>,
    length: usize,
    /// Where the compressed bytes go.
    packed: Vec<u8>,
    name: Option<FrameName>,
    done: SyncSender<Packed>,
}

/// A frame under way.
enum Pending {
    /// It is being packed, or read, with so many bytes of memory at most.
    Packing(Receiver<Packed>, usize),
    /// It is packed, and its content is given back.
    Packed(Frame),
    /// It was packed before, with all that comes before it. It is read when its turn has come: whoever writes has the time while
    /// others are being packed.
    Known(PackedFrame),
}

struct Packed {
    content: Vec<u8>,
    frame: Result<Frame, LayerError>,
}

/// By what a frame is known, and may be used again.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameName {
    pub key: Digest,
    pub states: States,
}

/// A compressed frame; its name and the digest of its bytes, where it may be used again.
struct Frame {
    bytes: Vec<u8>,
    names: Option<(FrameName, Digest)>,
}

impl Frames {
    /// Frames that are compressed on up to `threads` threads; on the caller's where that is one.
    pub fn new(settings: FrameSettings, threads: usize) -> Result<Self, LayerError> {
        if version_number() != VERSION {
            return Err(LayerError::Compression("this build has another zstd than 1.5.7"));
        }
        Ok(Self {
            settings,
            threads,
            pool: None,
            pending: VecDeque::new(),
            spare: Vec::new(),
            spare_packed: Vec::new(),
            known: None,
            written: Vec::new(),
            size: 0,
        })
    }

    pub fn settings(&self) -> FrameSettings {
        self.settings
    }

    /// Takes frames that have a key from there, where it has them.
    pub fn reuse(&mut self, known: Arc<dyn KnownFrames>) {
        self.known = Some(known);
    }

    /// Takes the first `length` bytes of `content` as the next frame, and gives a buffer for the one after, which may be empty. Writes
    /// the frames that are done, where too many are under way.
    pub fn push(
        &mut self,
        content: Vec<u8>,
        length: usize,
        name: Option<FrameName>,
        out: &mut HashingWriter<impl Write>,
    ) -> Result<Vec<u8>, LayerError> {
        match self.start(content, length, name, out)? {
            Some(content) => Ok(content),
            None => Ok(self.spare.pop().unwrap_or_default()),
        }
    }

    /// Takes a frame that was packed before as the next one, where all frames before it are those that were before it then.
    pub fn take_over(
        &mut self,
        frame: PackedFrame,
        out: &mut HashingWriter<impl Write>,
    ) -> Result<(), LayerError> {
        self.pending.push_back(Pending::Known(frame));
        if self.threads <= 1 { self.write_oldest(out) } else { Ok(()) }
    }

    /// Takes a frame that was packed before as the next one, behind other frames than then.
    pub fn push_known(
        &mut self,
        name: FrameName,
        out: &mut HashingWriter<impl Write>,
    ) -> Result<(), LayerError> {
        self.start(Vec::new(), 0, Some(name), out).map(drop)
    }

    /// Packs a frame, or has it packed; what it packs itself, it gives back. Without content, it was packed before.
    fn start(
        &mut self,
        content: Vec<u8>,
        length: usize,
        name: Option<FrameName>,
        out: &mut HashingWriter<impl Write>,
    ) -> Result<Option<Vec<u8>>, LayerError> {
        if self.threads <= 1 {
            let packed = self.spare_packed.pop().unwrap_or_default();
            let frame = pack(self.settings, &content[..length], name, self.known.as_deref(), packed)?;
            self.write(frame, out)?;
            return Ok(Some(content));
        }
        self.look_after()?;
        while matches!(self.pending.front(), Some(Pending::Packed(_))) || self.is_much() {
            self.write_oldest(out)?;
            self.look_after()?;
        }
        let packed = self.spare_packed.pop().unwrap_or_default();
        let held = match (&name, &self.known) {
            (Some(name), Some(known)) if content.is_empty() => known.known(&name.key).map_or(0, held),
            _ => 2 * content.len(),
        };
        let (done, receiver) = sync_channel(1);
        self.pool()?
            .jobs
            .send(Job { content, length, packed, name, done })
            .map_err(|_| LayerError::Compression("its threads have ended"))?;
        self.pending.push_back(Pending::Packing(receiver, held));
        // Now there is something to do beside it.
        if matches!(self.pending.front(), Some(Pending::Known(_))) {
            self.write_oldest(out)?;
        }
        Ok(None)
    }

    /// Writes all frames that are under way, and gives those that have a key.
    pub fn finish(&mut self, out: &mut HashingWriter<impl Write>) -> Result<Vec<PackedFrame>, LayerError> {
        while !self.pending.is_empty() {
            self.write_oldest(out)?;
        }
        Ok(std::mem::take(&mut self.written))
    }

    /// Takes back the contents of the frames that are packed by now.
    fn look_after(&mut self) -> Result<(), LayerError> {
        for pending in &mut self.pending {
            if let Pending::Packing(receiver, _) = pending
                && let Ok(packed) = receiver.try_recv()
            {
                self.spare.extend(Some(packed.content).filter(|content| !content.is_empty()));
                *pending = Pending::Packed(packed.frame?);
            }
        }
        Ok(())
    }

    /// Whether too much is under way for another frame.
    fn is_much(&self) -> bool {
        let most = 2 * self.threads * self.settings.contents.most();
        let held = self.pending.iter().map(|pending| match pending {
            Pending::Packing(_, held) => *held,
            Pending::Packed(frame) => frame.bytes.len(),
            Pending::Known(_) => 0,
        });
        held.sum::<usize>() > most
    }

    fn write_oldest(&mut self, out: &mut HashingWriter<impl Write>) -> Result<(), LayerError> {
        let frame = match self.pending.pop_front() {
            None => return Ok(()),
            Some(Pending::Packed(frame)) => frame,
            Some(Pending::Packing(receiver, _)) => {
                let packed =
                    receiver.recv().map_err(|_| LayerError::Compression("a thread of it has ended"))?;
                self.spare.extend(Some(packed.content).filter(|content| !content.is_empty()));
                packed.frame?
            }
            Some(Pending::Known(known)) => return self.write_known(&known, out),
        };
        self.write(frame, out)
    }

    fn write(&mut self, frame: Frame, out: &mut HashingWriter<impl Write>) -> Result<(), LayerError> {
        out.write_all(&frame.bytes).map_err(LayerError::Output)?;
        let size = frame.bytes.len() as u64;
        if let Some((FrameName { key, states }, digest)) = frame.names {
            let so_far = out.so_far();
            self.written.push(PackedFrame { key, digest, offset: self.size, size, states, so_far });
        }
        self.size += size;
        self.spare_packed.push(frame.bytes);
        Ok(())
    }

    /// Writes a frame before which the layer is what it was when that was packed. So one digest says of its bytes that they are what
    /// they were, and goes on as that of the layer. Where they are not, there is no layer.
    fn write_known(
        &mut self,
        frame: &PackedFrame,
        out: &mut HashingWriter<impl Write>,
    ) -> Result<(), LayerError> {
        let mut bytes = self.spare_packed.pop().unwrap_or_default();
        let read = self.known.as_ref().and_then(|known| known.read(&frame.key, &mut bytes));
        read.ok_or(LayerError::KnownFrame)?;
        out.write_all(&bytes).map_err(LayerError::Output)?;
        if out.so_far() != frame.so_far {
            return Err(LayerError::KnownFrame);
        }
        let size = bytes.len() as u64;
        self.written.push(PackedFrame { offset: self.size, size, ..*frame });
        self.size += size;
        self.spare_packed.push(bytes);
        Ok(())
    }

    /// The threads, one more than before while there are more frames under way than threads.
    fn pool(&mut self) -> Result<&Pool, LayerError> {
        let pool = self.pool.get_or_insert_with(|| {
            let (jobs, queue) = channel();
            Pool { jobs, queue: Arc::new(Mutex::new(queue)), threads: 0 }
        });
        let packing = self.pending.iter().filter(|pending| matches!(pending, Pending::Packing(..))).count();
        if pool.threads < self.threads && pool.threads <= packing {
            let (settings, queue, known) = (self.settings, Arc::clone(&pool.queue), self.known.clone());
            let started = kic_threads::spawn("compress", move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { content, length, packed, name, done }) = job else { return };
                    let frame = pack(settings, &content[..length], name, known.as_deref(), packed);
                    // The writer may have given up: then nobody waits for this frame.
                    let _ = done.send(Packed { content, frame });
                }
            });
            match started {
                Ok(_) => pool.threads += 1,
                // Fewer threads than asked for give the same bytes.
                Err(_) if pool.threads > 0 => {}
                Err(error) => return Err(LayerError::Output(error)),
            }
        }
        Ok(pool)
    }
}

/// One frame, compressed, or as it was compressed before, without content only that; in the memory of `bytes`.
fn pack(
    settings: FrameSettings,
    content: &[u8],
    name: Option<FrameName>,
    known: Option<&dyn KnownFrames>,
    mut bytes: Vec<u8>,
) -> Result<Frame, LayerError> {
    let (Some(name), Some(known)) = (name, known) else {
        if content.is_empty() {
            return Err(LayerError::KnownFrame);
        }
        compress(settings, content, &mut bytes)?;
        return Ok(Frame { bytes, names: None });
    };
    let facts = known.known(&name.key);
    let good = facts
        .filter(|facts| known.read(&name.key, &mut bytes).is_some() && Digest::of(&bytes) == facts.digest);
    let digest = match good {
        Some(PackedFrame { digest, .. }) => digest,
        None if content.is_empty() => return Err(LayerError::KnownFrame),
        None => {
            compress(settings, content, &mut bytes)?;
            Digest::of(&bytes)
        }
    };
    Ok(Frame { bytes, names: Some((name, digest)) })
}

/// How much memory a frame takes that was packed before.
fn held(known: PackedFrame) -> usize {
    usize::try_from(known.size).unwrap_or(usize::MAX)
}

/// Contexts to use again: what is fresh in memory costs more than half of what a small frame does.
static SPARE: Mutex<Vec<CCtx<'static>>> = Mutex::new(Vec::new());

fn spare() -> MutexGuard<'static, Vec<CCtx<'static>>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One frame. Of the frames that its context packed before, nothing is left in it that reaches its bytes: that is how zstd means it, and
/// a test holds it to that.
fn compress(settings: FrameSettings, content: &[u8], frame: &mut Vec<u8>) -> Result<(), LayerError> {
    let context = spare().pop();
    let mut context = match context {
        Some(context) => context,
        None => CCtx::try_create().ok_or(LayerError::Compression("no memory is left"))?,
    };
    // One that failed is not used again.
    compress_with(&mut context, settings, content, frame)?;
    spare().push(context);
    Ok(())
}

/// Takes the memory for a frame of so many bytes, which the next one is compressed in. A hint, no more.
pub(super) fn make_ready(settings: FrameSettings, content: usize) {
    let begin = |context: &mut CCtx<'_>| {
        set(context, settings)?;
        context.set_pledged_src_size(Some(content as u64)).map_err(failed)?;
        // To begin a frame is what takes it. The frame is never ended, and nothing of it reaches the next one.
        let mut frame = [0; 64];
        let (mut frame, mut first) = (OutBuffer::around(&mut frame[..]), InBuffer::around(&[0]));
        context.compress_stream2(&mut frame, &mut first, ZSTD_EndDirective::ZSTD_e_continue).map_err(failed)
    };
    if let Some(mut context) = CCtx::try_create()
        && begin(&mut context).is_ok()
    {
        spare().push(context);
    }
}

fn compress_with(
    context: &mut CCtx<'_>,
    settings: FrameSettings,
    content: &[u8],
    frame: &mut Vec<u8>,
) -> Result<(), LayerError> {
    set(context, settings)?;
    // The whole frame in one call: that pledges its size, and leaves no sizes of writes to depend on.
    frame.clear();
    frame.reserve(compress_bound(content.len()));
    context.compress2(frame, content).map_err(failed)?;
    Ok(())
}

/// Has the context compress so, whatever it did before.
fn set(context: &mut CCtx<'_>, settings: FrameSettings) -> Result<(), LayerError> {
    context.reset(ResetDirective::SessionAndParameters).map_err(failed)?;
    for parameter in [
        CParameter::CompressionLevel(settings.level),
        CParameter::ChecksumFlag(true),
        CParameter::ContentSizeFlag(true),
        CParameter::DictIdFlag(false),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    Ok(())
}

fn failed(code: usize) -> LayerError {
    LayerError::Compression(get_error_name(code))
}

#[cfg(test)]
mod tests {
    use kic_base::Epoch;

    use super::super::settings::Settings;
    use super::*;

    #[test]
    fn a_frame_says_its_size_and_has_a_checksum_and_no_dictionary() {
        let settings = Settings::of(Epoch::CURRENT).frames;
        for length in [1, 1024, 600_000, 4 << 20] {
            let mut frame = b"left".to_vec();
            compress(settings, &vec![7; length], &mut frame).unwrap();
            let size = zstd::zstd_safe::get_frame_content_size(&frame).unwrap();
            assert_eq!(size, Some(length as u64));
            assert_eq!(frame[4] & 0b111, 0b100, "checksum flag on, no dictionary id");
        }
    }

    /// Contents of every size that matters to zstd's tables: words of a small and of a large vocabulary, with repeats and without.
    fn contents() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let sizes = [1, 100, 5_000, 16 << 10, 17_000, 128 << 10, 200_000, 256 << 10, 700_000, 4 << 20];
        std::iter::repeat_with(move || {
            let size = sizes[next() as usize % sizes.len()] + next() as usize % 64;
            let vocabulary = 1 << (next() % 20);
            let mut bytes = Vec::with_capacity(size + 8);
            while bytes.len() < size {
                let word = (next() % vocabulary).wrapping_mul(0x2545_f491_4f6c_dd1d);
                bytes.extend_from_slice(&word.to_le_bytes()[..1 + next() as usize % 8]);
            }
            bytes.truncate(size);
            bytes
        })
    }

    #[test]
    fn what_a_context_packed_before_does_not_reach_a_frame() {
        let settings = Settings::of(Epoch::CURRENT).frames;
        let mut used = CCtx::create();
        let (mut fresh_frame, mut used_frame) = (Vec::new(), Vec::new());
        for content in contents().take(200) {
            compress_with(&mut CCtx::create(), settings, &content, &mut fresh_frame).unwrap();
            compress_with(&mut used, settings, &content, &mut used_frame).unwrap();
            assert!(fresh_frame == used_frame, "{} bytes", content.len());
            make_ready(settings, 300_000);
            compress(settings, &content, &mut used_frame).unwrap();
            assert!(fresh_frame == used_frame, "{} bytes", content.len());
        }
    }
}
