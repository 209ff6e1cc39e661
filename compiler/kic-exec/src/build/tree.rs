//! A layer of many files.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kic_base::Digest;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{Bytes, Derivation, Graph, LayerSettings, Node, NodeIndex, TreeEntry, TreeEntryKind};
use kic_oci::layer::{
    Compression, FramePlan, KnownFrames, LayerDigests, LayerError, LayerWriter, PackedFrame,
};
use kic_store::{HashedWriter, Store, StoreError};

use super::ahead::{self, Ahead, batches};
use super::earlier::{self, Earlier};
use super::local_file::LocalFile;
use super::room::Room;
use crate::context::Context;
use crate::fault;
use crate::realised::LayerOutput;
use crate::sources::{KnownFiles, PackedLayer};
use crate::stoppable::Stoppable;

/// A layer that is packed, and whose bytes the store does not have under their name yet.
#[derive(Debug)]
pub(crate) struct Packed {
    pub output: LayerOutput,
    writer: HashedWriter,
    /// Its frames, where others may take them over.
    frames: Vec<PackedFrame>,
    /// Where the next run is to take files out of it: by what it knows it, and the digests of those.
    reusable: Option<(String, Vec<Digest>)>,
    /// How long it took, where that was before anybody waited for it.
    pub took: Option<Duration>,
    /// Where its files were taken from. To give that memory back takes a while, and is done where nobody waits for it.
    earlier: Option<Box<Earlier>>,
}

impl Packed {
    /// The memory of what its files were taken from.
    pub(super) fn spent(&mut self) -> Option<Box<Earlier>> {
        self.earlier.take()
    }

    /// Gives the bytes their name, once they are safe, and notes what other layers may take over.
    pub fn keep(self, context: &Context) -> Result<LayerOutput, StoreError> {
        let Self { output, writer, frames, reusable, .. } = self;
        writer.commit(&output.digest)?;
        if let Some((label, files)) = reusable {
            let (digest, media_type) = (output.digest, output.media_type.clone());
            context.sources.note_packed(&label, PackedLayer { digest, media_type, files }, &context.store);
        }
        if !frames.is_empty() {
            context.sources.note_frames(&output.digest, &frames, &context.store);
        }
        Ok(output)
    }
}

/// Writes the entries in their order. A file of this machine that is no longer what it was when it was hashed
/// is an error.
pub(crate) async fn build(
    graph: &Arc<Graph>,
    index: NodeIndex,
    context: &Context,
) -> Result<Packed, Diagnostics> {
    let Derivation::Tree { settings, entries } = &graph.nodes[index].derivation else {
        return Err(fault::internal("not a tree").into());
    };
    let bytes = bytes(entries);
    let around = around(entries);
    let ahead = match ahead::has_many(entries) {
        // The layer before is held beside what is read, and is about as large as this one.
        true if earlier::is_worth_it(bytes, around) => 2 * bytes + around,
        true => bytes.min(ahead::MOST_BYTES),
        false => 0,
    };
    let jobs = if bytes + around <= LITTLE { 1 } else { context.jobs };
    let room = Room::take(*settings, bytes, ahead, jobs).await;
    let (graph, context) = (Arc::clone(graph), context.clone());
    // The room is free again when the work is at its end, whoever still waits for it.
    context.clone().blocking(move || write(&graph.nodes[index], &room, &mut None, &context)).await
}

/// A layer of so many bytes is packed by one thread.
const LITTLE: u64 = 4 << 20;

/// The headers and the padding of an entry are seldom more than so many.
const MOST_AROUND: u64 = 1 << 10;

/// How many bytes the files of a layer have.
pub(super) fn bytes(entries: &[TreeEntry]) -> u64 {
    let sizes = entries.iter().map(|entry| match &entry.kind {
        TreeEntryKind::File { content, .. } => content.size,
        _ => 0,
    });
    sizes.sum()
}

/// How many bytes there are around them.
fn around(entries: &[TreeEntry]) -> u64 {
    MOST_AROUND * entries.len() as u64
}

