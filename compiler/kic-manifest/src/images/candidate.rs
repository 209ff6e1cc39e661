use kic_base::ImageReference;

use crate::Confidence;

/// A text that has the form of an image reference, and what of it was written out.
pub(crate) struct Candidate {
    pub(crate) reference: ImageReference,
    /// Whether it names its registry.
    host: bool,
    /// Whether it has more than one part before the tag.
    slash: bool,
    /// Whether it has a tag or digest.
    version: bool,
    /// Whether all that tells it from `HOST:PORT` or a time is that it stands where an image is expected.
    port_like: bool,
    /// Whether its tag reads like a version.
    dotted: bool,
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// A field that is named for an image.
    Field,
    /// A variable, argument, parameter, setting or annotation that is named for an image.
    Named,
    /// A variable, argument, parameter or setting of any other name.
    Setting,
    /// A field of any other name.
    Neutral,
}

/// Hosts of source code: what they serve is cloned, not pulled.
const CODE_HOSTS: &[&str] = &["github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "dev.azure.com"];

/// What ends the names of files that people call images, and of other files.
const FILES: &[&str] = &[
    ".png", ".jpg", ".jpeg", ".gif", ".svg", ".ico", ".webp", ".iso", ".img", ".qcow2", ".raw", ".vmdk",
    ".vhd", ".ova", ".yaml", ".yml", ".json", ".tgz", ".gz", ".xz", ".tar", ".zip", ".sh", ".txt", ".html",
    ".crt", ".pem", ".key", ".conf", ".sock", ".log",
];

/// Words that stand in an image's field and mean "not here".
const NO_IMAGES: &[&str] = &[
    "auto", "default", "none", "latest", "unknown", "custom", "inherit", "image", "null", "n/a", "todo",
    "example",
];

/// How registries are named: hosts whose references are images wherever they stand.
const REGISTRIES: &[&str] = &[
    "docker.io",
    "ghcr.io",
    "quay.io",
    "gcr.io",
    "registry.k8s.io",
    "k8s.gcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "nvcr.io",
    "docker.elastic.co",
    "xpkg.upbound.io",
    "xpkg.crossplane.io",
    "icr.io",
    "cgr.dev",
    "lscr.io",
    "registry.gitlab.com",
];

impl Candidate {
    /// The candidate that `text` is, outside pod specs.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = without_transport(text);
        // A quick refusal: most texts are no references.
        if text.len() > 400 || text.is_empty() || !text.is_ascii() || text.bytes().any(|byte| byte <= b' ') {
            return None;
        }
        let reference: ImageReference = text.parse().ok()?;
        let name = text.split('@').next().unwrap_or_default();
        let first = name.split('/').next().unwrap_or_default();
        let slash = name.contains('/');
        let host = slash && (first.contains(['.', ':']) || first == "localhost");
        let last = name.rsplit('/').next().unwrap_or_default();
        let tag = last.split_once(':').map(|(_, tag)| tag);
        if host && CODE_HOSTS.contains(&reference.registry()) {
            return None;
        }
        if reference.digest().is_none() {
            let lower = text.to_ascii_lowercase();
            if FILES.iter().any(|ending| lower.ends_with(ending)) || NO_IMAGES.contains(&lower.as_str()) {
                return None;
            }
            // Checksums are written `ALGORITHM:HEX`.
            if tag.is_some_and(|tag| tag.len() >= 32 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()))
                && !slash
            {
                return None;
            }
            let path = if host { &name[first.len()..] } else { name };
            let path = tag.map_or(path, |tag| &path[..path.len() - tag.len() - 1]);
            if !path.bytes().any(|byte| byte.is_ascii_alphabetic()) {
                return None;
            }
        }
        let number = tag.is_some_and(|tag| tag.bytes().all(|byte| byte.is_ascii_digit()));
        let digest = reference.digest().is_some();
        let dotted = digest
            || tag.is_some_and(|tag| {
                tag == "latest" || {
                    let version = tag.strip_prefix('v').unwrap_or(tag);
                    version.starts_with(|first: char| first.is_ascii_digit())
                        && (version.contains('.') || tag.starts_with('v'))
                }
            });
        Some(Self {
            host,
            slash,
            version: tag.is_some() || digest,
            port_like: number && !digest,
            dotted,
            reference,
        })
    }

    /// The candidate that `text` is where nothing but an image can stand.
    pub(crate) fn of_container(text: &str) -> Option<Self> {
        Some(Self {
            reference: text.parse().ok()?,
            host: true,
            slash: true,
            version: true,
            port_like: false,
            dotted: true,
        })
    }

    /// How sure it is that this is an image, where it stands.
    pub(crate) fn judge(&self, position: Position) -> Option<Confidence> {
        use Confidence::{Certain, Likely, Possible};
        let full = self.host && self.version;
        match position {
            Position::Field if full => Some(Certain),
            Position::Field | Position::Named if self.version || self.host => Some(Likely),
            Position::Field if self.slash => Some(Likely),
            Position::Field | Position::Named => Some(Possible),
            Position::Setting if full && (!self.port_like || self.known_registry()) => Some(Likely),
            Position::Setting if self.slash && self.dotted => Some(Possible),
            Position::Neutral if full && self.known_registry() => Some(Likely),
            Position::Neutral if full && self.dotted => Some(Possible),
            Position::Setting | Position::Neutral => None,
        }
    }

    /// Whether it is one word, which may be the name of anything.
    pub(crate) const fn is_bare_word(&self) -> bool {
        !self.slash && !self.version
    }

    /// Whether it names its registry.
    pub(crate) const fn names_registry(&self) -> bool {
        self.host
    }

    /// Whether it names its registry, and has a tag or digest.
    pub(crate) const fn is_full(&self) -> bool {
        self.host && self.version
    }

    /// Whether it has more parts than one.
    pub(crate) const fn is_path(&self) -> bool {
        self.slash
    }

    /// Whether it has more parts than one, none of which is a host.
    pub(crate) const fn is_short_path(&self) -> bool {
        self.slash && !self.host
    }

    /// Whether it has more parts than one, and a tag that reads like a version.
    pub(crate) const fn is_versioned_path(&self) -> bool {
        self.slash && self.dotted
    }

    /// Whether it has a tag or digest.
    pub(crate) const fn has_version(&self) -> bool {
        self.version
    }

    /// Whether it is an image without its version, where it is called a repository.
    pub(crate) fn is_repository(&self) -> bool {
        !self.version && self.in_folder_of_known_registry()
    }

    /// Whether it names a registry that is known, and in it a repository in a folder.
    pub(crate) fn in_folder_of_known_registry(&self) -> bool {
        self.host && self.known_registry() && self.reference.repository().contains('/')
    }

    fn known_registry(&self) -> bool {
        // A registry that mirrors others has their hosts as folders.
        let folder = self.reference.repository().split('/').next().unwrap_or_default();
        is_known(self.reference.registry()) || (folder.contains('.') && is_known(folder))
    }
}

