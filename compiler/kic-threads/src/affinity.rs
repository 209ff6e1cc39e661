//! On which processors a thread is to run.

#[cfg(target_os = "linux")]
pub use linux::Affinity;
#[cfg(not(target_os = "linux"))]
pub use others::Affinity;

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    /// The processors of whoever makes it, without one: for a thread. Where one of these calls does not work, that runs where it is put.
    pub struct Affinity {
        /// `None` where there is but one.
        allowed: Option<CpuSet>,
        thread: OnceLock<Pid>,
        avoided: AtomicUsize,
    }

    impl Affinity {
        /// Without the caller's processor.
        pub fn of_caller() -> Self {
            let allowed = sched_getaffinity(None).ok().filter(|processors| processors.count() > 1);
            Self { allowed, thread: OnceLock::new(), avoided: AtomicUsize::new(sched_getcpu()) }
        }

        /// In the thread itself, first of all.
        pub fn begin(&self) {
            let own = *self.thread.get_or_init(gettid);
            self.avoid(own, self.avoided.load(Ordering::Relaxed));
        }

        /// Instead of the one before, the thread is to keep off the caller's processor.
        pub fn keep_off(&self) {
            let here = sched_getcpu();
            if let Some(own) = self.thread.get()
                && self.avoided.swap(here, Ordering::Relaxed) != here
            {
                self.avoid(*own, here);
            }
        }

        /// In the thread itself, first of all: it goes off the one processor, and then wherever the system finds better.
        pub fn pass(&self) {
            self.begin();
            if let Some(processors) = &self.allowed {
                let _ = sched_setaffinity(None, processors);
            }
        }

        fn avoid(&self, own: Pid, processor: usize) {
            if let Some(mut processors) = self.allowed {
                processors.unset(processor);
                let _ = sched_setaffinity(Some(own), &processors);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod others {
    /// Other systems put a thread where there is room, and do not let it choose.
    pub struct Affinity;

    impl Affinity {
        pub fn of_caller() -> Self {
            Self
        }

        pub fn begin(&self) {}

        pub fn keep_off(&self) {}

        pub fn pass(&self) {}
    }
}
