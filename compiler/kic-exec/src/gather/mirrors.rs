//! The files of mirrors among the files of the spec.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kic_base::{Source, Span};
use kic_diag::Diagnostics;
use kic_graph::{ContentFacts, EntryFacts, PathFacts, PathKey};
use kic_redirect::{Mirror, Problem};
use kic_spec::{Content, FileItem, Spec, unreadable};

use crate::context::Context;
use crate::fault;

/// The largest file of mirrors that is read, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// Reads every file of mirrors; those that cannot be judged are told apart.
pub(super) fn gather(
    spec: &Spec,
    files: &BTreeMap<PathKey, PathFacts>,
    fetches: &BTreeMap<String, ContentFacts>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> (Vec<Mirror>, Vec<(Problem, Span)>) {
    let (mut mirrors, mut problems) = (Vec::new(), Vec::new());
    let mut read = |to: &str, name: String, text: Vec<u8>, said: &Span| {
        let text = String::from_utf8_lossy(&text).into_owned();
        match kic_redirect::mirrors(to, &Source::new(name, text)) {
            Ok(found) => mirrors.extend(found),
            Err(problem) => problems.push((problem, said.clone())),
        }
    };
    for layer in &spec.layers {
        let Content::Files(items) = &layer.content else { continue };
        for item in items {
            match &item.value {
                FileItem::Text { to, text, .. } if is_of_mirrors(to) => {
                    read(to, to.clone(), text.clone().into_bytes(), &item.span);
                }
                FileItem::Fetch { fetch, to, .. } if is_of_mirrors(to) => {
                    let Some(content) = fetches.get(&fetch.url.value) else { continue };
                    match context.store.read(&content.digest, FILE_LIMIT) {
                        Ok(bytes) => read(to, fetch.url.value.clone(), bytes, &item.span),
                        Err(error) => diagnostics.push(fault::store(&error)),
                    }
                }
                FileItem::Copy { from, to, exclude, .. } => {
                    let path = spec.locate(from);
                    let Some(facts) = files.get(&PathKey::copied(path.clone(), exclude)) else { continue };
                    for (path, to) in copied(&path, facts, to) {
                        match bounded(&path) {
                            Ok(bytes) => read(&to, path.display().to_string(), bytes, &item.span),
                            Err(error) => diagnostics.push(unreadable(&path, &from.span, &error)),
                        }
                    }
                }
                _ => {}
            }
        }
    }
    (mirrors, problems)
}

fn is_of_mirrors(to: &str) -> bool {
    kic_redirect::mirror_file(to).is_some()
}

/// Each file of mirrors that a `copy` takes, and where it goes.
fn copied(path: &Path, facts: &PathFacts, to: &str) -> Vec<(PathBuf, String)> {
    match facts {
        PathFacts::File(_) => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let to = if to.is_empty() || to.ends_with('/') { format!("{to}{name}") } else { to.to_owned() };
            if is_of_mirrors(&to) { vec![(path.to_owned(), to)] } else { Vec::new() }
        }
        PathFacts::Folder(below) => {
            let mut found = Vec::new();
            // One text for all names: there may be very many.
            let mut whole = to.trim_end_matches('/').to_owned();
            if !whole.is_empty() {
                whole.push('/');
            }
            let folder = whole.len();
            for (name, _) in below.iter().filter(|(_, entry)| matches!(entry, EntryFacts::File(_))) {
                whole.truncate(folder);
                whole.push_str(name);
                if is_of_mirrors(&whole) {
                    found.push((path.join(name), whole.clone()));
                }
            }
            found
        }
    }
}

/// The bytes of a file, up to the limit.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
