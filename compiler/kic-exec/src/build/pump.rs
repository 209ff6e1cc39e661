//! Bytes from the network or a disk into the store, without ever holding more than a few pieces of them.

use std::io::Read;
use std::ops::Range;

use futures::{Stream, StreamExt};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics};
use kic_graph::{Node, NodeIndex, Origin};
use kic_registry::{Piece, RegistryError};
use kic_store::Download;

use crate::context::Context;
use crate::event::Event;
use crate::{disk, fault};

/// How often bytes with another digest than the one asked for are asked for again.
const ATTEMPTS: u32 = 3;

/// What a sink begins with, and what it leaves where it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With nothing, and leaves nothing: the bytes are soon had again.
    Plain,
    /// With what an earlier download brought, and leaves what came.
    GoesOn,
    /// With nothing, and leaves what came.
    Anew,
}

impl Start {
    /// What the store is to know of the blob.
    pub(crate) fn download(self, digest: Digest, size: u64) -> Option<Download> {
        (self != Self::Plain).then_some(Download { digest, size, anew: self == Self::Anew })
    }
}

/// What takes bytes in any order and at the end says whether they are the right ones.
pub(crate) trait Sink: Send + 'static {
    /// The ranges that are there.
    fn had(&self) -> Vec<Range<u64>>;

    /// Takes some bytes. The same ones may come again.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()>;

    /// Does some of the work that is left before the end; whether there is more.
    fn catch_up(&mut self) -> std::io::Result<bool>;

    /// Leaves nothing where it is dropped.
    fn forget(&mut self);

    /// Keeps the bytes, if they are what was expected.
    fn commit(self) -> Result<(), kic_store::StoreError>;
}

/// Gives the bytes of `digest` to a sink that `open` makes: from the store, from the substituter, else from each
/// origin in turn until one gives bytes with that digest.
pub(crate) async fn pump<S: Sink>(
    node: &Node,
    index: NodeIndex,
    digest: &Digest,
    size: u64,
    context: &Context,
    open: impl Fn(Start) -> Result<S, kic_store::StoreError> + Clone + Send + 'static,
) -> Result<(), Diagnostics> {
    for store in [Some(&context.store), context.substituter.as_ref()].into_iter().flatten() {
        if store.contains(digest) {
            let (store, digest, open, inner) = (store.clone(), *digest, open.clone(), context.clone());
            let copied = context.blocking(move || {
                let reader = store.blob(&digest).map_err(|error| fault::store(&error))?;
                copy(reader, open, index, &inner)
            });
            match copied.await {
                Ok(()) => return Ok(()),
                Err(error) if node.origins.is_empty() => return Err(error),
                // Damaged bytes have been moved aside: fetch them.
                Err(_) => {}
            }
        }
    }
    let mut last: Diagnostics = fault::internal(format!("nobody has {digest}")).into();
    let mut shown = 0;
    for origin in &node.origins {
        let mut attempt = Attempt::first(size, shown);
        while attempt.number < ATTEMPTS {
            context.go_on()?;
            let result = from_origin(origin, node, index, digest, &mut attempt, context, open.clone()).await;
            match result {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let mismatch = error.iter().any(|one| one.code == &kic_diag::declared::DIGEST_MISMATCH);
                    last = error;
                    // What was had before is the first suspect: without it, the origin is asked as if for the first time.
                    let is_suspect = attempt.had > 0 && (mismatch || attempt.is_refused);
                    if !mismatch && !is_suspect {
                        break;
                    }
                    attempt.number += u32::from(!is_suspect);
                    (attempt.start, attempt.had, attempt.is_refused) = (Start::Anew, 0, false);
                }
            }
        }
        shown = attempt.shown;
    }
    Err(last)
}

/// One of the attempts to have a blob from an origin.
struct Attempt {
    /// How many came before it whose bytes had another digest.
    number: u32,
    start: Start,
    /// The size of the blob.
    size: u64,
    /// How many bytes were there when it began.
    had: u64,
    /// Whether the answer was none to what was asked, or did not fit it.
    is_refused: bool,
    /// How many bytes were told to whoever watches: those of earlier attempts are not told again.
    shown: u64,
}

impl Attempt {
    fn first(size: u64, shown: u64) -> Self {
        Self { number: 0, start: Start::GoesOn, size, had: 0, is_refused: false, shown }
    }

    /// How many bytes are to be told when so many are there.
    fn more(&mut self, there: u64) -> Option<u64> {
        let more = there.min(self.size).saturating_sub(self.shown);
        self.shown += more;
        (more > 0).then_some(more)
    }
}

