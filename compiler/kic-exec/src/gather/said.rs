//! What the manifests of local files say, by digests: the next run can tell whether one whose bytes changed says the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::packed::{Reader, put_digest, put_list, put_option, put_path, put_text};
use kic_base::{Digest, Source, StableHasher};
use kic_graph::{ContentFacts, Need};
use kic_manifest::{Gap, GapKind};
use kic_spec::LayerKind;

use super::known_needs::{Filters, filters};
use super::needs::Named;
use super::texts::{Applied, Text};
use crate::context::Context;

/// What a manifest says, but for where in it that stands. Texts that say the same in one place of a spec make the same of it, but for
/// what follows from the digests of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Its objects, and the images that they name.
    pub names: Digest,
    /// The pods that ask for the images, which policies look at.
    pub pods: Digest,
}

impl Said {
    /// Of a text with those settings of Kyverno, and no other policies.
    pub(super) fn of(named: &Named, filters: &[Filters]) -> Self {
        let Named { needs, policies: _, objects, rewritten: _, warnings: _, gaps } = named;
        let mut hasher = StableHasher::new();
        hasher.text("kic said").list(objects, |hasher, object| {
            hasher.text(&object.kind).text(&object.name);
            hasher.option(object.namespace.as_deref(), |hasher, namespace| {
                hasher.text(namespace);
            });
        });
        hasher.list(filters, |hasher, (resources, webhooks)| {
            hasher.text(resources).option(webhooks.as_deref(), |hasher, webhooks| {
                hasher.text(webhooks);
            });
        });
        hasher.list(needs, hash_need).list(gaps, hash_gap);
        let mut pods = StableHasher::new();
        pods.text("kic pods").list(needs, |hasher, need| {
            hasher.option(need.pod.as_ref(), |hasher, (pod, _)| {
                hasher.text(&pod.namespace).digest(pod.digest());
            });
        });
        Self { names: hasher.finish(), pods: pods.finish() }
    }

    /// Of any text; nothing where there is more to it than what a digest can stand for.
    pub(super) fn of_all(named: &Named) -> Option<Self> {
        let is_plain = named.warnings.is_empty() && named.rewritten.is_none();
        filters(named).filter(|_| is_plain).map(|filters| Self::of(named, &filters))
    }

    /// Adds it to bytes.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        put_digest(bytes, &self.names);
        put_digest(bytes, &self.pods);
    }

    /// Takes it from the front of bytes.
    pub(super) fn take(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { names: reader.digest()?, pods: reader.digest()? })
    }
}

fn hash_need(hasher: &mut StableHasher, need: &Need) {
    // Where it stands is left out, and what the spec says of it.
    let Need {
        reference,
        span: _,
        said: _,
        is_generated: _,
        object,
        path,
        asked,
        confidence,
        reason,
        step: _,
        pod,
    } = need;
    hasher.text(reference.as_str()).text(object).text(path);
    hasher.option(asked.as_ref(), |hasher, asked| {
        hasher.text(asked.as_str());
    });
    hasher.text(confidence.name()).text(reason);
    hasher.option(pod.as_ref(), |hasher, (_, place)| {
        hasher.text(place.list).text(&place.name);
    });
}

fn hash_gap(hasher: &mut StableHasher, gap: &Gap) {
    let Gap { kind, written, span: _, object, path } = gap;
    match kind {
        GapKind::Unreadable => hasher.variant("Unreadable"),
        GapKind::Versioned(kind) => hasher.variant("Versioned").text(kind),
    };
    hasher.text(written).text(object).text(path);
}

/// What the manifests of a local file or folder say that a layer applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidPlace {
    /// The path of the file or folder, seen from where kic runs.
    pub path: PathBuf,
    /// What each manifest there says, in the order of the names; nothing of those of which a digest cannot stand for it.
    pub said: Vec<Option<Said>>,
    layer: Arc<Applied>,
}

/// The place of a manifest among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SaidPart(usize, usize);

impl SaidPart {
    /// Notes what is found out later.
    pub fn set(self, places: &mut [SaidPlace], said: Option<Said>) {
        if let Some(part) = places.get_mut(self.0).and_then(|place| place.said.get_mut(self.1)) {
            *part = said;
        }
    }
}

impl SaidPlace {
    /// Adds the next text of the spec, where it is one of a local file.
    pub(super) fn add(places: &mut Vec<Self>, text: &Text, said: Option<Said>) -> Option<SaidPart> {
        let path = text.local()?;
        let is_same = |last: &Self| Arc::ptr_eq(&last.layer, &text.layer) && last.path == path;
        if !places.last().is_some_and(is_same) {
            places.push(Self { path: path.to_owned(), said: Vec::new(), layer: Arc::clone(&text.layer) });
        }
        let place = places.len() - 1;
        places[place].said.push(said);
        Some(SaidPart(place, places[place].said.len() - 1))
    }

    /// The kind and the name of the layer.
    pub fn layer(&self) -> &(LayerKind, String) {
        &self.layer.layer
    }

    /// What a manifest of the layer says whose file at that path holds that content; nothing where it holds another one by now, or a
    /// digest cannot stand for it.
    pub fn say(&self, path: &Path, content: &ContentFacts, context: &Context) -> Option<Said> {
        let nowhere = Source::new("", "").span(0..0);
        let text = Text::of_file(path.to_owned(), content, &nowhere, &self.layer);
        let (digest, named) = text.needs(context).ok()?;
        (digest == content.digest).then(|| Said::of_all(&named))?
    }

    /// Adds it to bytes.
    pub fn put(&self, bytes: &mut Vec<u8>) {
        put_path(bytes, &self.path);
        let (kind, name) = self.layer();
        put_text(bytes, kind.name());
        put_text(bytes, name);
        put_option(bytes, self.layer.namespace.as_deref(), put_text);
        put_list(bytes, self.said.iter(), |bytes, said| {
            put_option(bytes, said.as_ref(), |bytes, said| said.put(bytes));
        });
    }

    /// Takes it from the front of bytes.
    pub fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let path = reader.path()?;
        let layer = (LayerKind::by_name(reader.text()?)?, reader.text()?.to_owned());
        let namespace = reader.option(Reader::text)?.map(str::to_owned);
        let said = reader.list(|reader| reader.option(Said::take))?;
        Some(Self { path, said, layer: Arc::new(Applied { layer: Arc::new(layer), namespace }) })
    }
}
