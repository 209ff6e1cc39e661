use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, FuturesUnordered};
use futures::{FutureExt as _, Stream, StreamExt as _};
use kic_base::{Digest, ImageReference};
use tokio::time::Instant;

use crate::error::RegistryError;
use crate::reading::Reading;
use crate::registries::Registries;

/// Some bytes of a blob.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Where in the blob they begin.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

impl Registries {
    /// A blob of `size` bytes, in order from its first byte, from the mirrors or the registry of `image`.
    ///
    /// A broken connection goes on where it was. The stream ends with an error when there are more or fewer bytes; it
    /// does not look at the digest: the reader does, and asks [`blob_again`](Self::blob_again) when it is wrong.
    pub fn blob(
        &self,
        image: &ImageReference,
        digest: &Digest,
        size: u64,
    ) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin + use<> {
        self.blob_again(image, digest, size, 0)
    }

    /// As [`blob`](Self::blob), after `attempt` times of content with a wrong digest: begins with another source, where
    /// there is one, and asks caches on the way to look again.
    pub fn blob_again(
        &self,
        image: &ImageReference,
        digest: &Digest,
        size: u64,
        attempt: u32,
    ) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin + use<> {
        let reading = Reading::blob(self.clone(), image, digest, 0..size, size, attempt);
        Box::pin(stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        }))
    }

    /// As [`blob_again`](Self::blob_again), for a reader who takes the bytes in any order: several parts of a large blob come at
    /// once, over connections that nobody else waits for. Every byte comes that is not in the ranges that are `had`, which are in order,
    /// none touching another; some come twice, or are had and come, where a registry does not know ranges. After a wrong digest,
    /// no parts are asked for.
    pub fn blob_pieces(
        &self,
        image: &ImageReference,
        digest: &Digest,
        size: u64,
        attempt: u32,
        had: &[Range<u64>],
    ) -> impl Stream<Item = Result<Piece, RegistryError>> + Send + Unpin + use<> {
        let ranges = &self.inner.settings.ranges;
        let (part, front) = (ranges.part.max(1), ranges.front.max(ranges.part).max(1));
        let missing = missing(had, size);
        let left = length(&missing);
        if left < size {
            tracing::debug!(%digest, had = size - left, size, "the download goes on");
        }
        let in_parts = attempt == 0 && left > ranges.above && left > front && ranges.at_once > 1;
        let fresh = Reading::blob(self.clone(), image, digest, 0..0, size, attempt);
        let mut download = Download {
            steps: FuturesUnordered::new(),
            begun: BTreeMap::new(),
            fresh: fresh.part(0..0, false),
            missing,
            size,
            // All that is missing in a row, where it does not come in parts.
            part: if in_parts { part } else { size },
            front: if in_parts { front } else { size },
            at_once: if in_parts { ranges.at_once } else { 1 },
            aim: ranges.aim,
            speed: 0,
        };
        download.begin(&fresh, true, false);
        Box::pin(stream::try_unfold(download, |mut download| async move {
            let piece = download.next().await?;
            Ok(piece.map(|piece| (piece, download)))
        }))
    }
}

/// What is missing of a blob beside the ranges that are had.
fn missing(had: &[Range<u64>], size: u64) -> VecDeque<Range<u64>> {
    let begins = std::iter::once(0).chain(had.iter().map(|range| range.end));
    let ends = had.iter().map(|range| range.start).chain([size]);
    begins.zip(ends).map(|(begin, end)| begin..end.min(size)).filter(|range| !range.is_empty()).collect()
}

fn length(ranges: &VecDeque<Range<u64>>) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Where a part began, and its reading, after the next bytes came.
type Step = (u64, Reading, Result<Option<Bytes>, RegistryError>);

/// A blob on its way: some parts of it at once, each of which is a reading. Where one ends, the next part that nobody fetches
/// begins; while a connection is free, one more does.
struct Download {
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    /// The parts on their way, by where each of them began.
    begun: BTreeMap<u64, Progress>,
    /// A reading that has met nobody yet.
    fresh: Reading,
    /// What nobody fetches yet, in order.
    missing: VecDeque<Range<u64>>,
    size: u64,
    /// The least and the most that is asked for at a time.
    part: u64,
    front: u64,
    at_once: usize,
    aim: Duration,
    /// Bytes a second of the connection that was looked at last.
    speed: u64,
}

