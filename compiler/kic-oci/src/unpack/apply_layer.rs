use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kic_base::Digest;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use tar::{Archive, Entry};

use super::bounded_reader::{BoundedReader, Meter};
use super::entry_header::{EntryHeader, Kind};
use super::entry_name::{Whiteout, check_link_target, split_name, whiteout};
use super::error::{Failure, Limit, Refusal, UnpackError, printable};
use super::tree::{Tree, open_folder, times};
use super::{UnpackLayer, UnpackOptions, UnpackReport, hide};
use crate::model::media_types;

const BUFFER: usize = 256 << 10;
const SETUID: u32 = 0o6000;

/// One layer on its way into the tree.
pub(super) struct LayerApplication<'a> {
    tree: &'a mut Tree,
    options: &'a UnpackOptions,
    report: &'a mut UnpackReport,
    layer: String,
    /// Half the keys of all paths that this layer has put there or gone through: a whiteout hides the lower layers'
    /// files only, wherever it stands in the archive.
    own: BTreeSet<[u8; 16]>,
    buffer: Vec<u8>,
}

impl<'a> LayerApplication<'a> {
    pub(super) fn new(
        tree: &'a mut Tree,
        options: &'a UnpackOptions,
        report: &'a mut UnpackReport,
        layer: &str,
    ) -> Self {
        Self { tree, options, report, layer: layer.to_owned(), own: BTreeSet::new(), buffer: vec![0; BUFFER] }
    }

    /// Applies the layer, after `before` decompressed bytes of others. Returns how many it had.
    pub(super) fn apply(mut self, layer: &mut UnpackLayer, before: u64) -> Result<u64, UnpackError> {
        let Some(format) = media_types::layer_format(&layer.media_type) else {
            let media_type = layer.media_type.clone();
            return Err(UnpackError::MediaType { layer: self.layer, media_type });
        };
        let meter = Meter::new(&self.options.limits, before);
        let reader = BoundedReader::new(&mut layer.reader, format, &meter);
        let reader = reader.map_err(|error| self.reading(error))?;
        let mut archive = Archive::new(reader);
        let mut entries = archive.entries().map_err(|error| self.reading(error))?;
        loop {
            meter.expect_headers();
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(|error| self.reading(error))?;
            meter.expect_content();
            let applied = self.entry(&mut entry);
            applied.map_err(|failure| failure.in_entry(&self.layer, &entry.path_bytes()))?;
        }
        meter.expect_content();
        let mut rest = archive.into_inner();
        loop {
            match rest.read(&mut self.buffer) {
                Ok(0) => return Ok(meter.decoded()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.reading(error)),
            }
        }
    }

