//! The registry client: manifests and blobs from any registry, whatever the network does to them.
//!
//! [`Registries`] is all there is: [`resolve`](Registries::resolve), [`blob`](Registries::blob),
//! [`fetch`](Registries::fetch), [`referrers`](Registries::referrers), [`exists`](Registries::exists), [`push_blob`](Registries::push_blob) and
//! [`push_manifest`](Registries::push_manifest), set up once from [`Settings`], failing with a [`RegistryError`].
//!
//! A request goes down through these files: `registries` (sources, passes) → `auth` and `credentials` → `transport`
//! (connections, redirects, waits) → `client` (TLS, proxies); `answer` reads what comes back, `reading` goes on where a
//! connection broke, `retry` decides whether and when.
//!
//! oci-client gives the protocol's words (media types, tokens, errors) and the version of reqwest. Its `Client` is not
//! used: it reads bodies without a bound, hides `Retry-After`, swallows the errors of token servers, follows redirects
//! from https to http, and takes proxies from the environment.
//!
//! **Invariants:** the environment is never read (the system's TLS library aside, which may look for `SSL_CERT_FILE`);
//! no clock is read but the one that measures waits; a secret goes to the origin that it is for, and into no log, error
//! or `Debug` output; nothing is read without a bound; `urls` of foreign layers are never followed.

mod answer;
mod auth;
mod blob;
mod client;
mod credentials;
mod error;
mod fetch;
mod manifest;
mod proxy_rules;
mod push;
mod reading;
mod referrers;
mod registries;
mod retry;
mod settings;
mod source;
mod tell;
mod transport;

#[cfg(any(test, feature = "scripted-server"))]
pub mod scripted_server;
#[cfg(test)]
mod tests;

pub use blob::Piece;
pub use error::{CredentialsUsed, Place, RegistryError, Waiting};
pub use manifest::ManifestBytes;
pub use push::Pushed;
pub use referrers::Referrer;
pub use registries::Registries;
pub use settings::{Backoff, Proxy, Ranges, Settings, Timeouts};
pub use tell::Tell;
