use serde_json::{Map, Value as Json};

/// An image's name as Kyverno takes it apart for `images.…`: the path of Docker Hub's images stays as it is written, without
/// `library/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageInfo {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageInfo {
    /// `None` where the text is no image reference.
    pub fn read(text: &str) -> Option<Self> {
        text.parse::<kic_base::ImageReference>().ok()?;
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].split_once(':') {
            Some((part, tag)) => (&name[..last + part.len()], Some(tag.to_owned())),
            None => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest),
            _ => ("docker.io", name),
        };
        let tag = tag.or_else(|| if digest.is_none() { Some("latest".to_owned()) } else { None });
        Some(Self { registry: registry.to_owned(), path: path.to_owned(), tag, digest })
    }

    /// The name with registry, and digest or else tag.
    pub fn reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}/{}@{digest}", self.registry, self.path),
            (None, tag) => format!("{}/{}:{}", self.registry, self.path, tag.as_deref().unwrap_or_default()),
        }
    }

    /// As policies see it.
    pub fn to_json(&self) -> Json {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let with_tag = format!("{}/{}:{}", self.registry, self.path, self.tag.as_deref().unwrap_or_default());
        let mut fields = Map::new();
        let mut add = |key: &str, value: &str| fields.insert(key.to_owned(), Json::String(value.to_owned()));
        add("registry", &self.registry);
        add("name", name);
        add("path", &self.path);
        add("reference", &self.reference());
        add("referenceWithTag", &with_tag);
        for (key, value) in [("tag", &self.tag), ("digest", &self.digest)] {
            if let Some(value) = value {
                add(key, value);
            }
        }
        Json::Object(fields)
    }
}

/// Whether the first part of a name is a registry.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|byte| byte.is_ascii_uppercase())
}
