//! Whether an OCI layout on disk is what the OCI image specification 1.1 asks for.
//!
//! Everything is checked that can be: a finding does not end the work. The documents are read as plain JSON and
//! not through [`crate::model`], which forgives what upstream registries send and would hide it here.

mod blob;
mod config;
mod descriptor;
mod documents;
mod finding;
mod json;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kic_base::Digest;

pub use finding::{Finding, Problem, Severity};

use crate::model::media_types::LayerFormat;
use crate::unpack::{UnpackLimits, printable};
use config::ConfigFacts;
use finding::{Findings, Place};
use json::Json;

/// What is checked beyond the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateOptions {
    /// Decompress each layer once to check its `diff_id`. Default: yes.
    pub diff_ids: bool,
    /// When decompressing gives up: `bytes` and `ratio`, of each layer by itself.
    pub limits: UnpackLimits,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self { diff_ids: true, limits: UnpackLimits::default() }
    }
}

/// Checks the OCI layout in the folder `path`, and returns what is wrong with it, in the order of the documents.
/// Without findings of [`Severity::Error`] it is a valid image layout whose every blob is there and whole.
pub fn validate(path: &Path, options: &ValidateOptions) -> Vec<Finding> {
    let mut validation = Validation {
        path,
        options,
        findings: Findings::default(),
        blobs: BTreeMap::new(),
        parsed: BTreeSet::new(),
        documents: BTreeMap::new(),
        configs: BTreeMap::new(),
    };
    validation.layout();
    validation.findings.into_vec()
}

/// One layout being checked.
struct Validation<'a> {
    path: &'a Path,
    options: &'a ValidateOptions,
    findings: Findings,
    /// Blobs that were read; nothing for those that are not there or not whole.
    blobs: BTreeMap<Digest, Option<BlobFacts>>,
    /// Blobs that were parsed as documents.
    parsed: BTreeSet<Digest>,
    /// Manifests and indexes that were checked.
    documents: BTreeMap<Digest, DocumentFacts>,
    /// Configurations that were checked; nothing for those that cannot be understood.
    configs: BTreeMap<Digest, Option<ConfigFacts>>,
}

/// What a blob's bytes have shown.
#[derive(Clone, Copy)]
struct BlobFacts {
    size: u64,
    /// How it was decompressed, if it was.
    format: Option<LayerFormat>,
    /// The digest of the decompressed bytes.
    diff_id: Option<Digest>,
}

/// What a manifest or an index says that its descriptors must agree with.
#[derive(Default)]
struct DocumentFacts {
    media_type: Option<String>,
    config: Option<ConfigFacts>,
}

impl Validation<'_> {
    /// Checks everything, from the files that the layout begins with ("Image Layout").
    fn layout(&mut self) {
        if let Some(json) = self.document_file("oci-layout") {
            self.version(&json);
        }
        if let Some(json) = self.document_file("index.json") {
            self.index(&Place::document("index.json"), &json, 0);
        }
        self.blob_folder();
    }

    fn version(&mut self, json: &Json) {
        let findings = &mut self.findings;
        let Some(object) = json.object(&Place::document("oci-layout"), findings) else { return };
        let Some(version) = object.string("imageLayoutVersion", true, findings) else { return };
        if version != "1.0.0" {
            let problem = Problem::Value { found: printable(version.as_bytes()), expected: "`1.0.0`" };
            findings.add(object.place.member("imageLayoutVersion"), problem);
        }
    }

    fn document_file(&mut self, name: &str) -> Option<Json> {
        let place = Place::document(name);
        match blob::read_small(&self.path.join(name)) {
            Ok(bytes) => Json::parse(&place, &bytes, &mut self.findings),
            Err(problem) => {
                self.findings.add(place, problem);
                None
            }
        }
    }
}
