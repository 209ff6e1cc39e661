use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use kic_base::Digest;

use crate::file_system::{EXT, TMPFS, file_system_kind};
use crate::layout::set_mode;
use crate::{BlobReader, Store, StoreError};

const BUFFER: usize = 256 << 10;

/// What a placed file may have in common with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceMode {
    /// The quickest way: the file may be a hard link to the store's own. Its mode is 0444, and it must not be changed.
    Share,
    /// A file of its own, mode 0644, which may be changed freely.
    Copy,
}

/// How a blob came to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The file system shares the bytes, and separates them on a write.
    Reflink,
    /// One file with two names.
    HardLink,
    /// The bytes were copied, and verified on the way.
    Copy,
}

pub(crate) fn place(
    store: &Store,
    digest: &Digest,
    destination: &Path,
    mode: PlaceMode,
) -> Result<Placed, StoreError> {
    let reader = store.blob(digest)?;
    if reader.is_embedded() {
        return copy(reader, destination, mode);
    }
    let source = store.layout().blob(digest);
    if !store.is_verified(digest) {
        verify(reader, &source)?;
    }
    if may_reflink(&source) {
        match reflink_copy::reflink(&source, destination) {
            Ok(()) => {
                set_mode(destination, permissions(mode))?;
                return Ok(Placed::Reflink);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(destination)),
            Err(_) => {}
        }
    }
    if mode == PlaceMode::Share {
        match fs::hard_link(&source, destination) {
            Ok(()) => return Ok(Placed::HardLink),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(destination)),
            Err(_) => {}
        }
    }
    // Whatever stood in the way of a link, the copy tells if it is more than the file system's lack of them.
    copy(store.blob(digest)?, destination, mode)
}

/// Whether the file system may know reflinks: to try makes a file each time, and removes it.
fn may_reflink(source: &Path) -> bool {
    let kind = rustix::fs::statfs(source).ok().and_then(|status| file_system_kind(&status));
    kind.is_none_or(|kind| ![EXT, TMPFS].contains(&kind))
}

/// Copies while verifying. The destination is removed again if that fails.
fn copy(mut reader: BlobReader, destination: &Path, mode: PlaceMode) -> Result<Placed, StoreError> {
    let file = File::options().write(true).create_new(true).open(destination);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(destination),
        _ => StoreError::at(destination, error),
    })?;
    let copied = pump(&mut reader, &mut file)
        .map_err(|error| StoreError::at(destination, error))
        .and_then(|()| set_mode(destination, permissions(mode)));
    if let Err(error) = copied {
        let _ = fs::remove_file(destination);
        return Err(error);
    }
    Ok(Placed::Copy)
}

fn verify(mut reader: BlobReader, source: &Path) -> Result<(), StoreError> {
    pump(&mut reader, &mut io::sink()).map_err(|error| StoreError::at(source, error))
}

fn pump(reader: &mut BlobReader, writer: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => writer.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn permissions(mode: PlaceMode) -> u32 {
    match mode {
        PlaceMode::Share => 0o444,
        PlaceMode::Copy => 0o644,
    }
}

fn exists(path: &Path) -> StoreError {
    StoreError::Exists { path: path.to_owned() }
}