async fn from_origin<S: Sink>(
    origin: &Origin,
    node: &Node,
    index: NodeIndex,
    digest: &Digest,
    attempt: &mut Attempt,
    context: &Context,
    open: impl Fn(Start) -> Result<S, kic_store::StoreError> + Send + 'static,
) -> Result<(), Diagnostics> {
    let span = node.span.as_ref();
    let wanted = match origin {
        Origin::Registry(reference) => reference.at(*digest).to_string(),
        Origin::Url(url) => url.clone(),
        Origin::Disk(source) => {
            let (source, digest, context) = (source.clone(), *digest, context.clone());
            let span = node.span.clone();
            return context
                .clone()
                .blocking(move || {
                    let image = context.disk_images.open(&source, span.as_ref())?;
                    let reader = image
                        .open(&digest)
                        .map_err(|error| disk::unreadable(&source, &error, span.as_ref()))?;
                    copy(reader, open, index, &context)
                })
                .await;
        }
    };
    let network = context.network(&wanted, span)?;
    match origin {
        Origin::Registry(reference) if node.is_document => {
            let document = network
                .resolve(&reference.at(*digest))
                .await
                .map_err(|error| fault::registry(&error, span))?;
            let bytes = document.bytes;
            let context = context.clone();
            context.clone().blocking(move || copy(bytes.as_slice(), open, index, &context)).await
        }
        Origin::Registry(reference) => {
            let (start, number, size) = (attempt.start, attempt.number, attempt.size);
            let stream = |had: &[Range<u64>]| network.blob_pieces(reference, digest, size, number, had);
            from_stream(stream, node, index, &wanted, attempt, context, move || open(start)).await
        }
        _ => {
            let size = attempt.size;
            let stream = |_: &[Range<u64>]| {
                let mut end = 0;
                network.fetch(&wanted, Some(size)).map(move |bytes| {
                    let bytes = bytes?;
                    let offset = end;
                    end += bytes.len() as u64;
                    Ok(Piece { offset, bytes })
                })
            };
            from_stream(stream, node, index, &wanted, attempt, context, move || open(Start::Plain)).await
        }
    }
}

/// Gives what `stream` brings, told what is there, to the sink.
async fn from_stream<S: Sink, T: Stream<Item = Result<Piece, RegistryError>> + Send>(
    stream: impl FnOnce(&[Range<u64>]) -> T + Send,
    node: &Node,
    index: NodeIndex,
    wanted: &str,
    attempt: &mut Attempt,
    context: &Context,
    open: impl Fn() -> Result<S, kic_store::StoreError> + Send + 'static,
) -> Result<(), Diagnostics> {
    let receiving = context.receive().await?;
    let mut sink = context.blocking(move || open().map_err(|error| fault::store(&error).into())).await?;
    let had = sink.had();
    attempt.had = had.iter().map(|range| range.end - range.start).sum();
    if let Some(bytes) = attempt.more(attempt.had) {
        context.watch.event(Event::Had { node: index, bytes });
    }
    let mut there = attempt.had;
    let mut stream = std::pin::pin!(stream(&had));
    loop {
        let next = context.interruptible(async { Ok(stream.next().await) }).await?;
        let Some(piece) = next else { break };
        let Piece { offset, bytes } = piece.map_err(|error| {
            // There are registries that give a blob, and no part of it.
            attempt.is_refused = matches!(
                error,
                RegistryError::TooLarge { .. }
                    | RegistryError::Truncated { declared: true, .. }
                    | RegistryError::Garbage { .. }
                    | RegistryError::Refused { .. }
                    | RegistryError::Unavailable { status: 501, .. }
            );
            // A blob of another size has another digest.
            if matches!(error, RegistryError::TooLarge { .. }) && attempt.had == 0 {
                sink.forget();
            }
            fault::blob(&error, node.span.as_ref())
        })?;
        // Here, and not on the blocking pool: a piece takes a fraction of a millisecond, and to hand it to another thread
        // and back would cost as much again. A disk that is slower than the network stops the task, which is to be: what the
        // disk does not take yet waits in the sockets.
        sink.write_at(offset, &bytes).map_err(|error| fault::input_output(error, "writing to the store"))?;
        there += bytes.len() as u64;
        if let Some(bytes) = attempt.more(there) {
            context.watch.event(Event::Progress { node: index, bytes });
        }
    }
    // The next one comes while this one is kept.
    drop(receiving);
    let (span, wanted, inner) = (node.span.clone(), wanted.to_owned(), context.clone());
    context
        .blocking(move || {
            // Much of a download that went on may be left to be hashed: one that is interrupted here, too, is kept.
            while sink.catch_up().map_err(|error| fault::input_output(error, "reading in the store"))? {
                inner.go_on()?;
            }
            sink.commit().map_err(|error| mismatch(&error, &wanted, span.as_ref()).into())
        })
        .await
}

fn copy<S: Sink>(
    mut reader: impl Read,
    open: impl Fn(Start) -> Result<S, kic_store::StoreError>,
    index: NodeIndex,
    context: &Context,
) -> Result<(), Diagnostics> {
    let mut sink = open(Start::Plain).map_err(|error| fault::store(&error))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        context.go_on()?;
        let count =
            reader.read(&mut buffer).map_err(|error| fault::input_output(error, "reading an image"))?;
        if count == 0 {
            break;
        }
        sink.write_at(offset, &buffer[..count])
            .map_err(|error| fault::input_output(error, "writing to the store"))?;
        offset += count as u64;
        context.watch.event(Event::Progress { node: index, bytes: count as u64 });
    }
    sink.commit().map_err(|error| mismatch(&error, "an image on disk", None).into())
}

fn mismatch(error: &kic_store::StoreError, wanted: &str, span: Option<&kic_base::Span>) -> Diagnostic {
    match error {
        kic_store::StoreError::Mismatch { expected, actual, .. } => {
            let diagnostic = Diagnostic::new(
                &kic_diag::declared::DIGEST_MISMATCH,
                format!("`{wanted}` has the digest {actual}, not {expected}"),
            );
            let diagnostic = match span {
                Some(span) => diagnostic.at(span, "needed here"),
                None => diagnostic,
            };
            diagnostic.help("the content was changed on its way, or the registry is damaged: do not trust it")
        }
        error => fault::store(error),
    }
}
