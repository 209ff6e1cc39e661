use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kic_base::{Digest, Sha256};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::entry_name::DEPTH_LIMIT;
use super::error::{Failure, Refusal, printable};
use super::followed_links::FollowedLinks;

/// The tree that is being unpacked, with the folders from its root down to the last place of work held open.
///
/// Going from an entry to the next mostly costs nothing, as archives keep neighbours together. A folder that was
/// changed gets its modification time back when it is left.
pub(crate) struct Tree {
    /// Never empty: the first is the root.
    folders: Vec<Folder>,
}

pub(super) struct Folder {
    name: Vec<u8>,
    fd: OwnedFd,
    /// Stands for the path from the root.
    key: Digest,
    modified: Timespec,
    /// The mode to go back to, where the folder's own would not let us work in it.
    restricted: Option<Mode>,
    changed: bool,
}

impl Tree {
    /// The tree whose root is the folder at `path`, which is trusted.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let fd = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        set_metadata(&fd, 0o755, EPOCH)?;
        Ok(Self { folders: vec![Folder::new(Vec::new(), fd, Digest::of(b""), None)?] })
    }

    /// Goes to the folder that `parents` lead to from the root, and makes those that are missing, if `create`.
    /// `None`: there is no such folder, and none was to be made.
    pub(super) fn enter(&mut self, parents: &[&[u8]], create: bool) -> Result<Option<&mut Folder>, Failure> {
        // What is still to go, next last. The names of a symbolic link's target come in place of its own.
        let mut pending: Vec<Vec<u8>> = parents.iter().rev().map(|name| name.to_vec()).collect();
        let mut at: usize = 0;
        let mut links = FollowedLinks::default();
        while let Some(name) = pending.pop() {
            if name == b".." {
                let Some(parent) = at.checked_sub(1) else { return Err(links.leave_root().into()) };
                at = parent;
                continue;
            }
            if self.folders.get(at + 1).is_some_and(|folder| folder.name == name) {
                at += 1;
                continue;
            }
            self.leave_to(at)?;
            match self.find(at, &name)? {
                Found::Folder => {}
                Found::Nothing if create => self.make_folder(at, &name)?,
                Found::Other if create => {
                    return Err(Refusal::ParentNotFolder { parent: self.path(at, &name) }.into());
                }
                Found::Nothing | Found::Other => return Ok(None),
                Found::Link(target) => {
                    pending.extend(links.follow(self.path(at, &name), &target)?.map(<[u8]>::to_vec));
                    continue;
                }
            }
            if at == DEPTH_LIMIT {
                return Err(Refusal::Deep.into());
            }
            self.descend(at, name)?;
            at += 1;
        }
        self.leave_to(at)?;
        Ok(self.folders.get_mut(at))
    }

    /// The keys of the folders from below the root to where [`enter`](Self::enter) went.
    pub(super) fn keys(&self) -> impl Iterator<Item = Digest> {
        self.folders.iter().skip(1).map(|folder| folder.key)
    }

    /// Leaves all folders, so that all of them have their own times and modes.
    pub(super) fn close(&mut self) -> io::Result<()> {
        while let Some(folder) = self.folders.pop() {
            folder.leave()?;
        }
        Ok(())
    }

    /// Removes everything below the root.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        let root = &self.folders[0].fd;
        super::hide::remove_content(root.as_fd())?;
        Ok(())
    }

    fn leave_to(&mut self, at: usize) -> Result<(), Failure> {
        while self.folders.len() > at + 1 {
            if let Some(folder) = self.folders.pop() {
                folder.leave()?;
            }
        }
        Ok(())
    }

    fn find(&self, at: usize, name: &[u8]) -> Result<Found, Failure> {
        let folder = &self.folders[at].fd;
        let kind = match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(Errno::NAMETOOLONG) => return Err(Refusal::LongName.into()),
            Err(error) => return Err(error.into()),
        };
        Ok(match kind {
            FileType::Directory => Found::Folder,
            FileType::Symlink => Found::Link(fs::readlinkat(folder, name, Vec::new())?.into_bytes()),
            _ => Found::Other,
        })
    }

    fn make_folder(&mut self, at: usize, name: &[u8]) -> Result<(), Failure> {
        let folder = &mut self.folders[at];
        folder.changed = true;
        fs::mkdirat(&folder.fd, name, Mode::RWXU)?;
        let (fd, _) = open_folder(folder.fd.as_fd(), name)?;
        set_metadata(&fd, 0o755, EPOCH)?;
        Ok(())
    }

    fn descend(&mut self, at: usize, name: Vec<u8>) -> Result<(), Failure> {
        let parent = &self.folders[at];
        let (fd, restricted) = open_folder(parent.fd.as_fd(), &name)?;
        let key = parent.child_key(&name);
        self.folders.push(Folder::new(name, fd, key, restricted)?);
        Ok(())
    }

    fn path(&self, at: usize, name: &[u8]) -> String {
        let mut path = Vec::new();
        for folder in self.folders[..=at].iter().skip(1) {
            path.extend_from_slice(&folder.name);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        printable(&path)
    }
}

