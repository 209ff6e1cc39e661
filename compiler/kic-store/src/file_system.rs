use std::fs;
use std::io;
use std::path::Path;

use rustix::fs::StatFs;

/// ext2, ext3 and ext4.
pub const EXT: u32 = 0xef53;

/// tmpfs.
pub const TMPFS: u32 = 0x0102_1994;

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(target_os = "linux")]
#[allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    clippy::unnecessary_wraps,
    reason = "the type of this field differs between processors, and the numbers have 32 bits; other systems have none"
)]
pub fn file_system_kind(status: &StatFs) -> Option<u32> {
    Some(status.f_type as u32)
}

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(not(target_os = "linux"))]
pub fn file_system_kind(_: &StatFs) -> Option<u32> {
    None
}

/// Gives the file at `from` the name `to` in one step, as [`fs::rename`] does. Gives whether the file that had that name stands at `from`
/// now, still to be removed: a rename over a file waits until the disk has its bytes back, which takes longer than all the rest.
///
/// # Errors
/// Those of a rename.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<bool> {
    // Not every system can, nor every file system; and where there is nothing yet, there is nothing to exchange.
    #[cfg(target_os = "linux")]
    if rustix::fs::renameat_with(
        rustix::fs::CWD,
        from,
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .is_ok()
    {
        return Ok(true);
    }
    fs::rename(from, to).map(|()| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_another_which_is_removed_later_or_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        assert!(!replace(&from, &to).unwrap());
        assert!(!from.exists());
        fs::write(&from, "newer").unwrap();
        if replace(&from, &to).unwrap() {
            assert_eq!(fs::read(&from).unwrap(), b"new");
        } else {
            assert!(!from.exists());
        }
        assert_eq!(fs::read(&to).unwrap(), b"newer");
        fs::remove_file(&to).unwrap();
        let _ = fs::remove_file(&from);
        assert_eq!(replace(&from, &to).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
