//! A layer of many files.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use kic_base::{Digest, Sha256};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{
    Bytes, ContentFacts, Derivation, Graph, LayerSettings, Node, NodeIndex, TreeEntry, TreeEntryKind,
};
use kic_oci::layer::{Compression, LayerDigests, LayerError, LayerWriter};
use kic_store::{BlobWriter, Store};

use super::ahead::{Ahead, MOST_BYTES, Wanted, batches};
use super::room::Room;
use crate::context::Context;
use crate::fault;
use crate::realised::LayerOutput;
use crate::stoppable::Stoppable;

/// Writes the entries in their order. A file of this machine that is no longer what it was when it was hashed
/// is an error.
pub(crate) async fn build(
    graph: &Arc<Graph>,
    index: NodeIndex,
    context: &Context,
) -> Result<LayerOutput, Diagnostics> {
    let Derivation::Tree { settings, entries } = &graph.nodes[index].derivation else {
        return Err(fault::internal("not a tree").into());
    };
    let batches = batches(entries);
    let bytes = bytes(entries);
    let ahead = if batches.is_empty() { 0 } else { bytes.min(MOST_BYTES) };
    let room = Room::take(*settings, bytes, ahead, context.jobs).await;
    let (graph, context) = (Arc::clone(graph), context.clone());
    // The room is free again when the work is at its end, whoever still waits for it.
    context.clone().blocking(move || write(&graph, index, batches, &room, &context)).await
}

/// How many bytes the files of a layer have.
fn bytes(entries: &[TreeEntry]) -> u64 {
    let sizes = entries.iter().map(|entry| match &entry.kind {
        TreeEntryKind::File { content, .. } => content.size,
        _ => 0,
    });
    sizes.sum()
}

fn write(
    graph: &Graph,
    index: NodeIndex,
    batches: Vec<Vec<Wanted>>,
    room: &Room,
    context: &Context,
) -> Result<LayerOutput, Diagnostics> {
    let node = &graph.nodes[index];
    let Derivation::Tree { settings, entries } = &node.derivation else {
        return Err(fault::internal("not a tree").into());
    };
    let mut layer = begin(&context.store, *settings, room.threads)?;
    std::thread::scope(|scope| {
        let mut ahead = Ahead::start(scope, batches, context);
        for (place, entry) in entries.iter().enumerate() {
            write_entry(&mut layer, entry, ahead.take(place), node, graph, context)?;
        }
        Ok::<_, Diagnostics>(())
    })?;
    finish(layer, settings.compression)
}

/// Writes one entry; `ahead` is its file, where that was read before.
fn write_entry(
    layer: &mut LayerWriter<BlobWriter>,
    entry: &TreeEntry,
    ahead: Option<io::Result<Vec<u8>>>,
    node: &Node,
    graph: &Graph,
    context: &Context,
) -> Result<(), Diagnostics> {
    context.go_on()?;
    let result = match &entry.kind {
        TreeEntryKind::Folder { mode } => layer.directory(&entry.path, *mode),
        TreeEntryKind::Symlink(target) => layer.symlink(&entry.path, target),
        TreeEntryKind::File { mode, content, bytes } => {
            let body: Box<dyn Read> = match bytes {
                Bytes::Inline(bytes) => Box::new(&bytes[..]),
                Bytes::Local(path) if ahead.is_some() => {
                    let bytes =
                        ahead.transpose().map_err(|error| changed(path, Some(&error), node.span.as_ref()))?;
                    Box::new(io::Cursor::new(bytes.unwrap_or_default()))
                }
                Bytes::Local(path) => {
                    let file =
                        File::open(path).map_err(|error| changed(path, Some(&error), node.span.as_ref()))?;
                    Box::new(Unchanged::new(file, content))
                }
                Bytes::Node(input) => {
                    let digest = match &graph.nodes[*input].derivation {
                        Derivation::Blob(content) => content.digest,
                        _ => return Err(fault::internal("a file that is no blob").into()),
                    };
                    Box::new(context.store.blob(&digest).map_err(|error| fault::store(&error))?)
                }
            };
            let mut body = Stoppable::new(body, context);
            let result = layer.file(&entry.path, *mode, content.size, &mut body);
            context.go_on()?;
            match (&result, bytes) {
                (Err(LayerError::Short { .. } | LayerError::Long { .. }), Bytes::Local(path)) => {
                    return Err(changed(path, None, node.span.as_ref()).into());
                }
                (Err(LayerError::Body { error, .. }), Bytes::Local(path)) => {
                    return Err(changed(path, Some(error), node.span.as_ref()).into());
                }
                _ => result,
            }
        }
    };
    result.map_err(|error| layer_error(error, node.span.as_ref()).into())
}

