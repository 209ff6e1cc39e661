//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kic_base::{Digest, Source, Span, StableHasher};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{
    ContentFacts, EntryFacts, FileFacts, Need, NeedStep, ObjectFacts, PathFacts, PathKey, PolicyFacts,
    render_key,
};
use kic_manifest::{Confidence, Discovery, Found, Gap, Object};
use kic_redirect::{Pod, Policy};
use kic_spec::{Content, LayerKind, ManifestItem, Spec, Step, is_manifest_name, unreadable};

use super::gaps::{self, Open};
use super::known_needs::KnownNeeds;
use super::renders::Render;
use super::rewriting::{self, Rewriting};
use crate::context::Context;
use crate::fault;
use crate::parallel::parallel;

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 256 << 20;

/// A text to look through, and what of the spec brings it in.
struct Text {
    name: String,
    place: Place,
    digest: Digest,
    said: Span,
    kind: Kind,
    layer: Applied,
    /// How its images are named anew, where they are.
    rewriting: Option<Arc<Rewriting>>,
}

/// The layer that a text is applied with, and the namespace of its objects that name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    pub layer: (LayerKind, String),
    pub namespace: Option<String>,
}

/// What all texts name.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub needs: Vec<Need>,
    /// Texts with images named anew, by the digest of the text without, and the registry.
    pub rewritten: BTreeMap<(Digest, String), Arc<str>>,
    /// The policies among them, and what belongs to policies.
    pub policies: Vec<PolicyFacts>,
    /// The objects in them.
    pub objects: Vec<ObjectFacts>,
}

/// What one text names.
#[derive(Debug, Default)]
struct Named {
    needs: Vec<Need>,
    policies: Vec<Policy>,
    objects: Vec<ObjectFacts>,
    /// The text with images named anew, where there are any.
    rewritten: Option<Arc<str>>,
    /// What is worth a look.
    warnings: Diagnostics,
    /// What it leaves open.
    gaps: Vec<Gap>,
}

/// What of one text goes into the inputs.
pub(super) type InText = (Vec<Need>, Vec<PolicyFacts>, Vec<ObjectFacts>);

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    Here(Vec<u8>),
    File(PathBuf),
    Stored,
}

