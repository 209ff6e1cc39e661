use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, stream};
use kic_base::{Digest, ImageReference};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Method, StatusCode, Url};

use crate::answer::Answer;
use crate::auth::Access;
use crate::error::RegistryError;
use crate::registries::{Registries, Source};
use crate::retry::{Again, Rounds};
use crate::transport::{Ask, Content, host, place};

/// Blobs up to this size go in one request, larger ones in chunks of it: more than the 5 MiB that some registries ask for
/// at least, and little enough to be kept for another try.
const CHUNK: u64 = 8 << 20;

/// How a blob came to be where it was pushed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there.
    Existed,
    /// The registry took it from another of its repositories.
    Mounted,
    /// It was sent.
    Uploaded,
}

impl Registries {
    /// Puts a blob into the repository of `image`, unless it is there; `mount_from` names a repository of the same
    /// registry that may have it.
    ///
    /// `body` gives the `size` bytes of the blob. It is not asked for anything when the blob is there or is mounted; up
    /// to 8 MiB of it are kept, so that they can be sent again.
    pub async fn push_blob(
        &self,
        image: &ImageReference,
        digest: &Digest,
        size: u64,
        body: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        mount_from: Option<&ImageReference>,
    ) -> Result<Pushed, RegistryError> {
        let mount_from = mount_from
            .filter(|from| from.registry() == image.registry() && from.repository() != image.repository())
            .map(ImageReference::repository);
        let access = Access::push(image.repository(), mount_from);
        let upload = Upload {
            registries: self,
            source: self.own_source(image).await?,
            wanted: format!("{}@{digest}", image.name()),
            access,
            digest: *digest,
            size,
        };
        if upload.is_there().await? {
            return Ok(Pushed::Existed);
        }
        let Some(location) = upload.begin(mount_from).await? else { return Ok(Pushed::Mounted) };
        let mut body = Body::new(body, size, &upload.wanted);
        // Never more than there is, or nobody could ever push; nothing else is waited for while it is held.
        let memory = Arc::clone(&self.inner.memory);
        let kibibytes = (CHUNK.min(size).div_ceil(1024)).min(self.inner.settings.upload_memory / 1024);
        let _memory = memory.acquire_many_owned(u32::try_from(kibibytes).unwrap_or(u32::MAX)).await.ok();
        let first = body.chunk().await?;
        if size <= CHUNK {
            body.must_end().await?;
            upload.at_once(location, first).await?;
        } else {
            upload.in_chunks(location, first, body).await?;
        }
        Ok(Pushed::Uploaded)
    }

    /// Puts a manifest or an index under the tag of `image`, or under its digest where it has no tag; the bytes go out as
    /// they are.
    pub async fn push_manifest(
        &self,
        image: &ImageReference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let wanted = image.to_string();
        let source = self.own_source(image).await?;
        let mismatch = |expected: Digest| RegistryError::DigestMismatch {
            place: place(&source.base, &wanted),
            expected,
            found: digest,
        };
        if let Some(expected) = image.digest().filter(|expected| **expected != digest) {
            return Err(mismatch(*expected));
        }
        let by = image.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let access = Access::push(image.repository(), None);
        let bytes = Bytes::copy_from_slice(bytes);
        let mut rounds = Rounds::new(&self.inner.settings, vec![source.clone()], 0);
        loop {
            let url = source.url(&format!("manifests/{by}"));
            let ask = Ask::new(Method::PUT, url)
                .header(CONTENT_TYPE, media_type)
                .header(CONTENT_LENGTH, &bytes.len().to_string())
                .with(Content::Bytes(bytes.clone()));
            let failed = match self.call(&source, &access, ask, &wanted).await {
                Ok(answer) if answer.status().is_success() => {
                    return match content_digest(&answer) {
                        Some(stored) if stored != digest => Err(mismatch(stored)),
                        None if answer.status() != StatusCode::CREATED => {
                            Err(answer.garbage_body("no word of a manifest that was put").await)
                        }
                        _ => Ok(digest),
                    };
                }
                Ok(answer) => answer.refusal().await,
                Err(error) => error,
            };
            rounds.failed(failed).await?;
        }
    }
}

/// A blob on its way up (distribution specification, "Pushing blobs").
struct Upload<'a> {
    registries: &'a Registries,
    source: Source,
    wanted: String,
    access: Access,
    digest: Digest,
    size: u64,
}

