//! Roots: the outputs and locks that keep things in the store alive.
//!
//! A compile records two: its output, which keeps the image, and its lock, which keeps what the lock pins. A root counts as long as
//! its file still says what it said: the layout or archive holds that image, the lock has that text.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kic_base::{Digest, ImageReference, StableHasher};
use kic_diag::Diagnostics;
use kic_exec::{Assembled, Context, LockFile, Realised, fault};
use kic_graph::{Derivation, Graph, Kind, Node, NodeIndex, Origin};
use kic_oci::disk_image::{DiskImage, DiskImageError};
use kic_oci::model::{DOCUMENT_LIMIT, Document, media_types};
use kic_spec::{DiskFormat, ImageSource};
use kic_store::{EncodedRoot, Kept, PreparedRoot, Root, Store};
use serde::{Deserialize, Serialize};

use crate::compile::Request;
use crate::write::Output;

/// The kind of a root that is an image.
pub(crate) const OUTPUT: &str = "output";
/// The kind of a root that is a `kic.lock`.
pub(crate) const LOCK: &str = "lock";

/// What a root calls the record of what a derivation gave: it only saves work.
const RECORD: &str = "the record of what was built";

/// How what a root calls a blob begins that layers are made from. The layers of a base are not: they are in the image as they are.
const BLOB: &str = "a blob of `";

/// Whether it is a blob that the layer is made from which keeps it.
pub(crate) fn goes_into_layer(kept: &Kept) -> bool {
    kept.what.starts_with(BLOB)
}

/// Whether the store is to have the bytes of what a root keeps. A lock pins manifests for platforms, too, that nobody compiled.
pub(crate) fn has_bytes(root: &Root, kept: &Kept) -> bool {
    kept.what != RECORD && (root.kind == OUTPUT || kept.size.is_some())
}

