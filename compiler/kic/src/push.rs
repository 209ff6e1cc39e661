use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kic_base::{Digest, ImageReference};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Documents, Event, fault, obtain};
use kic_graph::{BlobFacts, Kind, NodeIndex, Origin};
use kic_oci::model::Descriptor;
use kic_registry::Pushed;
use kic_store::StoreError;
use tokio::sync::mpsc;

use crate::image::{ImageAt, open_image};

/// What a push did.
#[derive(Debug, Clone, Copy)]
pub struct PushedImage {
    /// The digest of the image, unchanged.
    pub digest: Digest,
    /// Blobs that were sent.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Blobs that the registry had, or took over from another of its repositories.
    pub kept: usize,
}

/// Sends an image to a registry: blobs, then manifests, then the index, all as the bytes that they are.
///
/// # Errors
/// What went wrong with the disk or a registry. A push that fails leaves blobs there, and no new tag.
pub async fn push(image: &str, to: &ImageReference, context: &Context) -> Result<PushedImage, Diagnostics> {
    context.interruptible(send(image, to, context)).await
}

async fn send(image: &str, to: &ImageReference, context: &Context) -> Result<PushedImage, Diagnostics> {
    let opened = open_image(image, context).await?;
    let Some(registries) = &context.registries else {
        return Err(Diagnostic::new(&code::OFFLINE, format!("`{to}` is in a registry, and kic is offline"))
            .help("leave `--offline` out")
            .into());
    };
    // Before anything is sent: the registry would refuse the manifest at the end.
    if let Some(digest) = to.digest().filter(|digest| **digest != opened.root.digest) {
        let message = format!("`{image}` is the image {}, and not {digest}", opened.root.digest);
        return Err(Diagnostic::new(&code::INVALID_ARGUMENT, message)
            .help(format!("leave `@{digest}` out, or push the image that has this digest"))
            .into());
    }
    let mut blobs: Vec<&Descriptor> = Vec::new();
    for (_, _, manifest) in &opened.manifests {
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob);
            }
        }
    }
    let mut pushed = PushedImage { digest: opened.root.digest, sent: 0, sent_bytes: 0, kept: 0 };
    let from_registry = matches!(opened.origin(), Origin::Registry(_));
    // What is fetched first is counted there and back.
    let moved = |blob: &Descriptor| match from_registry && !context.store.contains(&blob.digest) {
        true => blob.size.saturating_mul(2),
        false => blob.size,
    };
    let bytes = blobs.iter().map(|blob| moved(blob)).sum();
    context.watch.event(Event::Planned { nodes: blobs.len(), bytes });
    let origin = &opened.origin();
    let mut results = stream::iter(blobs.into_iter().enumerate())
        .map(|(place, blob)| async move {
            let (node, kind, name) = (NodeIndex::new(place), Kind::Blob, blob.digest.short());
            context.watch.event(Event::Started { node, kind, name: &name, bytes: Some(moved(blob)) });
            let began = Instant::now();
            let facts =
                BlobFacts { media_type: blob.media_type.clone(), digest: blob.digest, size: blob.size };
            let reader = obtain(&facts, origin, node, context).await?;
            let watch = Arc::clone(&context.watch);
            let read = move |bytes| watch.event(Event::Progress { node, bytes });
            let (body, unread) = stream_of(reader, read);
            let result = registries.push_blob(to, &blob.digest, blob.size, body, None).await;
            let what = result.map_err(|error| match unread.take() {
                Some(unread) => unreadable(image, unread),
                None => Diagnostics::from(fault::push(&error)),
            })?;
            match what {
                Pushed::Uploaded => {
                    let (bytes, elapsed) = (blob.size, began.elapsed());
                    context.watch.event(Event::Finished { node, kind, name: &name, bytes, elapsed });
                }
                Pushed::Existed | Pushed::Mounted => {
                    context.watch.event(Event::Progress { node, bytes: blob.size });
                }
            }
            Ok::<_, Diagnostics>((what, blob.size))
        })
        .buffer_unordered(4);
    while let Some((what, size)) = results.try_next().await? {
        match what {
            Pushed::Uploaded => {
                pushed.sent += 1;
                pushed.sent_bytes += size;
            }
            Pushed::Existed | Pushed::Mounted => pushed.kept += 1,
        }
    }
    drop(results);
    push_documents(&opened, to, context).await?;
    Ok(pushed)
}

/// Manifests go by digest; the tag comes last, so that it never names something incomplete.
async fn push_documents(opened: &ImageAt, to: &ImageReference, context: &Context) -> Result<(), Diagnostics> {
    let Some(registries) = &context.registries else { return Ok(()) };
    let documents = Documents { context, origin: opened.origin(), span: None };
    for (_, descriptor, _) in
        opened.manifests.iter().filter(|(_, child, _)| child.digest != opened.root.digest)
    {
        let bytes = documents.raw(&descriptor.digest).await?;
        let at = to.at(descriptor.digest);
        let result = registries.push_manifest(&at, &descriptor.media_type, &bytes).await;
        result.map_err(|error| fault::push(&error))?;
    }
    let bytes = documents.raw(&opened.root.digest).await?;
    let result = registries.push_manifest(to, &opened.root.media_type, &bytes).await;
    result.map_err(|error| fault::push(&error))?;
    Ok(())
}

/// What is wrong with an image whose blob could not be read.
fn unreadable(image: &str, error: io::Error) -> Diagnostics {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::NotFound
            if error.get_ref().is_none_or(|inner| !inner.is::<StoreError>()) =>
        {
            Diagnostic::new(&code::DAMAGED_IMAGE, format!("`{image}` is damaged: {error}"))
                .help("`kic verify` tells what else is; write or copy the image again, with `kic compile --check` if kic made it here")
                .into()
        }
        _ => fault::input_output(error, "reading the image").into(),
    }
}

/// Why a blob could not be read, once that is so.
#[derive(Clone, Default)]
struct Unread(Arc<Mutex<Option<io::Error>>>);

impl Unread {
    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Keeps the error, and gives another one for whoever was to have the bytes.
    fn keep(&self, error: io::Error) -> io::Error {
        let told = io::Error::new(error.kind(), error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }
}

/// The bytes of a blocking reader, a few pieces ahead of whoever takes them.
fn stream_of(
    mut reader: Box<dyn io::Read + Send>,
    read: impl Fn(u64) + Send + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Unread) {
    let (sender, receiver) = mpsc::channel(4);
    let unread = Unread::default();
    let own = unread.clone();
    tokio::task::spawn_blocking(move || {
        loop {
            let mut buffer = vec![0; 256 * 1024];
            let piece = reader.read(&mut buffer).map_err(|error| own.keep(error)).map(|count| {
                buffer.truncate(count);
                Bytes::from(buffer)
            });
            let ended = piece.as_ref().map_or(true, Bytes::is_empty);
            let empty = piece.as_ref().is_ok_and(Bytes::is_empty);
            read(piece.as_ref().map_or(0, Bytes::len) as u64);
            if (!empty && sender.blocking_send(piece).is_err()) || ended {
                return;
            }
        }
    });
    let stream = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (stream, unread)
}