/// A layer that goes into the store.
pub(crate) fn begin(
    store: &Store,
    settings: LayerSettings,
    threads: usize,
) -> Result<LayerWriter<BlobWriter>, Diagnostics> {
    let writer = store.writer().map_err(|error| fault::store(&error))?;
    let compression = compression(settings.compression);
    LayerWriter::with_threads(writer, settings.epoch, compression, settings.mtime, threads)
        .map_err(|error| layer_error(error, None).into())
}

/// Keeps a layer in the store.
pub(crate) fn finish(
    layer: LayerWriter<BlobWriter>,
    compression_of: kic_spec::Compression,
) -> Result<LayerOutput, Diagnostics> {
    let (writer, LayerDigests { digest, size, diff_id, .. }) =
        layer.finish().map_err(|error| layer_error(error, None))?;
    writer.commit(Some(&digest)).map_err(|error| fault::store(&error))?;
    Ok(LayerOutput { media_type: compression(compression_of).media_type().to_owned(), digest, size, diff_id })
}

fn compression(compression: kic_spec::Compression) -> Compression {
    match compression {
        kic_spec::Compression::Zstd => Compression::Zstd,
        kic_spec::Compression::Gzip => Compression::Gzip,
        kic_spec::Compression::None => Compression::None,
    }
}

pub(crate) fn layer_error(error: LayerError, span: Option<&kic_base::Span>) -> Diagnostic {
    match error {
        LayerError::Output(error) => fault::input_output(error, "writing a layer to the store"),
        LayerError::Body { error, path } => fault::input_output(error, &format!("reading `{path}`")),
        LayerError::Path { .. }
        | LayerError::Target { .. }
        | LayerError::Parent { .. }
        | LayerError::Size { .. } => {
            let diagnostic = Diagnostic::new(&code::UNSUPPORTED_FILE, error.to_string());
            let diagnostic = match span {
                Some(span) => diagnostic.at(span, "in this layer"),
                None => diagnostic,
            };
            diagnostic.help("rename it, or leave it out with `exclude`")
        }
        error => fault::internal(error.to_string()),
    }
}

fn changed(path: &std::path::Path, error: Option<&io::Error>, span: Option<&kic_base::Span>) -> Diagnostic {
    let why = error.map(|error| format!(": {error}")).unwrap_or_default();
    let diagnostic = Diagnostic::new(
        &code::SOURCE_CHANGED,
        format!("`{}` changed while it was compiled{why}", path.display()),
    );
    let diagnostic = match span {
        Some(span) => diagnostic.at(span, "copied by this layer"),
        None => diagnostic,
    };
    diagnostic.help("run again when nothing writes to it")
}

/// Reads a file, and fails at its end unless it has the expected content.
struct Unchanged {
    file: File,
    hasher: Option<Sha256>,
    expected: Digest,
    left: u64,
}

impl Unchanged {
    fn new(file: File, content: &ContentFacts) -> Self {
        Self { file, hasher: Some(Sha256::new()), expected: content.digest, left: content.size }
    }
}

impl Read for Unchanged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.left = self.left.saturating_sub(count as u64);
        // The layer reads exactly as many bytes as there should be, and perhaps never sees the end.
        if (count == 0 || self.left == 0)
            && let Some(hasher) = self.hasher.take_if(|_| self.left == 0)
            && hasher.finish() != self.expected
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its content is another one"));
        }
        Ok(count)
    }
}