    fn reading(&self, error: io::Error) -> UnpackError {
        Failure::reading(error).in_entry(&self.layer, b"")
    }

    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Failure> {
        self.report.entries += 1;
        if self.report.entries > self.options.limits.entries {
            return Err(Failure::Limit(Limit::Entries(self.options.limits.entries)));
        }
        let header = EntryHeader::read(entry, &self.options.xattrs)?;
        if header.kind == Kind::Ignored {
            return drain(entry, &mut self.buffer);
        }
        let name = entry.path_bytes().into_owned();
        let components = split_name(&name, self.options.strip_leading_slashes)?;
        match whiteout(&components)? {
            Whiteout::None => {}
            Whiteout::Ignored => return drain(entry, &mut self.buffer),
            Whiteout::Opaque => {
                self.hide(&components, None)?;
                return drain(entry, &mut self.buffer);
            }
            Whiteout::Hide(hidden) => {
                self.hide(&components, Some(hidden))?;
                return drain(entry, &mut self.buffer);
            }
        }
        let Some((last, parents)) = components.split_last() else {
            return if header.kind == Kind::Folder {
                self.root(&header)?;
                drain(entry, &mut self.buffer)
            } else {
                Err(Refusal::Root.into())
            };
        };
        match &header.kind {
            Kind::File => self.file(entry, parents, last, &header)?,
            Kind::Folder => self.folder(parents, last, &header)?,
            Kind::SymbolicLink(target) => self.symbolic_link(parents, last, target, &header)?,
            Kind::HardLink(target) => self.hard_link(parents, last, target)?,
            Kind::Special(_) if self.options.skip_special_files => self.report.skipped_special_files += 1,
            Kind::Special(what) => return Err(Refusal::SpecialFile(what).into()),
            Kind::Ignored => {}
        }
        drain(entry, &mut self.buffer)
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        parents: &[&[u8]],
        name: &[u8],
        header: &EntryHeader,
    ) -> Result<(), Failure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            self.create(parents, name, |folder| fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR))?;
        let mut file = File::from(fd);
        let size = entry.size();
        let mut written = 0;
        loop {
            let count = match entry.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::reading(error)),
            };
            file.write_all(&self.buffer[..count]).map_err(Failure::Write)?;
            written += count as u64;
        }
        if written != size {
            return Err(Refusal::Truncated.into());
        }
        self.report.files += 1;
        self.report.bytes += size;
        self.finish(&file.into(), header)
    }

    fn folder(&mut self, parents: &[&[u8]], name: &[u8], header: &EntryHeader) -> Result<(), Failure> {
        let fd = self.create(parents, name, |folder| {
            match fs::mkdirat(folder, name, Mode::RWXU) {
                Ok(()) => {}
                // One that is there stays, with what is in it; the entry describes it anew.
                Err(Errno::EXIST) if is_folder(folder, name)? => {}
                Err(error) => return Err(error),
            }
            open_folder(folder, name).map(|(fd, _)| fd)
        })?;
        self.report.directories += 1;
        self.finish(&fd, header)
    }

    fn root(&mut self, header: &EntryHeader) -> Result<(), Failure> {
        if let Some(folder) = self.tree.enter(&[], false)? {
            folder.describe(header.modified);
            let fd = folder.fd().try_clone_to_owned().map_err(Failure::Write)?;
            self.report.directories += 1;
            self.finish(&fd, header)?;
        }
        Ok(())
    }

    fn symbolic_link(
        &mut self,
        parents: &[&[u8]],
        name: &[u8],
        target: &[u8],
        header: &EntryHeader,
    ) -> Result<(), Failure> {
        check_link_target(target)?;
        let owner = self.owner(header);
        self.create(parents, name, |folder| {
            fs::symlinkat(target, folder, name)?;
            if let Some((user, group)) = owner {
                fs::chownat(folder, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            fs::utimensat(folder, name, &times(header.modified), AtFlags::SYMLINK_NOFOLLOW)
        })?;
        self.report.symbolic_links += 1;
        Ok(())
    }

    fn hard_link(&mut self, parents: &[&[u8]], name: &[u8], target: &[u8]) -> Result<(), Failure> {
        let text = || printable(target);
        let refuse = |reason| Refusal::HardLinkTarget { target: text(), reason: Box::new(reason) };
        let components = split_name(target, self.options.strip_leading_slashes).map_err(refuse)?;
        let Some((target_name, target_parents)) = components.split_last() else {
            return Err(Refusal::HardLinkFolder { target: text() }.into());
        };
        let entered = self.tree.enter(target_parents, false).map_err(|failure| match failure {
            Failure::Refused(reason) => refuse(reason).into(),
            other => other,
        })?;
        let Some(source) = entered else { return Err(Refusal::HardLinkMissing { target: text() }.into()) };
        let key = source.child_key(target_name);
        let source = source.fd().try_clone_to_owned().map_err(Failure::Write)?;
        match fs::statat(&source, *target_name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(Refusal::HardLinkFolder { target: text() }.into());
            }
            Ok(_) => {}
            Err(Errno::NOENT) => return Err(Refusal::HardLinkMissing { target: text() }.into()),
            Err(error) => return Err(error.into()),
        }
        self.report.hard_links += 1;
        // A link to itself is there already, and would be removed first.
        if self.tree.enter(parents, true)?.is_some_and(|folder| folder.child_key(name) == key) {
            return Ok(());
        }
        self.create(parents, name, |folder| fs::linkat(&source, *target_name, folder, name, AtFlags::empty()))
    }

    /// Goes to the parent folder and creates a name there, in place of whatever has it.
    fn create<T>(
        &mut self,
        parents: &[&[u8]],
        name: &[u8],
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, Failure> {
        let Some(folder) = self.tree.enter(parents, true)? else { return Err(Errno::NOENT.into()) };
        folder.change();
        let key = folder.child_key(name);
        let made = match make(folder.fd()) {
            Err(Errno::EXIST | Errno::NOTDIR | Errno::LOOP) => {
                hide::remove(folder.fd(), name)?;
                make(folder.fd())?
            }
            made => made?,
        };
        self.own.insert(half(&key));
        self.own.extend(self.tree.keys().map(|key| half(&key)));
        Ok(made)
    }

    /// Hides what lower layers have: one name beside the whiteout, or the whole folder.
    fn hide(&mut self, components: &[&[u8]], hidden: Option<&[u8]>) -> Result<(), Failure> {
        self.report.whiteouts += 1;
        let Some((_, parents)) = components.split_last() else { return Ok(()) };
        let Some(folder) = self.tree.enter(parents, false)? else { return Ok(()) };
        let own = &self.own;
        let is_new = |key: &Digest| own.contains(&half(key));
        folder.change();
        let Some(name) = hidden else {
            hide::remove_lower(folder.fd(), &folder.key(), &is_new)?;
            return Ok(());
        };
        let key = folder.child_key(name);
        if !is_new(&key) {
            hide::remove(folder.fd(), name)?;
        } else if is_folder(folder.fd(), name)? {
            // This layer has put something into it; only what was there before goes.
            let (inner, restricted) = open_folder(folder.fd(), name)?;
            hide::remove_lower(inner.as_fd(), &key, &is_new)?;
            if let Some(mode) = restricted {
                fs::fchmod(&inner, mode)?;
            }
        }
        Ok(())
    }

    /// Owner, extended attributes, mode and time, in the order in which one does not undo the other.
    fn finish(&mut self, fd: &OwnedFd, header: &EntryHeader) -> Result<(), Failure> {
        if let Some((user, group)) = self.owner(header) {
            fs::fchown(fd, Some(user), Some(group))?;
        }
        for (name, value) in &header.xattrs {
            fs::fsetxattr(fd, name.as_str(), value, XattrFlags::empty())?;
        }
        let mut mode = header.mode;
        if !self.options.keep_setuid && mode & SETUID != 0 {
            mode &= !SETUID;
            self.report.dropped_setuid += 1;
        }
        fs::fchmod(fd, Mode::from_raw_mode(mode))?;
        fs::futimens(fd, &times(header.modified))?;
        Ok(())
    }

    fn owner(&self, header: &EntryHeader) -> Option<(Uid, Gid)> {
        let owner = (Uid::from_raw(header.uid), Gid::from_raw(header.gid));
        self.options.preserve_owner.then_some(owner)
    }
}

pub(super) fn half(key: &Digest) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key.as_bytes()[..16]);
    half
}

fn is_folder(folder: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads what an entry has that is not used, so that what comes before the next one is headers only.
fn drain<R: Read>(entry: &mut Entry<'_, R>, buffer: &mut [u8]) -> Result<(), Failure> {
    loop {
        match entry.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::reading(error)),
        }
    }
}
