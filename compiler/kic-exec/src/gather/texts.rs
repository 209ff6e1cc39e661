//! The texts of manifests and policies that a spec brings in: files, downloads, objects and what charts render to.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::{Digest, Source, Span, StableHasher};
use kic_diag::Diagnostics;
use kic_graph::{ContentFacts, EntryFacts, FileFacts, PathFacts, PathKey, render_key};
use kic_spec::{Content, LayerKind, ManifestItem, Spec, is_manifest_name, unreadable};

use super::renders::Render;
use super::rewriting::Rewriting;
use crate::context::Context;
use crate::fault;

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 256 << 20;

/// A text to look through, and what of the spec brings it in.
pub(super) struct Text {
    /// Its name, where that is not the path of its file.
    name: Option<String>,
    place: Place,
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    pub said: Span,
    pub kind: Kind,
    pub layer: Arc<Applied>,
    /// How its images are named anew, where they are.
    pub rewriting: Option<Arc<Rewriting>>,
}

/// The layer that a text is applied with, and the namespace of its objects that name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub layer: Arc<(LayerKind, String)>,
    pub namespace: Option<String>,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Objects of a file or download.
    Written,
    /// Objects that are written nowhere: one of the spec, those of a chart.
    Generated,
    /// Objects that are not applied: hooks of a chart.
    Dropped,
    /// The description of a chart.
    Description,
}

/// Where a text is.
#[derive(Clone)]
enum Place {
    Here(Arc<Vec<u8>>),
    File(PathBuf),
    /// The entry with that index in what a folder holds.
    Below(Arc<Path>, Arc<Vec<(String, EntryFacts)>>, usize),
    Stored,
}

impl Place {
    /// The path, of a file.
    fn path(&self) -> Option<Cow<'_, Path>> {
        match self {
            Self::File(path) => Some(Cow::Borrowed(path)),
            Self::Below(folder, below, index) => Some(Cow::Owned(folder.join(&below.get(*index)?.0))),
            Self::Here(_) | Self::Stored => None,
        }
    }
}

