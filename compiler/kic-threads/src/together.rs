use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::affinity::Affinity;
use crate::wait_for;

/// Does the same on so many threads, of which the caller's is one, and gives what comes of it, in no particular order. Where no thread
/// is to be had, there are fewer.
///
/// # Panics
/// Where `work` does.
pub fn together<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    if threads <= 1 {
        return vec![work()];
    }
    let begun = AtomicUsize::new(0);
    thread::scope(|scope| {
        let other = || {
            let affinity = Affinity::of_caller();
            let (begun, work) = (&begun, &work);
            thread::Builder::new().spawn_scoped(scope, move || {
                affinity.pass();
                begun.fetch_add(1, Ordering::Release);
                work()
            })
        };
        let others: Vec<_> = (1..threads).map_while(|_| other().ok()).collect();
        wait_for(others.len(), &begun);
        let mut all = vec![work()];
        all.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic))));
        all
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn so_many_threads_do_it_at_one_time() {
        for threads in [1, 2, 5] {
            let barrier = Barrier::new(threads);
            let all = together(threads, || {
                barrier.wait();
                thread::current().id()
            });
            assert!(all.contains(&thread::current().id()));
            assert_eq!(all.len(), threads);
            assert!(all.iter().enumerate().all(|(place, one)| !all[..place].contains(one)));
        }
        assert_eq!(together(0, || 7), [7]);
    }

    #[test]
    fn what_comes_of_each_is_there() {
        let next = AtomicUsize::new(0);
        let parts = together(3, || {
            let mut own = Vec::new();
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    number if number < 1000 => own.push(number),
                    _ => return own,
                }
            }
        });
        let all: BTreeSet<usize> = parts.into_iter().flatten().collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    #[should_panic(expected = "a bug in one")]
    fn a_panic_of_any_is_passed_on() {
        let first = AtomicUsize::new(0);
        let barrier = Barrier::new(2);
        together(2, || {
            barrier.wait();
            assert!(first.fetch_add(1, Ordering::Relaxed) > 0, "a bug in one");
        });
    }
}
