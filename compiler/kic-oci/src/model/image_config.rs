use std::collections::BTreeMap;

use kic_base::{Digest, Platform};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::descriptor::null_is_default;
use super::document::{DOCUMENT_LIMIT, MEMBER_LIMIT, ModelError};

/// An image's configuration: platform, what it runs, and the digests of its unpacked layers
/// (OCI image specification 1.1, "Image Configuration").
///
/// What Docker adds at the top, such as `container` and `docker_version`, is dropped on reading; everything
/// under `config` is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Processor, in Go's names.
    pub architecture: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// How a container of it runs.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "RunConfig::is_empty")]
    pub config: RunConfig,
    /// When the image was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made each layer, lowest first.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
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
    /// The layers, unpacked.
    pub rootfs: RootFs,
    /// Variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// How a container of the image runs: the member `config`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// Arguments of what is started, or what is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// What is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Variables, as `NAME=VALUE`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Ports, as `80/tcp`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Labels, in the order of their keys.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `USER[:GROUP]`, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Directories for data of the container's own.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    /// Where it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// All other members as they came: `Healthcheck`, `Shell`, `OnBuild`, `StopTimeout`, `ArgsEscaped`,
    /// `Memory` and whatever else Docker has.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The layers, unpacked: the member `rootfs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// The digest of each layer's tar, uncompressed, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What made one layer, or changed the configuration alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whether it made no layer.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_false")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// A configuration for that platform, with nothing in it.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            os_version: None,
            os_features: Vec::new(),
            variant: platform.variant.clone(),
            created: None,
            author: None,
            config: RunConfig::default(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
            history: Vec::new(),
        }
    }

    /// Reads a configuration of OCI or Docker.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        if bytes.len() > DOCUMENT_LIMIT {
            return Err(ModelError::Long { size: bytes.len() });
        }
        let config: Self = serde_json::from_slice(bytes).map_err(ModelError::Json)?;
        if config.rootfs.kind != "layers" {
            return Err(ModelError::RootFs { kind: config.rootfs.kind });
        }
        for (what, count) in [("diff_ids", config.rootfs.diff_ids.len()), ("history", config.history.len())] {
            if count > MEMBER_LIMIT {
                return Err(ModelError::Many { what, count });
            }
        }
        Ok(config)
    }

    /// The platform, normalised.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

impl RunConfig {
    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
