use std::collections::BTreeMap;

use kic_base::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize, de};

/// What stands for a blob elsewhere: type, digest and size, and what is said about it
/// (OCI image specification 1.1, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Annotations, in the order of their keys.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Type of the artifact, where the blob is a manifest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The blob itself in base 64, for small blobs. kic writes none and trusts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Digest of the blob's bytes.
    pub digest: Digest,
    /// Media type of the blob.
    pub media_type: String,
    /// What the image runs on, in the descriptors of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
    /// Size of the blob in bytes; never over `i64::MAX`, which is what other tools hold it in.
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where else the blob may be had. kic never follows them.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

/// The platform as a descriptor or a configuration spells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    /// Processor, in Go's names; `unknown` for attestations.
    pub architecture: String,
    /// Features of the processor, as old Docker manifest lists have them.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Operating system, in Go's names.
    pub os: String,
    /// Features that the operating system must have, for Windows.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Version of the operating system, for Windows.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Descriptor {
    /// A descriptor with nothing but what it must have.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
            data: None,
        }
    }

    /// What it must have of this one, and nothing else.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self::new(&self.media_type, self.digest, self.size)
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }
}

impl DescriptorPlatform {
    /// The platform, normalised.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl From<&Platform> for DescriptorPlatform {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: None,
            os_features: Vec::new(),
            variant: platform.variant.clone(),
            features: Vec::new(),
        }
    }
}

/// Go writes `null` for an empty list or map, so it is read as one.
pub(super) fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if i64::try_from(size).is_err() {
        return Err(de::Error::custom(format_args!("a size of {size} bytes is over what a blob can have")));
    }
    Ok(size)
}
