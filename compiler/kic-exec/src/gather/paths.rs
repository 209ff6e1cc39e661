//! What local files and folders hold.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kic_base::{Sha256, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_graph::{ContentFacts, EntryFacts, FileFacts, PathFacts, PathKey};
use kic_spec::{Content, FileItem, ManifestItem, Spec, is_manifest_name, unreadable};

use crate::context::Context;
use crate::stoppable::Stoppable;

/// Walks and hashes every path that the spec names, files in parallel.
pub(super) async fn gather(
    spec: &Spec,
    context: &Context,
) -> Result<BTreeMap<PathKey, PathFacts>, Diagnostics> {
    let wanted = wanted(spec);
    let context = context.clone();
    context.clone().blocking(move || hash_all(wanted, &context)).await
}

/// A path to look at. A folder of manifests is not looked at below its first level.
struct Wanted {
    key: PathKey,
    span: Span,
    deep: bool,
}

fn wanted(spec: &Spec) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for layer in &spec.layers {
        match &layer.content {
            Content::Files(items) => {
                for item in items {
                    if let FileItem::Copy { from, exclude, .. } = &item.value {
                        let globs = exclude.iter().map(|glob| glob.value.clone()).collect();
                        wanted.push(Wanted {
                            key: (spec.locate(from), globs),
                            span: from.span.clone(),
                            deep: true,
                        });
                    }
                }
            }
            Content::Manifests { items, .. } | Content::Policies { items, .. } => {
                for item in items {
                    if let ManifestItem::File { from, .. } = &item.value {
                        let key = (spec.locate(from), Vec::new());
                        wanted.push(Wanted { key, span: from.span.clone(), deep: false });
                    }
                }
            }
            Content::Readiness(_) => {}
        }
    }
    wanted
}

fn hash_all(wanted: Vec<Wanted>, context: &Context) -> Result<BTreeMap<PathKey, PathFacts>, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    // Each file to hash: which wanted path it belongs to, and its path below that; none for the path itself.
    let mut files: Vec<(usize, Option<String>, PathBuf)> = Vec::new();
    let mut facts: Vec<Option<PathFacts>> = Vec::new();
    for (index, one) in wanted.iter().enumerate() {
        let (path, globs) = &one.key;
        facts.push(None);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let mut walk = Walk { globs, deep: one.deep, span: &one.span, found: BTreeMap::new() };
                match walk.folder(path, "", 0) {
                    Ok(_) if !one.deep && !walk.found.keys().any(|name| is_manifest_name(name)) => {
                        let message = format!("`{}` holds no manifest", path.display());
                        diagnostics.push(
                            Diagnostic::new(&code::FILE_NOT_FOUND, message)
                                .at(&one.span, "a folder")
                                .help("manifests are the files right in it that end with `.yaml`, `.yml` or `.json`"),
                        );
                    }
                    Ok(_) => {
                        for (relative, found) in &walk.found {
                            if let Found::File = found {
                                files.push((index, Some(relative.clone()), path.join(relative)));
                            }
                        }
                        let other = |(relative, found): (String, Found)| match found {
                            Found::File => None,
                            Found::Symlink(target) => Some((relative, EntryFacts::Symlink(target))),
                            Found::EmptyFolder => Some((relative, EntryFacts::EmptyFolder)),
                        };
                        facts[index] =
                            Some(PathFacts::Folder(walk.found.into_iter().filter_map(other).collect()));
                    }
                    Err(error) => diagnostics.push(error),
                }
            }
            Ok(metadata) if metadata.is_file() => files.push((index, None, path.clone())),
            Ok(_) => diagnostics.push(unsupported(path, &one.span, "it is neither a file nor a folder")),
            Err(error) => diagnostics.push(unreadable(path, &one.span, &error)),
        }
    }
    let hashed = hash_files(&files, context)?;
    for ((index, relative, path), result) in files.into_iter().zip(hashed) {
        match (result, relative) {
            (Err(error), _) => diagnostics.push(unreadable(&path, &wanted[index].span, &error)),
            (Ok(file), None) => facts[index] = Some(PathFacts::File(file)),
            (Ok(file), Some(relative)) => {
                if let Some(PathFacts::Folder(below)) = &mut facts[index] {
                    below.insert(relative, EntryFacts::File(file));
                }
            }
        }
    }
    let found = wanted.into_iter().zip(facts).filter_map(|(one, facts)| Some((one.key, facts?))).collect();
    diagnostics.or(found).map(|(found, _)| found)
}

