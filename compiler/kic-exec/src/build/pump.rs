//! Bytes from the network or a disk into the store, without ever holding more than a few pieces of them.

use std::io::Read;

use futures::{Stream, StreamExt};
use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics};
use kic_graph::{Node, NodeIndex, Origin};
use kic_registry::{Piece, RegistryError};

use crate::context::Context;
use crate::event::Event;
use crate::{disk, fault};

/// How often bytes with another digest than the one asked for are asked for again.
const ATTEMPTS: u32 = 3;

/// What takes bytes in any order and at the end says whether they are the right ones.
pub(crate) trait Sink: Send + 'static {
    /// Takes some bytes. The same ones may come again.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()>;

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
    open: impl Fn() -> Result<S, kic_store::StoreError> + Clone + Send + 'static,
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
    for origin in &node.origins {
        for attempt in 0..ATTEMPTS {
            context.go_on()?;
            let result = from_origin(origin, node, index, digest, size, attempt, context, open.clone()).await;
            match result {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let mismatch = error.iter().any(|one| one.code == &kic_diag::declared::DIGEST_MISMATCH);
                    last = error;
                    if !mismatch {
                        break;
                    }
                }
            }
        }
    }
    Err(last)
}

#[expect(clippy::too_many_arguments, reason = "one call, and a struct would only repeat their names")]
async fn from_origin<S: Sink>(
    origin: &Origin,
    node: &Node,
    index: NodeIndex,
    digest: &Digest,
    size: u64,
    attempt: u32,
    context: &Context,
    open: impl Fn() -> Result<S, kic_store::StoreError> + Send + 'static,
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
            let stream = network.blob_pieces(reference, digest, size, attempt);
            from_stream(stream, node, index, &wanted, context, open).await
        }
        _ => {
            let mut end = 0;
            let stream = network.fetch(&wanted, Some(size)).map(move |bytes| {
                let bytes = bytes?;
                let offset = end;
                end += bytes.len() as u64;
                Ok(Piece { offset, bytes })
            });
            from_stream(stream, node, index, &wanted, context, open).await
        }
    }
}

async fn from_stream<S: Sink>(
    stream: impl Stream<Item = Result<Piece, RegistryError>> + Send,
    node: &Node,
    index: NodeIndex,
    wanted: &str,
    context: &Context,
    open: impl Fn() -> Result<S, kic_store::StoreError> + Send + 'static,
) -> Result<(), Diagnostics> {
    let receiving = context.receive().await?;
    let mut sink = context.blocking(move || open().map_err(|error| fault::store(&error).into())).await?;
    let mut stream = std::pin::pin!(stream);
    loop {
        let next = context.interruptible(async { Ok(stream.next().await) }).await?;
        let Some(piece) = next else { break };
        let Piece { offset, bytes } = piece.map_err(|error| fault::registry(&error, node.span.as_ref()))?;
        // Here, and not on the blocking pool: a piece takes a fraction of a millisecond, and to hand it to another thread
        // and back would cost as much again. A disk that is slower than the network stops the task, which is to be: what the
        // disk does not take yet waits in the sockets.
        sink.write_at(offset, &bytes).map_err(|error| fault::input_output(error, "writing to the store"))?;
        context.watch.event(Event::Progress { node: index, bytes: bytes.len() as u64 });
    }
    // The next one comes while this one is kept.
    drop(receiving);
    let (span, wanted) = (node.span.clone(), wanted.to_owned());
    context
        .blocking(move || sink.commit().map_err(|error| mismatch(&error, &wanted, span.as_ref()).into()))
        .await
}

fn copy<S: Sink>(
    mut reader: impl Read,
    open: impl Fn() -> Result<S, kic_store::StoreError>,
    index: NodeIndex,
    context: &Context,
) -> Result<(), Diagnostics> {
    let mut sink = open().map_err(|error| fault::store(&error))?;
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
