//! An answer whose body is read with a bound on its size, on the waits and on the slowness.

use std::time::Duration;

use bytes::Bytes;
use oci_client::errors::OciEnvelope;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::error::{CredentialsUsed, Place, RegistryError, Waiting, printable};
use crate::retry::retry_after;
use crate::settings::Timeouts;
use crate::transport::{innermost, place};

pub(crate) struct Answer {
    response: reqwest::Response,
    url: Url,
    wanted: String,
    /// Held until the body is read or dropped: it stands for the connection.
    _connection: Option<OwnedSemaphorePermit>,
    timeouts: Timeouts,
    /// Time spent waiting for the body, and bytes that came, since the speed was last looked at.
    waited: Duration,
    came: u64,
    /// Whose credentials went along, for errors.
    pub(crate) credentials: CredentialsUsed,
    /// The proxy that may have answered itself, for errors.
    pub(crate) proxy: Option<String>,
}

impl Answer {
    pub(crate) fn new(
        response: reqwest::Response,
        url: Url,
        wanted: &str,
        connection: Option<OwnedSemaphorePermit>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            response,
            url,
            wanted: wanted.to_owned(),
            _connection: connection,
            timeouts,
            waited: Duration::ZERO,
            came: 0,
            credentials: CredentialsUsed::None,
            proxy: None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The address that answered, after redirects.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn place(&self) -> Box<Place> {
        Box::new(Place { proxy: self.proxy.clone(), ..*place(&self.url, &self.wanted) })
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH)?.trim().parse().ok()
    }

    /// The `Content-Type` without its parameters, in lower case.
    pub(crate) fn media_type(&self) -> Option<String> {
        let text = self.header(CONTENT_TYPE)?;
        let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        (!media_type.is_empty()).then_some(media_type)
    }

    /// The next piece of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let idle = self.timeouts.idle;
        let began = Instant::now();
        let chunk = match tokio::time::timeout(idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                return Err(RegistryError::Broken { place: self.place(), reason: innermost(&error) });
            }
            Err(_) => {
                let waiting = Waiting::Body;
                return Err(RegistryError::Timeout { place: self.place(), waiting, after: idle });
            }
        };
        // Only the waits count: a reader that takes its time is no slow registry.
        self.waited += began.elapsed();
        self.came += chunk.as_ref().map_or(0, Bytes::len) as u64;
        if chunk.is_some() && self.waited >= self.timeouts.speed_window {
            let speed = (self.came as f64 / self.waited.as_secs_f64().max(1e-9)) as u64;
            if speed < self.timeouts.minimum_speed {
                return Err(RegistryError::TooSlow { place: self.place(), speed });
            }
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(chunk)
    }

    /// The whole body, which has at most `limit` bytes.
    pub(crate) async fn read(&mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { place: self.place(), limit };
        let expected = self.content_length();
        if expected.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::with_capacity(expected.unwrap_or(0).min(limit) as usize);
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(RegistryError::TooLarge { place: self.place(), limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// What an answer that is no success means.
    pub(crate) async fn refusal(mut self) -> RegistryError {
        let message = self.message().await;
        let place = self.place();
        let status = self.status();
        let retry_after = retry_after(self.headers());
        let credentials = self.credentials;
        match status {
            StatusCode::UNAUTHORIZED => RegistryError::Unauthorized { place, credentials, message },
            StatusCode::FORBIDDEN => RegistryError::Forbidden { place, credentials, message },
            StatusCode::NOT_FOUND => RegistryError::NotFound { place, message },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { place, retry_after, message },
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                RegistryError::Unavailable { place, status: status.as_u16(), retry_after, message }
            }
            status => RegistryError::Refused { place, status: status.as_u16(), message },
        }
    }

    /// What the body of an error says: the messages of the registry's JSON, or the beginning of a text.
    async fn message(&mut self) -> String {
        const MOST: usize = 16 << 10;
        let mut bytes = Vec::new();
        let read = async {
            while let Ok(Some(chunk)) = self.chunk().await {
                bytes.extend_from_slice(&chunk[..chunk.len().min(MOST - bytes.len())]);
                if bytes.len() == MOST {
                    break;
                }
            }
        };
        // The status says enough; its body is not worth a long wait.
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
        if let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(&bytes) {
            let messages: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
            return printable(messages.join("; ").as_bytes(), 200);
        }
        let plain = self.media_type().is_none_or(|media_type| media_type == "text/plain");
        if plain { printable(&bytes, 200) } else { String::new() }
    }

    /// [`garbage`](Self::garbage), with the beginning of a body that was not read yet.
    pub(crate) async fn garbage_body(mut self, reason: &str) -> RegistryError {
        let start = match tokio::time::timeout(Duration::from_secs(1), self.chunk()).await {
            Ok(Ok(Some(bytes))) => bytes,
            _ => Bytes::new(),
        };
        self.garbage(reason, &start)
    }

    /// An answer that should have been something else; `bytes` is what is known of its body.
    pub(crate) fn garbage(&self, reason: &str, bytes: &[u8]) -> RegistryError {
        let content_type = self.header(CONTENT_TYPE).map(|text| printable(text.as_bytes(), 80));
        RegistryError::Garbage {
            place: self.place(),
            reason: reason.to_owned(),
            content_type: content_type.unwrap_or_else(|| "no content type".into()),
            start: printable(bytes, 80),
        }
    }
}
