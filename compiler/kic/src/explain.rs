//! Why each layer was built or reused: what its derivation was made from, held against the last compile of the spec.

use std::collections::BTreeMap;

use kic_base::{Digest, Platform, StableHasher};
use kic_exec::{Context, Outcome};
use kic_graph::{
    BasePlan, Derivation, Graph, ImageLayer, Launch, LaunchStep, LayerSettings, Origin, TreeEntryKind,
    compression_name,
};
use kic_store::Memo;

use crate::compile::Request;
use crate::ingredients::{self, Inputs, LayerName, PackedInputs, content_text};

/// Why a layer was built or reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing that it is made from changed since the last compile, and the store had it.
    Unchanged,
    /// Nothing that it is made from changed, but the store no longer had it.
    Gone,
    /// There was no compile of this spec before that is remembered.
    FirstCompile,
    /// The last compile had no such layer. What brings it in, where that is an image or a URL.
    New(Vec<String>),
    /// Something that it is made from is another.
    Changed(Vec<InputChange>),
}

/// Something that a layer is made from, and that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputChange {
    /// What it is: a path in the image, or a setting in words.
    pub input: String,
    /// Where it comes from, for files of this machine.
    pub source: Option<String>,
    /// What it was; `None` where it is new.
    pub from: Option<String>,
    /// What it is now; `None` where it is gone.
    pub to: Option<String>,
}

/// What the layers of a compile were made from.
#[derive(Debug, Default)]
pub(crate) struct Ingredients {
    /// The derivation of each layer, by platform, kind and name.
    layers: Vec<(LayerName, Digest)>,
    /// What each derivation was made from.
    inputs: BTreeMap<Digest, PackedInputs>,
}

impl Ingredients {
    /// Those of the last compile of the spec.
    pub fn of_last(request: &Request, context: &Context) -> Option<Self> {
        Self::read(&context.store.recall(&key(request)?)?)
    }

    /// Those that were written as these bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (layers, inputs) = ingredients::read(bytes)?;
        Some(Self { layers, inputs })
    }

    /// Those of a graph.
    pub fn of(graph: &Graph) -> Self {
        let mut ingredients = Self::default();
        for (platform, image) in &graph.image.platforms {
            for layer in &image.layers {
                let node = &graph.nodes[layer.node];
                ingredients.layers.push((name(platform, layer), node.digest));
                ingredients.inputs.entry(node.digest).or_insert_with(|| packed(graph, &node.derivation));
            }
        }
        ingredients
    }

    /// What the next compile knows them by, under that [`key`].
    pub fn to_memo(&self, key: Digest) -> Memo {
        Memo::new(key, ingredients::write(&self.layers, &self.inputs))
    }

    /// The layers of each platform, by kind and name, that `now` does not have.
    pub fn gone(&self, now: &Self) -> Vec<LayerName> {
        let gone = self.layers.iter().filter(|(name, _)| now.derivation(name).is_none());
        gone.map(|(name, _)| name.clone()).collect()
    }

    fn derivation(&self, name: &LayerName) -> Option<&Digest> {
        self.layers.iter().find(|(known, _)| known == name).map(|(_, digest)| digest)
    }
}

/// Why a layer of `graph` was built or reused.
pub(crate) fn reason(
    graph: &Graph,
    platform: &Platform,
    layer: &ImageLayer,
    outcome: Outcome,
    now: &Ingredients,
    before: Option<&Ingredients>,
) -> Reason {
    let Some(before) = before else { return Reason::FirstCompile };
    let node = &graph.nodes[layer.node];
    match before.derivation(&name(platform, layer)) {
        None => Reason::New(node.origins.iter().map(origin).collect()),
        Some(digest) if *digest == node.digest => match outcome {
            Outcome::Reused => Reason::Unchanged,
            Outcome::Built(_) => Reason::Gone,
        },
        Some(digest) => {
            let inputs = |all: &Ingredients, digest: &Digest| {
                all.inputs.get(digest).map(PackedInputs::inputs).unwrap_or_default()
            };
            let (old, new) = (inputs(before, digest), inputs(now, &node.digest));
            Reason::Changed(changes(&old, &new, &sources(&node.derivation)))
        }
    }
}

/// What the ingredients of a spec are kept under.
pub(crate) fn key(request: &Request) -> Option<Digest> {
    let mut hasher = StableHasher::new();
    hasher.text("kic ingredients 2");
    hasher.bytes(std::path::absolute(&request.spec).ok()?.as_os_str().as_encoded_bytes());
    Some(hasher.finish())
}

fn name(platform: &Platform, layer: &ImageLayer) -> LayerName {
    (platform.to_string(), layer.kind.name().to_owned(), layer.name.clone())
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Registry(reference) => reference.to_string(),
        Origin::Disk(source) => source.to_string(),
        Origin::Url(url) => url.clone(),
    }
}

fn changes(old: &Inputs, new: &Inputs, sources: &BTreeMap<String, String>) -> Vec<InputChange> {
    let change = |input: &String| {
        let (from, to) = (old.get(input).cloned(), new.get(input).cloned());
        let source = sources.get(input).cloned();
        (from != to).then(|| InputChange { input: input.clone(), source, from, to })
    };
    let gone = old.keys().filter(|input| !new.contains_key(*input));
    let mut inputs: Vec<&String> = new.keys().chain(gone).collect();
    inputs.sort();
    inputs.into_iter().filter_map(change).collect()
}

