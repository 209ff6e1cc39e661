use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::null_is_default;
use super::{Descriptor, media_types};

/// One image for one platform: its configuration and its layers, lowest first
/// (OCI image specification 1.1, "Image Manifest"; Docker schema 2 has the same shape).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Annotations, in the order of their keys.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Type of the artifact, where this is no container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest's own media type; see [`super::Document::parse`] for where it comes from when the text
    /// does not say.
    #[serde(default)]
    pub media_type: String,
    /// Always 2.
    pub schema_version: u32,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
}

/// Several manifests, mostly one a platform
/// (OCI image specification 1.1, "Image Index"; Docker's manifest list has the same shape).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Annotations, in the order of their keys.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Type of the artifact, where this is no container image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What the index holds, in its order.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// The index's own media type; see [`super::Document::parse`].
    #[serde(default)]
    pub media_type: String,
    /// Always 2.
    pub schema_version: u32,
    /// The manifest that this one says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<Descriptor>>,
}

impl Manifest {
    /// An OCI manifest of that configuration and those layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_types::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

impl Index {
    /// An OCI index of those manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_types::OCI_INDEX.to_owned(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}
