use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Index, Manifest, media_types};

/// The longest manifest, index or configuration that kic reads, in bytes: twice what registries must take.
pub const DOCUMENT_LIMIT: usize = 8 << 20;

/// The most layers, manifests, diff ids and history entries that one document may list.
pub(super) const MEMBER_LIMIT: usize = 8192;

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "documents are few and short-lived; a box would only cost its readers"
)]
pub enum Document {
    /// Several manifests.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// Why bytes are no manifest, index or configuration that kic takes.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Docker's schema 1, which registries and Docker itself have given up.
    #[error(
        "this is a Docker manifest of schema 1, which kic does not read; push the image again with a current tool"
    )]
    Schema1,
    /// Longer than [`DOCUMENT_LIMIT`].
    #[error("a manifest or configuration of {size} bytes is over the limit of 8 MiB")]
    Long {
        /// Its size in bytes.
        size: usize,
    },
    /// No JSON, or JSON with a missing, ill-typed or absurd member.
    #[error("{0}")]
    Json(#[source] serde_json::Error),
    /// Both an index and a manifest at once (CVE-2021-41190).
    #[error(
        "the document has members of an index and of a manifest, `{first}` and `{second}`, so that tools would read it differently"
    )]
    Ambiguous {
        /// The index's member.
        first: &'static str,
        /// The manifest's member.
        second: &'static str,
    },
    /// Neither an index nor a manifest.
    #[error("the document is neither an index nor an image manifest: it has no `manifests` and no `config`")]
    Neither,
    /// The content is not what its media type says.
    #[error("the media type is `{media_type}`, but the content is {content}")]
    Mismatch {
        /// The media type, from the document or from outside.
        media_type: String,
        /// What the content is, as `an index`.
        content: &'static str,
    },
    /// A media type that is no manifest and no index.
    #[error("`{0}` is not the media type of an image manifest or index")]
    MediaType(String),
    /// Another schema version than 2.
    #[error("the schema version is {0}, and must be 2")]
    SchemaVersion(u64),
    /// More members than any real image has.
    #[error("`{what}` has {count} entries, which is over the limit of 8192")]
    Many {
        /// The member.
        what: &'static str,
        /// How many it has.
        count: usize,
    },
    /// A configuration whose `rootfs` is not made of layers.
    #[error("`rootfs.type` is `{kind}`, and must be `layers`")]
    RootFs {
        /// What it says.
        kind: String,
    },
}

/// The members that tell the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads a manifest or an index of OCI or of Docker's schema 2.
    ///
    /// `media_type` is what the descriptor or the registry's `Content-Type` says, parameters such as
    /// `; charset=utf-8` allowed; empty, `application/json`, `application/octet-stream` and `text/plain` say
    /// nothing. It and the document's own `mediaType` may be missing, but each that is there must agree with
    /// the content. [`Self::media_type`] is then the document's own, else the given one, else OCI's.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        if bytes.len() > DOCUMENT_LIMIT {
            return Err(ModelError::Long { size: bytes.len() });
        }
        let given = media_type.split(';').next().unwrap_or_default().trim();
        let given = match given {
            "" | "application/json" | "application/octet-stream" | "text/plain" => None,
            other => Some(other.to_ascii_lowercase()),
        };
        if given.as_deref().is_some_and(media_types::is_schema1) {
            return Err(ModelError::Schema1);
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(ModelError::Json)?;
        let is_index = shape.is_index()?;
        let stated = shape.media_type.filter(|stated| !stated.is_empty());
        for stated in [&given, &stated].into_iter().flatten() {
            agrees(stated, is_index)?;
        }
        let stated = stated.or(given);
        if is_index {
            let mut index: Index = serde_json::from_slice(bytes).map_err(ModelError::Json)?;
            bounded("manifests", index.manifests.len())?;
            index.media_type = stated.unwrap_or_else(|| media_types::OCI_INDEX.to_owned());
            Ok(Self::Index(index))
        } else {
            let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(ModelError::Json)?;
            bounded("layers", manifest.layers.len())?;
            manifest.media_type = stated.unwrap_or_else(|| media_types::OCI_MANIFEST.to_owned());
            Ok(Self::Manifest(manifest))
        }
    }

    /// The document's media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }
}

