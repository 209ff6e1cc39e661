//! What tells a file from another one, and from itself after a change.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use kic_base::StableHasher;
use kic_store::is_local;
use rustix::fs::Stat;
use rustix::time::ClockId;
use serde::{Deserialize, Serialize};

use super::bytes::{moment_at, put_moment};

/// What the file system says of a file that another file, or the same one after a change, does not share: whoever
/// writes to a file, or to its name, cannot help changing the time `changed`, which no program can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// When its bytes changed last, in seconds and nanoseconds. Programs can set it.
    pub(super) modified: Moment,
    /// When anything of it changed last.
    pub(super) changed: Moment,
}

/// Seconds since 1970 and nanoseconds.
pub(super) type Moment = (i64, u32);

/// The bytes of a fingerprint: three numbers, two moments.
pub(super) const FINGERPRINT: usize = 3 * 8 + 2 * 12;

/// A change that comes within this time after another one may bear the same time: the clock of file systems goes in steps
/// of up to 10 ms, and twice as much is waited.
const STEP: u32 = 20_000_000;

impl Fingerprint {
    /// One that no file has: there is no inode 0.
    pub(super) const OF_NONE: Self = Self { device: 0, inode: 0, size: 0, modified: (0, 0), changed: (0, 0) };

    #[allow(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        clippy::unnecessary_cast,
        reason = "the types of these fields differ between systems; each value only has to be told from others"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }

    /// Adds its bytes, all numbers little-endian.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        put_moment(bytes, self.modified);
        put_moment(bytes, self.changed);
    }

    /// From its bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Self {
            device: number(0)?,
            inode: number(8)?,
            size: number(16)?,
            modified: moment_at(bytes, 24)?,
            changed: moment_at(bytes, 36)?,
        })
    }

    /// Adds it to a digest.
    pub fn add_to(&self, hasher: &mut StableHasher) {
        for number in [self.device, self.inode, self.size] {
            hasher.number(number);
        }
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            hasher.number(seconds.cast_unsigned()).number(nanoseconds.into());
        }
    }

    /// That of an open file.
    pub(crate) fn of_file(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::fstat(file)?))
    }

    /// That of the file at `path`, links followed.
    ///
    /// # Errors
    /// Those of the system.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::stat(path)?))
    }

    /// That of the file at `path`, where what is read of the file from now on, until it has another one, is the same.
    pub fn settled_at(path: &Path) -> Option<Self> {
        let now = now();
        let fingerprint = Self::at(path).ok()?;
        (fingerprint.is_settled(now) && is_local(&rustix::fs::statfs(path).ok()?)).then_some(fingerprint)
    }

    /// Whether a change that comes after `now` is sure to give another one: a file that has just changed may change
    /// again within the same step of the clock.
    pub(super) fn is_settled(&self, now: Moment) -> bool {
        let (seconds, nanoseconds) = self.changed;
        // A file system that counts in seconds.
        let (seconds, nanoseconds) = if nanoseconds == 0 {
            (seconds.saturating_add(1), STEP)
        } else {
            let sum = nanoseconds.saturating_add(STEP);
            (seconds.saturating_add(i64::from(sum / 1_000_000_000)), sum % 1_000_000_000)
        };
        (seconds, nanoseconds) <= now
    }
}

/// The clock from which local file systems take their times. It goes in steps, as they do.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are 10^9 nanoseconds at most"
)]
pub(super) fn now() -> Moment {
    #[cfg(target_os = "linux")]
    let clock = ClockId::RealtimeCoarse;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Realtime;
    let time = rustix::time::clock_gettime(clock);
    (time.tv_sec, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(at: Moment) -> Fingerprint {
        Fingerprint { device: 1, inode: 2, size: 3, modified: (0, 0), changed: at }
    }

    #[test]
    fn what_changed_just_now_is_not_settled_in_nanoseconds_and_in_seconds() {
        assert!(!changed((10, 500)).is_settled((10, 500)));
        assert!(!changed((10, 500)).is_settled((10, STEP)));
        assert!(changed((10, 500)).is_settled((10, STEP + 500)));
        assert!(!changed((10, 999_999_999)).is_settled((11, 5)));
        assert!(changed((10, 999_999_999)).is_settled((11, STEP)));
        assert!(!changed((10, 0)).is_settled((10, 999_999_999)));
        assert!(changed((10, 0)).is_settled((11, STEP)));
        // From the future: the clock was set back.
        assert!(!changed((20, 1)).is_settled((10, 0)));
        assert!(!changed((i64::MAX, 0)).is_settled((10, 0)));
    }
}
