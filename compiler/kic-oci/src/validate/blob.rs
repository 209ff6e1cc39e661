use std::io::Read;

use kic_base::Digest;

use super::descriptor::CheckedDescriptor;
use super::files::{ImageFiles, blob_name, unreadable};
use super::finding::{Place, Problem};
use super::json::Json;
use super::scan::hash;
use super::visitor::LayerVisitor;
use super::{BlobFacts, Validation};
use crate::model::DOCUMENT_LIMIT;
use crate::model::media_types::{self, LayerFormat};
use crate::unpack::printable;

impl<V: LayerVisitor> Validation<'_, V> {
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
            if !may_be_missing && !self.files.exists(&blob_name(&digest)) {
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
        let document = self.read_document(place, descriptor);
        self.is_read_whole &= document.is_some();
        document
    }

    fn read_document(&mut self, place: &Place, descriptor: &CheckedDescriptor<'_>) -> Option<Json> {
        self.blob(descriptor, false)?;
        match read_small(self.files, &blob_name(&descriptor.digest)) {
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
        let names = match self.files.names("blobs") {
            Ok(names) => names,
            Err(problem) => return self.findings.add(place, problem),
        };
        for algorithm in names {
            let place = Place::document(format!("blobs/{}", printable(algorithm.as_encoded_bytes())));
            let folder = algorithm.to_str().map(|algorithm| format!("blobs/{algorithm}"));
            if !folder.is_some_and(|folder| self.files.is_folder(&folder)) {
                self.findings.add(place, Problem::BlobName);
            } else if algorithm == "sha256" {
                self.unnamed_blobs(&place);
            }
        }
    }

    fn unnamed_blobs(&mut self, place: &Place) {
        let names = match self.files.names("blobs/sha256") {
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
                let facts = self.read_blob(&digest, None, false);
                self.blobs.insert(digest, facts);
                // Nobody knows what a document names that cannot be read.
                if self.is_read_whole {
                    self.findings.add(blob_place(&digest), Problem::Unreferenced);
                }
            }
        }
    }

    /// Reads a blob once, whole. What is wrong with it was said before, if `again`.
    fn read_blob(&mut self, digest: &Digest, format: Option<LayerFormat>, again: bool) -> Option<BlobFacts> {
        let place = blob_place(digest);
        let read = match self.scans.get_mut(digest).filter(|scan| !again && scan.format == format) {
            Some(scan) => std::mem::replace(&mut scan.result, Err(Problem::Missing)),
            None => self.files.open(&blob_name(digest)).and_then(|file| {
                hash(file, format, &self.options.limits, &mut V::default()).map_err(unreadable)
            }),
        };
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
        if let Some(reason) = read.not_a_tar {
            self.findings.add(place.clone(), Problem::NotATar(reason));
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
pub(super) fn read_small(files: &dyn ImageFiles, name: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let limit = DOCUMENT_LIMIT as u64;
    files.open(name)?.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > DOCUMENT_LIMIT { Err(Problem::Long) } else { Ok(bytes) }
}

pub(super) fn blob_place(digest: &Digest) -> Place {
    Place::document(blob_name(digest))
}
