//! Nodes of a graph as bytes: see [`crate::packed_graph`].

use std::path::Path;
use std::sync::Arc;

use kic_base::Epoch;
use kic_base::packed::{
    Reader, put_bytes, put_digest, put_length, put_list, put_number, put_option, put_path, put_text,
};
use kic_spec::{Compression, DiskFormat, ImageSource};
use petgraph::graph::NodeIndex;

use crate::derivation::{
    BasePlan, Bytes, Derivation, Launch, LaunchStep, LayerSettings, PlanImage, TreeEntry, TreeEntryKind,
    compression_name,
};
use crate::graph::{Kind, Node};
use crate::inputs::{ContentFacts, Origin};

pub(crate) fn put_index(bytes: &mut Vec<u8>, index: NodeIndex) {
    put_length(bytes, index.index());
}

pub(crate) fn take_index(reader: &mut Reader<'_>) -> Option<NodeIndex> {
    reader.length().map(NodeIndex::new)
}

pub(crate) fn put_texts<'a>(
    bytes: &mut Vec<u8>,
    texts: impl ExactSizeIterator<Item = (&'a String, &'a String)>,
) {
    put_list(bytes, texts, |bytes, (name, value)| {
        put_text(bytes, name);
        put_text(bytes, value);
    });
}

pub(crate) fn take_texts<T: FromIterator<(String, String)>>(reader: &mut Reader<'_>) -> Option<T> {
    let texts = reader.list(|reader| Some((reader.text()?.to_owned(), reader.text()?.to_owned())))?;
    Some(texts.into_iter().collect())
}

pub(crate) fn put_node(bytes: &mut Vec<u8>, node: &Node) {
    let Node { derivation, digest, kind, name, span: _, origins, is_document } = node;
    put_digest(bytes, digest);
    put_text(bytes, kind.name());
    put_text(bytes, name);
    put_list(bytes, origins.iter(), put_origin);
    bytes.push(u8::from(*is_document));
    put_derivation(bytes, derivation);
}

pub(crate) fn take_node(reader: &mut Reader<'_>) -> Option<Node> {
    Some(Node {
        digest: reader.digest()?,
        kind: Kind::by_name(reader.text()?)?,
        name: reader.text()?.to_owned(),
        span: None,
        origins: reader.list(take_origin)?,
        is_document: reader.boolean()?,
        derivation: take_derivation(reader)?,
    })
}

fn put_origin(bytes: &mut Vec<u8>, origin: &Origin) {
    match origin {
        Origin::Registry(reference) => {
            bytes.push(0);
            put_text(bytes, reference.as_str());
        }
        Origin::Disk(source) => {
            bytes.push(1);
            put_source(bytes, source);
        }
        Origin::Url(url) => {
            bytes.push(2);
            put_text(bytes, url);
        }
    }
}

fn take_origin(reader: &mut Reader<'_>) -> Option<Origin> {
    Some(match reader.take(1)? {
        [0] => Origin::Registry(reader.value()?),
        [1] => Origin::Disk(take_source(reader)?),
        [2] => Origin::Url(reader.text()?.to_owned()),
        _ => return None,
    })
}

const DISK_FORMATS: [DiskFormat; 4] =
    [DiskFormat::Layout, DiskFormat::Archive, DiskFormat::DockerArchive, DiskFormat::LayoutOrArchive];

pub(crate) fn put_source(bytes: &mut Vec<u8>, source: &ImageSource) {
    match source {
        ImageSource::Registry(reference) => {
            bytes.push(0);
            put_text(bytes, reference.as_str());
        }
        ImageSource::Disk { format, path, reference } => {
            bytes.push(1);
            put_length(bytes, DISK_FORMATS.iter().position(|known| known == format).unwrap_or(usize::MAX));
            put_path(bytes, path);
            put_option(bytes, reference.as_deref(), put_text);
        }
    }
}

pub(crate) fn take_source(reader: &mut Reader<'_>) -> Option<ImageSource> {
    Some(match reader.take(1)? {
        [0] => ImageSource::Registry(reader.value()?),
        [1] => ImageSource::Disk {
            format: *DISK_FORMATS.get(reader.length()?)?,
            path: reader.path()?,
            reference: reader.option(Reader::text)?.map(str::to_owned),
        },
        _ => return None,
    })
}

impl ContentFacts {
    /// Adds it to bytes.
    pub fn pack(&self, bytes: &mut Vec<u8>) {
        put_digest(bytes, &self.digest);
        put_number(bytes, self.size);
    }

