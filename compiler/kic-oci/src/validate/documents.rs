use std::collections::BTreeSet;

use super::config::ConfigFacts;
use super::descriptor::CheckedDescriptor;
use super::finding::{Place, Problem};
use super::json::{Json, Object};
use super::syntax::is_reference_name;
use super::visitor::LayerVisitor;
use super::{DocumentFacts, Validation};
use crate::model::media_types;
use crate::unpack::printable;

const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// How deep indexes may lie in each other; real ones are two deep.
const DEPTH_LIMIT: usize = 16;

impl<V: LayerVisitor> Validation<'_, V> {
    /// Checks an image index and all that it names ("Image Index"). That of depth 0 is `index.json`.
    /// Returns its own media type.
    pub(super) fn index(&mut self, place: &Place, json: &Json, depth: usize) -> Option<String> {
        let object = json.object(place, &mut self.findings)?;
        let media_type = self.head(&object, media_types::is_index, "the media type of an index");
        if ["config", "layers", "fsLayers"].iter().any(|name| object.has(name)) {
            self.findings.add(place.clone(), Problem::Ambiguous);
        }
        let items = object.array("manifests", true, &mut self.findings).unwrap_or_default();
        let (mut names, mut entries) = (BTreeSet::new(), BTreeSet::new());
        for (place, item) in items {
            let Some(descriptor) = self.descriptor(&place, item) else { continue };
            let name = descriptor.annotations.iter().find(|(key, _)| *key == REFERENCE);
            let name = name.map(|(_, name)| *name);
            // Names of images stand in `index.json` only.
            if let Some(name) = name.filter(|_| depth == 0) {
                self.reference_name(&place, name, names.insert(name));
            }
            if !entries.insert((descriptor.digest, name)) {
                self.findings.add(place.clone(), Problem::DuplicateEntry);
            }
            if media_types::is_index(descriptor.media_type) {
                self.index_blob(&descriptor, depth + 1);
            } else if media_types::is_manifest(descriptor.media_type) {
                self.manifest_blob(&descriptor);
            } else {
                self.unusual_media_type(&descriptor, "the media type of a manifest or an index");
                self.blob(&descriptor, false);
            }
        }
        media_type
    }

    pub(super) fn index_blob(&mut self, descriptor: &CheckedDescriptor<'_>, depth: usize) {
        let place = Place::document(format!("index {}", descriptor.digest));
        if depth > DEPTH_LIMIT {
            return self.findings.add(place, Problem::Deep);
        }
        let Some(json) = self.document_blob(&place, descriptor) else { return };
        if !self.documents.contains_key(&descriptor.digest) {
            self.documents.insert(descriptor.digest, DocumentFacts::default());
            let media_type = self.index(&place, &json, depth);
            self.documents.insert(descriptor.digest, DocumentFacts { media_type, config: None });
        }
        self.same_media_type(descriptor);
    }

    pub(super) fn manifest_blob(&mut self, descriptor: &CheckedDescriptor<'_>) {
        let place = Place::document(format!("manifest {}", descriptor.digest));
        let Some(json) = self.document_blob(&place, descriptor) else { return };
        if !self.documents.contains_key(&descriptor.digest) {
            let facts = self.manifest(&place, &json).unwrap_or_default();
            self.documents.insert(descriptor.digest, facts);
        }
        self.same_media_type(descriptor);
        self.same_platform(descriptor);
    }

    /// Checks a manifest and all that it names ("Image Manifest").
    fn manifest(&mut self, place: &Place, json: &Json) -> Option<DocumentFacts> {
        let object = json.object(place, &mut self.findings)?;
        let media_type = self.head(&object, media_types::is_manifest, "the media type of a manifest");
        if object.has("manifests") {
            self.findings.add(place.clone(), Problem::Ambiguous);
        }
        let config = object.get("config");
        if config.is_none() {
            self.findings.add(place.member("config"), Problem::MissingMember);
        }
        let config = config.and_then(|config| self.descriptor(&place.member("config"), config));
        let config_type = config.as_ref().map(|config| config.media_type);
        // Of other artifacts nothing is known but that their blobs are there.
        let is_image = config_type.is_some_and(media_types::is_config);
        if config_type == Some(media_types::OCI_EMPTY) && !object.has("artifactType") {
            self.findings.add(place.member("artifactType"), Problem::MissingMember);
        }
        let items = object.array("layers", true, &mut self.findings).unwrap_or_default();
        let mut diff_ids = Vec::new();
        for (place, item) in items {
            let layer = self.descriptor(&place, item);
            diff_ids.push(layer.and_then(|layer| self.layer(&layer, is_image)));
        }
        let config = match config {
            Some(config) if is_image => self.config_blob(&config, &diff_ids),
            Some(config) => {
                self.blob(&config, false);
                None
            }
            None => None,
        };
        Some(DocumentFacts { media_type, config })
    }

    /// Returns the digest of the layer's decompressed bytes, where they were looked at.
    fn layer(&mut self, layer: &CheckedDescriptor<'_>, is_image: bool) -> Option<kic_base::Digest> {
        if is_image && !media_types::is_layer(layer.media_type) {
            self.unusual_media_type(layer, "the media type of a layer");
        } else if media_types::is_foreign_layer(layer.media_type) {
            self.unusual_media_type(layer, "a layer that may be passed on");
        }
        let facts = self.blob(layer, is_image && self.options.diff_ids);
        facts.and_then(|facts| facts.diff_id)
    }

    /// Checks a configuration, and that it agrees with the layers.
    fn config_blob(
        &mut self,
        descriptor: &CheckedDescriptor<'_>,
        layers: &[Option<kic_base::Digest>],
    ) -> Option<ConfigFacts> {
        let place = Place::document(format!("config {}", descriptor.digest));
        let json = self.document_blob(&place, descriptor)?;
        if !self.configs.contains_key(&descriptor.digest) {
            let facts = self.config(&place, &json);
            self.configs.insert(descriptor.digest, facts);
        }
        let facts = self.configs.get(&descriptor.digest).cloned()??;
        self.same_layers(&place, &facts, layers);
        Some(facts)
    }

    /// What indexes and manifests have in common. Returns the document's own media type.
    fn head(
        &mut self,
        object: &Object<'_>,
        is_right: fn(&str) -> bool,
        expected: &'static str,
    ) -> Option<String> {
        if let Some(version) = object.whole("schemaVersion", true, &mut self.findings)
            && version != 2
        {
            let problem = Problem::Value { found: version.to_string(), expected: "2" };
            self.findings.add(object.place.member("schemaVersion"), problem);
        }
        let media_type = self.media_type(object, "mediaType", false).map(str::to_owned);
        let place = object.place.member("mediaType");
        match &media_type {
            Some(media_type) if !is_right(media_type) => {
                self.findings.add(place, Problem::Value { found: media_type.clone(), expected });
            }
            None if object.get("mediaType").is_none() => {
                self.findings.add(place, Problem::Unstated);
            }
            _ => {}
        }
        self.media_type(object, "artifactType", false);
        self.annotations(object);
        if let Some(subject) = object.get("subject") {
            // The subject may lie elsewhere.
            self.descriptor(&object.place.member("subject"), subject);
        }
        media_type
    }

    fn same_media_type(&mut self, descriptor: &CheckedDescriptor<'_>) {
        let own = self.documents.get(&descriptor.digest).and_then(|facts| facts.media_type.as_deref());
        if let Some(own) = own.filter(|own| *own != descriptor.media_type) {
            let problem = Problem::MediaTypeDiffers {
                document: printable(own.as_bytes()),
                descriptor: descriptor.media_type.to_owned(),
            };
            self.findings.add(descriptor.place.member("mediaType"), problem);
        }
    }

    fn same_platform(&mut self, descriptor: &CheckedDescriptor<'_>) {
        let config = self.documents.get(&descriptor.digest).and_then(|facts| facts.config.as_ref());
        let (Some(index), Some(config)) = (&descriptor.platform, config) else { return };
        if !index.agrees(&config.platform) {
            let problem = Problem::Platform { index: index.to_string(), config: config.platform.to_string() };
            self.findings.add(descriptor.place.member("platform"), problem);
        }
    }

    fn reference_name(&mut self, place: &Place, name: &str, is_new: bool) {
        let place = place.member("annotations").member(REFERENCE);
        if !is_reference_name(name) {
            let problem = Problem::Unusual {
                found: printable(name.as_bytes()),
                expected: "letters and digits, with single `-._:@+` between them and `/` between parts",
            };
            self.findings.add(place.clone(), problem);
        }
        if !is_new {
            self.findings.add(place, Problem::DuplicateName(printable(name.as_bytes())));
        }
    }

    fn unusual_media_type(&mut self, descriptor: &CheckedDescriptor<'_>, expected: &'static str) {
        let problem = Problem::Unusual { found: descriptor.media_type.to_owned(), expected };
        self.findings.add(descriptor.place.member("mediaType"), problem);
    }
}
