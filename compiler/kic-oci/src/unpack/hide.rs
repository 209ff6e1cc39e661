use std::os::fd::{AsFd, BorrowedFd};

use kic_base::Digest;
use rustix::fs::{self, AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::tree::{child_key, modified, open_folder, times};

/// Removes a file, or a folder and all that is in it. Nothing of that name is fine.
pub(super) fn remove(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // What Linux and POSIX say of a folder.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let (inner, _) = open_folder(folder, name)?;
    remove_content(inner.as_fd())?;
    fs::unlinkat(folder, name, AtFlags::REMOVEDIR)
}

/// Removes all that is in a folder.
pub(super) fn remove_content(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    for_each(folder, |name, _| remove(folder, name).map(|()| true))
}

/// Removes from a folder what the layer at work did not put there: what `is_new` does not say yes to, by key.
pub(super) fn remove_lower(
    folder: BorrowedFd<'_>,
    key: &Digest,
    is_new: &dyn Fn(&Digest) -> bool,
) -> Result<(), Errno> {
    let before = modified(folder)?;
    for_each(folder, |name, kind| {
        let child = child_key(key, name);
        if !is_new(&child) {
            return remove(folder, name).map(|()| true);
        }
        if kind == FileType::Directory {
            let (inner, restricted) = open_folder(folder, name)?;
            remove_lower(inner.as_fd(), &child, is_new)?;
            if let Some(mode) = restricted {
                fs::fchmod(&inner, mode)?;
            }
        }
        Ok(false)
    })?;
    fs::futimens(folder, &times(before))
}

/// Calls `visit` for each name, until a whole pass has removed nothing: a folder that changes while it is read may
/// skip names. `visit` says whether it removed.
fn for_each(
    folder: BorrowedFd<'_>,
    mut visit: impl FnMut(&[u8], FileType) -> Result<bool, Errno>,
) -> Result<(), Errno> {
    loop {
        let mut removed = false;
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    FileType::from_raw_mode(fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode)
                }
                kind => kind,
            };
            removed |= visit(name, kind)?;
        }
        if !removed {
            return Ok(());
        }
    }
}
