//! What stands in a layer of files, manifests, policies or readiness checks.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kic_base::{Digest, Span, Spanned};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_spec::readiness::Check;
use kic_spec::{Content, Fetch, FileItem, Layer, ManifestItem, Spec, is_manifest_name, url_file_name};

use crate::derivation::{Bytes, TreeEntryKind};
use crate::inputs::{ContentFacts, EntryFacts, FileFacts, Inputs, PathFacts, PathKey};
use crate::readiness_script::{readiness_json, readiness_script};
use crate::rendering::{ChartPart, render_key};

/// An entry, and the item of the spec that writes it.
#[derive(Debug)]
pub(crate) struct PendingEntry {
    pub kind: TreeEntryKind,
    /// For a download: the URL, what it gives, and the permission bits; `kind` means nothing then.
    /// Few have one: the others are that much smaller.
    pub fetch: Option<Box<(String, ContentFacts, u32)>>,
    pub span: Span,
    /// Whether it came with a folder, so that an item of its own may replace it.
    from_folder: bool,
}

/// Paths that kic writes itself.
const RESERVED: [&str; 2] = ["kic/", "registry/docker/registry/"];

/// The entries of a layer, sorted by path. Inputs that are not there have been reported by whoever gathered them.
pub(crate) fn layer_entries(
    spec: &Spec,
    layer: &Layer,
    inputs: &Inputs,
    diagnostics: &mut Diagnostics,
) -> Vec<(String, PendingEntry)> {
    let mut entries = Entries { folder: Vec::new(), others: BTreeMap::new(), diagnostics };
    match &layer.content {
        Content::Files(items) => {
            for item in items {
                entries.file_item(spec, item, inputs);
            }
        }
        Content::Manifests { items, .. } | Content::Policies { items, .. } => {
            let folder = format!("{}/{}", layer.kind().name(), layer.name.value);
            for item in items {
                entries.manifest_item(spec, (&folder, layer.rewrite()), item, inputs);
            }
        }
        Content::Readiness(checks) => {
            let name = &layer.name.value;
            let checks: Vec<Check> = checks.iter().map(|check| check.value.clone()).collect();
            entries.text(
                format!("readiness/{name}.json"),
                0o644,
                &readiness_json(name, &checks),
                &layer.span,
            );
            let script = readiness_script(name, &checks);
            entries.text(format!("scripts/wait-{name}.sh"), 0o755, script.as_bytes(), &layer.span);
        }
    }
    let Entries { folder: mut all, others, diagnostics } = entries;
    if !others.is_empty() {
        all.extend(others);
        // Two runs that are sorted: they are merged.
        all.sort_by(|left, right| left.0.cmp(&right.0));
    }
    check_parents(&all, diagnostics);
    all
}

/// The entry of that path.
fn find<T>(entries: &[(String, T)], path: &str) -> Option<usize> {
    entries.binary_search_by(|(known, _)| known.as_str().cmp(path)).ok()
}

/// The place in the spec's order of each file name of a manifests layer, and the namespace of its objects that name
/// none, where it is not that of the layer.
pub(crate) fn manifest_order(
    spec: &Spec,
    layer: &Layer,
) -> BTreeMap<String, ((usize, usize), Option<String>)> {
    let (Content::Manifests { items, .. } | Content::Policies { items, .. }) = &layer.content else {
        return BTreeMap::new();
    };
    let name = |item: &ManifestItem| match item {
        ManifestItem::File { from, name } => match name {
            Some(name) => Some(name.value.clone()),
            None => spec.locate(from).file_name().and_then(|name| name.to_str()).map(str::to_owned),
        },
        ManifestItem::Fetch { fetch, name } => match name {
            Some(name) => Some(name.value.clone()),
            None => url_file_name(&fetch.url.value).map(str::to_owned),
        },
        ManifestItem::Object { file_name, .. } => Some(file_name.clone()),
        ManifestItem::Kustomize(kustomization) => Some(kustomization.file_name.clone()),
        ManifestItem::Chart(_) => None,
    };
    let mut order = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if let ManifestItem::Chart(chart) = &item.value {
            for (place, part) in ChartPart::ALL.into_iter().enumerate() {
                let namespace = Some(chart.namespace.clone());
                order.insert(part.file_name(&chart.release), ((index, place), namespace));
            }
        }
        order.extend(name(&item.value).map(|name| (name, ((index, 0), None))));
    }
    order
}

struct Entries<'a> {
    /// What the folder holds that came first, sorted by path: most layers are one folder, which may be large.
    folder: Vec<(String, PendingEntry)>,
    /// All else.
    others: BTreeMap<String, PendingEntry>,
    diagnostics: &'a mut Diagnostics,
}

