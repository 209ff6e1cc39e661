//! Where a repository is found: its registry, and the mirrors asked before it.

use kic_base::{ImageReference, without_login, without_secrets};
use reqwest::Url;

use crate::error::RegistryError;

/// A repository at a registry or at a mirror of it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The registry by the name under which its credentials are kept: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// Scheme, host and port.
    pub base: Url,
    /// The repository there, a mirror's prefix included.
    pub repository: String,
    pub mirror: bool,
}

impl Source {
    /// `/v2/REPOSITORY/REST`
    pub(crate) fn url(&self, rest: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("v2").extend(self.repository.split('/')).extend(rest.split('/'));
        }
        url
    }

    pub(crate) fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// The registry of `image` itself.
    pub(crate) fn own(image: &ImageReference, scheme: &str) -> Result<Self, RegistryError> {
        let registry = image.registry();
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let bad =
            |reason: &str| RegistryError::BadUrl { url: without_login(registry), reason: reason.into() };
        if !ImageReference::is_registry(registry) {
            return Err(bad("a registry is `HOST` or `HOST:PORT`"));
        }
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| bad(&error.to_string()))?;
        let repository = image.repository().to_owned();
        Ok(Self { registry: registry.to_owned(), base, repository, mirror: false })
    }

    /// The host of a file that is no part of a registry.
    pub(crate) fn file(url: &Url) -> Self {
        let registry = crate::transport::host(url);
        Self { registry, base: url.clone(), repository: String::new(), mirror: false }
    }

    /// `image` at the mirror `address`.
    pub(crate) fn mirror(image: &ImageReference, address: &str) -> Result<Self, RegistryError> {
        let (base, prefix) = mirror_address(address)?;
        let repository = match prefix.as_str() {
            "" => image.repository().to_owned(),
            prefix => format!("{prefix}/{}", image.repository()),
        };
        let registry = match base.host_str() {
            Some("registry-1.docker.io" | "index.docker.io") => "docker.io".to_owned(),
            _ => crate::transport::host(&base),
        };
        Ok(Self { registry, base, repository, mirror: true })
    }
}

/// The origin and the repository prefix of `http(s)://HOST[:PORT][/PREFIX]`.
pub(crate) fn mirror_address(address: &str) -> Result<(Url, String), RegistryError> {
    let bad = |reason: &str| RegistryError::BadUrl { url: without_secrets(address), reason: reason.into() };
    let mut url = Url::parse(address).map_err(|error| bad(&format!("a mirror's address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("a mirror is `http(s)://HOST[:PORT][/PREFIX]`"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("credentials belong into Docker's config.json"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("a mirror's address has no query"));
    }
    let path = url.path().trim_matches('/');
    let prefix = match path.split_once('/') {
        Some(("v2", rest)) => rest.trim_start_matches('/').to_owned(),
        None if path == "v2" => String::new(),
        _ => path.to_owned(),
    };
    url.set_path("/");
    Ok((url, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[test]
    fn docker_hub_ports_and_ipv6_have_their_addresses() {
        for (reference, url) in [
            ("nginx", "https://registry-1.docker.io/v2/library/nginx/manifests/x"),
            ("ghcr.io/a/b", "https://ghcr.io/v2/a/b/manifests/x"),
            ("host:5000/a", "https://host:5000/v2/a/manifests/x"),
            ("[::1]:5000/a", "https://[::1]:5000/v2/a/manifests/x"),
        ] {
            assert_eq!(Source::own(&image(reference), "https").unwrap().url("manifests/x").as_str(), url);
        }
        let odd = ImageReference::new("me:hidden@host", "a?b/../c", None, None);
        let error = Source::own(&odd, "https").unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{error}");
        let odd = ImageReference::new("host", "a?b/../c", None, None);
        assert_eq!(Source::own(&odd, "https").unwrap().url("x").as_str(), "https://host/v2/a%3Fb/c/x");
    }

    #[test]
    fn a_mirrors_prefix_comes_before_the_repository() {
        for (address, url) in [
            ("http://m:1", "http://m:1/v2/library/nginx/x"),
            ("https://m/hub/", "https://m/v2/hub/library/nginx/x"),
            ("https://m/v2/hub", "https://m/v2/hub/library/nginx/x"),
            ("https://m/v2/", "https://m/v2/library/nginx/x"),
        ] {
            assert_eq!(Source::mirror(&image("nginx"), address).unwrap().url("x").as_str(), url);
        }
        for bad in ["m:5000", "ftp://m", "https://me:hidden@m/", "https://m/?x=hidden", ""] {
            let error = Source::mirror(&image("nginx"), bad).unwrap_err().to_string();
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
