//! Frames that are used again give the bytes of a layer that is packed anew, in every epoch.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use kic_base::{Digest, Epoch};

use super::{Compression, FramePlan, KnownFrames, LayerDigests, LayerError, LayerWriter, PackedFrame};

/// Frames by key, and how many were asked for and found.
#[derive(Default)]
struct Kept(Mutex<(Frames, usize)>);

type Frames = BTreeMap<Digest, (Vec<u8>, PackedFrame)>;

impl KnownFrames for Kept {
    fn known(&self, key: &Digest) -> Option<PackedFrame> {
        Some(self.0.lock().unwrap().0.get(key)?.1)
    }

    fn read(&self, key: &Digest, bytes: &mut Vec<u8>) -> Option<()> {
        let mut kept = self.0.lock().unwrap();
        let found = kept.0.get(key)?.0.clone();
        kept.1 += 1;
        *bytes = found;
        Some(())
    }
}

/// Frames of which the bytes of one are there no more, or damaged.
struct Bad(Arc<Kept>, Digest, bool);

impl KnownFrames for Bad {
    fn known(&self, key: &Digest) -> Option<PackedFrame> {
        self.0.known(key)
    }

    fn read(&self, key: &Digest, bytes: &mut Vec<u8>) -> Option<()> {
        self.0.read(key, bytes)?;
        if *key == self.1 {
            bytes.iter_mut().rev().take(1).for_each(|last| *last ^= 1);
        }
        (*key != self.1 || self.2).then_some(())
    }
}