impl Entries<'_> {
    fn insert(&mut self, path: String, entry: PendingEntry) {
        if let Some(reserved) = RESERVED.iter().find(|reserved| path.starts_with(**reserved)) {
            self.diagnostics.push(
                Diagnostic::new(
                    &code::RESERVED_PATH,
                    format!("`/{path}` would stand where kic writes its own files"),
                )
                .at(&entry.span, "")
                .help(format!("choose a path that is not below `/{reserved}`")),
            );
            return;
        }
        let first = match find(&self.folder, &path) {
            Some(place) => self.folder.get_mut(place).map(|(_, first)| first),
            None => self.others.get_mut(&path),
        };
        let Some(first) = first else {
            self.others.insert(path, entry);
            return;
        };
        if first.from_folder {
            *first = entry;
            return;
        }
        if entry.from_folder {
            return;
        }
        let diagnostic =
            Diagnostic::new(&code::DUPLICATE_PATH, format!("two parts of the layer write `/{path}`"));
        self.diagnostics.push(if first.span == entry.span {
            diagnostic
                .at(
                    &entry.span,
                    "this writes it more than once: its module is used again, or `for` repeats it",
                )
                .help("make the path or name depend on a parameter, or on the value of the `for`")
        } else {
            diagnostic
                .at(&entry.span, "here again")
                .at(&first.span, "first here")
                .help("leave one out, or give it another path or name")
        });
    }

    fn text(&mut self, path: String, mode: u32, bytes: &[u8], span: &Span) {
        let kind = inline(mode, bytes);
        self.insert(path, PendingEntry { kind, fetch: None, span: span.clone(), from_folder: false });
    }

    fn local(&mut self, path: String, mode: u32, facts: FileFacts, bytes: Bytes, span: &Span) {
        let kind = TreeEntryKind::File { mode, content: facts.content, bytes };
        self.insert(path, PendingEntry { kind, fetch: None, span: span.clone(), from_folder: false });
    }

    fn fetch(&mut self, path: String, mode: u32, fetch: &Fetch, inputs: &Inputs, span: &Span) {
        let Some(content) = inputs.fetches.get(&fetch.url.value) else { return };
        let fetch = Some(Box::new((fetch.url.value.clone(), *content, mode)));
        let kind = TreeEntryKind::Folder { mode };
        self.insert(path, PendingEntry { kind, fetch, span: span.clone(), from_folder: false });
    }

    fn file_item(&mut self, spec: &Spec, item: &Spanned<FileItem>, inputs: &Inputs) {
        match &item.value {
            FileItem::Text { to, text, mode } => self.text(to.clone(), *mode, text.as_bytes(), &item.span),
            FileItem::Fetch { fetch, to, mode } => self.fetch(to.clone(), *mode, fetch, inputs, &item.span),
            FileItem::Copy { from, to, mode, exclude } => {
                let located = spec.locate(from);
                let mode_of =
                    |facts: &FileFacts| mode.unwrap_or(if facts.executable { 0o755 } else { 0o644 });
                match inputs.paths.get(&PathKey::copied(located.clone(), exclude)) {
                    None => {}
                    Some(PathFacts::File(facts)) => {
                        let mut path = to.clone();
                        if path.is_empty() || path.ends_with('/') {
                            let name = located.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                            path.push_str(name);
                        }
                        self.local(path, mode_of(facts), *facts, Bytes::Local(located), &item.span);
                    }
                    Some(PathFacts::Folder(below)) => {
                        let prefix = to.trim_end_matches('/');
                        let folder: Arc<Path> = located.into();
                        let pending = |(relative, entry): &(String, EntryFacts)| {
                            let path = if prefix.is_empty() {
                                relative.clone()
                            } else {
                                [prefix, "/", relative].concat()
                            };
                            let from = path.len() - relative.len();
                            let kind = match entry {
                                EntryFacts::File(facts) => TreeEntryKind::File {
                                    mode: mode_of(facts),
                                    content: facts.content,
                                    bytes: Bytes::Below(Arc::clone(&folder), from),
                                },
                                EntryFacts::Symlink(target) => TreeEntryKind::Symlink(target.clone()),
                                EntryFacts::EmptyFolder => TreeEntryKind::Folder { mode: 0o755 },
                            };
                            let span = item.span.clone();
                            (path, PendingEntry { kind, fetch: None, span, from_folder: true })
                        };
                        self.folder(below.iter().map(pending));
                    }
                }
            }
        }
    }

    /// What a folder holds, sorted by path.
    fn folder(&mut self, entries: impl Iterator<Item = (String, PendingEntry)>) {
        if !self.folder.is_empty() || !self.others.is_empty() {
            return entries.for_each(|(path, entry)| self.insert(path, entry));
        }
        self.folder = entries.collect();
        debug_assert!(self.folder.is_sorted_by(|left, right| left.0 < right.0));
        for reserved in RESERVED {
            let begin = self.folder.partition_point(|(path, _)| path.as_str() < reserved);
            let below =
                self.folder[begin..].iter().take_while(|(path, _)| path.starts_with(reserved)).count();
            let below: Vec<_> = self.folder.drain(begin..begin + below).collect();
            below.into_iter().for_each(|(path, entry)| self.insert(path, entry));
        }
    }

    /// An item of a manifests layer: the folder that its files go to, and the registry that their images are named
    /// after.
    fn manifest_item(
        &mut self,
        spec: &Spec,
        (folder, rewrite): (&str, Option<&str>),
        item: &Spanned<ManifestItem>,
        inputs: &Inputs,
    ) {
        let rewritten =
            |digest: &Digest| rewrite.and_then(|host| inputs.rewritten.get(&(*digest, host.to_owned())));
        match &item.value {
            ManifestItem::Object { file_name, object } => {
                let text = kic_manifest::emit(object);
                let text = rewritten(&Digest::of(text.as_bytes())).map_or(text.as_str(), AsRef::as_ref);
                self.text(format!("{folder}/{file_name}"), 0o644, text.as_bytes(), &item.span);
            }
            ManifestItem::Chart(_) | ManifestItem::Kustomize(_) => {
                let facts = render_key(spec, &item.value).and_then(|key| inputs.renders.get(&key));
                for (name, text) in facts.iter().flat_map(|facts| &facts.files) {
                    let text = rewritten(&Digest::of(text.as_bytes())).unwrap_or(text);
                    self.text(format!("{folder}/{name}"), 0o644, text.as_bytes(), &item.span);
                }
            }
            ManifestItem::Fetch { fetch, name } => {
                let name =
                    name.as_ref().map(|name| name.value.as_str()).or_else(|| url_file_name(&fetch.url.value));
                let path = format!("{folder}/{}", name.unwrap_or("fetched.yaml"));
                match inputs.fetches.get(&fetch.url.value).and_then(|content| rewritten(&content.digest)) {
                    Some(text) => self.text(path, 0o644, text.as_bytes(), &item.span),
                    None => self.fetch(path, 0o644, fetch, inputs, &item.span),
                }
            }
            ManifestItem::File { from, name } => {
                let located = spec.locate(from);
                match inputs.paths.get(&PathKey::manifests(located.clone())) {
                    None => {}
                    Some(PathFacts::File(facts)) => {
                        let own = located.file_name().and_then(|name| name.to_str());
                        let name =
                            name.as_ref().map(|name| name.value.as_str()).or(own).unwrap_or("manifest.yaml");
                        if !is_manifest_name(name) {
                            self.diagnostics.push(
                                Diagnostic::new(
                                    &code::INVALID_PATH,
                                    format!("`{name}` is no name of a manifest"),
                                )
                                .at(&from.span, "a manifest's name ends with `.yaml`, `.yml` or `.json`")
                                .help("name it with `as=\"NAME.yaml\"` if it is one"),
                            );
                            return;
                        }
                        let path = format!("{folder}/{name}");
                        let text = rewritten(&facts.content.digest);
                        self.insert(path, manifest(facts, Bytes::Local(located), text, &item.span));
                    }
                    Some(PathFacts::Folder(below)) => {
                        let located: Arc<Path> = located.into();
                        // As `kubectl apply -f FOLDER` does: the manifests in it, not those further down.
                        let pending = |(relative, entry): &(String, EntryFacts)| {
                            let EntryFacts::File(facts) = entry else { return None };
                            if !is_manifest_name(relative) {
                                return None;
                            }
                            let path = [folder, "/", relative].concat();
                            let bytes = Bytes::Below(Arc::clone(&located), path.len() - relative.len());
                            let text = rewritten(&facts.content.digest);
                            Some((path, manifest(facts, bytes, text, &item.span)))
                        };
                        self.folder(below.iter().filter_map(pending));
                    }
                }
            }
        }
    }
}

