//! Discovery on whole manifests of real projects that are not in the repository, held against lists that were made
//! by reading, `tests/real/images`, and against a second way of looking: every line `image: REF`.
//!
//! The manifests lie in the Go modules that the peer `kyverno` is built from: `tests/peers/install` brought them, at the
//! versions that its `go.sum` pins. Nothing is downloaded here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::{ImageReference, Source};
use kic_manifest::{Found, images, images_of_text, read};

use crate::support::peers::peer;
use crate::support::root;

/// The folders of the modules, by their names; `None`, with a loud word, where they are not there.
fn modules() -> Option<BTreeMap<String, PathBuf>> {
    peer("kyverno")?;
    let go = peer("go")?;
    let output = Command::new(go)
        .args(["list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}{{end}}"])
        .arg("github.com/kyverno/kyverno/cmd/cli/kubectl-kyverno")
        .current_dir(root().join("tests/peers/kyverno"))
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=readonly")
        .output()
        .unwrap();
    if !output.status.success() {
        let message = format!(
            "the modules of the peer `kyverno` are not in Go's cache: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(std::env::var("KIC_REQUIRE_PEERS").as_deref() != Ok("1"), "{message}");
        eprintln!("SKIPPED: {message}");
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let named = text.lines().filter_map(|line| line.split_once('\t'));
    Some(named.map(|(name, folder)| (name.to_owned(), PathBuf::from(folder))).collect())
}

/// What discovery finds in a file; `None` where it is no YAML, such as a template.
fn finds(path: &Path) -> Option<Vec<Found>> {
    let text = fs::read_to_string(path).ok()?;
    let source = Source::new(path.display().to_string(), text);
    let (objects, errors) = read(&source);
    let (finds, errors) =
        if objects.is_empty() { images_of_text(&source) } else { (images(&objects), errors) };
    errors.is_empty().then_some(finds)
}

#[test]
fn whole_manifests_name_exactly_what_a_person_reads_in_them() {
    let Some(modules) = modules() else { return };
    let list = fs::read_to_string(root().join("tests/real/images")).unwrap();
    let mut expected: Vec<(String, BTreeSet<(String, String)>)> = Vec::new();
    for line in list.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let (first, second) = line.trim().split_once(' ').unwrap();
        if line.starts_with(' ') {
            let reference: ImageReference = second.parse().unwrap();
            let (_, of_file) = expected.last_mut().unwrap();
            of_file.insert((first.to_owned(), reference.to_string()));
        } else {
            let folder = modules.get(first).unwrap_or_else(|| panic!("the peer has no module {first}"));
            expected.push((folder.join(second).display().to_string(), BTreeSet::new()));
        }
    }
    let mut wrong = String::new();
    for (path, expected) in &expected {
        let found: BTreeSet<(String, String)> = finds(Path::new(path))
            .unwrap_or_else(|| panic!("{path} cannot be read"))
            .iter()
            .map(|find| (find.confidence.name().to_owned(), find.reference.to_string()))
            .collect();
        for (confidence, reference) in expected.difference(&found) {
            wrong.push_str(&format!("{path}: missed: {confidence} {reference}\n"));
        }
        for (confidence, reference) in found.difference(expected) {
            wrong.push_str(&format!("{path}: found: {confidence} {reference}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(expected.len() >= 20);
}

#[test]
fn no_line_that_names_an_image_is_missed() {
    let Some(modules) = modules() else { return };
    let mut paths = Vec::new();
    for folder in modules.values() {
        yaml_files(folder, &mut paths);
    }
    let (mut lines, mut unreadable, mut projects) = (0, 0, BTreeSet::new());
    let mut missed = Vec::new();
    for path in &paths {
        let Ok(text) = fs::read_to_string(path) else { continue };
        let named: Vec<ImageReference> = text.lines().filter_map(named_in).collect();
        if named.is_empty() {
            continue;
        }
        let Some(finds) = finds(path) else {
            unreadable += 1;
            continue;
        };
        let found: BTreeSet<&ImageReference> = finds.iter().map(|find| &find.reference).collect();
        let all = named.iter().filter(|reference| !found.contains(reference));
        missed.extend(all.map(|reference| format!("{}: {reference}", path.display())));
        lines += named.len();
        projects.insert(modules.iter().find(|(_, folder)| path.starts_with(folder)).map(|(name, _)| name));
    }
    eprintln!("{lines} lines of {} projects name an image; {unreadable} files are no YAML", projects.len());
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    assert!(lines > 3_000 && projects.len() > 10, "too few: {lines} lines of {} projects", projects.len());
    assert!(unreadable < 20, "{unreadable} files cannot be read");
}

/// The image of a line `image: REF`, read without any YAML.
fn named_in(line: &str) -> Option<ImageReference> {
    let line = line.trim_start().trim_start_matches("- ").trim_start();
    let rest = line.strip_prefix("image:").or_else(|| line.strip_prefix("\"image\":"))?.trim();
    let value = rest.split([' ', ',', '}']).next()?.trim_matches(['"', '\'']);
    let plain = !value.contains(['*', '{', '$', '<', '&', '|', '[']) && value.contains([':', '@', '/']);
    plain.then(|| value.parse().ok()).flatten()
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            // Those of charts are no YAML yet.
            if path.ends_with("templates") {
                continue;
            }
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(path);
        }
    }
}