/// How far a part is.
#[derive(Clone, Copy)]
struct Progress {
    offset: u64,
    /// Where it was when its first bytes had come, and when that was: the wait before that says nothing of the speed.
    first: Option<(u64, Instant)>,
}

impl Progress {
    fn goes_on(self, offset: u64) -> Self {
        let first = self.first.or_else(|| (offset > self.offset).then(|| (offset, Instant::now())));
        Self { offset, first }
    }

    /// Bytes a second; `None` until it is known.
    fn speed(self) -> Option<u64> {
        let (offset, since) = self.first?;
        let (bytes, seconds) = (self.offset - offset, since.elapsed().as_secs_f64());
        // Less may have been lying ready in the buffers.
        (bytes >= 1 << 20).then(|| (bytes as f64 / seconds.max(1e-6)) as u64)
    }
}

impl Download {
    async fn next(&mut self) -> Result<Option<Piece>, RegistryError> {
        while let Some((begin, reading, result)) = self.steps.next().await {
            match result {
                Ok(Some(bytes)) => {
                    let offset = reading.offset() - bytes.len() as u64;
                    self.came(begin, reading);
                    return Ok(Some(Piece { offset, bytes }));
                }
                Ok(None) => {
                    self.begun.remove(&begin);
                    // Its own connection is free just now, too.
                    let is_alone = self.steps.is_empty() && reading.idle_connections() <= 1;
                    self.begin(&reading, is_alone, !self.steps.is_empty());
                }
                Err(_) if reading.is_strict() && reading.ignores_ranges() => self.start_over(),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn go_on(&mut self, begin: u64, mut reading: Reading) {
        let offset = reading.offset();
        let progress = self.begun.entry(begin).or_insert(Progress { offset, first: None });
        *progress = progress.goes_on(offset);
        self.speed = progress.speed().unwrap_or(self.speed);
        let step = async move {
            let result = reading.next().await;
            (begin, reading, result)
        };
        self.steps.push(step.boxed());
    }

    /// Bytes came: the others may be too many now, or too few.
    fn came(&mut self, begin: u64, reading: Reading) {
        if reading.ignores_ranges() {
            // The one answer brings everything from here on.
            self.steps.clear();
            self.begun.clear();
            self.missing.clear();
        } else if reading.is_open() {
            // Else its own connection, just given back, would look like one to spare.
            for _ in 0..reading.idle_connections() {
                if self.steps.len() + 1 < self.at_once {
                    self.begin(&reading, false, true);
                }
            }
        }
        self.go_on(begin, reading);
    }

    /// Begins the next part, where there is one. The less is left the shorter it is, so that all end at the same time.
    /// A `strict` one has others before it, and must not bring everything.
    fn begin(&mut self, reading: &Reading, is_alone: bool, strict: bool) {
        let left = length(&self.missing);
        let Some(gap) = self.missing.front_mut() else { return };
        let fair = left / (2 * self.at_once.max(1) as u64);
        let in_time = (self.speed as f64 * self.aim.as_secs_f64()) as u64;
        let (least, most) = (self.part.max(in_time / 4), self.front.max(in_time));
        let length = if is_alone { most } else { fair.clamp(least.min(most), most) };
        let (begin, end) = (gap.start, gap.end.min(gap.start.saturating_add(length)));
        gap.start = end;
        if gap.is_empty() {
            self.missing.pop_front();
        }
        self.go_on(begin, reading.part(begin..end, strict));
    }

    /// The sources changed their mind, or there is another machine behind the same name: one stream for all that is missing.
    fn start_over(&mut self) {
        let begin = self.begun.values().map(|progress| progress.offset).min().unwrap_or(0);
        self.steps.clear();
        self.begun.clear();
        self.missing.clear();
        self.go_on(begin, self.fresh.part(begin..self.size, false));
    }
}
