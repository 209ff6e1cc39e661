use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::affinity::Affinity;
use crate::wait_for;

/// Begins a thread of that name, which is at work at once.
///
/// # Errors
/// Those of the system.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    begin(name, Affinity::pass, work).map(|(handle, _)| handle)
}

/// Begins a thread, which does `first` with its affinity, and gives that, too.
pub(crate) fn begin(
    name: &str,
    first: fn(&Affinity),
    work: impl FnOnce() + Send + 'static,
) -> io::Result<(JoinHandle<()>, Arc<Affinity>)> {
    let affinity = Arc::new(Affinity::of_caller());
    let begun = Arc::new(AtomicUsize::new(0));
    let (own, begins) = (Arc::clone(&affinity), Arc::clone(&begun));
    let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
        first(&own);
        begins.store(1, Ordering::Release);
        work();
    })?;
    wait_for(1, &begun);
    Ok((handle, affinity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_its_name_and_does_its_work() {
        let named = spawn("named", || assert_eq!(thread::current().name(), Some("named")));
        assert!(named.unwrap().join().is_ok());
    }
}
