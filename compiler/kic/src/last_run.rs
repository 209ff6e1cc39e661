//! What the last run of a request read and gave, so that the next one need not do it again.
//!
//! **Invariant:** everything that decides the image is in the key or among what is held against the world. In the key are
//! the build of kic, the working folder, and the whole request: spec, `--set`, the mode of the lock, the time of
//! the files, and the output. Held against the world are
//!
//! | what | by |
//! |---|---|
//! | the spec, its modules, bases, lock and lists of images, those among them that are missing | the digest of their bytes |
//! | files and folders that layers are made of | the digest over everything in them ([`kic_exec::Sources`]) |
//! | images on disk | the [`Fingerprint`] of the file by which all else of them is known by digest |
//! | files and folders of charts and kustomizations, files of values | the [`Fingerprint`] of each |
//! | the programs that render them | that the same file is found first, and its [`Fingerprint`] |
//! | the parts of the image | that the store has them |
//! | the roots that keep them there | the checksum of their records |
//!
//! What comes from the network is in the lock, by digest; where something may be missing there, nothing is kept. A run that could not be sure of one of these leaves nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kic_base::{Digest, Platform, StableHasher};
use kic_exec::{
    Assembled, Context, Fingerprint, KnownOutputs, LayerOutput, LockMode, Outcome, Place, Realised,
};
use kic_graph::{Graph, Kind};
use kic_oci::layout::is_in_layout;
use kic_oci::model::Descriptor;
use kic_store::{Memo, Remembering, Store};
use serde::{Deserialize, Serialize};

use crate::compile::{Compiled, CompiledLayer, Request, Spent};
use crate::kept_warnings::KeptWarnings;
use crate::last_graph::{Left, SameButPlaces};
use crate::roots::{LockRoot, Roots};
use crate::texts::Texts;
use crate::write::Output;

/// What a run leaves for the next one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastRun {
    texts: BTreeMap<PathBuf, Option<Digest>>,
    places: Vec<(Place, Digest)>,
    used: Vec<(PathBuf, Fingerprint)>,
    programs: Vec<(Vec<String>, PathBuf)>,
    tag: String,
    output: Option<Output>,
    /// The archive, as it was written.
    archive: Option<Fingerprint>,
    root: Descriptor,
    blobs: Vec<KeptBlob>,
    /// The manifest and the configuration of each platform.
    documents: Vec<(Platform, (Descriptor, Descriptor))>,
    layers: Vec<(Platform, Vec<KeptLayer>)>,
    warnings: KeptWarnings,
    /// The names of the roots that keep it in the store, and the checksums of their records.
    roots: Vec<(Digest, Digest)>,
    /// Which of them is that of the lock, if any.
    lock: Option<LockRoot>,
    /// What was left of the graph.
    graph: Option<Digest>,
    /// What derivations gave, as [`write_outputs`] says. Most runs need none of it.
    outputs: String,
}

/// A blob of the image: its digest, its size and its media type.
#[derive(Debug, Serialize, Deserialize)]
struct KeptBlob(Digest, u64, String);

/// A layer: its kind, its name, and its place among the blobs.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLayer(String, String, usize);

/// What a run would give that found nothing changed.
pub(crate) struct Unchanged {
    pub compiled: Compiled,
    /// Where it goes.
    pub output: Option<Output>,
    /// Whether the archive at the output is the one that was written last.
    pub is_written: bool,
}

impl Unchanged {
    /// Whether the image stands at the output, too.
    pub fn is_whole(&self, store: &Store) -> bool {
        let image = &self.compiled.image;
        match &self.output {
            None => true,
            Some(Output::Layout(path)) => {
                is_in_layout(path, &image.root, &self.compiled.tag, &image.blobs, &store.suspects())
            }
            Some(_) => self.is_written,
        }
    }
}

/// The key of what is left of a request; `None` where nothing is kept.
pub(crate) fn key(request: &Request, context: &Context) -> Option<Digest> {
    // Whether an image is still missing is to be asked every time.
    if !request.gather.allow_missing.is_empty() {
        return None;
    }
    let mut hasher = StableHasher::new();
    hasher.text("kic last run").digest(&context.build?);
    let path = |hasher: &mut StableHasher, path: &Path| {
        hasher.bytes(path.as_os_str().as_encoded_bytes());
    };
    path(&mut hasher, &request.spec);
    // Paths are shown as they were given, and both the spec's and the output's may begin in the working folder.
    path(&mut hasher, &std::path::absolute(&request.spec).ok()?);
    path(&mut hasher, &std::path::absolute(".").ok()?);
    hasher.list(&request.settings.set, |hasher, (name, value)| {
        hasher.text(name).text(value);
    });
    match &request.gather.lock {
        LockMode::Add => hasher.variant("Add"),
        LockMode::Locked => hasher.variant("Locked"),
        // They ask for something to be done.
        LockMode::Tidy | LockMode::Update(_) => return None,
    };
    hasher.number(request.gather.source_date_epoch).boolean(request.record_source);
    match &request.output {
        None => hasher.variant("None"),
        Some(Output::Named) => hasher.variant("Named"),
        Some(Output::Layout(to)) => {
            path(hasher.variant("Layout"), to);
            &mut hasher
        }
        Some(Output::Archive(to)) => {
            path(hasher.variant("Archive"), to);
            &mut hasher
        }
    };
    Some(hasher.finish())
}

