use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use super::files::{copy_blob, sync_directory};
use super::write::{distinct, named};
use super::{LayoutError, OCI_LAYOUT, Written};
use crate::blob_source::BlobSource;
use crate::layer::tar_header::{BLOCK, END, Header, Kind, padding};
use crate::model::{Descriptor, Index, canonical_json};
use crate::sibling::Destination;

/// Writes an image as one tar at `file`: an OCI layout, as [`super::write_layout`] makes one, with the time 0,
/// modes 0644 and 0755 and entries sorted by path, so that equal images are equal files.
///
/// It is written beside its place, synced, and renamed into it; a regular file that is there is replaced, anything
/// else is not.
pub fn write_archive(
    file: &Path,
    root: &Descriptor,
    reference: &str,
    blobs: &[Descriptor],
    source: &dyn BlobSource,
) -> Result<Written, LayoutError> {
    let (root, blobs) = (named(root, reference)?, distinct(root, blobs)?);
    let occupied = |found| LayoutError::Occupied { path: file.to_owned(), found };
    // Through a link to a file, it is that file which is replaced.
    let resolved = match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => {
            Some(file.canonicalize().map_err(|error| LayoutError::at(file, error))?)
        }
        Ok(metadata) if metadata.is_dir() => return Err(occupied("a directory")),
        Ok(_) => return Err(occupied("no regular file")),
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(file).is_ok() => {
            return Err(occupied("a symbolic link that leads nowhere"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(LayoutError::at(file, error)),
    };
    let destination = Destination::of(resolved.as_deref().unwrap_or(file))
        .map_err(|error| LayoutError::parent(file, error))?;
    let sibling = destination.sibling_file().map_err(|error| LayoutError::at(file, error))?;
    let mut written = Written { changed: true, ..Written::default() };
    let mut archive = Archive { out: BufWriter::with_capacity(1 << 20, &sibling.lock), path: file };
    archive.header(Kind::Directory, "blobs", 0)?;
    archive.header(Kind::Directory, "blobs/sha256", 0)?;
    for blob in blobs.values() {
        archive.header(Kind::File, &format!("blobs/sha256/{}", blob.digest.hex()), blob.size)?;
        copy_blob(blob, source, &mut archive.out, file)?;
        archive.zeros(padding(blob.size))?;
        written.added += 1;
        written.added_bytes += blob.size;
    }
    for (name, bytes) in
        [("index.json", &canonical_json(&Index::new(vec![root]))[..]), ("oci-layout", OCI_LAYOUT)]
    {
        archive.header(Kind::File, name, bytes.len() as u64)?;
        archive.write(bytes)?;
        archive.zeros(padding(bytes.len() as u64))?;
    }
    archive.zeros(END)?;
    let at = |error| LayoutError::at(file, error);
    archive
        .out
        .into_inner()
        .map_err(|error| at(error.into_error()))
        .and_then(|out| out.sync_all().map_err(at))?;
    sibling.path.persist(destination.path()).map_err(|error| at(error.error))?;
    sync_directory(&destination.directory)?;
    Ok(written)
}

struct Archive<'a> {
    out: BufWriter<&'a File>,
    path: &'a Path,
}

impl Archive<'_> {
    fn header(&mut self, kind: Kind, path: &str, size: u64) -> Result<(), LayoutError> {
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let header = Header { path, kind, mode, size, link: "", mtime: 0 };
        let (pax, block) =
            header.parts().map_err(|error| LayoutError::at(self.path, std::io::Error::other(error)))?;
        self.write(&pax)?;
        self.write(&block)
    }

    fn zeros(&mut self, count: usize) -> Result<(), LayoutError> {
        const ZEROS: [u8; END] = [0; END];
        debug_assert!(count <= ZEROS.len() && END >= BLOCK);
        self.write(&ZEROS[..count])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayoutError> {
        self.out.write_all(bytes).map_err(|error| LayoutError::at(self.path, error))
    }
}
