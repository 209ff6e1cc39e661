use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kic_base::Digest;

/// Where something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host and port that were spoken to, such as `registry-1.docker.io`.
    pub host: String,
    /// What was wanted: an image reference or an address, without secrets and query.
    pub wanted: String,
    /// The proxy that stands in between and may have answered itself, without its user. One that only hands on what is encrypted is not
    /// told here.
    pub proxy: Option<String>,
    /// How often it was tried, over all sources.
    pub attempts: u32,
    /// What the mirrors that were asked before said last, a sentence each.
    pub mirrors: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` from `{}`", self.wanted, self.host)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through the proxy `{proxy}`")?;
        }
        if self.attempts > 1 {
            write!(f, " ({} attempts)", self.attempts)?;
        }
        Ok(())
    }
}

/// What a registry was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The connection, TLS included.
    Connection,
    /// The head of the answer.
    Answer,
    /// The next piece of the body.
    Body,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "a connection",
            Self::Answer => "an answer",
            Self::Body => "more of the content",
        })
    }
}

/// Which credentials went along. Never their secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsUsed {
    /// There were none for this registry and repository.
    None,
    /// Some, from here: a file and the key in it, or a credential helper.
    From(String),
}

impl fmt::Display for CredentialsUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("without credentials"),
            Self::From(origin) => write!(f, "with the credentials of {origin}"),
        }
    }
}

/// Why the network did not give or take what was wanted: one variant a situation.
///
/// `message` is what the registry said, cut short and without control characters; it may be empty.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// Nobody listens there, or the name is unknown.
    #[error("cannot reach {place}: {reason}")]
    Unreachable {
        /// Where.
        place: Box<Place>,
        /// What the system says.
        reason: String,
    },
    /// The certificate is not trusted, or the host does not speak TLS.
    #[error("no TLS for {place}: {reason}")]
    Tls {
        /// Where.
        place: Box<Place>,
        /// What TLS says.
        reason: String,
    },
    /// What is set as the proxy is none that can be used.
    #[error("`{proxy}` is no proxy that kic can use for {place}: {reason}")]
    UnusableProxy {
        /// Where.
        place: Box<Place>,
        /// Its address, without its user.
        proxy: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The proxy is not there or refuses.
    #[error("the proxy `{proxy}` fails for {place}: {reason}")]
    Proxy {
        /// Where.
        place: Box<Place>,
        /// The proxy, without its user.
        proxy: String,
        /// What went wrong.
        reason: String,
    },
    /// The connection broke off, or what came over it was no HTTP.
    #[error("the connection broke: {place}: {reason}")]
    Broken {
        /// Where.
        place: Box<Place>,
        /// What went wrong.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("waited {} for {waiting}: {place}", seconds(*after))]
    Timeout {
        /// Where.
        place: Box<Place>,
        /// For what.
        waiting: Waiting,
        /// How long.
        after: Duration,
    },
    /// Something comes, but too slowly to wait for.
    #[error("{speed} bytes a second is too slow: {place}")]
    TooSlow {
        /// Where.
        place: Box<Place>,
        /// Bytes a second.
        speed: u64,
    },
    /// 401: the registry wants other credentials than it got.
    #[error("the registry refuses access {credentials}: {place}{}", said(message))]
    Unauthorized {
        /// Where.
        place: Box<Place>,
        /// What was sent along.
        credentials: CredentialsUsed,
        /// What the registry said.
        message: String,
    },
    /// 403: the registry knows who asks, and does not allow it.
    #[error("the registry forbids access {credentials}: {place}{}", said(message))]
    Forbidden {
        /// Where.
        place: Box<Place>,
        /// What was sent along.
        credentials: CredentialsUsed,
        /// What the registry said.
        message: String,
    },
    /// 404: there is no such thing.
    #[error("not found: {place}{}", said(message))]
    NotFound {
        /// Where.
        place: Box<Place>,
        /// What the registry said.
        message: String,
    },
    /// 429: too many requests.
    #[error("too many requests{}: {place}{}", wait(*retry_after), said(message))]
    RateLimited {
        /// Where.
        place: Box<Place>,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry said.
        message: String,
    },
    /// 408 or 5xx: the registry is out of order.
    #[error("{} answers {status}: {place}{}", who(place), said(message))]
    Unavailable {
        /// Where.
        place: Box<Place>,
        /// The status.
        status: u16,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry said.
        message: String,
    },
    /// Any other status that is no success.
    #[error("{} answers {status}: {place}{}", who(place), said(message))]
    Refused {
        /// Where.
        place: Box<Place>,
        /// The status.
        status: u16,
        /// What the registry said.
        message: String,
    },
    /// An answer that is not what it should be, such as the login page of a hotel.
    #[error("{reason}: {place} sent `{content_type}`: {start}")]
    Garbage {
        /// Where.
        place: Box<Place>,
        /// What is wrong with it.
        reason: String,
        /// The answer's `Content-Type`, or `no content type`.
        content_type: String,
        /// The first 80 printable characters.
        start: String,
    },
    /// The content ended early, and again and again.
    #[error("{found} of {expected} bytes came: {place}")]
    Truncated {
        /// Where.
        place: Box<Place>,
        /// Bytes that were to come.
        expected: u64,
        /// Bytes that came.
        found: u64,
        /// Whether the registry itself gives the shorter length, so that asking again does not help.
        declared: bool,
    },
    /// The content goes on after its end.
    #[error("more than {limit} bytes: {place}")]
    TooLarge {
        /// Where.
        place: Box<Place>,
        /// Bytes that were allowed.
        limit: u64,
    },
    /// The content is not what the digest says.
    #[error("the content has the digest {found}, not {expected}: {place}")]
    DigestMismatch {
        /// Where.
        place: Box<Place>,
        /// The digest asked for or announced.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A manifest of Docker's first schema, which has no digests of its own.
    #[error("a Docker schema 1 manifest, which kic does not read: {place}")]
    Schema1 {
        /// Where.
        place: Box<Place>,
    },
    /// Redirects without an end.
    #[error("more than {limit} redirects: {place}")]
    TooManyRedirects {
        /// Where.
        place: Box<Place>,
        /// Redirects followed.
        limit: u32,
    },
    /// A redirect from https to http.
    #[error("a redirect from https to plain http, to `{to}`: {place}")]
    InsecureRedirect {
        /// Where.
        place: Box<Place>,
        /// The host and port that the redirect names.
        to: String,
    },
    /// The registry sends kic to a token server whose address is none, or is not safe.
    #[error("the registry names no usable token server (`{realm}`: {reason}): {place}")]
    BadRealm {
        /// Where.
        place: Box<Place>,
        /// The address, without user and query.
        realm: String,
        /// Why it is not used.
        reason: String,
    },
    /// A file that changed while it was downloaded.
    #[error("the file changed while it was downloaded: {place}")]
    Changed {
        /// Where.
        place: Box<Place>,
    },
    /// An address that is none.
    #[error("`{url}` is no address that kic can use: {reason}")]
    BadUrl {
        /// The address, without user and query.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of certificate authorities that holds none.
    #[error("`{}` is no file of certificates: {reason}", path.display())]
    BadCertificateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker's configuration cannot be read.
    #[error("`{}` cannot be used: {reason}", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A credential helper is missing, fails or hangs.
    #[error("the credential helper `{helper}` gives nothing for `{registry}`: {reason}")]
    CredentialHelper {
        /// `docker-credential-NAME`
        helper: String,
        /// What it was asked for.
        registry: String,
        /// What went wrong.
        reason: String,
    },
    /// The bytes to be pushed could not be read, or are not as many as was said.
    #[error("cannot read what is to be pushed as `{wanted}`: {reason}")]
    Body {
        /// What was to be pushed.
        wanted: String,
        /// What went wrong.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client: {reason}")]
    Setup {
        /// What went wrong.
        reason: String,
    },
}

/// The place in an error that has one, borrowed as the error is.
macro_rules! place_of {
    ($error:expr) => {
        match $error {
            RegistryError::Unreachable { place, .. }
            | RegistryError::Tls { place, .. }
            | RegistryError::UnusableProxy { place, .. }
            | RegistryError::Proxy { place, .. }
            | RegistryError::Broken { place, .. }
            | RegistryError::Timeout { place, .. }
            | RegistryError::TooSlow { place, .. }
            | RegistryError::Unauthorized { place, .. }
            | RegistryError::Forbidden { place, .. }
            | RegistryError::NotFound { place, .. }
            | RegistryError::RateLimited { place, .. }
            | RegistryError::Unavailable { place, .. }
            | RegistryError::Refused { place, .. }
            | RegistryError::Garbage { place, .. }
            | RegistryError::Truncated { place, .. }
            | RegistryError::TooLarge { place, .. }
            | RegistryError::DigestMismatch { place, .. }
            | RegistryError::Schema1 { place, .. }
            | RegistryError::TooManyRedirects { place, .. }
            | RegistryError::InsecureRedirect { place, .. }
            | RegistryError::BadRealm { place, .. }
            | RegistryError::Changed { place, .. } => Some(place),
            RegistryError::BadUrl { .. }
            | RegistryError::BadCertificateFile { .. }
            | RegistryError::DockerConfig { .. }
            | RegistryError::CredentialHelper { .. }
            | RegistryError::Body { .. }
            | RegistryError::Setup { .. } => None,
        }
    };
}

impl RegistryError {
    /// Where it went wrong, unless it did so before anybody was asked.
    pub fn place(&self) -> Option<&Place> {
        place_of!(self).map(|place| &**place)
    }

    /// The wait that the registry asks for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn after(mut self, attempts: u32, mirrors: Vec<String>) -> Self {
        if let Some(place) = place_of!(&mut self) {
            (place.attempts, place.mirrors) = (attempts, mirrors);
        }
        self
    }
}

fn seconds(duration: Duration) -> String {
    if duration.as_millis() < 1000 {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

/// Who answers: nothing in an answer tells a proxy from what is behind it.
fn who(place: &Place) -> &'static str {
    if place.proxy.is_some() { "the registry, or the proxy," } else { "the registry" }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn wait(retry_after: Option<Duration>) -> String {
    // Nobody waits so long, and who says so may mean anything.
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    match retry_after {
        None => String::new(),
        Some(wait) if wait > DAY => ", the registry asks to wait more than a day".to_owned(),
        Some(wait) => format!(", the registry asks to wait {}", seconds(wait)),
    }
}

/// At most `most` printable characters of what a stranger sent; runs of white space become one space.
pub(crate) fn printable(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most * 8)]);
    let mut out = String::new();
    let mut length = 0;
    for character in text.chars() {
        if character.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
                length += 1;
            }
        } else if !character.is_control() && character != char::REPLACEMENT_CHARACTER {
            out.push(character);
            length += 1;
        }
        if length >= most {
            break;
        }
    }
    out.truncate(out.trim_end().len());
    out
}