/// Gives all of them, in the order of the spec.
pub(super) fn texts(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
    mut give: impl FnMut(Text),
) {
    for layer in &spec.layers {
        let (Content::Manifests { items, .. } | Content::Policies { items, .. }) = &layer.content else {
            continue;
        };
        let namespace = match &layer.content {
            Content::Manifests { namespace, .. } | Content::Policies { namespace, .. } => namespace.clone(),
            _ => None,
        };
        let applied =
            Arc::new(Applied { layer: Arc::new((layer.kind(), layer.name.value.clone())), namespace });
        let rewriting = layer.rewrite().map(|host| Arc::new(Rewriting::new(spec, host)));
        let mut give = |mut text: Text| {
            if matches!(text.kind, Kind::Written | Kind::Generated) {
                text.rewriting.clone_from(&rewriting);
            }
            give(text);
        };
        for item in items {
            let span = &item.span;
            match &item.value {
                ManifestItem::Object { file_name, object } => {
                    let text = kic_manifest::emit(object);
                    give(Text::here(file_name, text, span, Kind::Generated, &applied));
                }
                ManifestItem::Fetch { fetch, .. } => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    let name = Some(fetch.url.value.clone());
                    give(Text::written(name, Place::Stored, content, span, &applied));
                }
                ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                    let render = render_key(spec, &item.value).and_then(|key| renders.get(&key));
                    let applied = match &item.value {
                        ManifestItem::Chart(chart) => Arc::new(Applied {
                            namespace: Some(chart.namespace.clone()),
                            layer: applied.layer.clone(),
                        }),
                        _ => applied.clone(),
                    };
                    render
                        .into_iter()
                        .flat_map(|render| of_render(render, span, &applied))
                        .for_each(&mut give);
                }
                ManifestItem::File { from, .. } => {
                    let path = spec.locate(from);
                    let text = |place, facts: &FileFacts| {
                        Text::written(None, place, &facts.content, &from.span, &applied)
                    };
                    match files.get(&PathKey::manifests(path.clone())) {
                        None => {}
                        Some(PathFacts::File(facts)) => give(text(Place::File(path), facts)),
                        Some(PathFacts::Folder(below)) => {
                            let path: Arc<Path> = path.into();
                            for (index, (name, entry)) in below.iter().enumerate() {
                                if let EntryFacts::File(facts) = entry
                                    && is_manifest_name(name)
                                {
                                    give(text(Place::Below(path.clone(), below.clone(), index), facts));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The texts of a chart or kustomization; among them are the hooks that are not applied, and the description of the chart,
/// whose annotations name images.
fn of_render<'a>(
    render: &'a Render,
    span: &'a Span,
    layer: &'a Arc<Applied>,
) -> impl Iterator<Item = Text> + 'a {
    let here = |name: &str, content: &str, kind| Text::here(name, content, span, kind, layer);
    let files = render.facts.files.iter().map(move |(name, content)| here(name, content, Kind::Generated));
    let dropped = here("hooks that are not applied", &render.dropped, Kind::Dropped);
    let description = render.description.iter();
    files
        .chain([dropped])
        .chain(description.map(move |(name, content)| here(name, content, Kind::Description)))
}

impl Text {
    /// A text that somebody wrote, as it stands.
    fn written(
        name: Option<String>,
        place: Place,
        content: &ContentFacts,
        said: &Span,
        layer: &Arc<Applied>,
    ) -> Self {
        Self {
            name,
            place,
            digest: content.digest,
            size: content.size,
            said: said.clone(),
            kind: Kind::Written,
            layer: layer.clone(),
            rewriting: None,
        }
    }

    pub fn here(name: &str, text: impl Into<Vec<u8>>, said: &Span, kind: Kind, layer: &Arc<Applied>) -> Self {
        let bytes: Vec<u8> = text.into();
        let digest = Digest::of(&bytes);
        Self {
            name: Some(name.to_owned()),
            digest,
            size: bytes.len() as u64,
            place: Place::Here(Arc::new(bytes)),
            said: said.clone(),
            kind,
            layer: layer.clone(),
            rewriting: None,
        }
    }

    /// The file or folder of the spec that it is in, where somebody wrote it on this machine.
    pub fn local(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Below(folder, ..) => Some(folder),
            Place::Here(_) | Place::Stored => None,
        }
    }

    /// One in a file that holds this, as it was found in that layer.
    pub fn of_file(path: PathBuf, content: &ContentFacts, said: &Span, layer: &Arc<Applied>) -> Self {
        Self::written(None, Place::File(path), content, said, layer)
    }

    /// The name by which places in it are shown.
    pub fn name(&self) -> String {
        let path = || self.place.path().map(|path| path.display().to_string());
        self.name.clone().or_else(path).unwrap_or_default()
    }

    /// What is kept of it is found again by: its bytes, and the namespace of its objects that name none.
    pub fn key(&self, digest: &Digest) -> Digest {
        let Some(namespace) = &self.layer.namespace else { return *digest };
        let mut hasher = StableHasher::new();
        hasher.digest(digest).text(namespace);
        hasher.finish()
    }

    /// Whether what it names is kept for the next run: it follows from the bytes alone.
    pub fn is_kept(&self) -> bool {
        matches!(self.kind, Kind::Written | Kind::Generated) && self.rewriting.is_none()
    }

    /// Its source, whose text is read when one of its places is shown.
    pub fn source(&self, context: &Context) -> Source {
        let (place, digest, store) = (self.place.clone(), self.digest, context.store.clone());
        Source::lazy(self.name(), move || {
            let bytes = match &place {
                Place::Here(bytes) => Some(bytes.to_vec()),
                Place::File(_) | Place::Below(..) => place.path().and_then(|path| std::fs::read(path).ok()),
                Place::Stored => store.read(&digest, MANIFEST_LIMIT).ok(),
            };
            // What changed since has other places.
            let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest);
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
        })
    }

    /// Its bytes, as they are now.
    pub fn bytes(&self, context: &Context) -> Result<Vec<u8>, Diagnostics> {
        match &self.place {
            Place::Here(bytes) => Ok(bytes.to_vec()),
            Place::File(_) | Place::Below(..) => {
                let path = self.place.path().unwrap_or_default();
                std::fs::read(&path).map_err(|error| unreadable(&path, &self.said, &error).into())
            }
            Place::Stored => {
                context.store.read(&self.digest, MANIFEST_LIMIT).map_err(|error| fault::store(&error).into())
            }
        }
    }
}