/// Looks through all manifests and policies, in the order of the spec; those that cannot be read give errors, and nothing
/// else. Those of which the last run knew what they name are not read.
pub(super) async fn gather(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Needs {
    let mut known = KnownNeeds::open(spec, context);
    let mut found: Vec<Result<InText, Diagnostics>> = Vec::new();
    let mut rewritten = BTreeMap::new();
    let mut open = Vec::new();
    let mut unknown: Vec<(usize, Text)> = Vec::new();
    for (index, text) in texts(spec, files, fetches, renders).into_iter().enumerate() {
        let needs = if text.is_kept() {
            let source = text.source(context);
            known.find(
                &text.key(&text.digest),
                &source,
                &text.said,
                text.kind == Kind::Generated,
                &text.layer,
            )
        } else {
            None
        };
        match needs {
            Some((needs, filters, objects)) => found.push(Ok((needs, text.facts(filters), objects))),
            None => {
                found.push(Ok(InText::default()));
                unknown.push((index, text));
            }
        }
    }
    if !unknown.is_empty() {
        let inner = context.clone();
        let looked_through = context.blocking(move || {
            let look_through = |(): &mut (), (index, text): &(usize, Text)| (*index, text.needs(&inner));
            let results = parallel(&unknown, &inner, || (), look_through);
            inner.go_on()?;
            let texts: BTreeMap<usize, Text> = unknown.into_iter().collect();
            Ok((texts, results))
        });
        match looked_through.await {
            Ok((texts, results)) => {
                for (index, result) in results.into_iter().flatten() {
                    let text = texts.get(&index);
                    found[index] = result.map(|(digest, named)| {
                        // What is left open is told each time.
                        if let Some(text) = text.filter(|text| text.is_kept() && named.gaps.is_empty()) {
                            known.note(text.key(&digest), &named.needs, &named.policies, &named.objects);
                        }
                        let rewriting = text.and_then(|text| text.rewriting.as_ref());
                        if let (Some(text), Some(rewriting)) = (named.rewritten, rewriting) {
                            rewritten.insert((digest, rewriting.host.clone()), text);
                        }
                        diagnostics.append(named.warnings);
                        if let Some(text) = text {
                            let (said, is_generated) = (&text.said, text.kind != Kind::Written);
                            let more = named.gaps.into_iter();
                            open.extend(more.map(|gap| Open { gap, said: said.clone(), is_generated }));
                        }
                        let policies = text.map(|text| text.facts(named.policies)).unwrap_or_default();
                        (named.needs, policies, named.objects)
                    });
                }
            }
            Err(interrupted) => diagnostics.append(interrupted),
        }
    }
    known.save(context);
    let (mut needs, mut policies, mut objects) = InText::default();
    for result in found {
        match result {
            Ok((found, more, made)) => {
                needs.extend(found);
                policies.extend(more);
                objects.extend(made);
            }
            Err(errors) => diagnostics.append(errors),
        }
    }
    diagnostics.append(gaps::tell(&open, spec, &needs));
    for step in spec.launch.iter().flatten() {
        if let Step::Run(command) = &step.value {
            for image in kic_manifest::command_images(command) {
                if let Ok(reference) = image.parse() {
                    let pod = pod_of_command(command, &image);
                    needs.push(Need {
                        reference,
                        span: step.span.clone(),
                        said: step.span.clone(),
                        is_generated: false,
                        object: "command".to_owned(),
                        path: String::new(),
                        asked: None,
                        confidence: Confidence::Certain,
                        reason: "an image that a step of the launch runs or pulls".to_owned(),
                        step: NeedStep::Run(command.clone()),
                        pod: pod.map(|(pod, place)| (Arc::new(pod), place)),
                    });
                }
            }
        }
    }
    Needs { needs, rewritten, policies, objects }
}

/// The pod that a command makes: those of kubectl do, in the namespace that it names.
fn pod_of_command(command: &str, image: &str) -> Option<(Pod, kic_redirect::Place)> {
    let words: Vec<&str> = command.split_whitespace().collect();
    if !words.iter().any(|word| word.ends_with("kubectl")) {
        return None;
    }
    let after = words.iter().position(|word| matches!(*word, "-n" | "--namespace"));
    let namespace = after.and_then(|at| words.get(at + 1)).copied();
    let joined = words.iter().find_map(|word| word.strip_prefix("--namespace="));
    Some(Pod::with(image, "containers", namespace.or(joined)))
}

fn texts(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
) -> Vec<Text> {
    let mut texts = Vec::new();
    for layer in &spec.layers {
        let (Content::Manifests { items, .. } | Content::Policies { items, .. }) = &layer.content else {
            continue;
        };
        let namespace = match &layer.content {
            Content::Manifests { namespace, .. } | Content::Policies { namespace, .. } => namespace.clone(),
            _ => None,
        };
        let applied = Applied { layer: (layer.kind(), layer.name.value.clone()), namespace };
        let rewriting = layer.rewrite().map(|host| Arc::new(Rewriting::new(spec, host)));
        let first = texts.len();
        for item in items {
            let span = &item.span;
            match &item.value {
                ManifestItem::Object { file_name, object } => {
                    let text = kic_manifest::emit(object);
                    texts.push(Text::here(file_name, &text, span, Kind::Generated, &applied));
                }
                ManifestItem::Fetch { fetch, .. } => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    let (name, digest) = (fetch.url.value.clone(), content.digest);
                    texts.push(Text::written(name, Place::Stored, digest, span, &applied));
                }
                ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                    let render = render_key(spec, &item.value).and_then(|key| renders.get(&key));
                    let mut applied = applied.clone();
                    if let ManifestItem::Chart(chart) = &item.value {
                        applied.namespace = Some(chart.namespace.clone());
                    }
                    texts.extend(render.into_iter().flat_map(|render| of_render(render, span, &applied)));
                }
                ManifestItem::File { from, .. } => {
                    let path = spec.locate(from);
                    let mut push = |path: PathBuf, facts: &FileFacts| {
                        let (name, digest) = (path.display().to_string(), facts.content.digest);
                        texts.push(Text::written(name, Place::File(path), digest, &from.span, &applied));
                    };
                    match files.get(&PathKey::manifests(path.clone())) {
                        None => {}
                        Some(PathFacts::File(facts)) => push(path, facts),
                        Some(PathFacts::Folder(below)) => {
                            for (name, entry) in below {
                                if let EntryFacts::File(facts) = entry
                                    && is_manifest_name(name)
                                {
                                    push(path.join(name), facts);
                                }
                            }
                        }
                    }
                }
            }
        }
        for text in texts.iter_mut().skip(first) {
            if matches!(text.kind, Kind::Written | Kind::Generated) {
                text.rewriting.clone_from(&rewriting);
            }
        }
    }
    texts
}

