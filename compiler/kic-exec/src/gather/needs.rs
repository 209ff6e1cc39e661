//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, EntryFacts, FileFacts, Need, PathFacts, PathKey, render_key};
use kic_manifest::{Confidence, Found};
use kic_spec::{Content, ManifestItem, Spec, Step, is_manifest_name, unreadable};

use super::known_needs::KnownNeeds;
use super::renders::Render;
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
) -> Vec<Need> {
    let mut known = KnownNeeds::open(spec, context);
    let mut found: Vec<Result<Vec<Need>, Diagnostics>> = Vec::new();
    let mut unknown: Vec<(usize, Text)> = Vec::new();
    for (index, text) in texts(spec, files, fetches, renders).into_iter().enumerate() {
        let needs = match text.kind {
            Kind::Written | Kind::Generated => {
                known.find(&text.digest, &text.source(context), &text.said, text.kind == Kind::Generated)
            }
            Kind::Dropped | Kind::Description => None,
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
            let look_through =
                |(): &mut (), (index, text): &(usize, Text)| (*index, text.kind, text.needs(&inner));
            let results = parallel(&unknown, &inner, || (), look_through);
            inner.go_on()?;
            Ok(results)
        });
        match looked_through.await {
            Ok(results) => {
                for (index, kind, result) in results.into_iter().flatten() {
                    found[index] = result.map(|(digest, needs)| {
                        if matches!(kind, Kind::Written | Kind::Generated) {
                            known.note(digest, &needs);
                        }
                        needs
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
                        confidence: Confidence::Certain,
                        reason: "an image that a step of the launch runs or pulls".to_owned(),
                    });
                }
            }
        }
    }
    needs
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
                    texts.push(Text { name, place, digest, said, kind: Kind::Written });
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
                        texts.push(Text { name, place, digest, said, kind: Kind::Written });
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
        Self { name: name.to_owned(), place: Place::Here(bytes), digest, said: said.clone(), kind }
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
    fn needs(&self, context: &Context) -> Result<(Digest, Vec<Need>), Diagnostics> {
        let bytes = match &self.place {
            Place::Here(bytes) => bytes.clone(),
            Place::File(path) => std::fs::read(path).map_err(|error| unreadable(path, &self.said, &error))?,
            Place::Stored => {
                context.store.read(&self.digest, MANIFEST_LIMIT).map_err(|error| fault::store(&error))?
            }
        };
        Ok((Digest::of(&bytes), in_text(&self.name, bytes, &self.said, self.kind)?))
    }
}

/// The images that one text names.
fn in_text(name: &str, bytes: Vec<u8>, said: &Span, kind: Kind) -> Result<Vec<Need>, Diagnostics> {
    let Ok(content) = String::from_utf8(bytes) else {
        return Err(Diagnostic::new(&code::INVALID_YAML, format!("`{name}` is not UTF-8 text"))
            .at(said, "named here")
            .help("save it as UTF-8")
            .into());
    };
    let source = Source::new(name, content);
    if kind == Kind::Description {
        return Ok(needed(kic_manifest::images_of_text(&source).0, said, kind));
    }
    let (objects, errors) = kic_manifest::read(&source);
    if !errors.is_empty() {
        let diagnostic = |error: kic_manifest::YamlError| {
            Diagnostic::new(&code::INVALID_YAML, error.message)
                .at(&error.span, "here")
                .at(said, "read because of this")
                .help(error.help.unwrap_or_else(|| "mend the manifest there".to_owned()))
        };
        let mut diagnostics = Diagnostics::new();
        diagnostics.extend(errors.into_iter().map(diagnostic));
        return Err(diagnostics);
    }
    Ok(needed(kic_manifest::images(&objects), said, kind))
}

fn needed(found: Vec<Found>, said: &Span, kind: Kind) -> Vec<Need> {
    let need = |found: Found| {
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
            confidence,
            reason,
        }
    };
    found.into_iter().map(need).collect()
}