/// Writes a small layer, for one thread, beside other work. What is wrong with it is said in its turn. `ready` is what some layer
/// held before.
pub(super) fn write_early(node: &Node, ready: &mut Option<Earlier>, context: &Context) -> Option<Packed> {
    let Derivation::Tree { entries, .. } = &node.derivation else { return None };
    let bytes = bytes(entries);
    let began = Instant::now();
    let room = Room::try_take(bytes, 2 * bytes + around(entries))?;
    let packed = write(node, &room, ready, context).ok()?;
    Some(Packed { took: Some(began.elapsed()), ..packed })
}

fn write(
    node: &Node,
    room: &Room,
    ready: &mut Option<Earlier>,
    context: &Context,
) -> Result<Packed, Diagnostics> {
    let Derivation::Tree { settings, entries } = &node.derivation else {
        return Err(fault::internal("not a tree").into());
    };
    // With one frame, or two, there is little to take over.
    let is_worth_it = bytes(entries) + around(entries) >= WORTH_FRAMES;
    let known = if is_worth_it { context.sources.known_frames(&context.store) } else { None };
    let plan = known.as_ref().and_then(|known| frame_plan(*settings, entries, known));
    let mut write = |plan| write_after(plan, node, room, known.as_ref(), ready, context);
    match plan {
        None => write(None),
        // Where a frame is damaged or gone, what is in it is needed after all.
        Some(plan) => write(Some(plan)).or_else(|_| write(None)),
    }
}

/// Which frames of a layer were packed before; nothing where there are none.
fn frame_plan(
    settings: LayerSettings,
    entries: &[TreeEntry],
    known: &Arc<dyn KnownFrames>,
) -> Option<FramePlan> {
    if settings.compression != kic_spec::Compression::Zstd {
        return None;
    }
    let mut plan = FramePlan::new(Arc::clone(known), settings.epoch, settings.mtime);
    for entry in entries {
        let added = match &entry.kind {
            TreeEntryKind::Folder { mode } => plan.directory(&entry.path, *mode),
            TreeEntryKind::Symlink(target) => plan.symlink(&entry.path, target),
            TreeEntryKind::File { mode, content, .. } => {
                plan.file(&entry.path, *mode, content.size, &content.digest)
            }
        };
        // What is wrong is said where it is written.
        added.ok()?;
    }
    plan.knows_any().then_some(plan)
}

/// Writes the layer, of whose files those are read that are not in the frames that it begins with.
fn write_after(
    plan: Option<FramePlan>,
    node: &Node,
    room: &Room,
    known: Option<&Arc<dyn KnownFrames>>,
    ready: &mut Option<Earlier>,
    context: &Context,
) -> Result<Packed, Diagnostics> {
    let Derivation::Tree { settings, entries } = &node.derivation else {
        return Err(fault::internal("not a tree").into());
    };
    let mut layer = begin(&context.store, *settings, room.threads)?;
    layer.expect(bytes(entries) + around(entries));
    let unread = plan.as_ref().map_or(0, FramePlan::entries);
    if let Some(known) = known {
        layer.reuse(Arc::clone(known));
    }
    if let Some(plan) = plan {
        layer.follow(plan);
    }
    let files = context.sources.known_files();
    // With few files it is quicker to open them.
    let takes_earlier = ahead::has_many(entries) && earlier::is_worth_it(bytes(entries), around(entries));
    let mut before = if takes_earlier {
        let label = earlier::label(node);
        ready.take_if(|ready| ready.label() == label).unwrap_or_else(|| Earlier::of(&label, context))
    } else {
        Earlier::default()
    };
    if let Some(workspace) = before.workspace() {
        layer.work_in(workspace);
    }
    let wanted = batches(entries, |place, content| place >= unread && before.get(content).is_none());
    std::thread::scope(|scope| {
        let mut ahead = Ahead::start(scope, wanted, &files, context);
        for (place, entry) in entries.iter().enumerate() {
            match &entry.kind {
                TreeEntryKind::File { mode, content, .. } if place < unread => {
                    context.go_on()?;
                    layer
                        .unread_file(&entry.path, *mode, content.size)
                        .map_err(|error| layer_error(error, node.span.as_ref()))?;
                }
                TreeEntryKind::File { content, bytes: Bytes::Local(_) | Bytes::Below(..), .. } => {
                    let bytes = before.get(content).map(Ok).or_else(|| ahead.take(place));
                    write_entry(&mut layer, entry, bytes, &files, node, context)?;
                }
                _ => write_entry(&mut layer, entry, None, &files, node, context)?,
            }
        }
        Ok::<_, Diagnostics>(())
    })?;
    let packed = finish(layer, settings.compression)?;
    Ok(Packed {
        reusable: takes_earlier.then(|| (before.label().to_owned(), earlier::contents(entries))),
        earlier: takes_earlier.then(|| Box::new(before)),
        ..packed
    })
}

