//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, EntryFacts, FileFacts, Need, PathFacts, PathKey, render_key};
use kic_manifest::{Confidence, Found};
use kic_spec::{Content, ManifestItem, Spec, Step, is_manifest_name, unreadable};

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
    /// How its images are named anew, where they are.
    rewriting: Option<Arc<Rewriting>>,
}

/// What all texts name.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub needs: Vec<Need>,
    /// Texts with images named anew, by the digest of the text without, and the registry.
    pub rewritten: BTreeMap<(Digest, String), Arc<str>>,
}

/// What one text names.
#[derive(Debug, Default)]
struct Named {
    needs: Vec<Need>,
    /// The text with images named anew, where there are any.
    rewritten: Option<Arc<str>>,
    /// What is worth a look.
    warnings: Diagnostics,
}

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
    let mut found: Vec<Result<Vec<Need>, Diagnostics>> = Vec::new();
    let mut rewritten = BTreeMap::new();
    let mut unknown: Vec<(usize, Text)> = Vec::new();
    for (index, text) in texts(spec, files, fetches, renders).into_iter().enumerate() {
        let needs = if text.is_kept() {
            known.find(&text.digest, &text.source(context), &text.said, text.kind == Kind::Generated)
        } else {
            None
        };
        match needs {
            Some(needs) => found.push(Ok(needs)),
            None => {
                found.push(Ok(Vec::new()));
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
                        if text.is_some_and(Text::is_kept) {
                            known.note(digest, &named.needs);
                        }
                        let rewriting = text.and_then(|text| text.rewriting.as_ref());
                        if let (Some(text), Some(rewriting)) = (named.rewritten, rewriting) {
                            rewritten.insert((digest, rewriting.host.clone()), text);
                        }
                        diagnostics.append(named.warnings);
                        named.needs
                    });
                }
            }
            Err(interrupted) => diagnostics.append(interrupted),
        }
    }
    known.save(context);
    let mut needs = Vec::new();
    for result in found {
        match result {
            Ok(found) => needs.extend(found),
            Err(errors) => diagnostics.append(errors),
        }
    }
    for step in spec.launch.iter().flatten() {
        if let Step::Run(command) = &step.value {
            for image in kic_manifest::command_images(command) {
                if let Ok(reference) = image.parse() {
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
                    });
                }
            }
        }
    }
    Needs { needs, rewritten }
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
        let rewriting = layer.rewrite().map(|host| Arc::new(Rewriting::new(spec, host)));
        let first = texts.len();
        for item in items {
            let span = &item.span;
            match &item.value {
                ManifestItem::Object { file_name, object } => {
                    texts.push(Text::here(file_name, &kic_manifest::emit(object), span, Kind::Generated));
                }
                ManifestItem::Fetch { fetch, .. } => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    let (name, digest) = (fetch.url.value.clone(), content.digest);
                    let (place, said) = (Place::Stored, span.clone());
                    texts.push(Text { name, place, digest, said, kind: Kind::Written, rewriting: None });
                }
                ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                    let render = render_key(spec, &item.value).and_then(|key| renders.get(&key));
                    texts.extend(render.into_iter().flat_map(|render| of_render(render, span)));
                }
                ManifestItem::File { from, .. } => {
                    let path = spec.locate(from);
                    let mut push = |path: PathBuf, facts: &FileFacts| {
                        let (name, digest) = (path.display().to_string(), facts.content.digest);
                        let (place, said) = (Place::File(path), from.span.clone());
                        texts.push(Text { name, place, digest, said, kind: Kind::Written, rewriting: None });
                    };
                    match files.get(&(path.clone(), Vec::new())) {
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
fn of_render<'a>(render: &'a Render, span: &'a Span) -> impl Iterator<Item = Text> + 'a {
    let files =
        render.facts.files.iter().map(|(name, content)| Text::here(name, content, span, Kind::Generated));
    let dropped = Text::here("hooks that are not applied", &render.dropped, span, Kind::Dropped);
    let description = render.description.iter();
    files
        .chain([dropped])
        .chain(description.map(|(name, content)| Text::here(name, content, span, Kind::Description)))
}

impl Text {
    fn here(name: &str, text: &str, said: &Span, kind: Kind) -> Self {
        let bytes = text.as_bytes().to_vec();
        let digest = Digest::of(&bytes);
        Self {
            name: name.to_owned(),
            place: Place::Here(bytes),
            digest,
            said: said.clone(),
            kind,
            rewriting: None,
        }
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
        let Self { name, said, kind, rewriting, .. } = self;
        let Ok(content) = String::from_utf8(bytes) else {
            return Err(Diagnostic::new(&code::INVALID_YAML, format!("`{name}` is not UTF-8 text"))
                .at(said, "named here")
                .help("save it as UTF-8")
                .into());
        };
        let source = Source::new(name, content);
        let need = |found| need(found, said, *kind);
        if *kind == Kind::Description {
            let images = kic_manifest::images_of_text(&source).0;
            return Ok(Named { needs: images.into_iter().map(need).collect(), ..Named::default() });
        }
        let (objects, errors) = kic_manifest::read(&source);
        let mut warnings = Diagnostics::new();
        if !errors.is_empty() {
            let diagnostic = |error: kic_manifest::YamlError| {
                Diagnostic::new(&code::INVALID_YAML, error.message)
                    .at(&error.span, "here")
                    .at(said, "read because of this")
                    .help(error.help.unwrap_or_else(|| "mend the manifest there".to_owned()))
            };
            warnings.extend(errors.into_iter().map(diagnostic));
            return Err(warnings);
        }
        let images = kic_manifest::images(&objects);
        let Some(rewriting) = rewriting else {
            return Ok(Named { needs: images.into_iter().map(need).collect(), ..Named::default() });
        };
        let (text, left) = rewriting::rewritten(&source, rewriting);
        warnings.extend(left.iter().map(|found| rewriting::left(found, said)));
        let asked = |found: &Found| {
            let stays = left.iter().any(|other| other.span == found.span && other.path == found.path);
            rewriting.name(found).filter(|_| !stays)
        };
        let needs = images.into_iter().map(|found| Need { asked: asked(&found), ..need(found) }).collect();
        let rewritten = (text != source.text()).then(|| text.into());
        Ok(Named { needs, rewritten, warnings })
    }
}

fn need(found: Found, said: &Span, kind: Kind) -> Need {
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
    }
}