impl Shape {
    fn is_index(&self) -> Result<bool, ModelError> {
        let manifest_member =
            [("layers", &self.layers), ("config", &self.config), ("fsLayers", &self.fs_layers)]
                .into_iter()
                .find_map(|(name, member)| member.is_some().then_some(name));
        if let (Some(_), Some(second)) = (&self.manifests, manifest_member) {
            return Err(ModelError::Ambiguous { first: "manifests", second });
        }
        let stated = self.media_type.as_deref().unwrap_or_default();
        if self.fs_layers.is_some() || self.schema_version == Some(1) || media_types::is_schema1(stated) {
            return Err(ModelError::Schema1);
        }
        if let Some(version) = self.schema_version.filter(|version| *version != 2) {
            return Err(ModelError::SchemaVersion(version));
        }
        match (&self.manifests, manifest_member) {
            (Some(_), _) => Ok(true),
            (None, Some(_)) => Ok(false),
            // Go writes an index of nothing as `"manifests": null`.
            (None, None) if media_types::is_index(stated) => Ok(true),
            (None, None) => Err(ModelError::Neither),
        }
    }
}

fn agrees(media_type: &str, is_index: bool) -> Result<(), ModelError> {
    match (media_types::is_index(media_type), media_types::is_manifest(media_type)) {
        (false, false) => Err(ModelError::MediaType(media_type.to_owned())),
        (said_index, _) if said_index == is_index => Ok(()),
        _ => Err(ModelError::Mismatch {
            media_type: media_type.to_owned(),
            content: if is_index { "an index" } else { "an image manifest" },
        }),
    }
}

