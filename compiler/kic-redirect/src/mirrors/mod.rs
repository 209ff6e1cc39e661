//! Mirrors: whom a node asks for an image instead of the image's own registry.
//!
//! containerd reads `/etc/containerd/certs.d/HOST/hosts.toml`, `_default` standing for all other hosts; k3s and RKE2 read
//! `/etc/rancher/k3s/registries.yaml` and `/etc/rancher/rke2/registries.yaml`, `*` standing for all other hosts. They see every
//! pull, whoever makes the pod.

mod hosts_toml;
mod registries_yaml;
mod toml;

use kic_base::{ImageReference, Source, Span};

use crate::fault::Fault;
use crate::policy::Problem;
use crate::text;

/// Who reads a file of mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MirrorEngine {
    /// containerd's `hosts.toml`.
    Containerd,
    /// The `registries.yaml` of k3s and RKE2.
    K3s,
}

impl MirrorEngine {
    /// Its name, as `std:redirect` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::K3s => "k3s",
        }
    }
}

/// Whom to ask instead of a host.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Who reads it.
    pub engine: MirrorEngine,
    /// The host that it stands for; `None`: every host that no other mirror is for.
    pub host: Option<String>,
    /// In the order in which they are asked.
    pub endpoints: Vec<Endpoint>,
}

/// A registry that is asked instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// `HOST` or `HOST:PORT`, as image references write it.
    pub authority: String,
    /// What comes before the repository's own path.
    prefix: String,
    /// Patterns of repositories, and what becomes of them.
    rewrites: Vec<(String, String)>,
    /// Whether it is asked what a tag stands for.
    resolves: bool,
    /// Where the file names it.
    pub span: Span,
}

/// What a node asks for instead of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Who makes it ask so.
    pub engine: MirrorEngine,
    /// The registry.
    pub authority: String,
    /// The repository in it; tag and digest stay.
    pub repository: String,
    /// Where the file of mirrors says so.
    pub span: Span,
}

/// Who reads the file at a path of the cluster's root file system, which has no `/` at its beginning.
pub fn mirror_file(path: &str) -> Option<MirrorEngine> {
    let path = path.trim_start_matches('/');
    if host_of(path).is_some() {
        return Some(MirrorEngine::Containerd);
    }
    matches!(path, "etc/rancher/k3s/registries.yaml" | "etc/rancher/rke2/registries.yaml")
        .then_some(MirrorEngine::K3s)
}

/// The host whose `hosts.toml` a path is.
fn host_of(path: &str) -> Option<&str> {
    let host = path.strip_prefix("etc/containerd/certs.d/")?.strip_suffix("/hosts.toml")?;
    (!host.is_empty() && !host.contains('/')).then_some(host)
}

/// The mirrors that the text of the file at `path` sets up.
///
/// # Errors
/// Where it is not well formed, or holds what kic cannot judge.
pub fn mirrors(path: &str, source: &Source) -> Result<Vec<Mirror>, Problem> {
    let path = path.trim_start_matches('/');
    match (mirror_file(path), host_of(path)) {
        (Some(MirrorEngine::Containerd), Some(host)) => {
            hosts_toml::read(host, source).map(|mirror| vec![mirror])
        }
        (Some(_), _) => registries_yaml::read(source),
        (None, _) => Ok(Vec::new()),
    }
}

/// What nodes ask for, in order, before they ask the image's own registry.
///
/// # Errors
/// Where several patterns rewrite the repository, and nobody knows which one counts.
pub fn asked(mirrors: &[Mirror], reference: &ImageReference) -> Result<Vec<Asked>, Problem> {
    let mut all = Vec::new();
    for engine in [MirrorEngine::Containerd, MirrorEngine::K3s] {
        let own = || mirrors.iter().filter(move |mirror| mirror.engine == engine);
        let mut of_host =
            own().filter(|mirror| mirror.host.as_deref() == Some(reference.registry())).peekable();
        let is_named = of_host.peek().is_some();
        let default = own().filter(|mirror| mirror.host.is_none() && !is_named);
        for endpoint in of_host.chain(default).flat_map(|mirror| &mirror.endpoints) {
            // By a digest, nobody has to be asked what a tag stands for.
            if !endpoint.resolves && reference.digest().is_none() {
                continue;
            }
            all.push(Asked {
                engine,
                authority: endpoint.authority.clone(),
                repository: endpoint.repository(reference.repository())?,
                span: endpoint.span.clone(),
            });
        }
    }
    Ok(all)
}

impl Endpoint {
    fn repository(&self, repository: &str) -> Result<String, Problem> {
        let problem = |fault| Problem::new(fault, "", self.span.clone());
        let mut rewritten: Option<String> = None;
        for (pattern, replacement) in &self.rewrites {
            let regex = text::regex(pattern).map_err(problem)?;
            if regex.is_match(repository) {
                let new = regex.replace_all(repository, replacement.as_str()).into_owned();
                if rewritten.as_ref().is_some_and(|other| *other != new) {
                    let fault = Fault::unknown(format!(
                        "several patterns rewrite `{repository}`, and any of them may count"
                    ));
                    return Err(problem(fault));
                }
                rewritten = Some(new);
            }
        }
        let repository = rewritten.as_deref().unwrap_or(repository);
        Ok(if self.prefix.is_empty() {
            repository.to_owned()
        } else {
            format!("{}/{repository}", self.prefix)
        })
    }
}

/// The host and port of an endpoint's URL, and its path. The port that the scheme implies is left out, as image references
/// leave it out.
fn authority(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(scheme, "http" | "https") || !ImageReference::is_registry(authority) {
        return None;
    }
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    Some((authority.to_owned(), path.to_owned()))
}