    /// Takes one from the front of bytes.
    pub fn unpack(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { digest: reader.digest()?, size: reader.number()? })
    }
}

fn put_settings(bytes: &mut Vec<u8>, settings: &LayerSettings) {
    let LayerSettings { epoch, mtime, compression } = settings;
    bytes.extend_from_slice(&epoch.number().to_le_bytes());
    put_number(bytes, *mtime);
    put_text(bytes, compression_name(*compression));
}

fn take_settings(reader: &mut Reader<'_>) -> Option<LayerSettings> {
    Some(LayerSettings {
        epoch: Epoch::from_number(u32::from_le_bytes(reader.take(4)?.try_into().ok()?))?,
        mtime: reader.number()?,
        compression: take_compression(reader)?,
    })
}

pub(crate) fn take_compression(reader: &mut Reader<'_>) -> Option<Compression> {
    let name = reader.text()?;
    let all = [Compression::Zstd, Compression::Gzip, Compression::None];
    all.into_iter().find(|compression| compression_name(*compression) == name)
}

fn put_derivation(bytes: &mut Vec<u8>, derivation: &Derivation) {
    match derivation {
        Derivation::Blob(content) => {
            bytes.push(0);
            content.pack(bytes);
        }
        Derivation::CachedBlob { settings, path, content } => {
            bytes.push(1);
            put_settings(bytes, settings);
            put_text(bytes, path);
            content.pack(bytes);
        }
        Derivation::Tree { settings, entries } => {
            bytes.push(2);
            put_settings(bytes, settings);
            put_entries(bytes, entries);
        }
        Derivation::Launch(launch) => {
            bytes.push(3);
            put_launch(bytes, launch);
        }
    }
}

fn take_derivation(reader: &mut Reader<'_>) -> Option<Derivation> {
    Some(match reader.take(1)? {
        [0] => Derivation::Blob(ContentFacts::unpack(reader)?),
        [1] => Derivation::CachedBlob {
            settings: take_settings(reader)?,
            path: reader.text()?.to_owned(),
            content: ContentFacts::unpack(reader)?,
        },
        [2] => Derivation::Tree { settings: take_settings(reader)?, entries: take_entries(reader)? },
        [3] => Derivation::Launch(take_launch(reader)?),
        _ => return None,
    })
}

