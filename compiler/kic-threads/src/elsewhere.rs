use std::io;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};

use crate::affinity::Affinity;
use crate::spawn;

/// A thread that keeps off the processor of whoever gives it work.
pub struct Elsewhere {
    handle: JoinHandle<()>,
    affinity: Arc<Affinity>,
}

impl Elsewhere {
    /// Begins it, under that name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn begin(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        spawn::begin(name, Affinity::begin, work).map(|(handle, affinity)| Self { handle, affinity })
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
        let elsewhere = Elsewhere::begin("elsewhere", move || {
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
        assert_ne!(elsewhere.id(), std::thread::current().id());
        assert!(sched_getaffinity(None).unwrap() == all, "whoever gives it work may run everywhere");
        drop(ask);
        elsewhere.join();
    }
}