/// The files of this machine that a derivation reads, by what they are inputs for.
fn sources(derivation: &Derivation) -> BTreeMap<String, String> {
    let Derivation::Tree { entries, .. } = derivation else { return BTreeMap::new() };
    let local = entries
        .iter()
        .filter_map(|entry| Some((format!("/{}", entry.path), entry.local()?.display().to_string())));
    local.collect()
}

/// All that enters the digest of a derivation.
fn packed(graph: &Graph, derivation: &Derivation) -> PackedInputs {
    let mut packed = PackedInputs::default();
    let mut inputs = Inputs::new();
    match derivation {
        Derivation::Blob(content) => packed.text("bytes", &content_text(content)),
        Derivation::CachedBlob { settings, path, content } => {
            add_settings(&mut inputs, settings);
            packed.text(&format!("/{path}"), &content_text(content));
        }
        Derivation::Tree { settings, entries } => {
            add_settings(&mut inputs, settings);
            packed.expect(entries.iter().map(|entry| entry.path.len()));
            for entry in entries.iter() {
                let value = match &entry.kind {
                    TreeEntryKind::File { mode, content, .. } => {
                        packed.file(&entry.path, *mode, content);
                        continue;
                    }
                    TreeEntryKind::Symlink(target) => format!("link to {target}"),
                    TreeEntryKind::Folder { mode } => format!("folder, mode {mode:04o}"),
                };
                packed.text(&format!("/{}", entry.path), &value);
            }
        }
        Derivation::Launch(launch) => add_launch(&mut inputs, graph, launch),
    }
    for (input, value) in &inputs {
        packed.text(input, value);
    }
    packed
}

fn add_settings(inputs: &mut Inputs, settings: &LayerSettings) {
    inputs.insert("encoder epoch".to_owned(), settings.epoch.number().to_string());
    inputs.insert("time of files".to_owned(), kic_exec::rfc3339(settings.mtime));
    inputs.insert("compression".to_owned(), compression_name(settings.compression).to_owned());
}

fn add_launch(inputs: &mut Inputs, graph: &Graph, launch: &Launch) {
    add_settings(inputs, &launch.settings);
    inputs.insert("name".to_owned(), launch.name.clone());
    inputs.insert("version".to_owned(), launch.version.clone().unwrap_or_default());
    inputs.insert("registries".to_owned(), launch.registries.join(", "));
    if let Some(source) = &launch.source {
        inputs.insert("recorded source".to_owned(), Digest::of(source).to_string());
    }
    match &launch.base {
        BasePlan::None => {}
        BasePlan::Json(plan) => {
            let digest = Digest::of(plan.to_string().as_bytes());
            inputs.insert("plan of the base".to_owned(), digest.to_string());
        }
        BasePlan::Node(node) => {
            inputs.insert("plan of the base".to_owned(), graph.nodes[*node].digest.to_string());
        }
    }
    for (index, step) in launch.steps.iter().enumerate() {
        let place = format!("step {}", index + 1);
        match step {
            LaunchStep::Apply { name, layer, files, namespace, .. } => {
                let namespace =
                    namespace.as_ref().map(|name| format!(", namespace {name}")).unwrap_or_default();
                let files = Digest::of(files.join("\n").as_bytes());
                inputs.insert(place.clone(), format!("apply {name}{namespace}, files {}", files.short()));
                inputs.insert(format!("layer of {place}"), graph.nodes[*layer].digest.to_string());
            }
            LaunchStep::Wait { name, layer } => {
                inputs.insert(place.clone(), format!("wait {name}"));
                inputs.insert(format!("layer of {place}"), graph.nodes[*layer].digest.to_string());
            }
            LaunchStep::Run(command) => {
                inputs.insert(place, format!("run {command}"));
            }
        }
    }
    for image in launch.images.iter() {
        let value =
            format!("{}, for {}, as {}", image.digest, image.platforms.join(" "), image.names.join(" "));
        inputs.insert(format!("image {}", image.reference), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_came_or_went_is_told_in_order_and_the_rest_is_not() {
        let inputs = |pairs: &[(&str, &str)]| -> Inputs {
            pairs.iter().map(|(input, value)| ((*input).to_owned(), (*value).to_owned())).collect()
        };
        let old = inputs(&[("/a", "1"), ("/b", "2"), ("/c", "3")]);
        let new = inputs(&[("/a", "1"), ("/b", "4"), ("/aa", "5")]);
        let sources = inputs(&[("/b", "tree/b")]);
        let change = |input: &str, source: Option<&str>, from: Option<&str>, to: Option<&str>| InputChange {
            input: input.to_owned(),
            source: source.map(str::to_owned),
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
        };
        assert_eq!(
            changes(&old, &new, &sources),
            [
                change("/aa", None, None, Some("5")),
                change("/b", Some("tree/b"), Some("2"), Some("4")),
                change("/c", None, Some("3"), None),
            ]
        );
    }
}
