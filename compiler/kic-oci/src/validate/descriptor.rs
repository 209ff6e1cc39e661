use kic_base::Digest;

use super::Validation;
use super::config::PlatformText;
use super::finding::{Place, Problem};
use super::json::{Json, Object};
use super::syntax::{base64, is_media_type, is_time};
use super::visitor::LayerVisitor;
use crate::unpack::printable;

/// A descriptor whose required members are there and well formed.
#[derive(Clone)]
pub(super) struct CheckedDescriptor<'a> {
    pub(super) place: Place,
    pub(super) media_type: &'a str,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) annotations: Vec<(&'a str, &'a str)>,
    pub(super) platform: Option<PlatformText>,
}

impl<V: LayerVisitor> Validation<'_, V> {
    /// Checks a descriptor by itself ("Content Descriptors"); its blob is the caller's.
    pub(super) fn descriptor<'j>(&mut self, place: &Place, json: &'j Json) -> Option<CheckedDescriptor<'j>> {
        let findings = &mut self.findings;
        let object = json.object(place, findings)?;
        let media_type = self.media_type(&object, "mediaType", true);
        let findings = &mut self.findings;
        let size = object.whole("size", true, findings);
        let size = size.filter(|size| {
            let fits = i64::try_from(*size).is_ok();
            if !fits {
                let problem = Problem::Value { found: size.to_string(), expected: "below 2^63" };
                findings.add(place.member("size"), problem);
            }
            fits
        });
        let digest = object.string("digest", true, findings);
        let digest = digest.and_then(|text| {
            let problem = match text.parse::<Digest>() {
                Ok(digest) => return Some(digest),
                Err(_) => Problem::Value {
                    found: printable(text.as_bytes()),
                    expected: "`sha256:` and 64 lower-case hexadecimal digits",
                },
            };
            findings.add(place.member("digest"), problem);
            None
        });
        object.strings("urls", findings);
        let annotations = self.annotations(&object);
        self.media_type(&object, "artifactType", false);
        let findings = &mut self.findings;
        let platform = object.object("platform", false, findings);
        let platform = platform.map(|platform| PlatformText::read(&platform, findings));
        let checked = CheckedDescriptor {
            place: place.clone(),
            media_type: media_type?,
            digest: digest?,
            size: size?,
            annotations,
            platform,
        };
        if let Some(data) = object.string("data", false, &mut self.findings) {
            let is_blob = base64(data).is_some_and(|bytes| {
                bytes.len() as u64 == checked.size && Digest::of(&bytes) == checked.digest
            });
            if !is_blob {
                self.findings.add(place.member("data"), Problem::DataDiffers);
            }
        }
        Some(checked)
    }

    /// Annotations: strings to strings, and what the specification says of its own keys.
    pub(super) fn annotations<'j>(&mut self, object: &Object<'j>) -> Vec<(&'j str, &'j str)> {
        let place = object.place.member("annotations");
        let annotations = object.string_map("annotations", &mut self.findings);
        for (key, value) in &annotations {
            if key.is_empty() {
                let problem = Problem::Unusual { found: String::new(), expected: "a key that is not empty" };
                self.findings.add(place.clone(), problem);
            }
            if *key == "org.opencontainers.image.created" && !is_time(value) {
                let found = printable(value.as_bytes());
                let problem = Problem::Value { found, expected: "a time of RFC 3339" };
                self.findings.add(place.member(key), problem);
            }
        }
        annotations
    }

    /// A member that is a media type.
    pub(super) fn media_type<'j>(
        &mut self,
        object: &Object<'j>,
        name: &str,
        required: bool,
    ) -> Option<&'j str> {
        let text = object.string(name, required, &mut self.findings)?;
        if is_media_type(text) {
            return Some(text);
        }
        let problem =
            Problem::Value { found: printable(text.as_bytes()), expected: "a media type of RFC 6838" };
        self.findings.add(object.place.member(name), problem);
        None
    }
}