enum Found {
    Nothing,
    Folder,
    Link(Vec<u8>),
    Other,
}

impl Folder {
    fn new(name: Vec<u8>, fd: OwnedFd, key: Digest, restricted: Option<Mode>) -> Result<Self, Errno> {
        let modified = modified(&fd)?;
        Ok(Self { name, fd, key, modified, restricted, changed: false })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The key of what has this name in the folder.
    pub(super) fn child_key(&self, name: &[u8]) -> Digest {
        child_key(&self.key, name)
    }

    pub(super) fn key(&self) -> Digest {
        self.key
    }

    /// Notes that a name in the folder comes or goes, so that its time is put back later.
    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    /// Notes what an entry says about this folder itself.
    pub(super) fn describe(&mut self, modified: Timespec) {
        self.modified = modified;
        self.changed = true;
    }

    fn leave(self) -> Result<(), Errno> {
        if self.changed {
            fs::futimens(&self.fd, &times(self.modified))?;
        }
        if let Some(mode) = self.restricted {
            fs::fchmod(&self.fd, mode)?;
        }
        Ok(())
    }
}

/// 1970-01-01.
pub(super) const EPOCH: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The key of a name in the folder of that key. Keys of different paths differ, as their digests do.
pub(super) fn child_key(folder: &Digest, name: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(folder.as_bytes());
    hash.update(name);
    hash.finish()
}

/// Opens a folder inside another, never through a link, and makes sure that its owner may work in it.
/// Returns the mode to go back to, if it had to be changed for that.
pub(super) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Option<Mode>), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || fs::openat(parent, name, flags, Mode::empty());
    let (fd, mode) = match open() {
        Ok(fd) => {
            let mode = Mode::from_raw_mode(fs::fstat(&fd)?.st_mode);
            (fd, mode)
        }
        Err(Errno::ACCESS) => {
            let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
            let mode = Mode::from_raw_mode(stat.st_mode);
            // It is no link, and nobody else comes into the temporary folder.
            fs::chmodat(parent, name, mode | Mode::RWXU, AtFlags::empty())?;
            return Ok((open()?, Some(mode)));
        }
        Err(error) => return Err(error),
    };
    if mode.contains(Mode::RWXU) || rustix::process::geteuid().is_root() {
        return Ok((fd, None));
    }
    fs::fchmod(&fd, mode | Mode::RWXU)?;
    Ok((fd, Some(mode)))
}

pub(super) fn modified(fd: impl AsFd) -> Result<Timespec, Errno> {
    let stat = fs::fstat(fd)?;
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let tv_nsec = stat.st_mtime_nsec.try_into().unwrap_or(0);
    Ok(Timespec { tv_sec: stat.st_mtime, tv_nsec })
}

/// The modification time alone; the time of access stays.
pub(super) fn times(modified: Timespec) -> Timestamps {
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: modified }
}

fn set_metadata(fd: &OwnedFd, mode: u32, modified: Timespec) -> Result<(), Errno> {
    fs::fchmod(fd, Mode::from_raw_mode(mode))?;
    fs::futimens(fd, &times(modified))
}