/// Whether the file of a root still says what it said. One that cannot be looked at may.
pub fn counts(root: &Root) -> bool {
    let path = root.path();
    let result = match root.kind.as_str() {
        OUTPUT if path.is_dir() => layout_holds(&path, &root.digest),
        OUTPUT => archive_holds(&path, &root.name, &root.digest),
        LOCK => read(&path).map(|bytes| Digest::of(&bytes) == root.digest),
        // Of a newer kic.
        _ => Ok(true),
    };
    match result {
        Ok(counts) => counts,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

fn layout_holds(path: &Path, digest: &Digest) -> io::Result<bool> {
    let bytes = read(&path.join("index.json"))?;
    Ok(match Document::parse(media_types::OCI_INDEX, &bytes) {
        Ok(Document::Index(index)) => index.manifests.iter().any(|image| image.digest == *digest),
        _ => false,
    })
}

fn archive_holds(path: &Path, name: &str, digest: &Digest) -> io::Result<bool> {
    match DiskImage::open_archive(path, Some(name)) {
        Ok(image) => Ok(image.root().digest == *digest),
        Err(DiskImageError::Io { source, .. }) => Err(source),
        Err(_) => Ok(false),
    }
}

/// A small file; of a larger one, too much of it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DOCUMENT_LIMIT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The roots of a compile, to be recorded once its output is written.
#[derive(Debug)]
pub(crate) struct Roots {
    encoded: Vec<EncodedRoot>,
    lock: Option<LockRoot>,
    /// Whether that of the lock stands in the store already.
    has_lock: bool,
}

/// The root of a lock as it is recorded, known by what it is made of: most compiles have the same one as the compile before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockRoot {
    made_of: Digest,
    key: Digest,
    checksum: Digest,
}

impl LockRoot {
    /// Whether it is still recorded as it was.
    pub fn stands(&self, store: &Store) -> bool {
        store.root_checksum(&self.key) == Some(self.checksum)
    }
}

impl Roots {
    /// Puts them together. `documents` is what the store was asked for before anything was built, and `before` the root of the lock that
    /// the compile before recorded. Without `locks`, that one stays.
    ///
    /// # Errors
    /// None but bugs.
    #[expect(clippy::too_many_arguments, reason = "one call, and a struct would only repeat their names")]
    pub fn of(
        request: &Request,
        output: Option<&Output>,
        graph: &Graph,
        realised: &Realised,
        image: &Assembled,
        locks: Option<&[LockFile]>,
        documents: &BTreeSet<Digest>,
        before: Option<&LockRoot>,
        context: &Context,
    ) -> Result<Self, Diagnostics> {
        let encode =
            |root: Root| root.encode().map_err(|error| Diagnostics::from(fault::internal(error.to_string())));
        let spec = absolute(&request.spec);
        let mut encoded = Vec::new();
        let mut keeping = Keeping::default();
        keeping.image(graph, realised, image);
        let documents: Vec<Digest> =
            documents.iter().filter(|digest| !keeping.places.contains_key(digest)).copied().collect();
        if let Some(path) = output.and_then(Output::path) {
            let mut root = Root::new(OUTPUT, &absolute(path), &graph.image.tag, image.root.digest, &spec);
            root.kept = keeping.kept;
            encoded.push(encode(root)?);
        }
        let Some(locks) = locks else {
            return Ok(Self { encoded, lock: before.cloned(), has_lock: before.is_some() });
        };
        let Some((path, digest)) = found_lock(locks) else {
            return Ok(Self { encoded, lock: None, has_lock: false });
        };
        let made_of = made_of(graph, realised, &documents, &spec, (&path, digest), locks);
        let same = before.filter(|before| before.made_of == made_of && before.stands(&context.store));
        if let Some(same) = same {
            return Ok(Self { encoded, lock: Some(same.clone()), has_lock: true });
        }
        let mut sources = Keeping::default();
        for index in graph.nodes.node_indices() {
            let node = &graph.nodes[index];
            let layer = match (&node.derivation, realised.layers.get(&index)) {
                // The store has such a blob only as the layer that it became.
                (Derivation::CachedBlob { .. }, Some(output)) => {
                    sources.add(kept(output.digest, format!("the layer of `{}`", node.name), None));
                    sources.add(kept(node.digest, RECORD, Some(output.digest)));
                    Some(output.digest)
                }
                _ => None,
            };
            sources.content(node, layer);
        }
        let root = encode(lock_root(sources, &documents, &spec, (&path, digest), locks))?;
        let lock = LockRoot { made_of, key: root.key(), checksum: root.checksum() };
        encoded.push(root);
        Ok(Self { encoded, lock: Some(lock), has_lock: false })
    }

    /// Writes them, so that little is left to be done once the output is written.
    ///
    /// # Errors
    /// Those of the store.
    pub fn prepare(self, context: &Context) -> Result<Vec<PreparedRoot>, Diagnostics> {
        let prepare = |root| context.store.prepare_root(root).map_err(|error| fault::store(&error).into());
        self.encoded.into_iter().map(prepare).collect()
    }

    /// The names of their records, and the checksums of these.
    pub fn checksums(&self) -> Vec<(Digest, Digest)> {
        let known = self.lock.iter().filter(|_| self.has_lock).map(|lock| (lock.key, lock.checksum));
        self.encoded.iter().map(|root| (root.key(), root.checksum())).chain(known).collect()
    }

    /// That of the lock, for the next compile.
    pub fn lock(&self) -> Option<LockRoot> {
        self.lock.clone()
    }
}

/// Records the root of a lock that was written without a compile. What an earlier compile found out of the same lock stays.
///
/// # Errors
/// Those of the store.
pub(crate) fn record_locked(
    request: &Request,
    locks: &[LockFile],
    context: &Context,
) -> Result<(), Diagnostics> {
    let Some((path, digest)) = found_lock(locks) else { return Ok(()) };
    let mut keeping = Keeping::default();
    let roots = context.store.roots().map_err(|error| fault::store(&error))?;
    let same = |root: &Root| root.kind == LOCK && root.path() == path && root.digest == digest;
    for kept in roots.into_iter().filter(|found| same(&found.root)).flat_map(|found| found.root.kept) {
        keeping.add(kept);
    }
    let root = lock_root(keeping, &context.store.leased(), &absolute(&request.spec), (&path, digest), locks);
    context.store.add_root(&root).map(drop).map_err(|error| fault::store(&error).into())
}

/// The lock of the spec itself, and what it says; those of its bases are roots of their own once they are compiled. Nothing for a spec
/// that needs no pins.
fn found_lock(locks: &[LockFile]) -> Option<(PathBuf, Digest)> {
    let path = absolute(&locks.first()?.path);
    let digest = Digest::of(&read(&path).ok()?);
    Some((path, digest))
}

/// A digest over all that decides what [`lock_root`] gives in a compile.
fn made_of(
    graph: &Graph,
    realised: &Realised,
    documents: &[Digest],
    spec: &Path,
    (path, digest): (&Path, Digest),
    locks: &[LockFile],
) -> Digest {
    let mut hasher = StableHasher::new();
    hasher.text("kic root of a lock").bytes(spec.as_os_str().as_encoded_bytes());
    hasher.bytes(path.as_os_str().as_encoded_bytes()).digest(&digest);
    hasher.list(locks, |hasher, file| {
        hasher.list(&file.lock.images, |hasher, (reference, pin)| {
            hasher.text(reference.as_str()).digest(&pin.digest);
            hasher.list(&pin.platforms, |hasher, (platform, digest)| {
                hasher.text(&platform.to_string()).digest(digest);
            });
        });
    });
    hasher.list(documents, |hasher, digest| {
        hasher.digest(digest);
    });
    for index in graph.nodes.node_indices() {
        let node = &graph.nodes[index];
        // Nothing is kept for others.
        if let Derivation::Blob(_) | Derivation::CachedBlob { .. } = node.derivation {
            hasher.digest(&node.digest).text(&node.name);
            hasher.option(realised.layers.get(&index), |hasher, output| {
                hasher.digest(&output.digest);
            });
            hasher.list(&node.origins, |hasher, origin| {
                hasher.text(&write_origin(origin, node.is_document));
            });
        }
    }
    hasher.finish()
}

fn lock_root<'a>(
    mut keeping: Keeping,
    documents: impl IntoIterator<Item = &'a Digest>,
    spec: &Path,
    (path, digest): (&Path, Digest),
    locks: &[LockFile],
) -> Root {
    for lock in locks {
        for (reference, pin) in &lock.lock.images {
            keeping.document(pin.digest, reference, reference.as_str(), None);
            for (platform, digest) in &pin.platforms {
                keeping.document(
                    *digest,
                    reference,
                    &format!("{reference} for {platform}"),
                    Some(pin.digest),
                );
            }
        }
    }
    for digest in documents {
        keeping.add(kept(*digest, "a document", None));
    }
    let mut root = Root::new(LOCK, path, "", digest, spec);
    root.kept = keeping.kept;
    root
}

