//! What local files and folders hold.

use std::collections::BTreeMap;
use std::path::Path;

use kic_base::Span;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{PathFacts, PathKey};
use kic_spec::{Content, FileItem, ManifestItem, Spec, is_manifest_name, unreadable};

use crate::context::Context;
use crate::sources::{LookError, Looked, Place};

/// Looks at every path that the spec names.
pub(super) async fn gather(
    spec: &Spec,
    context: &Context,
) -> Result<BTreeMap<PathKey, PathFacts>, Diagnostics> {
    let wanted = wanted(spec);
    let place = |key: &PathKey| Place { path: key.path.clone(), globs: key.exclude.clone(), deep: key.deep };
    let places: Vec<Place> = wanted.iter().map(|one| place(&one.key)).collect();
    let looked = if context.sources.has_looked(&places) {
        context.sources.look(&places, context)
    } else {
        let inner = context.clone();
        context.blocking(move || Ok(inner.sources.look(&places, &inner))).await?
    };
    context.go_on()?;
    found(wanted, looked)
}

/// A path to look at. A folder of manifests is not looked at below its first level.
struct Wanted {
    key: PathKey,
    span: Span,
}

fn wanted(spec: &Spec) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for layer in &spec.layers {
        match &layer.content {
            Content::Files(items) => {
                for item in items {
                    if let FileItem::Copy { from, exclude, .. } = &item.value {
                        let key = PathKey::copied(spec.locate(from), exclude);
                        wanted.push(Wanted { key, span: from.span.clone() });
                    }
                }
            }
            Content::Manifests { items, .. } | Content::Policies { items, .. } => {
                for item in items {
                    if let ManifestItem::File { from, .. } = &item.value {
                        let key = PathKey::manifests(spec.locate(from));
                        wanted.push(Wanted { key, span: from.span.clone() });
                    }
                }
            }
            Content::Readiness(_) => {}
        }
    }
    wanted
}

/// What the places hold, and what is wrong with them.
fn found(wanted: Vec<Wanted>, looked: Vec<Looked>) -> Result<BTreeMap<PathKey, PathFacts>, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let mut found = BTreeMap::new();
    for (Wanted { key, span }, looked) in wanted.into_iter().zip(looked) {
        match looked {
            Ok(PathFacts::Folder(below))
                if !key.deep && !below.iter().any(|(name, _)| is_manifest_name(name)) =>
            {
                let message = format!("`{}` holds no manifest", key.path.display());
                diagnostics.push(
                    Diagnostic::new(&code::FILE_NOT_FOUND, message)
                        .at(&span, "a folder")
                        .help("manifests are the files right in it that end with `.yaml`, `.yml` or `.json`"),
                );
            }
            Ok(facts) => {
                found.insert(key, facts);
            }
            Err(errors) => diagnostics.extend(errors.into_iter().map(|error| match error {
                LookError::Unreadable(path, error) => unreadable(&path, &span, &error),
                LookError::Unsupported(path, why) => unsupported(&path, &span, why),
            })),
        }
    }
    diagnostics.or(found).map(|(found, _)| found)
}

fn unsupported(path: &Path, span: &Span, why: &str) -> Diagnostic {
    Diagnostic::new(&code::UNSUPPORTED_FILE, format!("`{}` cannot stand in an image: {why}", path.display()))
        .at(span, "copied here")
        .help("remove it, or leave it out with `exclude`")
}