/// Hashes files on as many threads as there are jobs; results in the order of the files.
fn hash_files(
    files: &[(usize, Option<String>, PathBuf)],
    context: &Context,
) -> Result<Vec<io::Result<FileFacts>>, Diagnostics> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<io::Result<FileFacts>>>> = files.iter().map(|_| Mutex::new(None)).collect();
    let threads = context.jobs.clamp(1, 16).min(files.len().div_ceil(16).max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, (_, _, path))) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    files.get(index).map(|file| (index, file))
                } {
                    if context.cancel.is_cancelled() {
                        break;
                    }
                    let result = hash_file(path, context);
                    if let Ok(mut place) = results[index].lock() {
                        *place = Some(result);
                    }
                }
            });
        }
    });
    context.go_on()?;
    let missing = || Err(io::Error::other("it was not hashed"));
    Ok(results.into_iter().map(|place| place.into_inner().ok().flatten().unwrap_or_else(missing)).collect())
}

/// The content of a file, and whether its owner may execute it.
fn hash_file(path: &Path, context: &Context) -> io::Result<FileFacts> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut file = Stoppable::new(file, context);
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    let content = ContentFacts { digest: hasher.finish(), size };
    Ok(FileFacts { content, executable: is_executable(&metadata) })
}

#[cfg(unix)]
fn is_executable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &Metadata) -> bool {
    false
}

enum Found {
    File,
    Symlink(String),
    EmptyFolder,
}

struct Walk<'a> {
    globs: &'a [String],
    deep: bool,
    span: &'a Span,
    found: BTreeMap<String, Found>,
}

/// Folders in folders; deeper ones are more likely a mistake than meant.
const DEEPEST: usize = 256;

impl Walk<'_> {
    /// Notes what is in a folder; returns whether anything was.
    fn folder(&mut self, path: &Path, relative: &str, depth: usize) -> Result<bool, Diagnostic> {
        if depth > DEEPEST {
            return Err(unsupported(path, self.span, "it has more than 256 folders in each other"));
        }
        let entries = fs::read_dir(path).map_err(|error| unreadable(path, self.span, &error))?;
        let mut any = false;
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(path, self.span, &error))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(unsupported(&entry.path(), self.span, "its name is not UTF-8"));
            };
            let below = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            if self.is_excluded(&below, name) {
                continue;
            }
            let kind = entry.file_type().map_err(|error| unreadable(&entry.path(), self.span, &error))?;
            if kind.is_dir() {
                if !self.deep {
                    continue;
                }
                if !self.folder(&entry.path(), &below, depth + 1)? {
                    self.found.insert(below, Found::EmptyFolder);
                }
            } else if kind.is_symlink() && self.deep {
                let target = fs::read_link(entry.path())
                    .map_err(|error| unreadable(&entry.path(), self.span, &error))?;
                let Some(target) = target.to_str() else {
                    return Err(unsupported(
                        &entry.path(),
                        self.span,
                        "it leads to a name that is not UTF-8",
                    ));
                };
                self.found.insert(below, Found::Symlink(target.to_owned()));
            } else if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) {
                self.found.insert(below, Found::File);
            } else if self.deep {
                return Err(unsupported(
                    &entry.path(),
                    self.span,
                    "it is neither a file, a folder nor a symbolic link",
                ));
            }
            any = true;
        }
        Ok(any)
    }

    /// A glob with `/` is about the path below the root, one without about names in every folder.
    fn is_excluded(&self, relative: &str, name: &str) -> bool {
        self.globs.iter().any(|glob| {
            let glob = glob.trim_start_matches("./").trim_start_matches('/');
            let (glob, subject) =
                if glob.trim_end_matches('/').contains('/') { (glob, relative) } else { (glob, name) };
            let glob = glob.trim_end_matches('/');
            glob_match::glob_match(glob, subject) || glob.strip_suffix("/**") == Some(subject)
        })
    }
}

fn unsupported(path: &Path, span: &Span, why: &str) -> Diagnostic {
    Diagnostic::new(&code::UNSUPPORTED_FILE, format!("`{}` cannot stand in an image: {why}", path.display()))
        .at(span, "copied here")
        .help("remove it, or leave it out with `exclude`")
}
