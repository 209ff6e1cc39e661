//! Layers read once, whole: both digests, and what is in them, for whoever wants to know.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, Read};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use kic_base::{Digest, NestedSha256, Sha256};
use kic_threads::together;

use super::ValidateOptions;
use super::files::{ImageFiles, blob_name};
use super::finding::Problem;
use super::visitor::{LayerContent, LayerEntry, LayerVisitor, Watched};
use crate::header_budget::HeaderBudget;
use crate::model::media_types::{LayerFormat, layer_format};
use crate::model::{DOCUMENT_LIMIT, Descriptor, Document, ImageConfig, Manifest, media_types};
use crate::unpack::{BoundedReader, LayerPaths, Meter, UnpackLimits, printable};

/// What is read at a time: what is hashed then is still near the processor.
const BUFFER: usize = 128 << 10;

/// What is read first of what is mostly nothing.
const FIRST: usize = 512;

/// Indexes that name each other could go on for ever.
const DOCUMENTS_LIMIT: usize = 10_000;

/// Shows the entries of one layer to a visitor, and gives the digest of the tar in it. The digest of the layer is for the reader to
/// verify.
///
/// # Errors
/// Why it is no layer, cannot be read or decompressed, or is no tar.
pub fn visit_layer<V: LayerVisitor>(
    layer: Box<dyn Read + Send>,
    media_type: &str,
    limits: &UnpackLimits,
    visitor: &mut V,
) -> Result<Digest, String> {
    let format = layer_format(media_type).ok_or_else(|| format!("`{media_type}` is no layer"))?;
    let read = hash(layer, Some(format), limits, visitor).map_err(|error| error.to_string())?;
    match (read.decoded, read.not_a_tar) {
        (Some(Err(reason)), _) | (_, Some(reason)) => Err(reason),
        (Some(Ok(digest)), None) => Ok(digest),
        (None, None) => Ok(read.digest),
    }
}

/// An image whose documents can be read.
#[derive(Debug, Clone)]
pub struct ExaminedImage {
    /// Its manifest, with what an index says of it.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration, where it is one.
    pub config: Option<ImageConfig>,
}

/// What one read of a blob has shown.
pub(super) struct Scan<V> {
    pub(super) format: Option<LayerFormat>,
    pub(super) result: Result<Hashed, Problem>,
    pub(super) contents: Option<V>,
    pub(super) paths: LayerPaths,
}

pub(super) struct Hashed {
    pub(super) size: u64,
    pub(super) digest: Digest,
    /// The digest of the decompressed bytes, or why there is none.
    pub(super) decoded: Option<Result<Digest, String>>,
    /// Why the decompressed bytes are no tar.
    pub(super) not_a_tar: Option<String>,
}

/// The images under some descriptors, as far as their documents can be read, each manifest once.
pub(super) fn images(files: &dyn ImageFiles, roots: Vec<Descriptor>) -> Vec<ExaminedImage> {
    let (mut images, mut seen) = (Vec::new(), BTreeSet::new());
    let mut open = roots;
    open.reverse();
    while let Some(descriptor) = open.pop() {
        if !seen.insert(descriptor.digest) || seen.len() > DOCUMENTS_LIMIT {
            continue;
        }
        let Some(bytes) = small(files, &blob_name(&descriptor.digest)) else { continue };
        match Document::parse(&descriptor.media_type, &bytes) {
            Ok(Document::Index(index)) => open.extend(index.manifests.into_iter().rev()),
            Ok(Document::Manifest(manifest)) => {
                let is_config = media_types::is_config(&manifest.config.media_type);
                let config = is_config.then(|| small(files, &blob_name(&manifest.config.digest))).flatten();
                let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
                images.push(ExaminedImage { descriptor, manifest, config });
            }
            Err(_) => {}
        }
    }
    images
}

/// The images that the `index.json` of a layout names.
pub(super) fn roots(files: &dyn ImageFiles) -> Vec<Descriptor> {
    let bytes = small(files, "index.json").unwrap_or_default();
    match Document::parse(media_types::OCI_INDEX, &bytes) {
        Ok(Document::Index(index)) => index.manifests,
        _ => Vec::new(),
    }
}

fn small(files: &dyn ImageFiles, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    files.open(name).ok()?.take(DOCUMENT_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= DOCUMENT_LIMIT).then_some(bytes)
}

/// Reads every layer of some images, several at a time, the largest first.
pub(super) fn scan<V: LayerVisitor>(
    files: &dyn ImageFiles,
    images: &[ExaminedImage],
    options: &ValidateOptions,
) -> BTreeMap<Digest, Scan<V>> {
    let mut layers: BTreeMap<Digest, (u64, Option<LayerFormat>)> = BTreeMap::new();
    for image in images {
        let is_image = media_types::is_config(&image.manifest.config.media_type);
        for layer in &image.manifest.layers {
            let format = layer_format(&layer.media_type).filter(|_| is_image && options.diff_ids);
            layers.entry(layer.digest).or_insert((layer.size, format));
        }
    }
    let mut order: Vec<(Digest, u64, Option<LayerFormat>)> =
        layers.into_iter().map(|(digest, (size, format))| (digest, size, format)).collect();
    order.sort_by_key(|(digest, size, _)| (std::cmp::Reverse(*size), *digest));
    files.announce(order.iter().map(|(_, size, _)| size).fold(0, |sum, size| sum.saturating_add(*size)));
    let (next, scans) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    together(options.jobs.clamp(1, order.len().max(1)), || {
        while let Some((digest, _, format)) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut visitor = Watched::<V>::default();
            let opened = files.open(&blob_name(digest));
            let result = opened.and_then(|reader| {
                hash(reader, *format, &options.limits, &mut visitor).map_err(super::files::unreadable)
            });
            let Watched { paths, visitor } = visitor;
            let scan = Scan { format: *format, result, contents: Some(visitor), paths };
            scans.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, scan);
        }
    });
    scans.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a blob once: the digest of its bytes, and of what they decompress to, with a look at the entries of that.
