//! The HTTP clients, made once: TLS by ring, no redirects of its own, no proxies but the caller's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::RegistryError;
use crate::proxy_rules::ProxyRules;
use crate::settings::Settings;
use crate::transport::{host, innermost};

/// More than any bundle of certificate authorities has.
const LARGEST_CERTIFICATE_FILE: u64 = 16 << 20;

/// A client for plain http, and one for https, each made when it is first needed: the one for https reads the certificate
/// authorities of the system, hundreds of them, and most runs need neither.
pub(crate) struct Clients {
    plain: OnceLock<reqwest::Client>,
    secure: OnceLock<reqwest::Client>,
    roots: Vec<reqwest::Certificate>,
    settings: Arc<Settings>,
    proxies: Arc<ProxyRules>,
}

impl Clients {
    /// Reads the certificate files of the settings.
    pub(crate) fn new(settings: Arc<Settings>, proxies: Arc<ProxyRules>) -> Result<Self, RegistryError> {
        let mut roots = Vec::new();
        for path in &settings.certificate_files {
            roots.extend(certificates(path)?);
        }
        Ok(Self { plain: OnceLock::new(), secure: OnceLock::new(), roots, settings, proxies })
    }

    /// The client for plain http.
    pub(crate) fn plain(&self) -> Result<&reqwest::Client, RegistryError> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let plain = builder(&self.settings, &self.proxies).tls_certs_only([]).build();
        let plain = plain.map_err(|error| RegistryError::Setup { reason: innermost(&error) })?;
        Ok(self.plain.get_or_init(|| plain))
    }

    /// The client for an address.
    pub(crate) fn for_url(&self, url: &Url) -> Result<&reqwest::Client, RegistryError> {
        let https = |url: &Url| url.scheme() == "https";
        if !https(url) && !self.proxies.for_url(url).is_some_and(https) {
            return self.plain();
        }
        if let Some(secure) = self.secure.get() {
            return Ok(secure);
        }
        let builder = || builder(&self.settings, &self.proxies);
        let merged = builder().tls_certs_merge(self.roots.clone()).build();
        let secure = merged
            .or_else(|error| {
                // A machine without any authorities of its own can still speak https to those that were given.
                tracing::debug!(
                    reason = innermost(&error),
                    "the system's certificate authorities are not usable"
                );
                builder().tls_certs_only(self.roots.clone()).build()
            })
            .map_err(|error| RegistryError::Setup { reason: innermost(&error) })?;
        Ok(self.secure.get_or_init(|| secure))
    }
}

fn builder(settings: &Settings, proxies: &Arc<ProxyRules>) -> reqwest::ClientBuilder {
    // Another crate may have installed its provider before; whichever is there serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let proxies = Arc::clone(proxies);
    reqwest::Client::builder()
        .user_agent(concat!("kic/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(settings.timeouts.connect)
        .pool_max_idle_per_host(settings.connections_per_host)
        // First nothing from the environment, then the caller's.
        .no_proxy()
        .proxy(reqwest::Proxy::custom(move |url| proxies.for_url(url).cloned()))
}

/// Whether an address may be asked by plain http: listed, or this machine.
pub(crate) fn is_plain_http_allowed(insecure: &BTreeSet<String>, url: &Url) -> bool {
    url.host_str().is_some_and(crate::proxy_rules::is_loopback) || is_listed(insecure, url)
}

/// Whether `HOST` or `HOST:PORT` is in the set.
pub(crate) fn is_listed(insecure: &BTreeSet<String>, url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default();
    insecure.contains(name)
        || insecure.contains(&host(url))
        || url.port_or_known_default().is_some_and(|port| insecure.contains(&format!("{name}:{port}")))
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, RegistryError> {
    let bad = |reason: String| RegistryError::BadCertificateFile { path: path.to_owned(), reason };
    let length = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if length > LARGEST_CERTIFICATE_FILE {
        return Err(bad(format!("it has {length} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut ders = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad(error.to_string()))?;
    if ders.is_empty() && bytes.first() == Some(&0x30) {
        ders.push(CertificateDer::from(bytes));
    }
    if ders.is_empty() {
        return Err(bad("there is no `-----BEGIN CERTIFICATE-----` in it".into()));
    }
    // reqwest would name neither the file nor the certificate.
    let mut store = rustls::RootCertStore::empty();
    let mut out = Vec::new();
    for (place, der) in ders.iter().enumerate() {
        let number = place + 1;
        store.add(der.clone()).map_err(|error| bad(format!("certificate {number}: {error}")))?;
        out.push(
            reqwest::Certificate::from_der(der)
                .map_err(|error| bad(format!("certificate {number}: {}", innermost(&error))))?,
        );
    }
    Ok(out)
}
