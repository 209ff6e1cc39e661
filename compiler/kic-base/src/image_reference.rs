use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Digest, DigestError};

/// The name of a container image as Docker and Kubernetes read it, written out in full:
/// `REGISTRY/REPOSITORY[:TAG][@DIGEST]`.
///
/// `nginx` means `docker.io/library/nginx:latest`. The grammar is that of the distribution project's
/// `reference` package; the text between the first `/` and the start is a registry when it holds a `.` or a
/// `:`, is `localhost`, or has an upper-case letter.
///
/// It is ordered by its registry, then by its repository, its tag and its digest. A clone shares the text.
#[derive(Clone)]
pub struct ImageReference {
    text: Arc<str>,
    /// Where the registry ends in the text, the repository, and the tag: where that ends where the repository does, there is none.
    registry: usize,
    repository: usize,
    tag: usize,
    digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// Nothing is there.
    #[error("an image reference is empty")]
    Empty,
    /// White space or a control character.
    #[error("an image reference has no white space")]
    WhiteSpace,
    /// `https://…`
    #[error("an image reference has no scheme such as `https://`")]
    Scheme,
    /// `USER:PASSWORD@HOST/…`
    #[error("an image reference has no user and password")]
    Login,
    /// A registry that is no host and port.
    #[error("`{0}` is no registry: it is written `HOST` or `HOST:PORT`")]
    Registry(String),
    /// A repository with upper-case letters.
    #[error("a repository is written in lower case: `{0}`")]
    UpperCase(String),
    /// A repository with characters that it may not have.
    #[error(
        "`{0}` is no repository: parts of `a-z 0-9`, joined by `.`, `_`, `__` or `-`, and separated by `/`"
    )]
    Repository(String),
    /// A tag with characters that it may not have.
    #[error("`{0}` is no tag: up to 128 of `A-Z a-z 0-9 _ . -`, the first one not `.` or `-`")]
    Tag(String),
    /// What follows `@` is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// Longer than the 255 characters that registries take.
    #[error("an image reference has at most 255 characters before its tag")]
    TooLong,
}