impl Upload<'_> {
    fn rounds(&self) -> Rounds {
        Rounds::new(&self.registries.inner.settings, vec![self.source.clone()], 0)
    }

    async fn call(&self, ask: Ask) -> Result<Answer, RegistryError> {
        self.registries.call(&self.source, &self.access, ask, &self.wanted).await
    }

    /// Whether the registry has the blob in this repository.
    async fn is_there(&self) -> Result<bool, RegistryError> {
        let mut rounds = self.rounds();
        loop {
            let failed = match self.look().await {
                Ok(is_there) => return Ok(is_there),
                Err(error) => error,
            };
            rounds.failed(failed).await?;
        }
    }

    /// The same, asked once. An answer without the digest or the size says nothing, and the blob is sent.
    async fn look(&self) -> Result<bool, RegistryError> {
        let ask = Ask::new(Method::HEAD, self.source.url(&format!("blobs/{}", self.digest)));
        let answer = self.call(ask).await?;
        match (answer.status(), content_digest(&answer)) {
            (StatusCode::OK, Some(digest)) if digest != self.digest => {
                Err(answer.garbage("another blob than was asked for", b""))
            }
            (StatusCode::OK, Some(_)) => Ok(true),
            (StatusCode::OK, None) => {
                Ok(answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok()) == Some(self.size))
            }
            (StatusCode::NOT_FOUND, _) => Ok(false),
            _ => Err(answer.refusal().await),
        }
    }

    /// Opens a session and gives its address, or `None` when the blob was mounted.
    async fn begin(&self, mount_from: Option<&str>) -> Result<Option<Url>, RegistryError> {
        let mut rounds = self.rounds();
        let mut mount_from = mount_from;
        loop {
            // The path ends with a slash.
            let mut url = self.source.url("blobs/uploads/");
            if let Some(from) = mount_from {
                url.query_pairs_mut()
                    .append_pair("mount", &self.digest.to_string())
                    .append_pair("from", from);
            }
            let ask = Ask::new(Method::POST, url).header(CONTENT_LENGTH, "0");
            let failed = match self.call(ask).await {
                Ok(answer) if answer.status() == StatusCode::CREATED && mount_from.is_some() => {
                    return Ok(None);
                }
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    return self.location(&answer).map(Some);
                }
                Ok(answer) if answer.status().is_success() => {
                    return Err(answer.garbage_body("no upload").await);
                }
                Ok(answer) => answer.refusal().await,
                Err(error) => error,
            };
            let final_answer = failed.again(&self.registries.inner.settings.backoff) == Again::Never;
            if final_answer && mount_from.take().is_some() {
                // A repository that may not be read, or is not there, is no reason not to send the bytes.
                tracing::debug!(error = %failed, "no mount");
                continue;
            }
            rounds.failed(failed).await?;
        }
    }

    /// Everything in one request, and again from the start if need be.
    async fn at_once(&self, location: Url, bytes: Bytes) -> Result<(), RegistryError> {
        let mut rounds = self.rounds();
        let mut location = Some(location);
        loop {
            let failed = match self.put(&mut location, &bytes).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            rounds.failed(failed).await?;
        }
    }

    async fn put(&self, location: &mut Option<Url>, bytes: &Bytes) -> Result<(), RegistryError> {
        let location = match location.take() {
            Some(location) => location,
            None => match self.begin(None).await? {
                Some(location) => location,
                None => return Ok(()),
            },
        };
        self.finish(location, Content::Bytes(bytes.clone()), bytes.len() as u64).await
    }

    /// The last request of a session, which names the digest.
    async fn finish(&self, mut location: Url, content: Content, length: u64) -> Result<(), RegistryError> {
        location.query_pairs_mut().append_pair("digest", &self.digest.to_string());
        let ask = Ask::new(Method::PUT, location)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &length.to_string())
            .with(content);
        let answer = self.call(ask).await?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.refusal().await) }
    }

    async fn in_chunks(&self, location: Url, first: Bytes, mut body: Body) -> Result<(), RegistryError> {
        let (mut location, mut begins, mut chunk) = (location, 0, first);
        let mut rounds = self.rounds();
        while !chunk.is_empty() {
            match self.patch(&location, begins, &chunk).await {
                Ok((next, ends)) => {
                    rounds.progressed();
                    location = next;
                    let taken = ends.saturating_sub(begins).min(chunk.len() as u64);
                    begins += taken;
                    chunk = chunk.slice(taken as usize..);
                    if chunk.is_empty() {
                        chunk = body.chunk().await?;
                    }
                }
                Err(
                    RegistryError::Refused { status: 400 | 404 | 405 | 413, .. }
                    | RegistryError::NotFound { .. },
                ) if begins == 0 => {
                    tracing::debug!(registry = %self.source.registry, "no chunks: one request for everything");
                    return self.stream(chunk, body).await;
                }
                Err(error) => {
                    rounds.failed(error).await?;
                    // Some of the chunk may have arrived: the session knows.
                    if let Ok((next, ends)) = self.status(&location).await {
                        location = next;
                        if ends < begins || ends > begins + chunk.len() as u64 {
                            return Err(RegistryError::Broken {
                                place: place(&location, &self.wanted),
                                reason: "the registry lost a part of the upload".into(),
                            });
                        }
                        chunk = chunk.slice((ends - begins) as usize..);
                        begins = ends;
                        if chunk.is_empty() {
                            chunk = body.chunk().await?;
                        }
                    }
                }
            }
        }
        body.must_end().await?;
        let mut rounds = self.rounds();
        loop {
            let failed = match self.finish(location.clone(), Content::Empty, 0).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            rounds.failed(failed).await?;
            // The answer may have been lost, not the request.
            if self.look().await.is_ok_and(|is_there| is_there) {
                return Ok(());
            }
        }
    }

    /// Sends a chunk, and gives the next address and how many bytes of the blob the session has.
    async fn patch(&self, location: &Url, begins: u64, chunk: &Bytes) -> Result<(Url, u64), RegistryError> {
        let ends = begins + chunk.len() as u64;
        let ask = Ask::new(Method::PATCH, location.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &chunk.len().to_string())
            .header(CONTENT_RANGE, &format!("{begins}-{}", ends - 1))
            .with(Content::Bytes(chunk.clone()));
        let answer = self.call(ask).await?;
        if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // An answer was lost: what the session has can be asked for.
            let reason = "the registry has another part of the upload".into();
            return Err(RegistryError::Broken { place: answer.place(), reason });
        }
        if !answer.status().is_success() {
            return Err(answer.refusal().await);
        }
        let has = had(&answer).filter(|has| (begins + 1..=ends).contains(has)).unwrap_or(ends);
        Ok((self.location(&answer)?, has))
    }

    async fn status(&self, location: &Url) -> Result<(Url, u64), RegistryError> {
        let answer = self.call(Ask::get(location.clone())).await?;
        if !answer.status().is_success() {
            return Err(answer.refusal().await);
        }
        let next = self.location(&answer).unwrap_or_else(|_| location.clone());
        let has = had(&answer).ok_or_else(|| answer.garbage("an upload without its range", b""))?;
        Ok((next, has))
    }

    /// One request with everything, for registries that take no chunks. It cannot be sent again.
    async fn stream(&self, first: Bytes, body: Body) -> Result<(), RegistryError> {
        let Some(location) = self.begin(None).await? else { return Ok(()) };
        let rest = body.rest();
        let all = stream::iter([Ok(first)]).chain(rest).boxed();
        self.finish(location, Content::Stream(all), self.size).await
    }

    /// Where a session goes on.
    fn location(&self, answer: &Answer) -> Result<Url, RegistryError> {
        let text = answer.header(LOCATION);
        let Some(mut url) = text.and_then(|text| answer.url().join(text).ok()) else {
            return Err(answer.garbage("an upload without an address", b""));
        };
        if answer.url().scheme() == "https" && url.scheme() == "http" {
            // A registry behind a proxy that does not know that it has https.
            if url.host_str() != answer.url().host_str() || url.set_scheme("https").is_err() {
                return Err(RegistryError::InsecureRedirect { place: answer.place(), to: host(&url) });
            }
            let port = answer.url().port();
            let _ = url.set_port(port);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(answer.garbage("an upload without an address", b""));
        }
        Ok(url)
    }
}

