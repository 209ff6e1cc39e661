use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

/// The threads on which is fetched. Those of a runtime that has several are its own; beside one that has not, they begin when something
/// is fetched, for a compile in which little changed takes hardly longer than to begin and end them.
#[derive(Debug)]
pub struct Workers {
    threads: usize,
    runtime: Mutex<Option<Runtime>>,
}

impl Workers {
    /// So many threads, none of which has begun.
    pub fn new(threads: usize) -> Self {
        Self { threads, runtime: Mutex::default() }
    }

    /// Where to have work done: where there are no threads to be had, the runtime that asks.
    pub(crate) fn handle(&self) -> Handle {
        let own = Handle::current();
        if own.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return own;
        }
        let mut runtime = self.lock();
        if runtime.is_none() {
            *runtime = Builder::new_multi_thread().worker_threads(self.threads).enable_all().build().ok();
        }
        runtime.as_ref().map_or(own, |runtime| runtime.handle().clone())
    }

    /// Ends them, at once or after so long at the latest. Whoever began work has to do so, outside of it.
    pub fn end(&self, wait: Option<Duration>) {
        let runtime = self.lock().take();
        match (runtime, wait) {
            (Some(runtime), Some(wait)) => runtime.shutdown_timeout(wait),
            (Some(runtime), None) => runtime.shutdown_background(),
            (None, _) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_begin_when_they_are_needed_and_end_once() {
        let workers = Workers::new(2);
        workers.end(None);
        assert!(workers.lock().is_none());
        let there = workers.handle().spawn(async { std::thread::current().id() });
        assert_ne!(there.await.unwrap(), std::thread::current().id());
        assert_eq!(workers.handle().id(), workers.handle().id());
        workers.end(None);
        assert!(workers.lock().is_none());
        workers.end(None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_runtime_with_threads_needs_no_others() {
        let workers = Workers::new(2);
        assert_eq!(workers.handle().id(), Handle::current().id());
        assert!(workers.lock().is_none());
    }
}