/// The path without links and dots, of a file that may be about to be written.
fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path)
        .or_else(|_| {
            let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Ok(fs::canonicalize(folder.unwrap_or(Path::new(".")))?.join(name))
        })
        .or_else(|_: io::Error| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// A layer in words.
fn the_layer(kind: Kind, name: &str) -> String {
    ["the ", kind.name(), " layer `", name, "`"].concat()
}

fn kept(digest: Digest, what: impl Into<String>, through: Option<Digest>) -> Kept {
    Kept { digest, what: what.into(), through, size: None, origins: Vec::new() }
}

/// What a root keeps, while it is put together.
#[derive(Default)]
struct Keeping {
    /// Where each digest stands among what is kept.
    places: BTreeMap<Digest, usize>,
    kept: Vec<Kept>,
    /// The nodes that were told of.
    told: BTreeSet<Digest>,
}

impl Keeping {
    fn add(&mut self, kept: Kept) {
        if let Entry::Vacant(place) = self.places.entry(kept.digest) {
            place.insert(self.kept.len());
            self.kept.push(kept);
        }
    }

    fn known(&mut self, digest: &Digest) -> Option<&mut Kept> {
        self.places.get(digest).and_then(|place| self.kept.get_mut(*place))
    }

    /// An image and everything that it was made from.
    fn image(&mut self, graph: &Graph, realised: &Realised, image: &Assembled) {
        let root = image.root.digest;
        if image.documents.len() > 1 {
            self.add(kept(root, "the index of the image", None));
        }
        for (platform, (manifest, config)) in &image.documents {
            let above = (manifest.digest != root).then_some(root);
            self.add(kept(manifest.digest, format!("the manifest for {platform}"), above));
            self.add(kept(config.digest, format!("the configuration for {platform}"), Some(manifest.digest)));
            let layers = graph.image.platforms.get(platform).map_or(&[][..], |own| own.layers.as_slice());
            let descriptors = image.layers.get(platform).map_or(&[][..], Vec::as_slice);
            for (layer, descriptor) in layers.iter().zip(descriptors) {
                let what = the_layer(layer.kind, &layer.name);
                self.add(kept(descriptor.digest, what, Some(manifest.digest)));
                self.node(graph, layer.node, descriptor.digest);
            }
        }
        for index in graph.nodes.node_indices() {
            let node = &graph.nodes[index];
            match realised.layers.get(&index) {
                Some(output) => {
                    if !self.places.contains_key(&output.digest) {
                        let what = the_layer(node.kind, &node.name);
                        self.add(kept(output.digest, what, None));
                    }
                    self.node(graph, index, output.digest);
                }
                None => self.content(node, None),
            }
        }
    }

    /// What a layer was made from.
    fn node(&mut self, graph: &Graph, index: NodeIndex, layer: Digest) {
        let node = &graph.nodes[index];
        if self.told.contains(&node.digest) {
            return;
        }
        self.content(node, Some(layer));
        for input in node.derivation.inputs() {
            self.content(&graph.nodes[input], Some(layer));
        }
        if !matches!(node.derivation, Derivation::Blob(_)) {
            self.add(kept(node.digest, RECORD, Some(layer)));
        }
    }

    /// The bytes of a node that are known by their digest, if it has such, with where they come from.
    fn content(&mut self, node: &Node, through: Option<Digest>) {
        if !self.told.insert(node.digest) {
            return;
        }
        let (Derivation::Blob(content) | Derivation::CachedBlob { content, .. }) = &node.derivation else {
            return;
        };
        let origins =
            node.origins.iter().map(|origin| write_origin(origin, node.is_document)).collect::<Vec<_>>();
        // A layer of the base is its own content.
        if let Some(known) = self.known(&content.digest) {
            known.size = Some(content.size);
            known.origins = origins;
            return;
        }
        let what = [BLOB, &node.name, "`"].concat();
        self.add(Kept { digest: content.digest, what, through, size: Some(content.size), origins });
    }

    fn document(&mut self, digest: Digest, reference: &ImageReference, what: &str, through: Option<Digest>) {
        let origins = vec![write_origin(&Origin::Registry(reference.clone()), true)];
        if let Some(known) = self.known(&digest) {
            known.origins = origins;
            return;
        }
        self.add(Kept { digest, what: format!("the manifest of {what}"), through, size: None, origins });
    }
}

/// An origin as a root records it: a word and a text.
fn write_origin(origin: &Origin, is_document: bool) -> String {
    match origin {
        Origin::Registry(reference) => {
            [if is_document { "document " } else { "registry " }, reference.as_str()].concat()
        }
        Origin::Url(url) => format!("url {url}"),
        Origin::Disk(ImageSource::Disk { format, path, reference }) => {
            let path = absolute(path);
            format!("disk {}", ImageSource::Disk { format: *format, path, reference: reference.clone() })
        }
        Origin::Disk(source) => format!("disk {source}"),
    }
}

/// Reads an origin that a root recorded, and whether it gives a document.
pub(crate) fn read_origin(text: &str) -> Option<(Origin, bool)> {
    let (word, rest) = text.split_once(' ')?;
    match word {
        "document" => Some((Origin::Registry(rest.parse().ok()?), true)),
        "registry" => Some((Origin::Registry(rest.parse().ok()?), false)),
        "url" => Some((Origin::Url(rest.to_owned()), false)),
        "disk" => match ImageSource::parse(rest).ok()? {
            // The form that is written does not tell a layout from an archive.
            ImageSource::Disk { format: DiskFormat::Layout, path, reference } => {
                let format = DiskFormat::LayoutOrArchive;
                Some((Origin::Disk(ImageSource::Disk { format, path, reference }), false))
            }
            source => Some((Origin::Disk(source), false)),
        },
        _ => None,
    }
}
