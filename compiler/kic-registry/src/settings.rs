use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kic_base::without_login;

use crate::tell::Tell;

/// How [`Registries`](crate::Registries) reaches the world. Everything comes from here: the environment is never read.
#[derive(Clone)]
pub struct Settings {
    /// Registries spoken to by plain http, as `HOST` (any port) or `HOST:PORT`.
    ///
    /// Loopback hosts need no entry: they are spoken to by plain http, unless [`certificate_files`](Self::certificate_files)
    /// are given and the host answers https.
    pub insecure: BTreeSet<String>,
    /// For a registry as it stands in a reference (`docker.io`, `localhost:5000`), the mirrors asked before it, in order.
    ///
    /// A mirror is `http(s)://HOST[:PORT][/PREFIX]`; the prefix comes before the repository (`/v2/PREFIX/library/nginx/…`), as
    /// the pull-through caches of Harbor and others have it. A leading `v2` in the prefix is dropped. What a mirror sends
    /// must have the digest asked for. Pushes never go to a mirror.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Files of certificate authorities (PEM, one or several; or one in DER) trusted beside the system's own.
    pub certificate_files: Vec<PathBuf>,
    /// Files of the form of Docker's `config.json`, in the order in which they are asked: the first that has credentials for a
    /// registry counts. One that is not there has none.
    pub credential_files: Vec<PathBuf>,
    /// Where `docker-credential-NAME` lies; without it, the system looks for it as for any command.
    pub credential_helpers: Option<PathBuf>,
    /// Proxies.
    pub proxy: Proxy,
    /// The most connections to one host and port at the same time.
    pub connections_per_host: usize,
    /// How often something that failed for a passing reason is tried again.
    pub retries: u32,
    /// How long to wait between tries.
    pub backoff: Backoff,
    /// How long to wait for an answer.
    pub timeouts: Timeouts,
    /// Who is told of waits that are longer than [`Timeouts::silence`].
    pub tell: Option<Tell>,
    /// How large blobs are fetched in several ranges at once.
    pub ranges: Ranges,
    /// The most bytes taken of a file whose size neither the caller nor the server tells: it may have no end.
    pub unannounced: u64,
    /// The memory for chunks of uploads, of all blobs together.
    pub upload_memory: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            insecure: BTreeSet::new(),
            mirrors: BTreeMap::new(),
            certificate_files: Vec::new(),
            credential_files: Vec::new(),
            credential_helpers: None,
            proxy: Proxy::default(),
            connections_per_host: 12,
            retries: 5,
            backoff: Backoff::default(),
            timeouts: Timeouts::default(),
            tell: None,
            ranges: Ranges::default(),
            unannounced: 1 << 30,
            upload_memory: 16 << 20,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mirrors: BTreeMap<&str, Vec<String>> = self
            .mirrors
            .iter()
            .map(|(host, urls)| (host.as_str(), urls.iter().map(|url| without_login(url)).collect()))
            .collect();
        f.debug_struct("Settings")
            .field("insecure", &self.insecure)
            .field("mirrors", &mirrors)
            .field("certificate_files", &self.certificate_files)
            .field("credential_files", &self.credential_files)
            .field("credential_helpers", &self.credential_helpers)
            .field("proxy", &self.proxy)
            .field("connections_per_host", &self.connections_per_host)
            .field("retries", &self.retries)
            .field("backoff", &self.backoff)
            .field("timeouts", &self.timeouts)
            .field("tell", &self.tell)
            .field("ranges", &self.ranges)
            .field("unannounced", &self.unannounced)
            .field("upload_memory", &self.upload_memory)
            .finish()
    }
}

/// Proxies, with the values that `http_proxy`, `https_proxy` and `no_proxy` commonly have. Loopback hosts are never
/// asked through a proxy.
#[derive(Clone, Default)]
pub struct Proxy {
    /// The proxy for `http://` addresses: `[http(s)://][USER:PASSWORD@]HOST[:PORT]`.
    pub http: Option<String>,
    /// The proxy for `https://` addresses, reached by CONNECT.
    pub https: Option<String>,
    /// Hosts asked without a proxy, separated by commas: `*`, `HOST[:PORT]` (its subdomains too, with or without a leading
    /// dot), an address, or a network such as `10.0.0.0/8`.
    pub no_proxy: Option<String>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("http", &self.http.as_deref().map(without_login))
            .field("https", &self.https.as_deref().map(without_login))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// The wait before try number `n`: `first` doubled `n - 1` times, at most `most`, of which a random half is taken off.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// The wait before the second try.
    pub first: Duration,
    /// The longest wait that is not asked for by the registry.
    pub most: Duration,
    /// The longest wait taken from a registry's `Retry-After`. A registry that asks for more ends the work at once, with
    /// the wait in the error: Docker Hub asks for hours.
    pub longest_retry_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            most: Duration::from_secs(15),
            longest_retry_after: Duration::from_secs(120),
        }
    }
}

/// How long to wait for whom.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// A wait that is longer than this is told of while it lasts.
    pub silence: Duration,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// A body slower than this many bytes a second over [`speed_window`](Self::speed_window) is cut off. Zero: never.
    pub minimum_speed: u64,
    /// Over how much waiting the speed is measured.
    pub speed_window: Duration,
    /// For a credential helper, who may have to ask its user.
    pub credential_helper: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            minimum_speed: 1024,
            speed_window: Duration::from_secs(60),
            credential_helper: Duration::from_secs(60),
        }
    }
}

/// When and how a blob is fetched in several ranges at once. Sizes are in bytes.
///
/// More than one range of a blob is fetched only by connections that nothing else waits for: while there are more blobs than
/// connections, each blob has one.
#[derive(Debug, Clone)]
pub struct Ranges {
    /// Blobs larger than this are fetched in ranges.
    pub above: u64,
    /// The most that is asked for at a time.
    pub front: u64,
    /// The least that is asked for at a time, where several ranges are fetched at once.
    pub part: u64,
    /// The most ranges of one blob at the same time.
    pub at_once: usize,
    /// At the speed of a connection, a request is to take so long, where that is more than the sizes above: a fast registry
    /// is not asked for many short ranges, each of which costs it more than its bytes. A quarter of it, where several ranges are
    /// fetched at once. Zero: the sizes alone count.
    pub aim: Duration,
}

impl Default for Ranges {
    fn default() -> Self {
        Self { above: 16 << 20, front: 8 << 20, part: 2 << 20, at_once: 16, aim: Duration::from_secs(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_passwords() {
        let settings = Settings {
            mirrors: BTreeMap::from([("a".into(), vec!["https://me:hidden@mirror/x".into()])]),
            proxy: Proxy {
                http: Some("me:hidden@proxy:3128".into()),
                https: Some("http://me:hid/den@proxy:3128/".into()),
                no_proxy: None,
            },
            ..Settings::default()
        };
        let text = format!("{settings:?}");
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("https://mirror/x") && text.contains("proxy:3128"), "{text}");
    }
}
