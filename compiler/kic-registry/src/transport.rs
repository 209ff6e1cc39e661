//! One request and its answer: connections counted, redirects followed with care, every wait bounded.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use kic_base::without_secrets;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::Semaphore;

use crate::answer::Answer;
use crate::client::{Clients, is_plain_http_allowed};
use crate::error::{Place, RegistryError, Waiting};
use crate::proxy_rules::ProxyRules;
use crate::settings::Settings;

/// As many redirects as browsers once followed, and more than any registry needs.
const MOST_REDIRECTS: u32 = 10;
/// What a redirect says besides its address is not worth more than this, in bytes and in time.
const LARGEST_REDIRECT: u64 = 16 << 10;
const FAREWELL: Duration = Duration::from_secs(1);
/// Bodies are handed over in pieces of this size, so that an upload that stands still is seen.
const PIECE: usize = 64 << 10;

pub(crate) struct Transport {
    clients: Clients,
    proxies: Arc<ProxyRules>,
    connections: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    settings: Arc<Settings>,
}

/// A request to be sent.
pub(crate) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Goes to the origin of `url` alone, never along a redirect to another.
    pub authorization: Option<HeaderValue>,
    pub content: Content,
}

/// What a request carries.
pub(crate) enum Content {
    Empty,
    Bytes(Bytes),
    /// Its length is in the headers. Sent once: a redirect or another try is not possible.
    Stream(BoxStream<'static, std::io::Result<Bytes>>),
}

impl Ask {
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), authorization: None, content: Content::Empty }
    }

    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// A header whose value is ours, and so has no forbidden characters; one that has is left out.
    pub(crate) fn header(mut self, name: reqwest::header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Transport {
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, RegistryError> {
        let proxies = Arc::new(ProxyRules::new(&settings.proxy));
        let clients = Clients::new(Arc::clone(&settings), Arc::clone(&proxies))?;
        Ok(Self { clients, proxies, connections: Mutex::default(), settings })
    }

    /// Sends a request and follows its redirects; any status is an answer.
    pub(crate) async fn send(&self, ask: Ask, wanted: &str) -> Result<Answer, RegistryError> {
        let Ask { mut method, mut url, headers, authorization, mut content } = ask;
        let first = url.origin();
        for _ in 0..=MOST_REDIRECTS {
            if let Some(bad) = self.proxies.unusable(&url) {
                let (proxy, reason) = (bad.address.clone(), bad.reason.clone());
                return Err(RegistryError::UnusableProxy { place: place(&url, wanted), proxy, reason });
            }
            let permit = self.connection(&url).await;
            let client = self.clients.for_url(&url)?;
            let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(value) = authorization.as_ref().filter(|_| url.origin() == first) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let sent = Arc::new(AtomicU64::new(0));
            let (body, rest) = body(content, &sent);
            if let Some(body) = body {
                request = request.body(body);
            }
            tracing::debug!(%method, url = %shown(&url), "request");
            let response = self.wait(request, &url, &sent, wanted).await?;
            let status = response.status();
            tracing::debug!(status = status.as_u16(), url = %shown(&url), "answer");
            if let Some(proxy) = self.proxies.for_url(&url)
                && status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            {
                let reason = "it asks for other credentials (407)".into();
                return Err(RegistryError::Proxy { place: place(&url, wanted), proxy: host(proxy), reason });
            }
            let mut answer =
                Answer::new(response, url.clone(), wanted, permit, self.settings.timeouts.clone());
            // What is encrypted is the registry's own.
            answer.proxy = self.proxies.for_url(&url).filter(|_| url.scheme() == "http").map(host);
            let Some((next_method, next_url)) = self.redirect(&method, &answer, &rest)? else {
                return Ok(answer);
            };
            // Read to its end, so that the connection can be used again.
            let _ = tokio::time::timeout(FAREWELL, answer.read(LARGEST_REDIRECT)).await;
            (method, url, content) = (next_method, next_url, rest.unwrap_or(Content::Empty));
        }
        Err(RegistryError::TooManyRedirects { place: place(&url, wanted), limit: MOST_REDIRECTS })
    }

    /// How many connections to the host of an address are free. While somebody waits for one, none is.
    pub(crate) fn idle_connections(&self, url: &Url) -> usize {
        self.connections_to(url).available_permits()
    }

    async fn connection(&self, url: &Url) -> Option<tokio::sync::OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.connections_to(url).acquire_owned().await.ok()
    }

    fn connections_to(&self, url: &Url) -> Arc<Semaphore> {
        let mut hosts = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = self.settings.connections_per_host.clamp(1, Semaphore::MAX_PERMITS);
        Arc::clone(hosts.entry(host(url)).or_insert_with(|| Arc::new(Semaphore::new(bound))))
    }

    async fn wait(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        sent: &AtomicU64,
        wanted: &str,
    ) -> Result<reqwest::Response, RegistryError> {
        let (after, silence) = (self.settings.timeouts.first_byte, self.settings.timeouts.silence);
        let mut sending = std::pin::pin!(request.send());
        let mut patience = after;
        if let Some(tell) = self.settings.tell.as_ref().filter(|_| silence < after) {
            match tokio::time::timeout(silence, &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(self.failure(&error, url, wanted)),
                // What takes long to send is told of as progress.
                Err(_) if sent.load(Ordering::Relaxed) > 0 => {}
                Err(_) => {
                    let place = place(url, wanted);
                    tell.tell(&format!("no answer yet after {} s: {place}", silence.as_secs()));
                }
            }
            patience = after - silence;
        }
        loop {
            match tokio::time::timeout(std::mem::replace(&mut patience, after), &mut sending).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => return Err(self.failure(&error, url, wanted)),
                Err(_) if sent.swap(0, Ordering::Relaxed) > 0 => {}
                Err(_) => {
                    let waiting = Waiting::Answer;
                    return Err(RegistryError::Timeout { place: place(url, wanted), waiting, after });
                }
            }
        }
    }

    /// Where an answer sends us on to, if it does and may.
    fn redirect(
        &self,
        method: &Method,
        answer: &Answer,
        again: &Option<Content>,
    ) -> Result<Option<(Method, Url)>, RegistryError> {
        let reading = matches!(*method, Method::GET | Method::HEAD);
        let follow = match answer.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reading,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => reading || again.is_some(),
            _ => false,
        };
        let Some(location) = answer.headers().get(LOCATION).filter(|_| follow) else { return Ok(None) };
        let from = answer.url();
        let text = String::from_utf8_lossy(location.as_bytes());
        let bad = |reason: &str| {
            let to = without_secrets(&text);
            answer.garbage(&format!("a redirect to `{to}`, {reason}"), b"")
        };
        let to = from.join(&text).map_err(|error| bad(&error.to_string()))?;
        if !matches!(to.scheme(), "http" | "https") || to.host_str().is_none() {
            return Err(bad("which is not http or https"));
        }
        if from.scheme() == "https"
            && to.scheme() == "http"
            && !is_plain_http_allowed(&self.settings.insecure, &to)
        {
            return Err(RegistryError::InsecureRedirect { place: answer.place(), to: host(&to) });
        }
        Ok(Some((method.clone(), to)))
    }

    fn failure(&self, error: &reqwest::Error, url: &Url, wanted: &str) -> RegistryError {
        let place = place(url, wanted);
        let reason = innermost(error);
        if error.is_connect() && error.is_timeout() {
            let after = self.settings.timeouts.connect;
            return RegistryError::Timeout { place, waiting: Waiting::Connection, after };
        }
        if is_tls(error) {
            return RegistryError::Tls { place, reason };
        }
        if let Some(proxy) = self.proxies.for_url(url).filter(|_| error.is_connect()) {
            return RegistryError::Proxy { place, proxy: host(proxy), reason };
        }
        if error.is_connect() {
            return if is_cut(error) {
                RegistryError::Broken { place, reason }
            } else {
                RegistryError::Unreachable { place, reason }
            };
        }
        RegistryError::Broken { place, reason }
    }

    /// `Authorization: Basic …`
    pub(crate) fn basic(&self, user: &str, password: &str) -> Option<HeaderValue> {
        // reqwest has the encoding, and marks the value as a secret.
        let request = self
            .clients
            .plain()
            .ok()?
            .get("http://localhost/")
            .basic_auth(user, Some(password))
            .build()
            .ok()?;
        request.headers().get(AUTHORIZATION).cloned()
    }
}