/// The texts of a chart or kustomization; among them are the hooks that are not applied, and the description of the chart,
/// whose annotations name images.
fn of_render<'a>(render: &'a Render, span: &'a Span, layer: &'a Applied) -> impl Iterator<Item = Text> + 'a {
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
    fn written(name: String, place: Place, digest: Digest, said: &Span, layer: &Applied) -> Self {
        Self {
            name,
            place,
            digest,
            said: said.clone(),
            kind: Kind::Written,
            layer: layer.clone(),
            rewriting: None,
        }
    }

    fn here(name: &str, text: &str, said: &Span, kind: Kind, layer: &Applied) -> Self {
        let bytes = text.as_bytes().to_vec();
        let digest = Digest::of(&bytes);
        Self {
            name: name.to_owned(),
            place: Place::Here(bytes),
            digest,
            said: said.clone(),
            kind,
            layer: layer.clone(),
            rewriting: None,
        }
    }

    /// What is kept of it is found again by: its bytes, and the namespace of its objects that name none.
    fn key(&self, digest: &Digest) -> Digest {
        let mut hasher = StableHasher::new();
        hasher.digest(digest).text(self.layer.namespace.as_deref().unwrap_or_default());
        hasher.finish()
    }

    fn facts(&self, policies: Vec<Policy>) -> Vec<PolicyFacts> {
        let fact = |policy| PolicyFacts {
            policy,
            layer: self.layer.layer.clone(),
            said: self.said.clone(),
            is_generated: self.kind != Kind::Written,
        };
        policies.into_iter().map(fact).collect()
    }

    /// Whether what it names is kept for the next run: it follows from the bytes alone.
    fn is_kept(&self) -> bool {
        matches!(self.kind, Kind::Written | Kind::Generated) && self.rewriting.is_none()
    }

    /// Its source, whose text is read when one of its places is shown.
    fn source(&self, context: &Context) -> Source {
        let (place, digest, store) = (self.place.clone(), self.digest, context.store.clone());
        Source::lazy(self.name.clone(), move || {
            let bytes = match &place {
                Place::Here(bytes) => Some(bytes.clone()),
                Place::File(path) => std::fs::read(path).ok(),
                Place::Stored => store.read(&digest, MANIFEST_LIMIT).ok(),
            };
            // What changed since has other places.
            let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest);
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
        })
    }

    /// The digest of its bytes, and the images that it names.
    fn needs(&self, context: &Context) -> Result<(Digest, Named), Diagnostics> {
        let bytes = match &self.place {
            Place::Here(bytes) => bytes.clone(),
            Place::File(path) => std::fs::read(path).map_err(|error| unreadable(path, &self.said, &error))?,
            Place::Stored => {
                context.store.read(&self.digest, MANIFEST_LIMIT).map_err(|error| fault::store(&error))?
            }
        };
        Ok((Digest::of(&bytes), self.named(bytes)?))
    }

    fn named(&self, bytes: Vec<u8>) -> Result<Named, Diagnostics> {
        let Self { name, said, kind, layer, rewriting, .. } = self;
        let Ok(content) = String::from_utf8(bytes) else {
            return Err(Diagnostic::new(&code::INVALID_YAML, format!("`{name}` is not UTF-8 text"))
                .at(said, "named here")
                .help("save it as UTF-8")
                .into());
        };
        let source = Source::new(name, content);
        if *kind == Kind::Description {
            let images = kic_manifest::images_of_text(&source).0.into_iter();
            let needs = images.map(|found| need(found, said, *kind, &Pods::default(), layer)).collect();
            return Ok(Named { needs, ..Named::default() });
        }
        let (objects, errors) = kic_manifest::read(&source);
        let mut warnings = Diagnostics::new();
        if !errors.is_empty() {
            let diagnostic = |error: kic_manifest::YamlError| {
                let mut diagnostic =
                    Diagnostic::new(&code::INVALID_YAML, error.message).at(&error.span, "here");
                if let Some(first) = &error.first {
                    diagnostic = diagnostic.at(first, "first here");
                }
                diagnostic
                    .at(said, "read because of this")
                    .help(error.help.unwrap_or_else(|| "mend the manifest there".to_owned()))
            };
            warnings.extend(errors.into_iter().map(diagnostic));
            return Err(warnings);
        }
        let Discovery { found: images, mut gaps } = kic_manifest::discover(&objects);
        if *kind == Kind::Dropped {
            gaps.clear();
        }
        let (policies, made) = match kind {
            Kind::Dropped => (Vec::new(), Vec::new()),
            _ => (kic_redirect::policies(&objects), made(&objects, layer)),
        };
        let Some(rewriting) = rewriting else {
            let pods = Pods::of(&objects, &objects, layer);
            let needs = images.into_iter().map(|found| need(found, said, *kind, &pods, layer)).collect();
            return Ok(Named { needs, policies, objects: made, gaps, ..Named::default() });
        };
        let (text, left) = rewriting::rewritten(&source, rewriting);
        warnings.extend(left.iter().map(|found| rewriting::left(found, said)));
        let asked = |found: &Found| {
            let stays = left.iter().any(|other| other.span == found.span && other.path == found.path);
            rewriting.name(found).filter(|_| !stays)
        };
        // Pods name what the rewritten text does.
        let (anew, _) = kic_manifest::read(&Source::new(name, text.as_str()));
        let pods = Pods::of(&objects, &anew, layer);
        let needs = images
            .into_iter()
            .map(|found| Need { asked: asked(&found), ..need(found, said, *kind, &pods, layer) })
            .collect();
        let rewritten = (text != source.text()).then(|| text.into());
        Ok(Named { needs, policies, objects: made, rewritten, warnings, gaps })
    }
}