/// A file with those bytes.
fn inline(mode: u32, bytes: &[u8]) -> TreeEntryKind {
    let content = ContentFacts { digest: Digest::of(bytes), size: bytes.len() as u64 };
    TreeEntryKind::File { mode, content, bytes: Bytes::Inline(bytes.into()) }
}

/// A manifest of this machine, with images named anew or as it is.
fn manifest(facts: &FileFacts, bytes: Bytes, rewritten: Option<&Arc<str>>, span: &Span) -> PendingEntry {
    let kind = match rewritten {
        None => TreeEntryKind::File { mode: 0o644, content: facts.content, bytes },
        Some(text) => inline(0o644, text.as_bytes()),
    };
    PendingEntry { kind, fetch: None, span: span.clone(), from_folder: false }
}

/// A path cannot be a file and hold others at once.
fn check_parents(entries: &[(String, PendingEntry)], diagnostics: &mut Diagnostics) {
    let mut wrong = Vec::new();
    // Files come folder by folder: what was found out of one holds for its neighbours.
    let mut good = "";
    for (path, entry) in entries {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder == good {
            continue;
        }
        let before = wrong.len();
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for parent in parents {
            if let Some((_, file)) = find(entries, parent).and_then(|place| entries.get(place))
                && (file.fetch.is_some() || !matches!(file.kind, TreeEntryKind::Folder { .. }))
            {
                wrong.push(
                    Diagnostic::new(
                        &code::DUPLICATE_PATH,
                        format!("`/{parent}` would be a file, and the folder of `/{path}`"),
                    )
                    .at(&entry.span, "this needs the folder")
                    .at(&file.span, "this writes the file")
                    .help("give one of them another path"),
                );
            }
        }
        if wrong.len() == before {
            good = folder;
        }
    }
    diagnostics.extend(wrong.into_iter().take(20));
}