/// What is known from the last run.
#[derive(Default)]
pub(crate) struct Found {
    /// What comes out, where everything is as it left it.
    pub unchanged: Option<Unchanged>,
    /// What it left, where something is not.
    pub known: Known,
}

/// What is known from the last run, where something changed since.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// What derivations gave.
    pub outputs: KnownOutputs,
    /// The root of the lock.
    pub lock: Option<LockRoot>,
    /// What places held, and all else that was used, where of all that was read these places alone may be otherwise.
    pub same_but_places: Option<SameButPlaces>,
}

/// Finds out whether everything is as the last run left it. What is looked at for that is not looked at again.
pub(crate) fn find(key: &Digest, texts: &Texts, context: &Context) -> Found {
    let last = || serde_json::from_slice::<LastRun>(&context.store.recall(key)?).ok();
    let Some(mut last) = last() else { return Found::default() };
    let (outputs, lock) = (std::mem::take(&mut last.outputs), last.lock.take());
    let known = |same_but_places| {
        let outputs = read_outputs(&outputs).unwrap_or_default();
        Found { unchanged: None, known: Known { outputs, lock, same_but_places } }
    };
    if !last.is_read_the_same(texts, context) {
        return known(None);
    }
    if !context.sources.hold(&last.places, context) {
        let LastRun { places, used, programs, warnings, graph, .. } = last;
        return known(graph.map(|graph| SameButPlaces { graph, places, used, programs, warnings }));
    }
    match last.unchanged(context) {
        Some(unchanged) => Found { unchanged: Some(unchanged), known: Known::default() },
        None => known(None),
    }
}

impl LastRun {
    /// Whether all that it read is as it was, but for what places hold.
    fn is_read_the_same(&self, texts: &Texts, context: &Context) -> bool {
        self.texts.iter().all(|(path, digest)| texts.is(path, *digest))
            && self.used.iter().all(|(path, before)| Fingerprint::at(path).is_ok_and(|now| now == *before))
            && self.programs.iter().all(|(names, path)| context.programs.find(names).as_ref() == Some(path))
    }

    /// What it gave, where all that it read is as it was, and what it left is there.
    fn unchanged(self, context: &Context) -> Option<Unchanged> {
        // What takes long is done: a collection that waits does not wait for it.
        context.store.hold().ok()?;
        let is_kept =
            self.roots.iter().all(|(key, checksum)| context.store.root_checksum(key) == Some(*checksum))
                && self.blobs.iter().all(|KeptBlob(digest, ..)| context.store.contains(digest));
        if !is_kept {
            return None;
        }
        let blob =
            |KeptBlob(digest, size, media_type): &KeptBlob| Descriptor::new(media_type, *digest, *size);
        let blobs: Vec<Descriptor> = self.blobs.iter().map(blob).collect();
        let mut layers = BTreeMap::new();
        let mut descriptors = BTreeMap::new();
        for (platform, kept) in self.layers {
            let of_one = |KeptLayer(kind, name, place)| {
                let (kind, descriptor) = (Kind::by_name(&kind)?, blobs.get(place)?.clone());
                Some(CompiledLayer { kind, name, descriptor, outcome: Outcome::Reused, reason: None })
            };
            let own: Vec<CompiledLayer> = kept.into_iter().map(of_one).collect::<Option<_>>()?;
            descriptors.insert(platform.clone(), own.iter().map(|layer| layer.descriptor.clone()).collect());
            layers.insert(platform, own);
        }
        let is_written = match (&self.output, self.archive) {
            (Some(Output::Archive(path)), Some(before)) => {
                Fingerprint::at(path).is_ok_and(|now| now == before)
            }
            _ => false,
        };
        let compiled = Compiled {
            tag: self.tag,
            image: Assembled {
                root: self.root,
                blobs,
                documents: self.documents.into_iter().collect(),
                layers: descriptors,
                made: BTreeMap::new(),
            },
            layers,
            explanation: None,
            output: self.output.as_ref().and_then(Output::path).map(Path::to_owned),
            written_locks: Vec::new(),
            warnings: self.warnings.diagnostics()?,
            spent: Spent::default(),
        };
        Some(Unchanged { compiled, output: self.output, is_written })
    }