#[test]
fn frames_that_were_packed_before_are_taken_and_the_bytes_are_those_of_a_layer_packed_anew() {
    /// Gives a few bytes at a time: how a body is read must not matter to keys.
    struct Slow<'a>(&'a [u8], usize);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }
    let body = |number: usize, version: u8| -> Vec<u8> {
        let pattern: Vec<u8> = (0..1_000).map(|place| (place * number % 251) as u8 ^ version).collect();
        pattern.repeat(300 + number % 3)
    };
    let begin =
        |epoch, threads| LayerWriter::with_threads(Vec::new(), epoch, Compression::Zstd, 0, threads).unwrap();
    let pack = |epoch, changed: Option<usize>, kept: Option<&Arc<Kept>>, threads: usize, step: usize| {
        let mut layer = begin(epoch, threads);
        if let Some(kept) = kept {
            layer.reuse(kept.clone());
        }
        for number in 0..60 {
            let bytes = body(number, u8::from(changed == Some(number)));
            let (path, size) = (format!("{number:02}"), bytes.len() as u64);
            layer.known_file(&path, 0o644, size, &Digest::of(&bytes), &mut Slow(&bytes, step)).unwrap();
        }
        layer.finish_with_frames().unwrap()
    };
    let keep = |(bytes, _, frames): &(Vec<u8>, LayerDigests, Vec<PackedFrame>)| {
        let mut kept = BTreeMap::new();
        for frame in frames {
            let from = usize::try_from(frame.offset).unwrap();
            let part = &bytes[from..from + usize::try_from(frame.size).unwrap()];
            assert_eq!(Digest::of(part), frame.digest);
            assert_eq!(Digest::of(&bytes[..from + part.len()]), frame.so_far);
            kept.insert(frame.key, (part.to_vec(), *frame));
        }
        Arc::new(Kept(Mutex::new((kept, 0))))
    };
    let nothing = Arc::new(Kept::default());
    // Of each epoch how many frames there are, and of the layers in which a file changed how many of them are others, and how many
    // files are wholly before those.
    let epochs = [
        (1, 5, [(None, 0, 55), (Some(0), 1, 0), (Some(30), 1, 27), (Some(59), 1, 55)]),
        (2, 42, [(None, 0, 59), (Some(0), 3, 0), (Some(30), 1, 27), (Some(59), 2, 55)]),
    ];
    for (epoch, count, changes) in epochs {
        let epoch = Epoch::from_number(epoch).unwrap();
        let first = pack(epoch, None, Some(&nothing), 1, usize::MAX);
        assert_eq!(first.2.len(), count);
        assert_eq!(first.1, pack(epoch, None, None, 1, 77_777).1);
        for (changed, others, _) in changes {
            let anew = pack(epoch, changed, None, 1, usize::MAX);
            for (threads, step) in [(1, usize::MAX), (1, 1_000), (3, 70_000)] {
                let kept = keep(&first);
                let again = pack(epoch, changed, Some(&kept), threads, step);
                assert_eq!((&again.0, again.1), (&anew.0, anew.1), "{changed:?}");
                assert_eq!(kept.0.lock().unwrap().1, count - others, "{epoch:?} {changed:?}");
                assert_eq!(again.2.len(), count);
            }
        }
        // Nothing is read of the frames at the beginning that are known, and nothing packed of those further on.
        for (changed, packed, files) in changes {
            let anew = pack(epoch, changed, None, 1, usize::MAX);
            for threads in [1, 3] {
                let again = |known: Arc<dyn KnownFrames>| {
                    let mut plan = FramePlan::new(known.clone(), epoch, 0);
                    let facts = |number: usize| {
                        let bytes = body(number, u8::from(changed == Some(number)));
                        (format!("{number:02}"), Digest::of(&bytes), bytes)
                    };
                    for number in 0..60 {
                        let (path, digest, bytes) = facts(number);
                        plan.file(&path, 0o644, bytes.len() as u64, &digest).unwrap();
                    }
                    assert_eq!(plan.entries(), files, "{epoch:?} {changed:?}");
                    assert!(plan.knows_any());
                    let mut layer = begin(epoch, threads);
                    layer.reuse(known.clone());
                    layer.follow(plan);
                    for number in 0..60 {
                        let (path, digest, bytes) = facts(number);
                        let size = bytes.len() as u64;
                        if number < files {
                            layer.unread_file(&path, 0o644, size)?;
                        } else {
                            layer.known_file(&path, 0o644, size, &digest, &mut &bytes[..])?;
                        }
                    }
                    layer.finish_with_frames()
                };
                let kept = keep(&first);
                let taken = again(kept.clone()).unwrap();
                assert_eq!((&taken.0, taken.1), (&anew.0, anew.1), "{changed:?}");
                assert_eq!(kept.0.lock().unwrap().1, count - packed, "{changed:?}");
                assert_eq!(taken.2, pack(epoch, changed, Some(&nothing), 1, usize::MAX).2);
                // One that is gone or damaged is an error, and never other bytes.
                let keys: Vec<Digest> = kept.0.lock().unwrap().0.keys().copied().collect();
                for key in keys {
                    let is_taken = taken.2.iter().any(|frame| frame.key == key);
                    for is_damaged in [false, true] {
                        let bad = again(Arc::new(Bad(kept.clone(), key, is_damaged)));
                        assert_eq!(matches!(bad, Err(LayerError::KnownFrame)), is_taken, "{changed:?}");
                    }
                }
                // Frames that another layer begins with are no beginning of this one.
                let moved = || {
                    let frames = kept.0.lock().unwrap().0.clone();
                    let other = |(key, (bytes, frame)): (Digest, (Vec<u8>, PackedFrame))| {
                        (key, (bytes, PackedFrame { states: [[7; 8]; 2], ..frame }))
                    };
                    Arc::new(Kept(Mutex::new((frames.into_iter().map(other).collect(), 0))))
                };
                let mut plan = FramePlan::new(moved(), epoch, 0);
                let bytes = body(0, 0);
                plan.file("00", 0o644, bytes.len() as u64, &Digest::of(&bytes)).unwrap();
                // In the first epoch that is no full frame yet.
                assert_eq!((plan.entries(), plan.knows_any()), (0, epoch != Epoch::FIRST));
            }
        }
    }
    // Without the digest of a body, its frames have no key.
    let mut layer = LayerWriter::new(Vec::new(), Epoch::CURRENT, Compression::Zstd, 0).unwrap();
    layer.reuse(nothing);
    let size = 9 << 20;
    layer.file("a", 0o644, size, &mut std::io::repeat(1).take(size)).unwrap();
    assert!(layer.finish_with_frames().unwrap().2.is_empty());
}