/// Folders first, each once: many files are below the same.
fn put_entries(bytes: &mut Vec<u8>, entries: &[TreeEntry]) {
    let mut folders: Vec<&Arc<Path>> = Vec::new();
    for entry in entries {
        if let TreeEntryKind::File { bytes: Bytes::Below(folder, _), .. } = &entry.kind
            && !folders.last().is_some_and(|last| Arc::ptr_eq(last, folder))
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    put_list(bytes, folders.iter(), |bytes, folder| put_path(bytes, folder));
    put_list(bytes, entries.iter(), |bytes, TreeEntry { path, kind }| {
        put_text(bytes, path);
        match kind {
            TreeEntryKind::File { mode, content, bytes: from } => {
                bytes.push(0);
                bytes.extend_from_slice(&mode.to_le_bytes());
                content.pack(bytes);
                match from {
                    Bytes::Inline(inline) => {
                        bytes.push(0);
                        put_bytes(bytes, inline);
                    }
                    Bytes::Local(path) => {
                        bytes.push(1);
                        put_path(bytes, path);
                    }
                    Bytes::Below(folder, from) => {
                        bytes.push(2);
                        let place = folders.iter().position(|known| *known == folder);
                        put_length(bytes, place.unwrap_or(usize::MAX));
                        put_length(bytes, *from);
                    }
                    Bytes::Node(node) => {
                        bytes.push(3);
                        put_index(bytes, *node);
                    }
                }
            }
            TreeEntryKind::Symlink(target) => {
                bytes.push(1);
                put_text(bytes, target);
            }
            TreeEntryKind::Folder { mode } => {
                bytes.push(2);
                bytes.extend_from_slice(&mode.to_le_bytes());
            }
        }
    });
}

fn take_entries(reader: &mut Reader<'_>) -> Option<Arc<[TreeEntry]>> {
    let folders: Vec<Arc<Path>> = reader.list(|reader| Some(reader.path()?.into()))?;
    let take_mode = |reader: &mut Reader<'_>| Some(u32::from_le_bytes(reader.take(4)?.try_into().ok()?));
    let entries = reader.list(|reader| {
        let path = reader.text()?.to_owned();
        let kind = match reader.take(1)? {
            [0] => TreeEntryKind::File {
                mode: take_mode(reader)?,
                content: ContentFacts::unpack(reader)?,
                bytes: match reader.take(1)? {
                    [0] => Bytes::Inline(reader.bytes()?.into()),
                    [1] => Bytes::Local(reader.path()?),
                    [2] => {
                        let (folder, from) = (folders.get(reader.length()?)?, reader.length()?);
                        Bytes::Below(
                            Arc::clone(folder),
                            Some(from).filter(|from| path.is_char_boundary(*from))?,
                        )
                    }
                    [3] => Bytes::Node(take_index(reader)?),
                    _ => return None,
                },
            },
            [1] => TreeEntryKind::Symlink(reader.text()?.to_owned()),
            [2] => TreeEntryKind::Folder { mode: take_mode(reader)? },
            _ => return None,
        };
        Some(TreeEntry { path, kind })
    })?;
    Some(entries.into())
}

fn put_launch(bytes: &mut Vec<u8>, launch: &Launch) {
    let Launch { settings, name, version, registries, base, steps, images, source } = launch;
    put_settings(bytes, settings);
    put_text(bytes, name);
    put_option(bytes, version.as_deref(), put_text);
    put_list(bytes, registries.iter(), |bytes, host| put_text(bytes, host));
    match base {
        BasePlan::None => bytes.push(0),
        BasePlan::Json(plan) => {
            bytes.push(1);
            put_text(bytes, &plan.to_string());
        }
        BasePlan::Node(node) => {
            bytes.push(2);
            put_index(bytes, *node);
        }
    }
    put_list(bytes, steps.iter(), |bytes, step| match step {
        LaunchStep::Apply { kind, name, layer, files, namespace } => {
            bytes.push(0);
            put_text(bytes, kind);
            put_text(bytes, name);
            put_index(bytes, *layer);
            put_list(bytes, files.iter(), |bytes, file| put_text(bytes, file));
            put_option(bytes, namespace.as_deref(), put_text);
        }
        LaunchStep::Wait { name, layer } => {
            bytes.push(1);
            put_text(bytes, name);
            put_index(bytes, *layer);
        }
        LaunchStep::Run(command) => {
            bytes.push(2);
            put_text(bytes, command);
        }
    });
    put_list(bytes, images.iter(), |bytes, image| {
        let PlanImage { reference, digest, names, platforms, size } = image;
        put_text(bytes, reference.as_str());
        put_digest(bytes, digest);
        put_list(bytes, names.iter(), |bytes, name| put_text(bytes, name));
        put_list(bytes, platforms.iter(), |bytes, platform| put_text(bytes, platform));
        put_number(bytes, *size);
    });
    put_option(bytes, source.as_deref(), put_bytes);
}

fn take_launch(reader: &mut Reader<'_>) -> Option<Launch> {
    let texts = |reader: &mut Reader<'_>| reader.list(|reader| Some(reader.text()?.to_owned()));
    Some(Launch {
        settings: take_settings(reader)?,
        name: reader.text()?.to_owned(),
        version: reader.option(Reader::text)?.map(str::to_owned),
        registries: texts(reader)?,
        base: match reader.take(1)? {
            [0] => BasePlan::None,
            [1] => BasePlan::Json(serde_json::from_str(reader.text()?).ok()?),
            [2] => BasePlan::Node(take_index(reader)?),
            _ => return None,
        },
        steps: reader.list(|reader| {
            Some(match reader.take(1)? {
                [0] => LaunchStep::Apply {
                    kind: applied(reader.text()?)?,
                    name: reader.text()?.to_owned(),
                    layer: take_index(reader)?,
                    files: texts(reader)?,
                    namespace: reader.option(Reader::text)?.map(str::to_owned),
                },
                [1] => LaunchStep::Wait { name: reader.text()?.to_owned(), layer: take_index(reader)? },
                [2] => LaunchStep::Run(reader.text()?.to_owned()),
                _ => return None,
            })
        })?,
        images: reader
            .list(|reader| {
                Some(PlanImage {
                    reference: reader.value()?,
                    digest: reader.digest()?,
                    names: texts(reader)?,
                    platforms: texts(reader)?,
                    size: reader.number()?,
                })
            })?
            .into(),
        source: reader.option(Reader::bytes)?.map(Arc::from),
    })
}

/// The kind of an applied layer, by its name.
fn applied(name: &str) -> Option<&'static str> {
    [Kind::Manifests, Kind::Policies].into_iter().map(Kind::name).find(|kind| *kind == name)
}