/// What an answer says that it is about.
fn content_digest(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.trim().parse().ok()
}

/// How many bytes a session has: `Range: 0-99` says a hundred.
fn had(answer: &Answer) -> Option<u64> {
    let text = answer.header(RANGE)?.trim();
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let last: u64 = text.split_once('-')?.1.parse().ok()?;
    // `0-0` is what registries say for nothing, as there is no way to say nothing.
    Some(if last == 0 { 0 } else { last + 1 })
}

impl Ask {
    fn with(mut self, content: Content) -> Self {
        self.content = content;
        self
    }
}

/// What is pushed: as many bytes as were promised, in chunks.
struct Body {
    stream: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>,
    left: u64,
    size: u64,
    over: Bytes,
    wanted: String,
}

impl Body {
    fn new(
        stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        size: u64,
        wanted: &str,
    ) -> Self {
        Self { stream: Box::pin(stream), left: size, size, over: Bytes::new(), wanted: wanted.to_owned() }
    }

    fn error(&self, reason: String) -> RegistryError {
        RegistryError::Body { wanted: self.wanted.clone(), reason }
    }

    /// The next chunk, which is whole unless it is the last one; empty at the end.
    async fn chunk(&mut self) -> Result<Bytes, RegistryError> {
        let length = self.left.min(CHUNK) as usize;
        let mut chunk = BytesMut::with_capacity(length);
        while chunk.len() < length {
            if self.over.is_empty() {
                self.over = match self.stream.next().await {
                    Some(Ok(bytes)) => bytes,
                    Some(Err(error)) => return Err(self.error(error.to_string())),
                    None => {
                        let had = self.size - self.left + chunk.len() as u64;
                        return Err(self.error(format!("it ends after {had} of {} bytes", self.size)));
                    }
                };
            }
            let take = self.over.len().min(length - chunk.len());
            chunk.extend_from_slice(&self.over.split_to(take));
        }
        self.left -= length as u64;
        Ok(chunk.freeze())
    }

    async fn must_end(&mut self) -> Result<(), RegistryError> {
        loop {
            if !self.over.is_empty() {
                return Err(self.error(format!("it has more than {} bytes", self.size)));
            }
            self.over = match self.stream.next().await {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => return Err(self.error(error.to_string())),
                None => return Ok(()),
            };
        }
    }

    /// What was not taken yet. hyper holds it to the length that was announced.
    fn rest(self) -> BoxStream<'static, std::io::Result<Bytes>> {
        stream::iter([Ok(self.over)]).chain(self.stream).boxed()
    }
}
