//! Whether an OCI layout on disk is what the OCI image specification 1.1 asks for.
//!
//! Everything is checked that can be: a finding does not end the work. The documents are read as plain JSON and
//! not through [`crate::model`], which forgives what upstream registries send and would hide it here.

mod blob;
mod config;
mod descriptor;
mod documents;
mod files;
mod finding;
mod json;
mod scan;
mod syntax;
mod visitor;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kic_base::Digest;

pub use files::{ImageFiles, LayoutFolder, LooseBlobs};
pub use finding::{Finding, Problem, Severity};
pub use scan::{ExaminedImage, visit_layer};
pub use visitor::{LayerContent, LayerEntry, LayerVisitor, Unvisited};

use crate::model::media_types::{self, LayerFormat};
use crate::model::{Descriptor, Manifest};
use crate::unpack::{PathRefusal, TreePaths, UnpackLimits, printable};
use config::ConfigFacts;
use descriptor::CheckedDescriptor;
use finding::{Findings, Place};
use json::Json;

/// What is checked beyond the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidateOptions {
    /// Decompress each layer once to check its `diff_id`. Default: yes.
    pub diff_ids: bool,
    /// When decompressing gives up: `bytes` and `ratio`, of each layer by itself.
    pub limits: UnpackLimits,
    /// How many layers are read at a time. Default: one.
    pub jobs: usize,
}

impl Default for ValidateOptions {
    fn default() -> Self {
        Self { diff_ids: true, limits: UnpackLimits::default(), jobs: 1 }
    }
}

/// What is known of a layout, or an image, once all of it was read.
#[derive(Debug)]
pub struct Examination<V> {
    /// What is wrong with it, in the order of the documents.
    pub findings: Vec<Finding>,
    /// Its images, as far as their documents can be read.
    pub images: Vec<ExaminedImage>,
    /// What was seen of each layer that is whole.
    pub layers: BTreeMap<Digest, V>,
    /// How many blobs were read.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Checks the OCI layout in the folder `path`, and returns what is wrong with it, in the order of the documents.
/// Without findings of [`Severity::Error`] it is a valid image layout whose every blob is there and whole.
pub fn validate(path: &Path, options: &ValidateOptions) -> Vec<Finding> {
    examine::<Unvisited>(&LayoutFolder(path.to_owned()), None, options).findings
}

/// Checks an OCI layout, or where there is none, the image that is `root`; and shows the entries of every layer to a visitor
/// while it is read. Each layer is read and decompressed once.
pub fn examine<V: LayerVisitor>(
    files: &dyn ImageFiles,
    root: Option<&Descriptor>,
    options: &ValidateOptions,
) -> Examination<V> {
    let roots = root.map_or_else(|| scan::roots(files), |root| vec![root.clone()]);
    let images = scan::images(files, roots);
    let mut validation = Validation {
        files,
        options,
        findings: Findings::default(),
        scans: scan::scan::<V>(files, &images, options),
        blobs: BTreeMap::new(),
        parsed: BTreeSet::new(),
        documents: BTreeMap::new(),
        configs: BTreeMap::new(),
        is_read_whole: true,
    };
    match root {
        Some(root) => validation.root(root),
        None => validation.layout(),
    }
    for image in &images {
        validation.paths(&image.manifest);
    }
    let whole: BTreeMap<Digest, BlobFacts> =
        validation.blobs.iter().filter_map(|(digest, facts)| Some((*digest, (*facts)?))).collect();
    let seen = validation.scans.into_iter().filter(|(digest, _)| whole.contains_key(digest));
    Examination {
        findings: validation.findings.into_vec(),
        images,
        layers: seen.filter_map(|(digest, scan)| Some((digest, scan.contents?))).collect(),
        blobs: whole.len(),
        bytes: whole.values().map(|facts| facts.size).sum(),
    }
}

/// One layout being checked.
struct Validation<'a, V> {
    files: &'a dyn ImageFiles,
    options: &'a ValidateOptions,
    findings: Findings,
    /// Layers that were read beforehand.
    scans: BTreeMap<Digest, scan::Scan<V>>,
    /// Blobs that were read; nothing for those that are not there or not whole.
    blobs: BTreeMap<Digest, Option<BlobFacts>>,
    /// Blobs that were parsed as documents.
    parsed: BTreeSet<Digest>,
    /// Manifests and indexes that were checked.
    documents: BTreeMap<Digest, DocumentFacts>,
    /// Configurations that were checked; nothing for those that cannot be understood.
    configs: BTreeMap<Digest, Option<ConfigFacts>>,
    /// Whether every document could be read, so that all that documents name is known.
    is_read_whole: bool,
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

impl<V: LayerVisitor> Validation<'_, V> {
    /// Checks one image that lies in no layout.
    fn root(&mut self, root: &Descriptor) {
        let place = Place::document("the image");
        let descriptor = CheckedDescriptor {
            place: place.clone(),
            media_type: &root.media_type,
            digest: root.digest,
            size: root.size,
            annotations: Vec::new(),
            platform: None,
        };
        if media_types::is_index(&root.media_type) {
            self.index_blob(&descriptor, 1);
        } else {
            self.manifest_blob(&descriptor);
        }
    }

    /// Checks that the paths of an image's layers stay below the root, as unpacking would ask. Only the first entry that
    /// does not is told: what follows may rest on it. Of each layer, the first entry is told that is whole, and that kic does not
    /// unpack.
    fn paths(&mut self, manifest: &Manifest) {
        let mut tree = TreePaths::default();
        for layer in &manifest.layers {
            let is_whole = matches!(self.blobs.get(&layer.digest), Some(Some(_)));
            let Some(scan) = self.scans.get(&layer.digest).filter(|_| is_whole) else { return };
            if let Err(PathRefusal { entry, reason }) = tree.apply(&scan.paths) {
                let problem = Problem::Refused { entry, reason: reason.to_string() };
                return self.findings.add(blob::blob_place(&layer.digest), problem);
            }
            if let Some(PathRefusal { entry, reason }) = scan.paths.unsupported.clone() {
                let problem = Problem::NotUnpacked { entry, reason: reason.to_string() };
                self.findings.add(blob::blob_place(&layer.digest), problem);
            }
        }
    }

    /// Checks everything, from the files that the layout begins with ("Image Layout").
    fn layout(&mut self) {
        if let Some(json) = self.document_file("oci-layout") {
            self.version(&json);
        }
        match self.document_file("index.json") {
            Some(json) => drop(self.index(&Place::document("index.json"), &json, 0)),
            None => self.is_read_whole = false,
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
        match blob::read_small(self.files, name) {
            Ok(bytes) => Json::parse(&place, &bytes, &mut self.findings),
            Err(problem) => {
                self.findings.add(place, problem);
                None
            }
        }
    }
}