/// What a text of a base says, where its layer is applied. What cannot be read says nothing: who compiled it was told.
pub(super) fn in_base(name: &str, text: &str, said: &Span, layer: &Applied) -> InText {
    let text = Text::here(name, text, said, Kind::Generated, layer);
    let Place::Here(bytes) = &text.place else { return InText::default() };
    match text.named(bytes.clone()) {
        Ok(named) => (named.needs, text.facts(named.policies), named.objects),
        Err(_) => InText::default(),
    }
}

/// The objects that have a name.
fn made(objects: &[Object], layer: &Applied) -> Vec<ObjectFacts> {
    let fact = |object: &Object| {
        Some(ObjectFacts {
            kind: object.kind.clone(),
            name: object.name.clone()?,
            namespace: object.namespace.clone().or_else(|| layer.namespace.clone()),
            layer: layer.layer.clone(),
        })
    };
    objects.iter().filter_map(fact).collect()
}

/// The pods that objects make, by where the objects stand.
#[derive(Default)]
struct Pods {
    made: Vec<(Span, Option<String>, Option<Arc<Pod>>)>,
}

impl Pods {
    /// Those of `objects`, as far as their places go, which say what `anew` says.
    fn of(objects: &[Object], anew: &[Object], layer: &Applied) -> Self {
        let made = objects.iter().zip(anew).map(|(object, anew)| {
            let pod = Pod::of(anew, layer.namespace.as_deref()).map(Arc::new);
            (object.span.clone(), object.namespace.clone(), pod)
        });
        Self { made: made.collect() }
    }

    /// The pod that asks for what was found: that of a template, or one that a controller or program will make of the object.
    fn asking(&self, found: &Found, layer: &Applied) -> (Arc<Pod>, kic_redirect::Place) {
        let at = found.span.range().start;
        let object = self.made.iter().find(|(span, ..)| span.range().contains(&at));
        let of_template = object.and_then(|(_, _, pod)| {
            let pod = pod.as_ref()?;
            Some((pod.clone(), kic_redirect::place_of(pod, &found.path)?))
        });
        of_template.unwrap_or_else(|| {
            let own = object.and_then(|(_, namespace, _)| namespace.as_deref());
            let (pod, place) = Pod::with(&found.written, "containers", own.or(layer.namespace.as_deref()));
            (Arc::new(pod), place)
        })
    }
}

fn need(found: Found, said: &Span, kind: Kind, pods: &Pods, layer: &Applied) -> Need {
    let pod = pods.asking(&found, layer);
    let (confidence, reason) = match kind {
        Kind::Dropped => (
            Confidence::Possible,
            format!("{}, in a hook of the chart that an installation does not run", found.reason),
        ),
        _ => (found.confidence, found.reason),
    };
    Need {
        reference: found.reference,
        span: found.span,
        said: said.clone(),
        is_generated: kind != Kind::Written,
        object: found.object,
        path: found.path,
        asked: None,
        confidence,
        reason,
        step: NeedStep::Apply(layer.layer.0, layer.layer.1.clone()),
        pod: Some(pod),
    }
}