/// The body to send now, and, if it can be sent a second time, the content for that.
fn body(content: Content, sent: &Arc<AtomicU64>) -> (Option<reqwest::Body>, Option<Content>) {
    let sent = Arc::clone(sent);
    match content {
        Content::Empty => (None, Some(Content::Empty)),
        Content::Bytes(bytes) if bytes.len() <= PIECE => {
            (Some(bytes.clone().into()), Some(Content::Bytes(bytes)))
        }
        Content::Bytes(bytes) => {
            let all = bytes.clone();
            let pieces = (0..bytes.len()).step_by(PIECE).map(move |from| {
                let piece = bytes.slice(from..bytes.len().min(from + PIECE));
                sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                std::io::Result::Ok(piece)
            });
            (Some(reqwest::Body::wrap_stream(stream::iter(pieces))), Some(Content::Bytes(all)))
        }
        Content::Stream(pieces) => {
            let counted = pieces.inspect(move |piece| {
                if let Ok(piece) = piece {
                    sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            });
            (Some(reqwest::Body::wrap_stream(counted)), None)
        }
    }
}

/// The errors below `error`, from the outside to the inside, custom I/O errors opened.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let mut next: Option<&'a (dyn std::error::Error + 'static)> = error.source();
    std::iter::from_fn(move || {
        let this = next?;
        let inside = this.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => this.source(),
        };
        Some(this)
    })
}

/// What the innermost error says, which is the one that names the reason; it has no addresses.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<rustls::Error>())
}

fn is_cut(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind;
    causes(error).any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
            )
        })
    })
}

/// The host of an address, with its port where that is not the scheme's own.
pub(crate) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An address without user, query and fragment, where secrets are.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), host(url), url.path())
}

pub(crate) fn place(url: &Url, wanted: &str) -> Box<Place> {
    let (host, wanted) = (host(url), wanted.to_owned());
    Box::new(Place { host, wanted, proxy: None, attempts: 1, mirrors: Vec::new() })
}
