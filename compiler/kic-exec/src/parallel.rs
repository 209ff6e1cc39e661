use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kic_threads::together;

use crate::context::Context;

/// So many items are worth a thread of their own.
const WORTH_A_THREAD: usize = 16;

/// Does the same with every item, on as many threads as there are jobs; `state` makes what a thread works with.
/// Results are in the order of the items; `None` for those that were not come to before the work was to stop.
pub(crate) fn parallel<T: Sync, S, R: Send>(
    items: &[T],
    context: &Context,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<Option<R>> {
    if items.is_empty() {
        return Vec::new();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let threads = context.jobs.clamp(1, 16).min(items.len().div_ceil(WORTH_A_THREAD));
    let worker = || {
        let mut state = state();
        while let Some((index, item)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            if context.cancel.is_cancelled() {
                break;
            }
            let result = work(&mut state, item);
            if let Ok(mut place) = results[index].lock() {
                *place = Some(result);
            }
        }
    };
    together(threads, worker);
    results.into_iter().map(|place| place.into_inner().ok().flatten()).collect()
}
