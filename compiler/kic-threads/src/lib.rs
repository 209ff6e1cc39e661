//! Threads that are at work at once, beside the one that begins them.
//!
//! Some systems use as few processors as they can, as those of virtual machines do. There, a new thread waits behind the one that begins
//! it, on the same processor, until the clock ticks, and so does one that is woken: for up to some milliseconds, which may be longer than
//! all that it has to do. So threads choose their processors here, where systems let them.

mod affinity;
mod elsewhere;
mod spawn;
mod together;

pub use elsewhere::Elsewhere;
pub use spawn::spawn;
pub use together::together;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// So long threads are waited for that begin; it mostly takes a tenth of a millisecond.
const WAIT: Duration = Duration::from_micros(300);

/// Waits for so many threads to begin, or for [`WAIT`]. The caller does not sleep: it would be woken on a processor of theirs.
fn wait_for(count: usize, begun: &AtomicUsize) {
    let spawned = Instant::now();
    while begun.load(Ordering::Acquire) < count && spawned.elapsed() < WAIT {
        thread::yield_now();
    }
}
