use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::StatFs;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};

/// ext2, ext3 and ext4.
pub(crate) const EXT: u32 = 0xef53;

/// tmpfs.
pub(crate) const TMPFS: u32 = 0x0102_1994;

/// overlayfs.
const OVERLAY: u32 = 0x794c_7630;

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(target_os = "linux")]
#[allow(
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::unnecessary_cast,
    clippy::unnecessary_wraps,
    reason = "the type of this field differs between processors, and the numbers have 32 bits; other systems have none"
)]
pub(crate) fn file_system_kind(status: &StatFs) -> Option<u32> {
    Some(status.f_type as u32)
}

/// The number by which Linux knows the kind of a file system; `None` on other systems.
#[cfg(not(target_os = "linux"))]
pub(crate) fn file_system_kind(_: &StatFs) -> Option<u32> {
    None
}

/// Whether a file system is on a disk of this machine, takes its times from this machine's clock, and never leaves one unchanged after a
/// write. Network file systems have the clock of another machine, and tell of changes late.
///
/// Not those file systems that are made as a whole, as SquashFS is: a second one, mounted in the place of the first, may have
/// the same times. Elsewhere than on Linux no file system is known.
pub fn is_local(status: &StatFs) -> bool {
    /// bcachefs, btrfs, ext2 to ext4, F2FS, JFS, overlayfs, ramfs, tmpfs, XFS, ZFS.
    const LOCAL: [u32; 10] = [
        0xca45_1a4e,
        0x9123_683e,
        EXT,
        0xf2f5_2010,
        0x3153_464a,
        OVERLAY,
        0x8584_58f6,
        TMPFS,
        0x5846_5342,
        0x2fc1_2fc1,
    ];
    file_system_kind(status).is_some_and(|kind| LOCAL.contains(&kind))
}

/// Whether the file system that holds this file [is local](is_local).
pub fn is_on_local_disk(file: impl AsFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|status| is_local(&status))
}

/// Whether the file system that holds this folder [is local](is_local), and shows in it nothing but what it holds itself: overlayfs shows what
/// other folders hold, whose changes its own folders do not tell.
pub fn is_on_own_disk(folder: impl AsFd) -> bool {
    rustix::fs::fstatfs(folder)
        .is_ok_and(|status| is_local(&status) && file_system_kind(&status) != Some(OVERLAY))
}

/// Whether an open file is the one that stands at `path` now, and no link to it.
pub fn is_at(file: &File, path: &Path) -> bool {
    let (found, own) = (fs::symlink_metadata(path), file.metadata());
    found.is_ok_and(|found| own.is_ok_and(|own| (found.dev(), found.ino()) == (own.dev(), own.ino())))
}

/// Gives the file at `from` the name `to` in one step, as [`fs::rename`] does. Gives whether the file that had that name stands at `from`
/// now: a rename over a file waits until the disk has its bytes back, and ext4 then gives it those of the new one at once, which takes
/// longer than all the rest.
///
/// # Errors
/// Those of a rename.
pub fn exchange_or_rename(from: &Path, to: &Path) -> io::Result<bool> {
    // Not every system can, nor every file system; and where there is nothing yet, there is nothing to exchange.
    #[cfg(target_os = "linux")]
    if rename_with(from, to, RenameFlags::EXCHANGE).is_ok() {
        return Ok(true);
    }
    fs::rename(from, to).map(|()| false)
}

/// Gives the file at `from` the name `to` where nothing has that.
///
/// # Errors
/// Where something has it, and on systems that cannot tell in the same step.
pub(crate) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return rename_with(from, to, RenameFlags::NOREPLACE);
    #[cfg(not(target_os = "linux"))]
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("{} stays beside {}", from.display(), to.display()),
    ))
}

#[cfg(target_os = "linux")]
fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_another_and_a_free_name_alone_where_that_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to, free] = ["from", "to", "free"].map(|name| folder.path().join(name));
        fs::write(&from, "new").unwrap();
        assert!(!exchange_or_rename(&from, &to).unwrap());
        assert!(!from.exists());
        fs::write(&from, "newer").unwrap();
        if exchange_or_rename(&from, &to).unwrap() {
            assert_eq!(fs::read(&from).unwrap(), b"new");
            rename_to_free(&from, &free).unwrap();
            assert!(rename_to_free(&to, &free).is_err());
            assert_eq!(fs::read(&free).unwrap(), b"new");
        }
        assert!(!from.exists());
        assert_eq!(fs::read(&to).unwrap(), b"newer");
        assert_eq!(exchange_or_rename(&from, &to).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
