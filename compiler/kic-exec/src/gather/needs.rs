//! The images that manifests, policies and commands name.

use std::collections::BTreeMap;

use kic_base::{Digest, Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, EntryFacts, Need, PathFacts, PathKey};
use kic_manifest::Confidence;
use kic_spec::{Content, ManifestItem, Spec, Step, is_manifest_name, unreadable};

use crate::context::Context;
use crate::fault;

/// The largest manifest that is read, in bytes.
const MANIFEST_LIMIT: u64 = 256 << 20;

/// A text to look through, and where the spec names it.
struct Text {
    name: String,
    bytes: Vec<u8>,
    span: Span,
    is_generated: bool,
}

/// Reads all manifests and policies, in the order of the spec; those that cannot be read give errors, and nothing else.
pub(super) async fn gather(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Vec<Need> {
    let mut needs = Vec::new();
    for text in texts(spec, files, fetches, context, diagnostics) {
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
                    is_generated: true,
                }),
                ManifestItem::Fetch { fetch, .. } => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    match stored(&content.digest, context) {
                        Ok(bytes) => texts.push(Text {
                            name: fetch.url.value.clone(),
                            bytes,
                            span: span.clone(),
                            is_generated: false,
                        }),
                        Err(error) => diagnostics.push(error),
                    }
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
                                    is_generated: false,
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
    let need = |found: kic_manifest::Found| Need {
        reference: found.reference,
        span: found.span,
        said: text.span.clone(),
        is_generated: text.is_generated,
        object: found.object,
        path: found.path,
        confidence: found.confidence,
        reason: found.reason,
    };
    Ok(kic_manifest::images(&objects).into_iter().map(need).collect())
}
