use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, ThreadId};

use crate::affinity::Affinity;
use crate::wait_for;

/// A thread that keeps off the processor of whoever gives it work.
pub struct Elsewhere {
    handle: JoinHandle<()>,
    affinity: Arc<Affinity>,
}

impl Elsewhere {
    /// Begins it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn begin(work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let affinity = Arc::new(Affinity::of_caller());
        let begun = Arc::new(AtomicUsize::new(0));
        let (own, begins) = (Arc::clone(&affinity), Arc::clone(&begun));
        let handle = thread::Builder::new().spawn(move || {
            own.begin();
            begins.store(1, Ordering::Release);
            work();
        })?;
        wait_for(1, &begun);
        Ok(Self { handle, affinity })
    }

    /// Keeps it off the caller's processor: before it is given work.
    pub fn keep_off(&self) {
        self.affinity.keep_off();
    }

    /// By what it is known.
    pub fn id(&self) -> ThreadId {
        self.handle.thread().id()
    }

    /// Waits for its end; a panic there was told already.
    pub fn join(self) {
        let _ = self.handle.join();
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;

    use rustix::thread::{sched_getaffinity, sched_getcpu};

    use super::*;

    #[test]
    fn it_keeps_off_one_processor_and_off_another_one_once_work_comes_from_there() {
        let all = sched_getaffinity(None).unwrap();
        let ((ask, asked), (tell, told)) = (channel::<()>(), channel());
        let elsewhere = Elsewhere::begin(move || {
            for () in asked {
                tell.send(sched_getaffinity(None).unwrap()).unwrap();
            }
        })
        .unwrap();
        for _ in 0..50 {
            let here = sched_getcpu();
            elsewhere.keep_off();
            if sched_getcpu() != here {
                continue;
            }
            ask.send(()).unwrap();
            let own = told.recv().unwrap();
            let less = if all.count() > 1 { 1 } else { 0 };
            assert_eq!(own.count(), all.count() - less);
            assert_eq!(own.is_set(here), less == 0);
        }
        assert_ne!(elsewhere.id(), thread::current().id());
        assert!(sched_getaffinity(None).unwrap() == all, "whoever gives it work may run everywhere");
        drop(ask);
        elsewhere.join();
    }
}
