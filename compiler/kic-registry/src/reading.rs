//! Bytes in order from an unreliable place: cut off, they go on where they were.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kic_base::{Digest, ImageReference};
use reqwest::header::{CACHE_CONTROL, CONTENT_RANGE, ETAG, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{StatusCode, Url};

use crate::answer::Answer;
use crate::auth::Access;
use crate::error::RegistryError;
use crate::registries::{Registries, Source};
use crate::retry::Rounds;
use crate::transport::Ask;

/// So many bytes without a failure make up for all failures before them.
const PROGRESS: u64 = 256 << 10;
/// How long to wait, once everything is there, for the other side to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is read.
pub(crate) enum Target {
    Blob {
        image: ImageReference,
        digest: Digest,
        /// The origin of a source, and where it sends those who ask for the blob: asked directly by the next range.
        moved: Mutex<Option<(String, Url)>>,
    },
    File(Url),
}

/// A part of something, or all of it.
pub(crate) struct Reading {
    registries: Registries,
    target: Arc<Target>,
    wanted: Arc<str>,
    /// How many sources to leave out at first: the caller had something bad from them.
    skip: u32,
    offset: u64,
    /// Where the part ends; not known at first for a file.
    end: Option<u64>,
    /// The size of the whole.
    total: Option<u64>,
    /// The most bytes that a file may have.
    limit: Option<u64>,
    rounds: Option<Rounds>,
    open: Option<Open>,
    validator: Option<Validator>,
    progress: u64,
    /// Whether to give up, rather than skip, when a range is asked for and everything comes.
    strict: bool,
    ignored: bool,
}

struct Open {
    answer: Answer,
    /// Bytes that were had before.
    skip: u64,
}

/// What tells that a file is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Validator(HeaderName, String);

impl Reading {
    pub(crate) fn blob(
        registries: Registries,
        image: &ImageReference,
        digest: &Digest,
        part: std::ops::Range<u64>,
        size: u64,
        skip: u32,
    ) -> Self {
        let target = Target::Blob { image: image.clone(), digest: *digest, moved: Mutex::default() };
        let wanted = format!("{}@{digest}", image.name());
        let mut reading = Self::new(registries, target, &wanted, skip);
        (reading.offset, reading.end, reading.total) = (part.start, Some(part.end), Some(size));
        reading
    }

    pub(crate) fn file(registries: Registries, url: Url, wanted: &str, limit: Option<u64>) -> Self {
        Self { limit, ..Self::new(registries, Target::File(url), wanted, 0) }
    }

    fn new(registries: Registries, target: Target, wanted: &str, skip: u32) -> Self {
        Self {
            registries,
            target: Arc::new(target),
            wanted: wanted.into(),
            skip,
            offset: 0,
            end: None,
            total: None,
            limit: None,
            rounds: None,
            open: None,
            validator: None,
            progress: 0,
            strict: false,
            ignored: false,
        }
    }

    /// Another part of the same, with what was learned about the sources so far. A `strict` one fails when the sources
    /// ignore ranges.
    pub(crate) fn part(&self, part: std::ops::Range<u64>, strict: bool) -> Self {
        let mut rounds = self.rounds.clone();
        if let Some(rounds) = &mut rounds {
            rounds.progressed();
        }
        Self {
            registries: self.registries.clone(),
            target: Arc::clone(&self.target),
            wanted: Arc::clone(&self.wanted),
            offset: part.start,
            end: Some(part.end),
            open: None,
            validator: None,
            strict,
            rounds,
            ..*self
        }
    }

    /// Whether a range was asked for, and everything came.
    pub(crate) fn ignores_ranges(&self) -> bool {
        self.ignored
    }

    /// Where the next bytes begin.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether it fails when the sources ignore ranges.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether more is on its way.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How many connections to where this comes from are free, and not waited for.
    pub(crate) fn idle_connections(&self) -> usize {
        let Some(rounds) = &self.rounds else { return 0 };
        let source = rounds.source();
        let transport = &self.registries.inner.transport;
        if let Target::Blob { moved, .. } = &*self.target {
            let moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, url)) = moved.as_ref().filter(|(origin, _)| *origin == source.origin()) {
                return transport.idle_connections(url);
            }
        }
        transport.idle_connections(&source.base)
    }

    /// The next bytes, or `None` at the end of the part.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            let Some(open) = &mut self.open else {
                if self.end == Some(self.offset) {
                    return Ok(None);
                }
                match self.connect().await {
                    Ok(open) => self.open = open,
                    Err(error) => self.failed(error).await?,
                }
                continue;
            };
            let mut bytes = match open.answer.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    match self.end {
                        None => self.end = Some(self.offset),
                        Some(expected) if self.offset < expected => {
                            let (place, found) = (open.answer.place(), self.offset);
                            let error = RegistryError::Truncated { place, expected, found, declared: false };
                            self.failed(error).await?;
                        }
                        Some(_) => {}
                    }
                    self.open = None;
                    continue;
                }
                Err(error) => {
                    self.failed(error).await?;
                    continue;
                }
            };
            let had = open.skip.min(bytes.len() as u64);
            open.skip -= had;
            bytes.advance(had as usize);
            if bytes.is_empty() {
                continue;
            }
            let after = self.offset + bytes.len() as u64;
            let most = [self.end, self.limit].into_iter().flatten().min();
            if let Some(most) = most.filter(|most| after > *most) {
                // What has a part and a length of its own is longer than both; nothing else is said in that case.
                let limit = self.total.or(self.limit).unwrap_or(most);
                return Err(RegistryError::TooLarge { place: open.answer.place(), limit });
            }
            self.offset = after;
            self.progress += bytes.len() as u64;
            if self.progress >= PROGRESS {
                self.progress = 0;
                self.rounds.iter_mut().for_each(Rounds::progressed);
            }
            if self.end == Some(after) {
                self.farewell().await?;
            }
            return Ok(Some(bytes));
        }
    }

    /// Everything is there: the other side must have nothing more to send. Reading to the end also lets the connection be
    /// used again.
    async fn farewell(&mut self) -> Result<(), RegistryError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        match tokio::time::timeout(FAREWELL, open.answer.chunk()).await {
            Ok(Ok(Some(more))) if !more.is_empty() => {
                let limit = self.total.unwrap_or(self.offset);
                Err(RegistryError::TooLarge { place: open.answer.place(), limit })
            }
            _ => Ok(()),
        }
    }

    async fn failed(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.open = None;
        if let Target::Blob { moved, .. } = &*self.target {
            *moved.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        tracing::debug!(wanted = %self.wanted, offset = self.offset, "the download broke off");
        match &mut self.rounds {
            Some(rounds) => rounds.failed(error).await,
            None => Err(error),
        }
    }

    /// Asks for what is still missing. `None`: nothing is.
    async fn connect(&mut self) -> Result<Option<Open>, RegistryError> {
        if self.rounds.is_none() {
            let sources = match &*self.target {
                Target::Blob { image, .. } => self.registries.sources(image).await?,
                Target::File(url) => vec![Source::file(url)],
            };
            self.rounds = Some(Rounds::new(&self.registries.inner.settings, sources, self.skip));
        }
        let Some(rounds) = &self.rounds else { return Ok(None) };
        let answer = self.ask(rounds.source()).await?;
        match answer.status() {
            StatusCode::OK if self.is_page(&answer) => {
                Err(answer.garbage_body("a web page instead of a blob").await)
            }
            StatusCode::OK => self.whole(answer).map(Some),
            StatusCode::PARTIAL_CONTENT => self.range(answer).map(Some),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let total = content_range(&answer).and_then(|(_, total)| total);
                if self.end.is_none() && total == Some(self.offset) {
                    self.end = total;
                    return Ok(None);
                }
                let place = answer.place();
                let expected = self.total.or(self.end).unwrap_or(self.offset);
                let found = total.unwrap_or(self.offset);
                Err(RegistryError::Truncated { place, expected, found, declared: true })
            }
            _ => Err(answer.refusal().await),
        }
    }

    async fn ask(&self, source: &Source) -> Result<Answer, RegistryError> {
        let part = self.end.filter(|end| self.total.is_some_and(|total| *end < total));
        let range = match part {
            Some(end) => Some(format!("bytes={}-{}", self.offset, end - 1)),
            None => (self.offset > 0).then(|| format!("bytes={}-", self.offset)),
        };
        let request = |url: Url| {
            let mut ask = Ask::get(url);
            if let Some(range) = &range {
                ask = ask.header(RANGE, range);
            }
            if self.skip > 0 {
                // What came before was bad; a cache on the way may have it.
                ask = ask.header(CACHE_CONTROL, "no-cache");
            }
            match &self.validator {
                Some(Validator(_, value)) if self.offset > 0 => ask.header(IF_RANGE, value),
                _ => ask,
            }
        };
        let transport = &self.registries.inner.transport;
        let (digest, moved) = match &*self.target {
            Target::File(url) => return transport.send(request(url.clone()), &self.wanted).await,
            Target::Blob { digest, moved, .. } => (digest, moved),
        };
        let there = {
            let moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
            moved.clone().filter(|(origin, _)| *origin == source.origin())
        };
        if let Some((_, url)) = there {
            let answer = transport.send(request(url), &self.wanted).await?;
            if matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                return Ok(answer);
            }
            // The address was good for a while only: ask the registry for a new one.
            *moved.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let ask = request(source.url(&format!("blobs/{digest}")));
        let answer =
            self.registries.call(source, &Access::pull(&source.repository), ask, &self.wanted).await?;
        if answer.status().is_success() && answer.url().origin() != source.base.origin() {
            let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
            *moved = Some((source.origin(), answer.url().clone()));
        }
        Ok(answer)
    }

    /// Whether a blob is answered by a web page, such as that of a captive portal. Real blobs come as bytes of no kind.
    fn is_page(&self, answer: &Answer) -> bool {
        matches!(&*self.target, Target::Blob { .. })
            && answer.media_type().as_deref() == Some("text/html")
            && answer.content_length() != self.total
    }

    /// 200: the answer has everything, from the first byte.
    fn whole(&mut self, answer: Answer) -> Result<Open, RegistryError> {
        let length = answer.content_length();
        self.ignored |= self.offset > 0 || (self.end.is_some() && self.end != self.total);
        if self.ignored && self.strict {
            let message = "ranges are ignored".into();
            return Err(RegistryError::Refused { place: answer.place(), status: 200, message });
        }
        let file = matches!(&*self.target, Target::File(_));
        if file && self.offset == 0 {
            self.validator = validator(&answer);
            self.total = length;
            if length.is_none() && self.limit.is_none() {
                self.limit = Some(self.registries.inner.settings.unannounced);
            }
        } else if file {
            let same = match (&self.validator, validator(&answer)) {
                (Some(old), Some(new)) => *old == new,
                _ => length.is_some() && length == self.total,
            };
            if !same {
                return Err(RegistryError::Changed { place: answer.place() });
            }
        }
        self.fits(&answer, length)?;
        self.end = self.total;
        Ok(Open { answer, skip: self.offset })
    }

    /// 206: the answer has what was asked for.
    fn range(&mut self, answer: Answer) -> Result<Open, RegistryError> {
        let Some((Some(start), total)) = content_range(&answer) else {
            return Err(answer.garbage("a range without its place", b""));
        };
        if start != self.offset {
            return Err(answer.garbage("another range than was asked for", b""));
        }
        let file = matches!(&*self.target, Target::File(_));
        let other = match (&self.validator, validator(&answer)) {
            (Some(old), Some(new)) => *old != new,
            _ => total.is_some() && self.total.is_some() && total != self.total,
        };
        if file && other {
            return Err(RegistryError::Changed { place: answer.place() });
        }
        self.fits(&answer, total)?;
        if self.end.is_none() {
            (self.end, self.total) = (total, total);
        }
        Ok(Open { answer, skip: 0 })
    }

    /// Whether the size that an answer gives for the whole is the one that it must have.
    fn fits(&self, answer: &Answer, size: Option<u64>) -> Result<(), RegistryError> {
        let Some(found) = size else { return Ok(()) };
        let most = [self.total, self.limit].into_iter().flatten().min();
        if let Some(limit) = most.filter(|most| found > *most) {
            return Err(RegistryError::TooLarge { place: answer.place(), limit });
        }
        match self.total {
            Some(expected) if found < expected => {
                Err(RegistryError::Truncated { place: answer.place(), expected, found, declared: true })
            }
            _ => Ok(()),
        }
    }
}

/// A strong `ETag`, else `Last-Modified` (RFC 9110, 13.1.5).
fn validator(answer: &Answer) -> Option<Validator> {
    let etag = answer.header(ETAG).filter(|etag| etag.starts_with('"'));
    let value = etag.map(|etag| Validator(ETAG, etag.to_owned()));
    value.or_else(|| Some(Validator(LAST_MODIFIED, answer.header(LAST_MODIFIED)?.to_owned())))
}

/// The first byte and the size of the whole in `Content-Range: bytes 0-9/100`, `bytes 0-9/*` or `bytes */100`.
fn content_range(answer: &Answer) -> Option<(Option<u64>, Option<u64>)> {
    let text = answer.header(CONTENT_RANGE)?.trim().strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}
