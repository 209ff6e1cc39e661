//! Which address is asked through which proxy.

use std::net::IpAddr;

use kic_base::without_login;
use reqwest::Url;

use crate::settings::Proxy;

/// The caller's proxies, read once.
#[derive(Clone)]
pub(crate) struct ProxyRules {
    http: Result<Option<Url>, BadProxy>,
    https: Result<Option<Url>, BadProxy>,
    direct: Vec<Direct>,
}

/// An address of a proxy that is none. It matters once something is to be asked through it.
#[derive(Debug, Clone)]
pub(crate) struct BadProxy {
    /// Without user and password.
    pub(crate) address: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// One entry of `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Direct {
    All,
    Host(String, Option<u16>),
    Network(IpAddr, u8),
}

impl ProxyRules {
    pub(crate) fn new(proxy: &Proxy) -> Self {
        let entries = proxy.no_proxy.as_deref().unwrap_or_default().split(',').map(str::trim);
        Self {
            http: address(proxy.http.as_deref(), "http_proxy"),
            https: address(proxy.https.as_deref(), "https_proxy"),
            direct: entries.filter(|entry| !entry.is_empty()).map(direct).collect(),
        }
    }

    /// The proxy for `url`, if it is not asked directly.
    pub(crate) fn for_url(&self, url: &Url) -> Option<&Url> {
        let proxy = self.of_scheme(url).as_ref().ok()?.as_ref()?;
        (!self.is_direct(url)).then_some(proxy)
    }

    /// The proxy through which `url` would have to be asked, and cannot.
    pub(crate) fn unusable(&self, url: &Url) -> Option<&BadProxy> {
        let bad = self.of_scheme(url).as_ref().err()?;
        (!self.is_direct(url)).then_some(bad)
    }

    fn of_scheme(&self, url: &Url) -> &Result<Option<Url>, BadProxy> {
        if url.scheme() == "https" { &self.https } else { &self.http }
    }

    fn is_direct(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return true };
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = url.port_or_known_default();
        is_loopback(&host) || self.direct.iter().any(|entry| entry.covers(&host, port))
    }
}

/// Whether a host without port and brackets is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Reads the address of a proxy, which stands in `variable`, in lower or upper case.
fn address(text: Option<&str>, variable: &str) -> Result<Option<Url>, BadProxy> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let bad = |reason: &str| BadProxy { address: without_login(text), reason: reason.into() };
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|error| bad(&format!("the address in `{variable}`: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad(&format!("that of `{variable}` must be reached by http or https")));
    }
    Ok(Some(url))
}

fn direct(entry: &str) -> Direct {
    if entry == "*" {
        return Direct::All;
    }
    if let Some((address, bits)) = entry.split_once('/')
        && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
    {
        return Direct::Network(address, bits);
    }
    let bare = entry.trim_start_matches('*').trim_start_matches('.');
    let (host, port) = match bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
        None if bare.parse::<IpAddr>().is_ok() => (bare, None),
        None => match bare.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (bare, None),
        },
    };
    Direct::Host(host.to_ascii_lowercase(), port)
}

impl Direct {
    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        match self {
            Self::All => true,
            Self::Host(name, its_port) => {
                let inside =
                    host == name || host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                inside && (its_port.is_none() || *its_port == port)
            }
            Self::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(address))) => {
                    let shift = 32 - u32::from(*bits).min(32);
                    let cut = |address: u32| address.checked_shr(shift).unwrap_or(0);
                    cut(network.to_bits()) == cut(address.to_bits())
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(address))) => {
                    let shift = 128 - u32::from(*bits).min(128);
                    let cut = |address: u128| address.checked_shr(shift).unwrap_or(0);
                    cut(network.to_bits()) == cut(address.to_bits())
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_covers_hosts_subdomains_ports_addresses_and_networks() {
        let rules = ProxyRules::new(&Proxy {
            http: Some("proxy:3128".into()),
            https: Some("https://me:x@secure".into()),
            no_proxy: Some(
                " .corp.example, exact.example:5000,10.0.0.0/8,fd00::/8 ,192.168.1.1,[fe80::1]:80".into(),
            ),
        });
        let proxy =
            |url: &str| rules.for_url(&url.parse().unwrap()).map(|url| url.host_str().unwrap().to_owned());
        assert_eq!(proxy("http://a.example/").as_deref(), Some("proxy"));
        assert_eq!(proxy("https://a.example/").as_deref(), Some("secure"));
        for direct in [
            "http://corp.example/",
            "https://a.b.corp.example:7/",
            "http://exact.example:5000/",
            "http://10.200.3.4/",
            "http://[fd12::1]/",
            "http://192.168.1.1:81/",
            "http://[fe80::1]/",
            "http://localhost:5000/",
            "http://127.9.9.9/",
            "http://[::1]:5000/",
        ] {
            assert_eq!(proxy(direct), None, "{direct}");
        }
        for proxied in
            ["http://notcorp.example/", "http://exact.example/", "http://11.0.0.1/", "http://[fe80::1]:81/"]
        {
            assert!(proxy(proxied).is_some(), "{proxied}");
        }
    }

    #[test]
    fn a_proxy_that_is_no_http_address_is_refused_without_its_password_where_it_would_be_asked() {
        let http = Some("socks5://me:hidden@proxy".into());
        let rules = ProxyRules::new(&Proxy { http, no_proxy: Some("near.example".into()), https: None });
        let unusable = |url: &str| rules.unusable(&url.parse().unwrap()).cloned();
        let bad = unusable("http://far.example/").unwrap();
        assert_eq!(bad.address, "socks5://proxy");
        assert!(!format!("{bad:?}").contains("hidden"), "{bad:?}");
        for fine in ["https://far.example/", "http://near.example/", "http://localhost:5000/"] {
            assert!(unusable(fine).is_none(), "{fine}");
        }
    }
}