impl ImageReference {
    /// A reference from its parts, which are taken as they are.
    pub fn new(registry: &str, repository: &str, tag: Option<&str>, digest: Option<Digest>) -> Self {
        let end_of_repository = registry.len() + 1 + repository.len();
        let end_of_tag = end_of_repository + tag.map_or(0, |tag| 1 + tag.len());
        let mut text = String::with_capacity(end_of_tag + digest.map_or(0, |_| 1 + "sha256:".len() + 64));
        text.extend([registry, "/", repository]);
        text.extend(tag.iter().flat_map(|tag| [":", tag]));
        if let Some(digest) = &digest {
            text.extend(["@", &digest.text()]);
        }
        Self {
            text: text.into(),
            registry: registry.len(),
            repository: end_of_repository,
            tag: end_of_tag,
            digest,
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The registry, such as `docker.io` or `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.text[..self.registry]
    }

    /// The repository, such as `library/nginx`.
    pub fn repository(&self) -> &str {
        &self.text[self.registry + 1..self.repository]
    }

    /// The tag; `latest` where the text had neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        (self.tag > self.repository).then(|| &self.text[self.repository + 1..self.tag])
    }

    /// The digest, where the text had one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository, by digest alone.
    pub fn at(&self, digest: Digest) -> Self {
        Self::new(self.registry(), self.repository(), None, Some(digest))
    }

    /// `REGISTRY/REPOSITORY`, without tag and digest.
    pub fn name(&self) -> &str {
        &self.text[..self.repository]
    }

    /// What it is ordered by.
    fn parts(&self) -> (&str, &str, Option<&str>, Option<&Digest>) {
        (self.registry(), self.repository(), self.tag(), self.digest())
    }

    /// Whether `text` has the form of a registry: `HOST` or `HOST:PORT`, IPv6 addresses in brackets.
    pub fn is_registry(text: &str) -> bool {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
                {
                    return false;
                }
                ("v6", if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("x")) })
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let label = |label: &str| {
            let bytes = label.as_bytes();
            !bytes.is_empty()
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
                && bytes[0] != b'-'
                && bytes[bytes.len() - 1] != b'-'
        };
        host.split('.').all(label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
    }
}

/// Whether the part before the first `/` names a registry rather than a folder of Docker Hub.
fn names_a_registry(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_repository(repository: &str) -> Result<(), ImageReferenceError> {
    let part = |part: &str| {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
        let mut separators = bytes.split(alphanumeric).filter(|run| !run.is_empty());
        alphanumeric(first)
            && alphanumeric(last)
            && separators
                .all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-'))
    };
    if repository.split('/').all(part) {
        Ok(())
    } else if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Err(ImageReferenceError::UpperCase(repository.to_owned()))
    } else {
        Err(ImageReferenceError::Repository(repository.to_owned()))
    }
}

fn check_tag(tag: &str) -> Result<(), ImageReferenceError> {
    let bytes = tag.as_bytes();
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let good = (1..=128).contains(&bytes.len())
        && word(&bytes[0])
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
    good.then_some(()).ok_or_else(|| ImageReferenceError::Tag(tag.to_owned()))
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        if text.is_empty() {
            return Err(ImageReferenceError::Empty);
        }
        if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
            return Err(ImageReferenceError::WhiteSpace);
        }
        if text.contains("://") {
            return Err(ImageReferenceError::Scheme);
        }
        let (name_and_tag, digest) = match text.split_once('@') {
            // The password is not to be repeated.
            Some((_, digest)) if digest.contains('/') => return Err(ImageReferenceError::Login),
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it, the registry's port.
        let last_part = name_and_tag.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name_and_tag[last_part..].split_once(':') {
            Some((last, tag)) => (&name_and_tag[..last_part + last.len()], Some(tag)),
            None => (name_and_tag, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if names_a_registry(first) => (first, rest),
            _ => ("docker.io", name),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        if !Self::is_registry(registry) {
            return Err(ImageReferenceError::Registry(registry.to_owned()));
        }
        check_repository(repository)?;
        tag.map_or(Ok(()), check_tag)?;
        let repository = if registry == "docker.io" && !repository.contains('/') {
            Cow::Owned(format!("library/{repository}"))
        } else {
            Cow::Borrowed(repository)
        };
        if registry.len() + 1 + repository.len() > 255 {
            return Err(ImageReferenceError::TooLong);
        }
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
        Ok(Self::new(registry, &repository, tag, digest))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageReference").field(&self.text).finish()
    }
}

impl PartialEq for ImageReference {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) || self.parts() == other.parts()
    }
}

impl Eq for ImageReference {}

impl PartialOrd for ImageReference {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImageReference {
    fn cmp(&self, other: &Self) -> Ordering {
        // Many places name one image, by clones of its name.
        if Arc::ptr_eq(&self.text, &other.text) {
            return Ordering::Equal;
        }
        self.parts().cmp(&other.parts())
    }
}

impl Hash for ImageReference {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl Serialize for ImageReference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ImageReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_written_out_in_full() {
        let digest = Digest::of(b"").to_string();
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("bitnami/nginx", "docker.io/bitnami/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost/nginx", "localhost/nginx:latest"),
            ("localhost:5000/nginx", "localhost:5000/nginx:latest"),
            ("sea.hub:5000/kyverno/kyverno:v1.5.1", "sea.hub:5000/kyverno/kyverno:v1.5.1"),
            ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
            ("a__b/c--d/e.f_g:T", "docker.io/a__b/c--d/e.f_g:T"),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse::<ImageReference>().unwrap(), reference);
        }
        let both = format!("nginx:1@{digest}").parse::<ImageReference>().unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/nginx:1@{digest}"));
        let only = format!("nginx@{digest}").parse::<ImageReference>().unwrap();
        assert_eq!(only.to_string(), format!("docker.io/library/nginx@{digest}"));
        assert_eq!(only.tag(), None);
    }

    #[test]
    fn references_are_made_of_their_parts_and_ordered_by_them() {
        let digest = Some(Digest::of(b""));
        // A registry with a character that comes before `/`, so that the order of the texts is another one.
        let parts = [
            ("a", "b", None, None),
            ("a", "b", None, digest),
            ("a", "b", Some("1"), None),
            ("a", "b", Some("1"), digest),
            ("a", "b-c", Some("1"), None),
            ("a", "b/c", Some("1"), None),
            ("a-b", "a", None, None),
        ];
        let made = parts.map(|(registry, repository, tag, digest)| {
            ImageReference::new(registry, repository, tag, digest)
        });
        for (one, (registry, repository, tag, digest)) in made.iter().zip(parts) {
            assert_eq!((one.registry(), one.repository()), (registry, repository));
            assert_eq!((one.tag(), one.digest().copied()), (tag, digest));
            assert_eq!(one.name(), format!("{registry}/{repository}"));
            assert!(one.as_str().starts_with(one.name()));
            assert_eq!(one.at(Digest::of(b"")).as_str(), format!("{}@{}", one.name(), Digest::of(b"")));
        }
        assert!(made.is_sorted_by(|left, right| left < right));
        assert!(made[6].as_str() < made[0].as_str());
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        use ImageReferenceError as E;
        let long = format!("{}:x", "a/".repeat(140) + "a");
        for (text, error) in [
            ("", E::Empty),
            ("a b", E::WhiteSpace),
            ("https://ghcr.io/a", E::Scheme),
            ("me:hidden@ghcr.io/a", E::Login),
            ("me:hid@den:x@ghcr.io/a", E::Login),
            ("Nginx", E::UpperCase("Nginx".into())),
            ("ghcr.io/A", E::UpperCase("A".into())),
            ("a//b", E::Repository("a//b".into())),
            ("-a", E::Repository("-a".into())),
            ("a___b", E::Repository("a___b".into())),
            ("nginx:", E::Tag(String::new())),
            ("nginx:-a", E::Tag("-a".into())),
            ("host:99999/a", E::Registry("host:99999".into())),
            ("nginx@sha512:00", E::Digest(DigestError::Algorithm("sha512".into()))),
            (&long, E::TooLong),
        ] {
            assert_eq!(text.parse::<ImageReference>(), Err(error), "{text}");
        }
    }
}
