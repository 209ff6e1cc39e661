//! The book does what it says. Its code blocks, by what stands behind their fences:
//!
//! | fence | what is tested |
//! |---|---|
//! | `kdl` | a whole spec, which resolves without a warning |
//! | `kdl,fragment` | nodes that stand inside `cluster`, which resolve |
//! | `kdl,fragment,in=PATH` | nodes that stand inside the node of that path, such as `files/copy`, which resolve |
//! | `kdl,error-CODE`, `kdl,fragment,error-CODE` | a compile fails with that code and no other |
//! | `kdl,module` | a module, which can be read |
//! | `LANGUAGE,file=NAME` | a file, for what follows on the page; a `kdl` one is tested, too |
//! | `console` | commands of one shell session a page, each of which succeeds |
//! | `console,error-CODE` | as `console`, but the block fails with that code |
//! | `console,network`, `console,install` | not run; the pages are listed below |
//! | `LANGUAGE,printed` | is what the commands before it printed last |
//! | `json,fields=NAME` | has the fields of the JSON in that file, which the session has written |
//! | another language | nothing |
//!
//! A page's session has a folder of its own, with the files of the page so far and a copy of `examples`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_diag::{Diagnostics, by_name};
use kic_spec::reference::within;
use serde_json::Value;

use crate::support::kic::{kic, shell, shown};
use crate::support::markdown::{Block, Page, book, page};
use crate::support::{copy_tree_as_it_is, root};

/// The pages with console blocks that are not run, and why.
const NOT_RUN: [(&str, &str); 3] = [
    ("book/src/getting-started.md", "installs kic"),
    ("book/src/tutorial/kyverno-base-image.md", "needs a registry with the base image, and GitHub"),
    ("book/src/tutorial/nginx-on-top.md", "needs a registry with the image of the chapter before"),
];

/// The text of a block of KDL, as a spec.
fn spec_of(block: &Block) -> String {
    let is_fragment = block.has("fragment");
    if is_fragment { within(block.tag("in=").unwrap_or_default(), &block.text) } else { block.text.clone() }
}

/// What is said of a spec whose files are those of the page.
fn resolve(text: &str, files: &BTreeMap<PathBuf, String>) -> Diagnostics {
    let (file, said) = kic_syntax::parse(&Source::new("cluster.kdl", text));
    if said.has_errors() {
        return said;
    }
    match kic_spec::resolve(&file, Path::new("cluster.kdl"), files) {
        Ok((_, warnings)) => warnings,
        Err(errors) => errors,
    }
}