fn bounded(what: &'static str, count: usize) -> Result<(), ModelError> {
    if count > MEMBER_LIMIT { Err(ModelError::Many { what, count }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ImageConfig, canonical_json};

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":7}}"#)
    }

    fn manifest(members: &str) -> String {
        let (config, layer) = (descriptor(media_types::OCI_CONFIG), descriptor(media_types::OCI_LAYER_GZIP));
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]{members}}}"#)
    }

    fn refused(media_type: &str, text: &str) -> String {
        Document::parse(media_type, text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_media_type_comes_from_outside_else_is_ocis() {
        let text = manifest("");
        let read = |given: &str| Document::parse(given, text.as_bytes()).unwrap().media_type().to_owned();
        assert_eq!(read(media_types::DOCKER_MANIFEST), media_types::DOCKER_MANIFEST);
        assert_eq!(read("application/json; charset=utf-8"), media_types::OCI_MANIFEST);
        assert_eq!(read(""), media_types::OCI_MANIFEST);
        assert_eq!(
            read("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            media_types::OCI_MANIFEST
        );
    }

    #[test]
    fn an_index_of_null_and_null_annotations_are_read() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":null,"annotations":null}}"#,
            media_types::OCI_INDEX
        );
        let Document::Index(index) = Document::parse("", text.as_bytes()).unwrap() else { panic!() };
        assert_eq!(index, Index::new(Vec::new()));
    }

    #[test]
    fn a_document_that_is_both_index_and_manifest_is_refused() {
        let both = manifest(r#","manifests":[]"#);
        assert!(refused(media_types::OCI_MANIFEST, &both).contains("`manifests` and `layers`"));
        assert!(refused(media_types::OCI_INDEX, &both).contains("`manifests` and `layers`"));
        assert!(refused("", r#"{"schemaVersion":2,"manifests":[],"config":{}}"#).contains("`config`"));
    }

    #[test]
    fn content_that_is_not_its_media_type_is_refused() {
        assert!(refused(media_types::OCI_INDEX, &manifest("")).contains("content is an image manifest"));
        let own = format!(r#","mediaType":"{}""#, media_types::DOCKER_INDEX);
        assert!(refused(media_types::OCI_MANIFEST, &manifest(&own)).contains("content is an image manifest"));
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        assert!(refused(media_types::DOCKER_MANIFEST, index).contains("content is an index"));
        assert!(refused(media_types::OCI_CONFIG, index).contains("not the media type"));
        assert!(refused("text/html", index).contains("`text/html`"));
    }

    #[test]
    fn schema_1_is_named() {
        for (media_type, text) in [
            (media_types::DOCKER_SCHEMA1_SIGNED, "{}"),
            ("", r#"{"schemaVersion":1,"fsLayers":[]}"#),
            ("", r#"{"schemaVersion":1}"#),
            (media_types::DOCKER_MANIFEST, r#"{"schemaVersion":2,"fsLayers":[]}"#),
        ] {
            assert!(refused(media_type, text).contains("schema 1"), "{text}");
        }
    }

    #[test]
    fn bad_sizes_and_digests_are_refused() {
        let with = |from: &str, to: &str| refused("", &manifest("").replacen(from, to, 1));
        assert!(with(r#""size":7"#, r#""size":-1"#).contains("-1"));
        assert!(with(r#""size":7"#, r#""size":1.5"#).contains("1.5"));
        assert!(with(r#""size":7"#, r#""size":9223372036854775808"#).contains("9223372036854775808"));
        assert!(with(r#""size":7"#, r#""size":"7""#).contains("string"));
        assert!(with(r#","size":7"#, "").contains("size"));
        assert!(with(DIGEST, "sha256:00").contains("64"));
        assert!(with(DIGEST, "sha512:00").contains("sha512"));
        assert!(with(DIGEST, "sha256:../../x").contains("64"));
        assert!(with(r#""schemaVersion":2"#, r#""schemaVersion":3"#).contains('3'));
    }

    #[test]
    fn nonsense_is_refused_without_harm() {
        for text in ["", "[]", "null", "{", "{}", "\u{0}", r#"{"manifests":7}"#, r#"{"layers":{}}"#] {
            refused("", text);
        }
        refused("", &"[".repeat(1 << 20));
        refused("", &" ".repeat(DOCUMENT_LIMIT + 1));
        let many = vec![descriptor(media_types::OCI_LAYER); MEMBER_LIMIT + 1].join(",");
        let text = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{many}]}}"#, descriptor("x"));
        assert!(refused("", &text).contains("8193"));
    }

    #[test]
    fn a_written_manifest_has_sorted_keys_and_reads_back() {
        let Document::Manifest(read) = Document::parse("", manifest("").as_bytes()).unwrap() else {
            panic!()
        };
        let text = canonical_json(&read);
        assert!(
            text.starts_with(br#"{"config":{"digest":"sha256:e3b0"#),
            "{}",
            String::from_utf8_lossy(&text)
        );
        assert!(text.ends_with(br#""schemaVersion":2}"#));
        assert_eq!(Document::parse("", &text).unwrap(), Document::Manifest(read));
    }

    #[test]
    fn a_docker_configuration_keeps_all_that_is_under_config() {
        let text = r#"{"architecture":"arm64","variant":"v8","os":"linux","docker_version":"27","container":"x",
            "config":{"Env":["A=b"],"Cmd":null,"Labels":null,"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000},
            "Shell":["/bin/sh","-c"],"OnBuild":[],"StopTimeout":9,"ExposedPorts":{"80/tcp":{}},"ArgsEscaped":true,"Memory":5},
            "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history":[{"created_by":"x","empty_layer":true},{"created":"2020-01-01T00:00:00Z"}]}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform().to_string(), "linux/arm64");
        let written: serde_json::Value = serde_json::from_slice(&canonical_json(&config)).unwrap();
        assert_eq!(written["config"]["Healthcheck"]["Interval"], 30_000_000_000_u64);
        for member in ["Env", "Shell", "OnBuild", "StopTimeout", "ExposedPorts", "ArgsEscaped", "Memory"] {
            assert!(!written["config"][member].is_null(), "{member}");
        }
        assert!(written.get("docker_version").is_none());
        assert_eq!(ImageConfig::parse(&canonical_json(&config)).unwrap(), config);
    }

    #[test]
    fn a_configuration_without_layers_or_platform_is_refused() {
        for text in [
            r#"{"os":"linux","rootfs":{"type":"layers"}}"#,
            r#"{"os":"linux","architecture":"amd64"}"#,
            r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"other"}}"#,
            r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#,
        ] {
            ImageConfig::parse(text.as_bytes()).unwrap_err();
        }
    }
}