/// Whether a host is a registry, by its name.
fn is_known(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or_default();
    REGISTRIES.contains(&host)
        || [".gcr.io", ".pkg.dev", ".azurecr.io", ".amazonaws.com", ".icr.io", ".quay.io"]
            .iter()
            .any(|ending| host.ends_with(ending))
        || matches!(
            host.split('.').next(),
            Some("registry" | "docker" | "images" | "containers" | "cr" | "harbor" | "ghcr" | "quay")
        )
}

/// The candidate of a text whose transport, such as `docker://`, says that it is an image, wherever it stands. The
/// identifiers of containers that runtimes write (`docker://HEX`) have one part only.
pub(crate) fn with_transport(text: &str) -> Option<Candidate> {
    (without_transport(text).len() < text.len())
        .then(|| Candidate::read(text))
        .flatten()
        .filter(Candidate::is_path)
}

/// Without a transport such as `docker://`, which some fields want in front.
pub(crate) fn without_transport(text: &str) -> &str {
    ["docker://", "docker-image://", "docker-pullable://"]
        .iter()
        .find_map(|transport| text.strip_prefix(transport))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str, position: Position) -> Option<Confidence> {
        Candidate::read(text).and_then(|candidate| candidate.judge(position))
    }

    #[test]
    fn ports_times_paths_and_urls_are_no_images() {
        for text in [
            "foo:8080",
            "10:30",
            "10:30:00",
            "http://a.b/c:d",
            "/etc/a:ro",
            "a/b",
            "kyverno:admission-controller",
            "system:serviceaccount:a:b",
            "10.0.0.1:8080",
            "0.0.0.0:80",
            "prometheus",
            "a.b.svc:9090",
            "apps/v1",
            "github.com/a/b:v1",
            "",
            "{{ x }}",
            "a b",
            "localhost:8080/healthz",
            "kyverno.io/v1",
        ] {
            for position in [Position::Setting, Position::Neutral] {
                assert_eq!(judge(text, position), None, "{text} {position:?}");
            }
        }
    }

    #[test]
    fn full_references_are_images_and_words_need_a_name_that_says_so() {
        use Confidence::{Certain, Likely, Possible};
        for (text, field, setting) in [
            ("quay.io/a/b:v1", Some(Certain), Some(Likely)),
            ("host:5000/b:main", Some(Certain), Some(Likely)),
            ("docker://quay.io/a/b:v1", Some(Certain), Some(Likely)),
            ("quay.io/a/b", Some(Likely), None),
            ("a/b:1.2", Some(Likely), Some(Possible)),
            ("busybox:1.36", Some(Likely), None),
            ("busybox", Some(Possible), None),
            ("auto", None, None),
            ("images/logo.png", None, None),
        ] {
            assert_eq!(judge(text, Position::Field), field, "{text}");
            assert_eq!(judge(text, Position::Setting), setting, "{text}");
        }
    }
}