fn list(diagnostics: &Diagnostics) -> String {
    let line = |one: &kic_diag::Diagnostic| {
        let place = one.labels.first().map(|label| label.span.to_string()).unwrap_or_default();
        format!("  {} {place}: {}", one.code.name, one.message)
    };
    diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The codes that a compile of a spec ends with, from a folder with the files of the page, without a network.
fn compile(text: &str, files: &BTreeMap<PathBuf, String>) -> Result<Vec<String>, String> {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("page");
    write_files(&folder, files);
    // Images on disk, which need no network.
    if text.contains("examples/") {
        copy_tree_as_it_is(&root().join("examples"), &folder.join("examples"));
    }
    fs::write(folder.join("cluster.kdl"), text).unwrap();
    let mut command = kic(&folder, &scratch.path().join("store"));
    let output =
        command.args(["compile", "--offline", "--format", "json", "-o", "image.oci"]).output().unwrap();
    if output.status.success() && output.stderr.is_empty() {
        return Ok(Vec::new());
    }
    let said: Value = serde_json::from_slice(&output.stderr).map_err(|_| shown(&output))?;
    let codes = said.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect();
    Ok(codes)
}

fn write_files(folder: &Path, files: &BTreeMap<PathBuf, String>) {
    fs::create_dir_all(folder).unwrap();
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// What is wrong with the KDL of a page.
fn wrong_kdl(page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    for block in &page.blocks {
        let place = format!("{}:{}", page.path.display(), block.line);
        if let Some(name) = block.tag("file=") {
            files.insert(PathBuf::from(name), block.text.clone());
        }
        if block.language() != "kdl" {
            continue;
        }
        let known = |tag: &String| {
            ["fragment", "module", "printed"].contains(&tag.as_str())
                || ["file=", "in=", "error-"].iter().any(|beginning| tag.starts_with(beginning))
        };
        if let Some(unknown) = block.tags.iter().skip(1).find(|tag| !known(tag)) {
            wrong.push(format!("{place}: a block of KDL has no tag `{unknown}`"));
            continue;
        }
        let text = spec_of(block);
        if block.has("module") {
            let said = kic_syntax::parse(&Source::new("module.kdl", block.text.clone())).1;
            if !said.is_empty() {
                wrong.push(format!("{place}: this module cannot be read\n{}", list(&said)));
            }
        } else if let Some(code) = block.tag("error-") {
            match compile(&text, &files) {
                Err(output) => wrong.push(format!("{place}: {output}")),
                Ok(codes) if !codes.is_empty() && codes.iter().all(|found| found == code) => {}
                Ok(codes) => wrong.push(format!("{place}: fails with {codes:?}, not with {code}")),
            }
        } else {
            let said = resolve(&text, &files);
            if !said.is_empty() {
                wrong.push(format!("{place}: this does not resolve\n{}", list(&said)));
            }
        }
    }
    wrong
}

/// Runs the session of a page; what went wrong with it.
fn wrong_console(page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let scratch = tempfile::tempdir().unwrap();
    let (folder, store) = (scratch.path().join("page"), scratch.path().join("store"));
    let mut is_ready = false;
    let mut printed = String::new();
    for block in &page.blocks {
        if let Some(name) = block.tag("file=") {
            write_files(&folder, &BTreeMap::from([(PathBuf::from(name), block.text.clone())]));
        }
        if let Some(name) = block.tag("fields=") {
            let place = format!("{}:{}", page.path.display(), block.line);
            wrong.extend(wrong_fields(block, &folder.join(name)).map(|why| format!("{place}: {why}")));
        }
        if block.has("printed") && !printed.ends_with(&block.text) {
            let place = format!("{}:{}", page.path.display(), block.line);
            wrong.push(format!("{place}: the commands before it printed\n{printed}"));
        }
        let skipped = block.has("network") || block.has("install");
        if block.language() != "console" || skipped {
            continue;
        }
        if !is_ready {
            fs::create_dir_all(&folder).unwrap();
            copy_tree_as_it_is(&root().join("examples"), &folder.join("examples"));
            is_ready = true;
        }
        let place = format!("{}:{}", page.path.display(), block.line);
        let output = shell(&folder, &store, &format!("set -e\n{}", block.text)).output().unwrap();
        printed = String::from_utf8_lossy(&output.stdout).into_owned();
        match block.tag("error-") {
            None if output.status.success() => {}
            None => wrong.push(format!("{place}: {}", shown(&output))),
            Some(name) => {
                let class = by_name(name).map(|code| i32::from(code.class.exit_status()));
                let says = String::from_utf8_lossy(&output.stderr).lines().any(|line| line == name);
                if output.status.code() != class || !says {
                    wrong.push(format!("{place}: does not fail with {name}: {}", shown(&output)));
                }
            }
        }
    }
    wrong
}

/// How the fields that a block shows differ from those of the JSON in a file.
fn wrong_fields(block: &Block, printed: &Path) -> Option<String> {
    let shown = serde_json::from_str(&block.text).map_err(|error| error.to_string());
    let printed = fs::read(printed).map_err(|error| error.to_string());
    let printed = printed.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
    match (shown, printed) {
        (Ok(shown), Ok(printed)) => differing_field("", &shown, &printed),
        (Err(why), _) => Some(format!("this is no JSON: {why}")),
        (_, Err(why)) => Some(format!("no JSON was printed: {why}")),
    }
}

/// Where two values differ in their fields. What is empty or `null` in what was printed may have any fields.
fn differing_field(path: &str, shown: &Value, printed: &Value) -> Option<String> {
    match (shown, printed) {
        (_, Value::Null) => None,
        (Value::Object(_), Value::Object(fields)) if fields.is_empty() => None,
        (Value::Object(shown), Value::Object(printed)) => {
            let names: BTreeSet<&String> = shown.keys().chain(printed.keys()).collect();
            names.into_iter().find_map(|name| match (shown.get(name), printed.get(name)) {
                (Some(shown), Some(printed)) => differing_field(&format!("{path}.{name}"), shown, printed),
                (Some(_), None) => Some(format!("`{path}.{name}` is not printed")),
                (None, _) => Some(format!("`{path}.{name}` is printed, and not shown")),
            })
        }
        (Value::Array(_), Value::Array(printed)) if printed.is_empty() => None,
        (Value::Array(shown), Value::Array(printed)) => {
            let merged = |values: &[Value]| values.iter().fold(Value::Null, merge);
            differing_field(&format!("{path}[]"), &merged(shown), &merged(printed))
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => None,
        _ => Some(format!("`{path}` is {shown} here, and {printed} was printed")),
    }
}

/// A value with the fields of both.
fn merge(left: Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Object(mut fields), Value::Object(others)) => {
            for (name, other) in others {
                let own = fields.remove(name).unwrap_or_default();
                fields.insert(name.clone(), merge(own, other));
            }
            Value::Object(fields)
        }
        (Value::Array(mut values), Value::Array(others)) => {
            values.extend(others.iter().cloned());
            Value::Array(values)
        }
        (Value::Null, other) => other.clone(),
        (value, _) => value,
    }
}

fn pages() -> Vec<Page> {
    let mut pages = book();
    pages.push(page(Path::new("README.md")));
    pages
}

#[test]
fn every_kdl_block_resolves_or_fails_with_the_code_it_names() {
    let wrong: Vec<String> = pages().iter().flat_map(wrong_kdl).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_console_block_runs() {
    let wrong: Vec<String> = book().iter().flat_map(wrong_console).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pages_whose_commands_are_not_run_are_listed_with_the_reason() {
    let is_skipped =
        |page: &Page| page.blocks.iter().any(|block| block.has("network") || block.has("install"));
    let found: Vec<String> =
        book().iter().filter(|page| is_skipped(page)).map(|page| page.path.display().to_string()).collect();
    assert_eq!(found, NOT_RUN.map(|(page, _)| page));
}

#[test]
fn the_table_of_contents_lists_every_page() {
    let summary = page(Path::new("book/src/SUMMARY.md")).text;
    let listed: BTreeSet<String> = summary
        .lines()
        .filter_map(|line| Some(line.rsplit_once("](")?.1.strip_suffix(')')?.to_owned()))
        .collect();
    let found: BTreeSet<String> = book()
        .iter()
        .map(|page| page.path.strip_prefix("book/src").unwrap().display().to_string())
        .filter(|path| path != "SUMMARY.md")
        .collect();
    let differences: Vec<&String> = listed.symmetric_difference(&found).collect();
    assert!(differences.is_empty(), "listed without a page, or a page that is not listed: {differences:?}");
}

#[test]
fn every_link_within_the_book_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in book() {
        let folder = page.path.parent().unwrap();
        for (at, _) in page.text.match_indices("](") {
            let target = page.text[at + 2..].split([')', '\n']).next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if path.contains("://") || path.is_empty() {
                continue;
            }
            if !root().join(folder).join(path).exists() {
                wrong.push(format!("{}: {target}", page.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_files_of_the_tutorial_on_teams_are_those_of_its_example() {
    let page = page(Path::new("book/src/tutorial/teams.md"));
    let shown: BTreeSet<&str> = page.blocks.iter().filter_map(|block| block.tag("file=")).collect();
    for block in &page.blocks {
        let Some(name) = block.tag("file=") else { continue };
        let file = fs::read_to_string(root().join("examples/teams").join(name)).unwrap();
        assert_eq!(block.text, file, "{name}");
    }
    assert_eq!(shown.len(), 6);
}

/// Whether a value is a part of another one: of objects some members, of lists the first elements.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| is_part(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() <= whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part(part, whole))
        }
        _ => part == whole,
    }
}

#[test]
fn the_reasons_as_json_in_the_book_are_a_part_of_what_a_case_prints() {
    let page = page(Path::new("book/src/reference/incremental.md"));
    let block = page.blocks.iter().find(|block| block.language() == "json").unwrap();
    let shown: Value = serde_json::from_str(&block.text).unwrap();
    let stdout = fs::read_to_string(root().join("tests/cli/compile/explain-as-json/stdout")).unwrap();
    let printed = stdout.lines().last().unwrap().replace("[time]", "0");
    assert!(is_part(&shown, &serde_json::from_str(&printed).unwrap()), "the book: {shown:#}\n{printed}");
}
