use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::Stat;
#[cfg(target_os = "linux")]
use rustix::time::ClockId;

#[cfg(target_os = "linux")]
use crate::file_system::is_on_local_disk;

/// When this machine started, for a file system on a disk of its own. What was written there since then reads back as it was written,
/// whether the disk has it already or not: a machine that loses what was in its memory starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// As a time since 1970.
    started: Duration,
    now: Duration,
}

impl Boot {
    /// That which counts for the file system of `file`; `None` where bytes that are to last have to be synced: on network file systems,
    /// on those that disks to carry around mostly have, and on other systems than Linux.
    #[cfg(target_os = "linux")]
    pub fn of(file: impl AsFd) -> Option<Self> {
        if !is_on_local_disk(file) {
            return None;
        }
        let clock = |clock| Duration::try_from(rustix::time::clock_gettime(clock)).ok();
        let now = clock(ClockId::Realtime)?;
        // The time asleep belongs to it.
        let running = clock(ClockId::Boottime)?;
        Some(Self { started: now.checked_sub(running)?, now })
    }

    /// `None`: bytes that are to last have to be synced.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_: impl AsFd) -> Option<Self> {
        None
    }

    /// Whether the bytes of a file were written since then. A time that is still to come says nothing.
    pub fn is_before(&self, status: &Stat) -> bool {
        let (seconds, nanoseconds) = (u64::try_from(status.st_mtime), u32::try_from(status.st_mtime_nsec));
        let (Ok(seconds), Ok(nanoseconds)) = (seconds, nanoseconds) else { return false };
        (self.started..=self.now).contains(&Duration::new(seconds, nanoseconds))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_file_is_of_this_boot_by_the_time_of_its_bytes_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::create(folder.path().join("a")).unwrap();
        let Some(boot) = Boot::of(&file) else {
            eprintln!("SKIPPED: no local file system at {}", folder.path().display());
            return;
        };
        let at = |time: Duration| {
            file.set_modified(UNIX_EPOCH + time).unwrap();
            boot.is_before(&rustix::fs::fstat(&file).unwrap())
        };
        assert!(at(boot.started) && at(boot.now));
        let second = Duration::from_secs(1);
        assert!(!at(boot.started - second) && !at(boot.now + second));
        file.set_modified(UNIX_EPOCH - second).unwrap();
        assert!(!boot.is_before(&rustix::fs::fstat(&file).unwrap()));
    }

    #[test]
    fn what_is_no_local_disk_has_none() {
        if let Ok(file) = File::open("/proc/self") {
            assert_eq!(Boot::of(file), None);
        }
    }
}