pub(super) fn hash<V: LayerVisitor>(
    reader: Box<dyn Read + Send>,
    format: Option<LayerFormat>,
    limits: &UnpackLimits,
    visitor: &mut V,
) -> io::Result<Hashed> {
    let whole = Rc::new(RefCell::new(NestedSha256::new()));
    let mut reader = Hashing { inner: reader, hash: Some(Rc::clone(&whole)), size: 0, failed: None };
    let mut not_a_tar = None;
    let decoded = format.map(|format| {
        let meter = Meter::new(limits, 0);
        let decoder = BoundedReader::new(&mut reader, format, &meter)?;
        // A tar that is not compressed has one digest, not two.
        let own = (format != LayerFormat::Tar).then(|| Rc::new(RefCell::new(NestedSha256::new())));
        let hash = own.as_ref().unwrap_or(&whole);
        let mut decoder = Hashing { inner: decoder, hash: own.clone(), size: 0, failed: None };
        if let Err(error) = entries(&mut decoder, hash, visitor) {
            // The tar reader shows fields as they are.
            not_a_tar = Some(printable(error.to_string().as_bytes()));
        }
        // What follows the end of the tar is part of the layer, and so is all of what is none.
        drain(&mut decoder)?;
        // Whoever read the entries met it first; asked again, a decoder only says that nothing follows.
        if let Some(failed) = decoder.failed {
            return Err(io::Error::other(failed));
        }
        Ok::<_, io::Error>(own.map(|own| own.take().finish()))
    });
    // What the decompression left over, or all when there was none.
    drain(&mut reader)?;
    let digest = whole.take().finish();
    let decoded = decoded.map(|result| match result {
        Ok(own) => Ok(own.unwrap_or(digest)),
        Err(error) => Err(printable(error.to_string().as_bytes())),
    });
    // What cannot be decompressed is no tar for that reason alone.
    let not_a_tar = not_a_tar.filter(|_| matches!(decoded, Some(Ok(_))));
    Ok(Hashed { size: reader.size, digest, decoded, not_a_tar })
}

/// Shows the entries of a tar, whose bytes `hash` takes as they are read.
fn entries<V: LayerVisitor>(
    reader: &mut impl Read,
    hash: &RefCell<NestedSha256>,
    visitor: &mut V,
) -> io::Result<()> {
    let (budget, reader) = HeaderBudget::around(reader);
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        budget.content();
        let path = entry.path_bytes().into_owned();
        let records = if V::RECORDS { records(&mut entry)? } else { BTreeMap::new() };
        let refusal = crate::unpack::refusal(&mut entry)?;
        let header = entry.header().clone();
        let facts = LayerEntry {
            path: &path,
            kind: header.entry_type(),
            mode: header.mode().ok(),
            size: entry.size(),
            link: entry.link_name_bytes().map(|link| link.into_owned()),
            refusal,
            header: &header,
            records,
        };
        // What is read of a sparse file is not what stands in the tar.
        let apart = facts.kind.is_gnu_sparse().then(Sha256::new);
        visitor.entry(&facts, &mut Content { entry: &mut entry, hash, apart })?;
        // Here, with a larger buffer than the tar reader has for it.
        drain(&mut entry)?;
        budget.headers();
    }
    Ok(())
}

/// The records of an entry's extended header. One that is malformed is left out.
fn records(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(BTreeMap::new()) };
    let pairs = extensions.flatten().map(|one| (one.key_bytes().to_vec(), one.value_bytes().to_vec()));
    Ok(pairs.collect())
}

/// Reads to the end, which is often near: the buffer is large where it is not.
fn drain(reader: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; FIRST];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) if buffer.len() < BUFFER => buffer.resize(BUFFER, 0),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The content of an entry, read through the reader that hashes the layer.
struct Content<'a, R> {
    entry: R,
    hash: &'a RefCell<NestedSha256>,
    apart: Option<Sha256>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.entry.read(buffer)?;
        if let Some(apart) = &mut self.apart {
            apart.update(&buffer[..count]);
        }
        Ok(count)
    }
}

impl<R: Read> LayerContent for Content<'_, R> {
    fn begin_digest(&mut self) {
        match &mut self.apart {
            Some(apart) => *apart = Sha256::new(),
            None => self.hash.borrow_mut().begin_part(),
        }
    }

    fn end_digest(&mut self) -> Digest {
        match &mut self.apart {
            Some(apart) => std::mem::take(apart).finish(),
            None => self.hash.borrow_mut().end_part(),
        }
    }
}

struct Hashing<R> {
    inner: R,
    hash: Option<Rc<RefCell<NestedSha256>>>,
    size: u64,
    /// Why a read failed.
    failed: Option<String>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).inspect_err(|error| {
            if error.kind() != ErrorKind::Interrupted {
                self.failed = Some(error.to_string());
            }
        })?;
        if let Some(hash) = &self.hash {
            hash.borrow_mut().update(&buffer[..count]);
        }
        self.size += count as u64;
        Ok(count)
    }
}
