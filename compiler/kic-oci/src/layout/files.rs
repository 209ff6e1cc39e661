//! The few ways in which files and directories are made: with modes that no umask changes.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use kic_base::{Digest, Sha256};
use kic_store::{Boot, Suspects, begin_sync};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::{LayoutError, LayoutOptions};
use crate::blob_source::BlobSource;
use crate::model::Descriptor;

const BUFFER: usize = 256 << 10;

/// Makes a directory of mode 0755, whose parent is there.
pub(super) fn make_directory(path: &Path) -> Result<(), LayoutError> {
    DirBuilder::new()
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .map_err(|error| LayoutError::at(path, error))
}

/// Writes a new file of mode 0644, synced.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
    begin_file(path, bytes, true)?.sync_all().map_err(|error| LayoutError::at(path, error))
}

/// Writes a new file of mode 0644; where it is to be synced, the disk is asked to take it meanwhile.
pub(super) fn begin_file(path: &Path, bytes: &[u8], is_synced: bool) -> Result<File, LayoutError> {
    let write = || {
        let mut file = File::create_new(path)?;
        // Most have it already, and to set it would have the disk take it once more.
        if file.metadata()?.mode() & 0o7777 != 0o644 {
            file.set_permissions(Permissions::from_mode(0o644))?;
        }
        file.write_all(bytes)?;
        if is_synced {
            begin_sync(&file, 0, bytes.len() as u64);
        }
        Ok(file)
    };
    write().map_err(|error| LayoutError::at(path, error))
}

/// Makes the names in a directory safe.
pub(super) fn sync_directory(path: &Path) -> Result<(), LayoutError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| LayoutError::at(path, error))
}

/// Puts a blob at `path`, which does not exist, verified, and synced where no `boot` says afterwards that the disk may lack it.
pub(super) fn put_blob(
    path: &Path,
    blob: &Descriptor,
    source: &dyn BlobSource,
    options: LayoutOptions,
    boot: Option<Boot>,
) -> Result<(), LayoutError> {
    let at = |error| LayoutError::at(path, error);
    let placed = source
        .place(&blob.digest, path, options.sharing)
        .map_err(|error| LayoutError::blob(blob.digest, path, error))?;
    if placed.is_none() {
        let mut file = File::create_new(path).map_err(at)?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(at)?;
        copy_blob(blob, source, &mut file, path)?;
    }
    let found = fs::symlink_metadata(path).map_err(at)?.len();
    if found != blob.size {
        return Err(LayoutError::Size { digest: blob.digest, expected: blob.size, found });
    }
    match boot {
        Some(_) => Ok(()),
        None => File::open(path).and_then(|file| file.sync_data()).map_err(at),
    }
}

/// Copies exactly the bytes that the descriptor announces; `path` is for errors.
pub(super) fn copy_blob(
    blob: &Descriptor,
    source: &dyn BlobSource,
    out: &mut dyn Write,
    path: &Path,
) -> Result<(), LayoutError> {
    let failed = |error| LayoutError::blob(blob.digest, path, error);
    let mut reader = source.open(&blob.digest).map_err(failed)?;
    let mut buffer = vec![0; BUFFER];
    let mut found = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        found += count as u64;
        if found > blob.size || (count == 0 && found < blob.size) {
            return Err(LayoutError::Size { digest: blob.digest, expected: blob.size, found });
        }
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count]).map_err(|error| LayoutError::at(path, error))?;
    }
}

/// What is known of a blob in a directory before any of its bytes is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is nothing.
    Missing,
    /// There is something else than a file of its size.
    Damaged,
    /// There is a file of its size that [`Trust`] does not cover.
    Doubtful,
    /// There is one.
    There,
}

/// Which files are believed to hold the blob of their name and size: all but those that may have lost bytes.
#[derive(Debug)]
pub(super) struct Trust<'a> {
    /// Since when the system has had what was written, whether the disk has it or not.
    pub boot: Option<Boot>,
    /// What was found damaged elsewhere.
    pub suspects: &'a Suspects,
}

/// What the directory says of a blob.
pub(super) fn standing(directory: &File, blob: &Descriptor, trust: &Trust<'_>) -> Standing {
    // Without a path from the root, for there may be hundreds.
    match rustix::fs::statat(directory, blob.digest.hex(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status)
            if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
                && u64::try_from(status.st_size) == Ok(blob.size) =>
        {
            let is_older = trust.boot.is_some_and(|boot| !boot.is_before(&status));
            let is_doubtful = is_older || trust.suspects.contain(&blob.digest, &status);
            if is_doubtful { Standing::Doubtful } else { Standing::There }
        }
        Ok(_) => Standing::Damaged,
        Err(_) => Standing::Missing,
    }
}

/// Whether a blob that has this standing is in the directory: where asked, by its digest. One that is doubtful is hashed in any case, and
/// then has a new time, so that this is done once.
pub(super) fn has_blob(directory: &File, blob: &Descriptor, standing: Standing, verify: bool) -> bool {
    match standing {
        Standing::Missing | Standing::Damaged => return false,
        Standing::There if !verify => return true,
        Standing::There | Standing::Doubtful => {}
    }
    let name = blob.digest.hex();
    let is_right = digest_of(directory, &name) == Some(blob.digest);
    if is_right && standing == Standing::Doubtful {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times =
            Timestamps { last_access: Timespec { tv_nsec: UTIME_OMIT, ..now }, last_modification: now };
        // Where it is another user's, it is hashed every time.
        let _ = rustix::fs::utimensat(directory, &name, &times, AtFlags::SYMLINK_NOFOLLOW);
    }
    is_right
}

/// The digest of the bytes of a file, where there is one that can be read.
pub(super) fn digest_of(directory: &File, name: &str) -> Option<Digest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty()).ok()?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
