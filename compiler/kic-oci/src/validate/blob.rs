use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use kic_base::{Digest, Sha256};

use super::descriptor::CheckedDescriptor;
use super::finding::{Place, Problem};
use super::json::Json;
use super::{BlobFacts, Validation};
use crate::model::DOCUMENT_LIMIT;
use crate::model::media_types::{self, LayerFormat};
use crate::unpack::{BoundedReader, Meter, UnpackLimits, printable};

const BUFFER: usize = 256 << 10;

impl Validation<'_> {
    /// Checks the blob of a descriptor: that it is there, its size and its digest; and decompresses it once, if
    /// asked to. Nothing where the blob is not whole.
    pub(super) fn blob(&mut self, descriptor: &CheckedDescriptor<'_>, decompress: bool) -> Option<BlobFacts> {
        let digest = descriptor.digest;
        let format = if decompress { media_types::layer_format(descriptor.media_type) } else { None };
        let known = self.blobs.get(&digest).copied();
        let facts = match known {
            Some(Some(facts)) if format.is_some() && facts.format != format => {
                self.read_blob(&digest, format, true)
            }
            Some(facts) => facts,
            None => self.read_blob(&digest, format, false),
        };
        self.blobs.insert(digest, facts);
        let Some(facts) = facts else {
            // Layers that may not be passed on may lie elsewhere.
            let may_be_missing = media_types::is_foreign_layer(descriptor.media_type);
            if !may_be_missing && !self.blob_path(&digest).exists() {
                self.findings.add(descriptor.place.clone(), Problem::MissingBlob(digest));
            }
            return None;
        };
        if facts.size != descriptor.size {
            let problem = Problem::Size { expected: descriptor.size, actual: facts.size };
            self.findings.add(descriptor.place.member("size"), problem);
        }
        Some(facts)
    }

    /// The blob of a descriptor, as a document. Nothing where it is not there, not whole, or no JSON.
    pub(super) fn document_blob(
        &mut self,
        place: &Place,
        descriptor: &CheckedDescriptor<'_>,
    ) -> Option<Json> {
        self.blob(descriptor, false)?;
        match read_small(&self.blob_path(&descriptor.digest)) {
            // What was said of a document is said once.
            Ok(bytes) if self.parsed.insert(descriptor.digest) => {
                Json::parse(place, &bytes, &mut self.findings)
            }
            Ok(bytes) => Json::parse(place, &bytes, &mut Default::default()),
            Err(problem) => {
                self.findings.add(place.clone(), problem);
                None
            }
        }
    }

    /// Checks what lies among the blobs and was not named by any document.
    pub(super) fn blob_folder(&mut self) {
        let place = Place::document("blobs");
        let names = match names(&self.path.join("blobs")) {
            Ok(names) => names,
            Err(problem) => return self.findings.add(place, problem),
        };
        for algorithm in names {
            let folder = self.path.join("blobs").join(&algorithm);
            let place = Place::document(format!("blobs/{}", printable(algorithm.as_encoded_bytes())));
            if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
                self.findings.add(place, Problem::BlobName);
            } else if algorithm == "sha256" {
                self.unnamed_blobs(&place, &folder);
            }
        }
    }

    fn unnamed_blobs(&mut self, place: &Place, folder: &Path) {
        let names = match names(folder) {
            Ok(names) => names,
            Err(problem) => return self.findings.add(place.clone(), problem),
        };
        for name in names {
            let Some(digest) = name.to_str().and_then(|name| Digest::from_hex(name).ok()) else {
                let name = format!("blobs/sha256/{}", printable(name.as_encoded_bytes()));
                self.findings.add(Place::document(name), Problem::BlobName);
                continue;
            };
            if !self.blobs.contains_key(&digest) {
                self.read_blob(&digest, None, false);
                self.findings.add(blob_place(&digest), Problem::Unreferenced);
            }
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// Reads a blob once, whole. What is wrong with it was said before, if `again`.
    fn read_blob(&mut self, digest: &Digest, format: Option<LayerFormat>, again: bool) -> Option<BlobFacts> {
        let place = blob_place(digest);
        let read = open(&self.blob_path(digest))
            .and_then(|file| hash(file, format, &self.options.limits).map_err(unreadable));
        let read = match read {
            Ok(read) => read,
            Err(Problem::Missing) => return None,
            Err(problem) => {
                if !again {
                    self.findings.add(place, problem);
                }
                return None;
            }
        };
        if read.digest != *digest {
            if !again {
                self.findings.add(place, Problem::Digest { actual: read.digest });
            }
            return None;
        }
        let diff_id = match read.decoded {
            Some(Err(error)) => {
                self.findings.add(place, Problem::Undecodable(error));
                None
            }
            Some(Ok(diff_id)) => Some(diff_id),
            None => None,
        };
        Some(BlobFacts { size: read.size, format, diff_id })
    }
}

/// A document of the layout's own, of at most 8 MiB.
pub(super) fn read_small(path: &Path) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let limit = DOCUMENT_LIMIT as u64;
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > DOCUMENT_LIMIT { Err(Problem::Long) } else { Ok(bytes) }
}

/// Opens regular files only: a fifo would never end.
fn open(path: &Path) -> Result<File, Problem> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => File::open(path).map_err(unreadable),
        Ok(_) => Err(Problem::NotAFile),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Problem::Missing),
        Err(error) => Err(unreadable(error)),
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Result<BTreeSet<std::ffi::OsString>, Problem> {
    let entries = fs::read_dir(folder).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Problem::Missing,
        _ => unreadable(error),
    })?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(unreadable)).collect()
}

fn unreadable(error: io::Error) -> Problem {
    Problem::Unreadable(error.to_string())
}

fn blob_place(digest: &Digest) -> Place {
    Place::document(format!("blobs/sha256/{}", digest.hex()))
}

struct Hashed {
    size: u64,
    digest: Digest,
    /// The digest of the decompressed bytes, or why there is none.
    decoded: Option<Result<Digest, String>>,
}

/// Reads a file once: the digest of its bytes, and of what they decompress to.
fn hash(file: File, format: Option<LayerFormat>, limits: &UnpackLimits) -> io::Result<Hashed> {
    let mut reader = HashingReader { file, hash: Sha256::new(), size: 0 };
    let mut buffer = vec![0; BUFFER];
    let decoded = format.map(|format| {
        let meter = Meter::new(limits, 0);
        let mut hash = Sha256::new();
        let mut decoder = BoundedReader::new(&mut reader, format, &meter)?;
        drain(&mut decoder, &mut buffer, |bytes| hash.update(bytes))?;
        Ok::<_, io::Error>(hash.finish())
    });
    // What the decompression left over, or all when there was none.
    drain(&mut reader, &mut buffer, |_| {})?;
    let decoded = decoded.map(|result| result.map_err(|error| error.to_string()));
    Ok(Hashed { size: reader.size, digest: reader.hash.finish(), decoded })
}

fn drain(reader: &mut impl Read, buffer: &mut [u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct HashingReader {
    file: File,
    hash: Sha256,
    size: u64,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.size += read as u64;
        Ok(read)
    }
}
