//! Images on disk, read: OCI layouts, OCI archives and Docker archives. Nothing is unpacked or copied.
//!
//! They come from anywhere, so nothing is believed: what is read is verified against its digest, a link does not
//! lead out of the layout or archive, and no file decides how much memory is used.

mod archive_files;
mod docker_archive;
mod error;
mod layout;
mod members;
mod tar_index;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::Path;

use kic_base::Digest;
use kic_store::Suspects;

use crate::blob_source::BlobSource;
use crate::model::{DOCUMENT_LIMIT, Descriptor};
use crate::verifying_reader::VerifyingReader;
use members::Members;

pub use archive_files::LayoutArchive;
pub use error::DiskImageError;

/// One image on disk, of one or of several platforms.
pub struct DiskImage {
    members: Members,
    root: Descriptor,
    names: Vec<String>,
    /// Documents that were made, or that stand under another name than their digest.
    made: BTreeMap<Digest, Vec<u8>>,
    /// Blobs that stand under another name than their digest.
    located: BTreeMap<Digest, String>,
}

/// Which image was found.
struct Root {
    descriptor: Descriptor,
    names: Vec<String>,
    made: Vec<(Digest, Vec<u8>)>,
}

impl DiskImage {
    /// Opens an image of the OCI layout in `directory`. `reference` is one of its names in `index.json`, in any
    /// form, or its digest; it may be left out where there is only one image.
    pub fn open_layout(directory: &Path, reference: Option<&str>) -> Result<Self, DiskImageError> {
        let members = Members::directory(directory)?;
        let root = layout::find_root(&members, reference)?;
        Ok(Self::new(members, root, BTreeMap::new()))
    }

    /// Opens an image of the OCI layout in the tar `file`, which is not compressed. `reference` as in
    /// [`Self::open_layout`].
    pub fn open_archive(file: &Path, reference: Option<&str>) -> Result<Self, DiskImageError> {
        let members = Members::archive(file)?;
        let root = layout::find_root(&members, reference)?;
        Ok(Self::new(members, root, BTreeMap::new()))
    }

    /// Opens an image of the tar `file` that `docker save` wrote. `reference` is one of its tags, in any form.
    ///
    /// Since Docker 25 there is an OCI layout in it, which is taken. Else an OCI manifest is made, and each layer
    /// is read once for its digest.
    pub fn open_docker_archive(file: &Path, reference: Option<&str>) -> Result<Self, DiskImageError> {
        let members = Members::archive(file)?;
        let mut located = BTreeMap::new();
        let is_layout = members.open("oci-layout")?.is_some() && members.open("index.json")?.is_some();
        let root = if is_layout {
            layout::find_root(&members, reference)?
        } else {
            docker_archive::find_root(&members, reference, &mut located)?
        };
        Ok(Self::new(members, root, located))
    }

    fn new(members: Members, root: Root, located: BTreeMap<Digest, String>) -> Self {
        let made = root.made.into_iter().collect();
        Self { members, root: root.descriptor, names: root.names, made, located }
    }

    /// Its manifest or index.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// Whether that document was made of others, or is `index.json` itself: no blob has it.
    pub fn is_made(&self, digest: &Digest) -> bool {
        self.made.contains_key(digest)
    }

    /// The names it has there, sorted; often none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes of a manifest, index or configuration: at most 8 MiB, verified.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>, DiskImageError> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok(bytes.clone());
        }
        let (mut reader, size) = self.open_sized(digest)?;
        if size > DOCUMENT_LIMIT as u64 {
            return Err(DiskImageError::invalid(
                self.members.path(),
                &digest.to_string(),
                format!("a manifest or configuration of {size} bytes is over the limit of 8 MiB"),
            ));
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|error| self.failed(digest, error))?;
        Ok(bytes)
    }

    /// A reader of any blob, which fails, at the blob's last byte at the latest, when the bytes do not give the
    /// digest. Several may be used at the same time.
    pub fn open(&self, digest: &Digest) -> Result<Box<dyn Read + Send>, DiskImageError> {
        Ok(self.open_sized(digest)?.0)
    }

    /// The size of any blob in bytes.
    pub fn size(&self, digest: &Digest) -> Result<u64, DiskImageError> {
        Ok(self.open_sized(digest)?.1)
    }

    /// Whether the blob is there. Its bytes are not looked at. Layouts may lack some platforms' blobs.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.open_sized(digest).is_ok()
    }

    fn open_sized(&self, digest: &Digest) -> Result<(Box<dyn Read + Send>, u64), DiskImageError> {
        if let Some(bytes) = self.made.get(digest) {
            return Ok((Box::new(Cursor::new(bytes.clone())), bytes.len() as u64));
        }
        let member = match self.located.get(digest) {
            Some(member) => member.clone(),
            None => format!("blobs/sha256/{}", digest.hex()),
        };
        let Some((reader, size)) = self.members.open(&member)? else {
            return Err(DiskImageError::missing(self.members.path(), &member));
        };
        Ok((Box::new(VerifyingReader::new(reader, *digest, size)), size))
    }

    fn failed(&self, digest: &Digest, error: io::Error) -> DiskImageError {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                DiskImageError::invalid(self.members.path(), &digest.to_string(), error.to_string())
            }
            _ => DiskImageError::at(self.members.path(), error),
        }
    }
}

impl BlobSource for DiskImage {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        Self::open(self, digest).map_err(|error| match error {
            DiskImageError::Io { source, .. } => source,
            DiskImageError::Missing { .. } => io::Error::new(ErrorKind::NotFound, error),
            other => io::Error::new(ErrorKind::InvalidData, other),
        })
    }

    fn suspects(&self) -> Suspects {
        Suspects::default()
    }
}

impl fmt::Debug for DiskImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskImage")
            .field("path", &self.members.path())
            .field("root", &self.root.digest)
            .field("names", &self.names)
            .finish()
    }
}
