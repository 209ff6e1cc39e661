//! How much memory the layers take that are being packed.
//!
//! A layer takes what its threads need, whatever its size; and all layers together take no more than [`ROOM`], whatever the number
//! of jobs: one waits until there is room, or makes do with fewer threads. None of this changes a byte.

use kic_graph::LayerSettings;
use kic_spec::Compression;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The room for all layers of the process, in MiB.
const ROOM: u32 = 76;

/// More threads than these do not make a layer any faster.
const MOST_THREADS: usize = 4;

/// A frame's content, and the most that it is compressed to, in epoch 1, whose frames are the largest; what a compressor needs beside
/// them, with what the allocator keeps of it from one frame to the next.
const FRAME: usize = 4;
const COMPRESSOR: usize = 8;

static FREE: Semaphore = Semaphore::const_new(ROOM as usize);

/// A layer's part of the room, until it is dropped.
pub(super) struct Room {
    /// How many threads compress the layer.
    pub threads: usize,
    _taken: Option<SemaphorePermit<'static>>,
}

impl Room {
    /// Room for one thread, where there is some now.
    pub fn try_take(bytes: u64, ahead: u64) -> Option<Self> {
        let taken = FREE.try_acquire_many(cost(1, bytes, ahead)).ok()?;
        Some(Self { threads: 1, _taken: Some(taken) })
    }

    /// Waits until there is room for a layer of so many bytes, of which `ahead` are read before they are needed, and takes as
    /// many threads as there is room for, up to `jobs`.
    pub async fn take(settings: LayerSettings, bytes: u64, ahead: u64, jobs: usize) -> Self {
        let most = if settings.compression == Compression::Zstd { jobs.clamp(1, MOST_THREADS) } else { 1 };
        for threads in (1..=most).rev() {
            if let Ok(taken) = FREE.try_acquire_many(cost(threads, bytes, ahead)) {
                return Self { threads, _taken: Some(taken) };
            }
        }
        // It is never closed.
        let taken = FREE.acquire_many(cost(1, bytes, ahead)).await.ok();
        Self { threads: 1, _taken: taken }
    }
}

/// What a layer takes at most, in MiB.
fn cost(threads: usize, bytes: u64, ahead: u64) -> u32 {
    // One frame is filled, and one more than there are threads is under way. One thread does it all by itself.
    let frames = if threads == 1 { 2 * FRAME } else { FRAME * (threads + 2) + FRAME * (threads + 1) };
    let whole = frames + COMPRESSOR * threads;
    // A small layer is a frame of its size.
    let mebibytes = usize::try_from(bytes >> 20).unwrap_or(usize::MAX);
    let own = whole.min(mebibytes.saturating_mul(3).saturating_add(1));
    let ahead = usize::try_from(ahead >> 20).unwrap_or(usize::MAX);
    u32::try_from(own.saturating_add(ahead)).unwrap_or(ROOM).min(ROOM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 1 << 40;

    #[test]
    fn one_layer_has_all_threads_and_several_share_the_room() {
        assert!(cost(MOST_THREADS, LARGE, 0) <= ROOM);
        // One less for a layer of many small files.
        assert!(cost(MOST_THREADS - 1, LARGE, 12 << 20) <= ROOM);
        // Two layers at a time, as on a machine of two cores.
        assert!(cost(2, LARGE, 0) + cost(1, LARGE, 12 << 20) <= ROOM);
        assert_eq!(cost(4, 100, 0), 1);
        assert_eq!(cost(4, u64::MAX, u64::MAX), ROOM);
    }
}