/// Layers of so many bytes take frames that were packed before.
const WORTH_FRAMES: u64 = 384 << 10;

/// Writes one entry; `known_bytes` are those of its file, where they are known already.
fn write_entry(
    layer: &mut LayerWriter<HashedWriter>,
    entry: &TreeEntry,
    known_bytes: Option<io::Result<&[u8]>>,
    known: &KnownFiles,
    node: &Node,
    context: &Context,
) -> Result<(), Diagnostics> {
    context.go_on()?;
    let result = match &entry.kind {
        TreeEntryKind::Folder { mode } => layer.directory(&entry.path, *mode),
        TreeEntryKind::Symlink(target) => layer.symlink(&entry.path, target),
        TreeEntryKind::File { mode, content, bytes } => {
            // One of these is the body.
            let (mut here, mut file, mut blob);
            let body: &mut dyn Read = match bytes {
                Bytes::Inline(bytes) => {
                    here = &bytes[..];
                    &mut here
                }
                Bytes::Local(_) | Bytes::Below(..) => {
                    let changed = |error| changed(entry, Some(&error), node.span.as_ref());
                    match known_bytes {
                        Some(bytes) => {
                            here = bytes.map_err(changed)?;
                            &mut here
                        }
                        None => {
                            let path = entry.local().unwrap_or_default();
                            file = LocalFile::open(&path, content, known).map_err(changed)?;
                            &mut file
                        }
                    }
                }
                Bytes::Node(_) => {
                    blob = context.store.blob(&content.digest).map_err(|error| fault::store(&error))?;
                    &mut blob
                }
            };
            let mut body = Stoppable::new(body, context);
            // Every body above fails at its end unless it has that digest.
            let result = layer.known_file(&entry.path, *mode, content.size, &content.digest, &mut body);
            context.go_on()?;
            match (&result, bytes) {
                (_, Bytes::Inline(_) | Bytes::Node(_)) => result,
                (Err(LayerError::Short { .. } | LayerError::Long { .. }), _) => {
                    return Err(changed(entry, None, node.span.as_ref()).into());
                }
                (Err(LayerError::Body { error, .. }), _) => {
                    return Err(changed(entry, Some(error), node.span.as_ref()).into());
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
) -> Result<LayerWriter<HashedWriter>, Diagnostics> {
    let writer = store.hashed_writer().map_err(|error| fault::store(&error))?;
    let compression = compression(settings.compression);
    LayerWriter::with_threads(writer, settings.epoch, compression, settings.mtime, threads)
        .map_err(|error| layer_error(error, None).into())
}

/// Ends a layer.
pub(crate) fn finish(
    layer: LayerWriter<HashedWriter>,
    compression_of: kic_spec::Compression,
) -> Result<Packed, Diagnostics> {
    let (writer, LayerDigests { digest, size, diff_id, .. }, frames) =
        layer.finish_with_frames().map_err(|error| layer_error(error, None))?;
    let media_type = compression(compression_of).media_type().to_owned();
    Ok(Packed {
        output: LayerOutput { media_type, digest, size, diff_id },
        writer,
        frames,
        reusable: None,
        took: None,
        earlier: None,
    })
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

fn changed(entry: &TreeEntry, error: Option<&io::Error>, span: Option<&kic_base::Span>) -> Diagnostic {
    let path = entry.local().unwrap_or_default();
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
