//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, EntryFacts, Need, PathFacts, PathKey, render_key};
use kic_manifest::{Confidence, Found};
use kic_spec::{Content, ManifestItem, Spec, Step, is_manifest_name, unreadable};

use super::renders::Render;
use crate::context::Context;
use crate::fault;

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 256 << 20;

/// A text to look through, and where the spec names it.
struct Text {
    name: String,
    bytes: Vec<u8>,
    span: Span,
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

/// Reads all manifests and policies, in the order of the spec; those that cannot be read give errors, and nothing else.
pub(super) async fn gather(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    renders: &BTreeMap<Digest, Render>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Vec<Need> {
    let mut needs = Vec::new();
    for text in texts(spec, files, fetches, renders, context, diagnostics) {
        if let Err(interrupted) = context.go_on() {
            diagnostics.extend(Diagnostics::from(interrupted));
            break;
        }
        match context.blocking(move || in_text(text)).await {
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
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Vec<Text> {
    let mut texts = Vec::new();
    for layer in &spec.layers {
        let (Content::Manifests { items, .. } | Content::Policies { items, .. }) = &layer.content else {
            continue;
        };
        for item in items {
            let span = &item.span;
            match &item.value {
                ManifestItem::Object { file_name, object } => texts.push(Text {
                    name: file_name.clone(),
                    bytes: kic_manifest::emit(object).into_bytes(),
                    span: span.clone(),
                    kind: Kind::Generated,
                }),
                ManifestItem::Fetch { fetch, .. } => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    match stored(&content.digest, context) {
                        Ok(bytes) => texts.push(Text {
                            name: fetch.url.value.clone(),
                            bytes,
                            span: span.clone(),
                            kind: Kind::Written,
                        }),
                        Err(error) => diagnostics.push(error),
                    }
                }
                ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                    let render = render_key(spec, &item.value).and_then(|key| renders.get(&key));
                    texts.extend(render.into_iter().flat_map(|render| of_render(render, span)));
                }
                ManifestItem::File { from, .. } => {
                    let path = spec.locate(from);
                    let paths = match files.get(&(path.clone(), Vec::new())) {
                        None => Vec::new(),
                        Some(PathFacts::File(_)) => vec![path],
                        Some(PathFacts::Folder(below)) => below
                            .iter()
                            .filter(|(name, entry)| {
                                is_manifest_name(name) && matches!(entry, EntryFacts::File(_))
                            })
                            .map(|(name, _)| path.join(name))
                            .collect(),
                    };
                    for path in paths {
                        match std::fs::read(&path) {
                            Ok(bytes) => {
                                texts.push(Text {
                                    name: path.display().to_string(),
                                    bytes,
                                    span: from.span.clone(),
                                    kind: Kind::Written,
                                });
                            }
                            Err(error) => diagnostics.push(unreadable(&path, &from.span, &error)),
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
    let text = |name: &str, text: &str, kind: Kind| Text {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
        span: span.clone(),
        kind,
    };
    let files = render.facts.files.iter().map(move |(name, content)| text(name, content, Kind::Generated));
    let dropped = text("hooks that are not applied", &render.dropped, Kind::Dropped);
    let description = render.description.iter();
    files
        .chain([dropped])
        .chain(description.map(move |(name, content)| text(name, content, Kind::Description)))
}

fn stored(digest: &Digest, context: &Context) -> Result<Vec<u8>, Diagnostic> {
    context.store.read(digest, MANIFEST_LIMIT).map_err(|error| fault::store(&error))
}

/// The images that one text names.
fn in_text(text: Text) -> Result<Vec<Need>, Diagnostics> {
    let Ok(content) = String::from_utf8(text.bytes) else {
        return Err(Diagnostic::new(&code::INVALID_YAML, format!("`{}` is not UTF-8 text", text.name))
            .at(&text.span, "named here")
            .help("save it as UTF-8")
            .into());
    };
    let source = Source::new(text.name, content);
    if text.kind == Kind::Description {
        return Ok(needed(kic_manifest::images_of_text(&source).0, &text.span, text.kind));
    }
    let (objects, errors) = kic_manifest::read(&source);
    if !errors.is_empty() {
        let diagnostic = |error: kic_manifest::YamlError| {
            Diagnostic::new(&code::INVALID_YAML, error.message)
                .at(&error.span, "here")
                .at(&text.span, "read because of this")
                .help(error.help.unwrap_or_else(|| "mend the manifest there".to_owned()))
        };
        let mut diagnostics = Diagnostics::new();
        diagnostics.extend(errors.into_iter().map(diagnostic));
        return Err(diagnostics);
    }
    Ok(needed(kic_manifest::images(&objects), &text.span, text.kind))
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
