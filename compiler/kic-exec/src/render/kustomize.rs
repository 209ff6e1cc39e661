//! Kustomizations, by `kustomize build` or `kubectl kustomize`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_manifest::Yaml;

use super::program::{Program, find_program};
use super::rendered::{Job, Rendered, rendered};
use super::tree::{FilesError, folder_files};
use crate::context::Context;
use crate::sources::Sources;

const HOW_TO_GET: &str = "install kustomize (https://kubectl.docs.kubernetes.io/installation/kustomize) or kubectl, or put the folder that holds one on your `PATH`";

/// The names that a kustomization's own file may have.
const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields that name other kustomizations, or files, and may name what is elsewhere.
const LISTS: [&str; 9] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
];

/// A kustomization with all that it reads.
#[derive(Debug)]
pub(crate) struct Kustomize {
    /// Every file, by its path below the folder that holds all of them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The path of the kustomization's own folder below it.
    pub folder: String,
}

/// The `kustomize` or `kubectl` of the user's.
pub(crate) fn find_kustomize(span: &Span, context: &Context) -> Result<Program, Diagnostic> {
    let names: [(&str, &[&str]); 2] = [("kustomize", &["version"]), ("kubectl", &["version", "--client"])];
    find_program(&names, HOW_TO_GET, span, context)
}

/// Renders a kustomization.
pub(crate) fn render_kustomization(
    kustomize: &Kustomize,
    file_name: &str,
    shown: &str,
    span: &Span,
    program: &Program,
    context: &Context,
) -> Result<Rendered, Diagnostics> {
    let build = if program.name == "kubectl" { "kustomize" } else { "build" };
    let explain = |said: &str| {
        let text = said.trim().trim_start_matches("Error: ").trim_start_matches("error: ");
        Diagnostic::new(&code::KUSTOMIZE_FAILED, format!("`{}` cannot build `{shown}`", program.name))
            .at(span, "this kustomization")
            .note(format!("{}: {text}", program.name))
            .help("only files below the kustomization's folder, and other kustomizations on this machine, can be read")
    };
    let job = Job {
        program,
        arguments: vec![build.to_owned(), kustomize.folder.clone()],
        files: &kustomize.files,
        name: format!("the kustomization `{shown}`"),
        span,
        reads_clock: false,
        split: &|text| Rendered {
            files: vec![(file_name.to_owned(), text.to_owned())],
            dropped: String::new(),
        },
        explain: &explain,
    };
    rendered(&job, context)
}