    /// What the next run needs to find nothing changed; nothing where it has to find out everything anew.
    pub fn of(
        compiled: &Compiled,
        output: Option<&Output>,
        roots: &Roots,
        (graph, realised): (&Graph, &Realised),
        left: Option<Left>,
        texts: &Texts,
        context: &Context,
    ) -> Option<Self> {
        if compiled.warnings.omitted() > 0 {
            return None;
        }
        let outputs = realised.layers.iter().map(|(index, output)| (graph.nodes[*index].digest, output));
        let blobs = &compiled.image.blobs;
        let kept_blob = |blob: &Descriptor| KeptBlob(blob.digest, blob.size, blob.media_type.clone());
        let mut layers = Vec::with_capacity(compiled.layers.len());
        for (platform, own) in &compiled.layers {
            let kept = own.iter().map(|layer| {
                let place = blobs.binary_search_by_key(&layer.descriptor.digest, |blob| blob.digest).ok()?;
                let is_same = blobs[place] == layer.descriptor;
                is_same.then(|| KeptLayer(layer.kind.name().to_owned(), layer.name.clone(), place))
            });
            layers.push((platform.clone(), kept.collect::<Option<_>>()?));
        }
        let places = context.sources.looked();
        Some(Self {
            texts: texts.known()?,
            graph: left.filter(|left| left.places == places).map(|left| left.checksum),
            places,
            used: context.sources.used()?,
            programs: context.sources.programs().into_iter().collect(),
            tag: compiled.tag.clone(),
            output: output.cloned(),
            archive: None,
            root: compiled.image.root.clone(),
            blobs: blobs.iter().map(kept_blob).collect(),
            documents: compiled.image.documents.clone().into_iter().collect(),
            layers,
            warnings: KeptWarnings::of(&compiled.warnings),
            roots: roots.checksums(),
            lock: roots.lock(),
            outputs: write_outputs(outputs),
        })
    }

    /// Whether it tells of an archive, by which it is known: that has to be there first.
    pub fn is_of_archive(&self) -> bool {
        matches!(self.output, Some(Output::Archive(_)))
    }

    /// Begins to leave it for the next run, for which it counts once the image is written and its roots are recorded. Where that does
    /// not work, everything is found out anew.
    pub fn begin(mut self, key: &Digest, context: &Context) -> Option<Remembering> {
        if let Some(Output::Archive(path)) = &self.output {
            self.archive = settled(path);
        }
        // Paths that are not UTF-8 do not go into JSON.
        let bytes = serde_json::to_vec(&self).ok()?;
        context.store.begin_remembering(&Memo::new(*key, bytes)).ok()
    }
}

/// What derivations gave: of each its digest, and the digest, the size, the digest without compression and the media type of the layer,
/// with a space between, and a semicolon at the end.
fn write_outputs<'a>(outputs: impl Iterator<Item = (Digest, &'a LayerOutput)>) -> String {
    let mut text = String::with_capacity(8 << 10);
    for (derivation, LayerOutput { media_type, digest, size, diff_id }) in outputs {
        // A string takes whatever is written to it.
        let _ = write!(text, "{derivation} {digest} {size} {diff_id} {media_type};");
    }
    text
}

fn read_outputs(text: &str) -> Option<KnownOutputs> {
    let output = |text: &str| {
        let mut words = text.splitn(5, ' ');
        let mut word = || words.next();
        let derivation = word()?.parse().ok()?;
        let (digest, size, diff_id) = (word()?.parse().ok()?, word()?.parse().ok()?, word()?.parse().ok()?);
        Some((derivation, LayerOutput { media_type: word()?.to_owned(), digest, size, diff_id }))
    };
    text.split_terminator(';').map(output).collect()
}

/// The fingerprint of a file that was just written, once a later change would give another.
fn settled(path: &Path) -> Option<Fingerprint> {
    // That is after 20 ms by a clock that may itself be several behind; on file systems that keep no time, never.
    let steps = 0..16;
    steps
        .map(|step| {
            if step > 0 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Fingerprint::settled_at(path)
        })
        .find_map(|fingerprint| fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_derivations_gave_reads_back_and_anything_else_is_nothing() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let output = |media_type: &str| LayerOutput {
            media_type: media_type.to_owned(),
            digest: digest("layer"),
            size: u64::MAX,
            diff_id: digest(media_type),
        };
        let outputs: KnownOutputs = ["application/vnd.oci.image.layer.v1.tar", "a b"]
            .map(|media_type| (digest(&format!("derivation {media_type}")), output(media_type)))
            .into();
        let text = write_outputs(outputs.iter().map(|(derivation, output)| (*derivation, output)));
        assert_eq!(read_outputs(&text), Some(outputs));
        assert_eq!(read_outputs(""), Some(KnownOutputs::new()));
        for wrong in [&text[1..], &text[..200], &text.replace(' ', ""), "sha256:;"] {
            assert!(read_outputs(wrong).is_none(), "{wrong}");
        }
    }
}
