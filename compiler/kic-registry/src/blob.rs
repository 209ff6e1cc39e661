use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::stream;
use kic_base::{Digest, ImageReference};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

use crate::error::RegistryError;
use crate::reading::Reading;
use crate::registries::Registries;

/// A part that was fetched ahead is handed on in pieces of this size.
const PIECE: usize = 256 << 10;

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
    /// there is one, asks caches on the way to look again, and fetches no ranges at once.
    pub fn blob_again(
        &self,
        image: &ImageReference,
        digest: &Digest,
        size: u64,
        attempt: u32,
    ) -> impl Stream<Item = Result<Bytes, RegistryError>> + Send + Unpin + use<> {
        let ranges = &self.inner.settings.ranges;
        // A part is reserved in whole KiB.
        let part = ranges.part.clamp(1, u64::from(u32::MAX));
        let front = ranges.front.max(part);
        let in_parts = attempt == 0 && size > ranges.above && size > front && ranges.at_once > 1;
        let first = if in_parts { front } else { size };
        let download = Download {
            head: Reading::blob(self.clone(), image, digest, 0..first, size, attempt),
            ahead: VecDeque::new(),
            arrived: None,
            next: first,
            size,
            front,
            part,
            at_once: ranges.at_once,
        };
        Box::pin(stream::try_unfold(download, |mut download| async move {
            let bytes = download.next().await?;
            Ok(bytes.map(|bytes| (bytes, download)))
        }))
    }
}

/// A blob on its way. The part at the front is streamed; while there is memory, and a connection that nobody waits for, the
/// next ones are fetched meanwhile. The front needs no memory, so there is always one who can go on.
struct Download {
    head: Reading,
    ahead: VecDeque<Ahead>,
    /// A part that was fetched ahead, being handed on.
    arrived: Option<(Bytes, OwnedSemaphorePermit)>,
    /// Where the first part begins that nobody fetches yet.
    next: u64,
    size: u64,
    front: u64,
    part: u64,
    at_once: usize,
}

struct Ahead {
    begins: u64,
    task: AbortOnDropHandle<Result<Bytes, PartError>>,
    memory: OwnedSemaphorePermit,
}

struct PartError {
    error: RegistryError,
    ranges_ignored: bool,
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if let Some((bytes, _)) = &mut self.arrived {
                if !bytes.is_empty() {
                    return Ok(Some(bytes.split_to(bytes.len().min(PIECE))));
                }
                self.arrived = None;
            }
            if let Some(bytes) = self.head.next().await? {
                if self.head.ignores_ranges() {
                    // The one answer brings everything.
                    self.ahead.clear();
                    self.next = self.size;
                } else if self.head.is_open() {
                    // Else its own connection, just given back, would look like one to spare.
                    self.fetch_ahead();
                }
                return Ok(Some(bytes));
            }
            if let Some(Ahead { begins, task, memory }) = self.ahead.pop_front() {
                self.fetch_ahead();
                match task.await {
                    Ok(Ok(bytes)) => self.arrived = Some((bytes, memory)),
                    Ok(Err(PartError { error, ranges_ignored: false })) => return Err(error),
                    // Changed its mind, or another machine behind the same name: one stream for the rest. A task that
                    // is lost ends here too.
                    Ok(Err(_)) | Err(_) => {
                        self.ahead.clear();
                        self.next = self.size;
                        self.head = self.head.part(begins..self.size, false);
                    }
                }
            } else if self.next < self.size {
                // Parts behind a short front begin sooner. The front's own connection is free just now.
                let length = if self.head.idle_connections() > 1 { self.part } else { self.front };
                let end = (self.next + length).min(self.size);
                self.head = self.head.part(self.next..end, false);
                self.next = end;
            } else {
                return Ok(None);
            }
        }
    }

    fn fetch_ahead(&mut self) {
        // The front is one of those at once.
        if self.next >= self.size || self.ahead.len() + 1 >= self.at_once {
            return;
        }
        for _ in 0..self.head.idle_connections() {
            if self.next >= self.size || self.ahead.len() + 1 >= self.at_once {
                return;
            }
            let end = (self.next + self.part).min(self.size);
            let length = end - self.next;
            let memory = Arc::clone(self.head.memory());
            let kibibytes = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
            let Ok(memory) = memory.try_acquire_many_owned(kibibytes) else { return };
            let reading = self.head.part(self.next..end, true);
            let task = AbortOnDropHandle::new(tokio::spawn(collect(reading, length)));
            self.ahead.push_back(Ahead { begins: self.next, task, memory });
            self.next = end;
        }
    }
}

async fn collect(mut reading: Reading, length: u64) -> Result<Bytes, PartError> {
    // Copied, so that the part takes its own length and not that of the buffers it came in.
    let mut bytes = BytesMut::with_capacity(length as usize);
    loop {
        match reading.next().await {
            Ok(Some(more)) => bytes.extend_from_slice(&more),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => return Err(PartError { error, ranges_ignored: reading.ignores_ranges() }),
        }
    }
}