/// The files of a kustomization and of those that it builds on. One that names what is elsewhere is refused.
pub(crate) fn gather_kustomization(
    folder: &Path,
    shown: &str,
    span: &Span,
    sources: &Sources,
) -> Result<Kustomize, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let unreadable = |error: &std::io::Error| kic_spec::unreadable(folder, span, error);
    // Which folder that is, too, where a link leads to it.
    sources.note_use(folder);
    let root = fs::canonicalize(folder).map_err(|error| unreadable(&error))?;
    if !root.is_dir() {
        return Err(Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{shown}` is no folder"))
            .at(span, "a kustomization is a folder")
            .help("name the folder that holds the `kustomization.yaml`")
            .into());
    }
    // Folders that are read whole; one inside another is read with it.
    let mut waiting = vec![root.clone()];
    let mut looked_at: BTreeSet<PathBuf> = BTreeSet::new();
    let mut trees: BTreeMap<PathBuf, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    while let Some(folder) = waiting.pop() {
        if !looked_at.insert(folder.clone()) {
            continue;
        }
        if !trees.keys().any(|tree| folder.starts_with(tree)) {
            let files = folder_files(&folder, sources).map_err(|error| refused(error, span))?;
            trees.insert(folder.clone(), files);
        }
        let Some((path, text)) = NAMES.iter().find_map(|name| {
            let path = folder.join(name);
            fs::read(&path).ok().map(|bytes| (path, bytes))
        }) else {
            diagnostics.push(no_kustomization(&folder, shown, span));
            continue;
        };
        let Ok(text) = String::from_utf8(text) else {
            diagnostics.push(
                Diagnostic::new(&code::INVALID_YAML, format!("`{}` is not UTF-8 text", path.display()))
                    .at(span, "read because of this")
                    .help("save it as UTF-8"),
            );
            continue;
        };
        for named in named(&Source::new(path.display().to_string(), text)) {
            match elsewhere_or_folder(&folder, named.text(), sources) {
                Named::Elsewhere => diagnostics.push(remote(&named, span)),
                Named::Folder(other) => waiting.push(other),
                Named::File => {}
            }
        }
    }
    let common = trees.keys().fold(root.clone(), |common, tree| {
        let same = |(left, right): &(Component, Component)| left == right;
        common.components().zip(tree.components()).take_while(same).map(|(part, _)| part).collect()
    });
    let below = |path: &Path| {
        let path = path.strip_prefix(&common).unwrap_or(path);
        path.components().filter_map(|part| part.as_os_str().to_str()).collect::<Vec<_>>().join("/")
    };
    let mut files = BTreeMap::new();
    for (tree, own) in &trees {
        files.extend(own.iter().map(|(path, bytes)| (below(&tree.join(path)), bytes.clone())));
    }
    let folder = below(&root);
    let folder = if folder.is_empty() { ".".to_owned() } else { folder };
    diagnostics.or(Kustomize { files, folder }).map(|(kustomize, _)| kustomize)
}

enum Named {
    Elsewhere,
    Folder(PathBuf),
    File,
}

/// What a text in a kustomization names. Kustomize itself takes what is no file for an address.
fn elsewhere_or_folder(folder: &Path, text: &str, sources: &Sources) -> Named {
    let text = text.trim().trim_matches(['"', '\'']);
    if text.contains('\n') {
        // A patch, written out.
        return Named::File;
    }
    let path = folder.join(text);
    match fs::canonicalize(&path) {
        Ok(found) if found.is_dir() => {
            sources.note_use(&path);
            Named::Folder(found)
        }
        Ok(_) => Named::File,
        Err(_) => {
            let is_address = text.contains("://")
                || text.starts_with("git@")
                || text.contains("?ref=")
                || text.contains(".git")
                || ["github.com/", "gitlab.com/", "bitbucket.org/"].iter().any(|host| text.starts_with(host));
            if is_address { Named::Elsewhere } else { Named::File }
        }
    }
}

/// Everything that a kustomization's file names.
fn named(source: &Source) -> Vec<Span> {
    // What is wrong with the file, the program says.
    let Some(root) = kic_manifest::documents(source).0.into_iter().next() else { return Vec::new() };
    let lists = LISTS.iter().filter_map(|name| root.get(name)).flat_map(Yaml::items);
    let openapi = root.at(&["openapi", "path"]).into_iter();
    let charts =
        root.get("helmCharts").into_iter().flat_map(Yaml::items).filter_map(|chart| chart.get("repo"));
    lists
        .chain(openapi)
        .chain(charts)
        .filter(|item| item.as_str().is_some())
        .map(|item| item.span.clone())
        .collect()
}

fn no_kustomization(folder: &Path, shown: &str, span: &Span) -> Diagnostic {
    Diagnostic::new(&code::FILE_NOT_FOUND, format!("`{}` holds no `kustomization.yaml`", folder.display()))
        .at(span, format!("`{shown}` needs one"))
        .help("name the folder that holds it; a folder of plain manifests is taken in with `file`")
}

fn remote(named: &Span, span: &Span) -> Diagnostic {
    Diagnostic::new(&code::REMOTE_RESOURCE, format!("the kustomization fetches `{}`", named.text()))
        .at(named, "this is not on this machine")
        .at(span, "read because of this")
        .help("take it in with `fetch`, which pins it in the lock, or keep a copy beside the kustomization")
}

pub(crate) fn refused(error: FilesError, span: &Span) -> Diagnostic {
    match error {
        FilesError::Unreadable(path, error) => kic_spec::unreadable(&path, span, &error),
        FilesError::Refused(path, why) => Diagnostic::new(
            &code::UNSUPPORTED_FILE,
            format!("`{}` cannot be taken in: {why}", path.display()),
        )
        .at(span, "read because of this")
        .help("remove it, or keep it in another folder"),
    }
}
