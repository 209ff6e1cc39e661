//! Every declared code has a page that shows it, and a test that gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kic_diag::{ALL, Severity};

use crate::support::markdown::{Page, page};
use crate::support::root;

/// Codes whose page tells in prose what it would take to show: a server, a full disk or a bug cannot stand in a page.
/// The errors of registries are given by the tests in `faults.rs` and `registry_errors.rs`.
const IN_PROSE: &[(&str, &str)] = &[
    ("bad-auth-realm", "a registry that answers so"),
    ("base-unread", "an image that kic did not build"),
    ("body-too-large", "a server that answers so"),
    ("body-truncated", "a server that answers so"),
    ("broken-closure", "an image that was changed"),
    ("broken-plan", "an image that was changed"),
    ("broken-registry-tree", "an image that was changed"),
    ("changed-while-downloading", "a server that answers so"),
    ("chart-failed", "helm"),
    ("chart-not-found", "a server that answers so"),
    ("chart-repository", "a server that answers so"),
    ("credential-helper", "a registry that asks for credentials"),
    ("digest-mismatch", "a server that answers so"),
    ("docker-config", "a registry that asks for credentials"),
    ("download-not-found", "a server that answers so"),
    ("foreign-layer", "an image of that kind"),
    ("image-likely", "a registry that has it"),
    ("image-not-found", "a registry that answers so"),
    ("image-not-rewritten", "a reference of that kind"),
    ("image-without-name", "an image on disk"),
    ("insecure-redirect", "a server that answers so"),
    ("internal", "a bug"),
    ("interrupted", "somebody who presses Ctrl-C"),
    ("invalid-manifest", "an image that is damaged"),
    ("kustomize-failed", "kustomize"),
    ("missing-image-allowed", "an option of the command line"),
    ("name-collision", "two images of one name"),
    ("no-counterpart", "a Kubefile: it is a warning"),
    ("not-reproducible", "a bug"),
    ("referrer-left-out", "a registry that answers so"),
    ("registry-broken", "a server that answers so"),
    ("registry-forbidden", "a registry that answers so"),
    ("registry-garbage", "a registry that answers so"),
    ("registry-proxy", "a proxy"),
    ("registry-rate-limited", "a registry that answers so"),
    ("registry-refused", "a server that answers so"),
    ("registry-timeout", "a server that does not answer"),
    ("registry-tls", "a server with a certificate"),
    ("registry-too-slow", "a server that answers so"),
    ("registry-unauthorized", "a registry that answers so"),
    ("registry-unavailable", "a registry that answers so"),
    ("registry-unreachable", "a network"),
    ("renderer-failed", "a program that does not work"),
    ("renderer-missing", "a machine without helm"),
    ("rendering-differs", "helm"),
    ("schema-1-manifest", "an image of that kind"),
    ("source-changed", "somebody who writes at the right moment"),
    ("store-corrupt", "a disk that loses bytes"),
    ("store-full", "a disk without room"),
    ("store-healed", "a disk that loses bytes"),
    ("store-missing", "a warning, which its page gives"),
    ("store-permission", "another user"),
    ("text-too-large", "16 MiB of text"),
    ("too-many-layers", "120 layers"),
    ("too-many-redirects", "a server that answers so"),
    ("unpack-refused", "an image that is hostile"),
    ("unusual-layout", "a warning, which its page gives"),
];

fn page_of(name: &str) -> Page {
    page(&PathBuf::from(format!("book/src/errors/{name}.md")))
}

#[test]
fn every_page_shows_its_code_or_says_why_not() {
    let mut wrong = Vec::new();
    let in_prose: BTreeMap<&str, &str> = IN_PROSE.iter().copied().collect();
    for code in ALL {
        let page = page_of(code.name);
        let shows = page.blocks.iter().any(|block| block.tag("error-") == Some(code.name));
        match (shows, in_prose.contains_key(code.name)) {
            (true, true) => wrong.push(format!("{}: its page shows it: take it off the list", code.name)),
            (false, false) => wrong.push(format!("{}: no block of its page fails with it", code.name)),
            _ => {}
        }
        // A block that fails with another code has nothing to do here.
        if let Some(other) =
            page.blocks.iter().filter_map(|block| block.tag("error-")).find(|name| *name != code.name)
        {
            wrong.push(format!("{}: its page shows {other}", code.name));
        }
    }
    for (name, _) in IN_PROSE {
        if kic_diag::by_name(name).is_none() {
            wrong.push(format!("{name} is on the list, and is no code"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_says_what_its_code_means_and_how_to_cure_it() {
    let mut wrong = Vec::new();
    for code in ALL {
        let page = page_of(code.name);
        let in_prose = IN_PROSE.iter().any(|(name, _)| *name == code.name);
        let is_warning = code.severity != Severity::Error;
        // What fails, and behind it what does not.
        let last = page.blocks.iter().rposition(|block| block.tag("error-").is_some());
        let prose = page.text.split("```").step_by(2).collect::<String>();
        let after = page.text.rsplit("```").next().unwrap_or_default();
        let has_cure = last.is_some_and(|last| last + 1 < page.blocks.len()) || after.trim().len() > 60;
        if prose.split_whitespace().count() < 25 {
            wrong.push(format!("{}: hardly a word of prose", code.name));
        }
        if !in_prose && !is_warning && !has_cure {
            wrong.push(format!("{}: no cure behind the example", code.name));
        }
        if page.text.lines().any(|line| line.chars().count() > 160) {
            wrong.push(format!("{}: a line is longer than 160 characters", code.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes that the cases expect: those of the language, of the command line, of bad input, of faults, and of
/// pages.
fn expected_by_cases() -> BTreeSet<String> {
    fn collect(folder: &Path, words: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, words);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(text) = fs::read_to_string(&path) else { continue };
            match name.as_str() {
                // The code stands alone on a line, above what is said.
                "stderr" => words.extend(text.lines().map(str::to_owned)),
                "expected" => words.extend(text.split_whitespace().map(str::to_owned)),
                _ if ["tests/faults", "tests/verify"]
                    .iter()
                    .any(|folder| path.starts_with(root().join(folder))) =>
                {
                    words.extend(text.split('"').map(str::to_owned));
                }
                _ if path.starts_with(root().join("tests/language")) => {
                    let expectations = text.split("//~").skip(1).map(|text| text.trim_start_matches('^'));
                    words.extend(
                        expectations.filter_map(|text| text.split_whitespace().nth(1)).map(str::to_owned),
                    );
                }
                _ => {}
            }
        }
    }
    let mut words = BTreeSet::new();
    for folder in ["tests/language", "tests/cli", "tests/bad-input", "tests/faults", "tests/verify"] {
        collect(&root().join(folder), &mut words);
    }
    for code in ALL {
        let page = page_of(code.name);
        words.extend(page.blocks.iter().filter_map(|block| block.tag("error-")).map(str::to_owned));
    }
    words
}

/// The codes that tests written in Rust name: as `"code"` in a file of tests.
fn named_by_tests() -> BTreeSet<String> {
    fn collect(folder: &Path, words: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, words);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && path.file_name().is_some_and(|name| name != "codes.rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                words.extend(text.split('"').map(str::to_owned));
            }
        }
    }
    let mut words = BTreeSet::new();
    collect(&root().join("tests/suite"), &mut words);
    for entry in fs::read_dir(root().join("compiler")).unwrap() {
        let tests = entry.unwrap().path().join("tests");
        // kic-diag's own tests hold the declarations against the book, and give no diagnostics.
        if tests.is_dir() && !tests.starts_with(root().join("compiler/kic-diag")) {
            collect(&tests, &mut words);
        }
    }
    words
}

/// Codes that no test can give, and why.
const UNTESTED: [(&str, &str); 1] = [("internal", "it is given by bugs alone")];

#[test]
fn every_code_is_given_by_a_test() {
    let (cases, tests) = (expected_by_cases(), named_by_tests());
    let untested: BTreeMap<&str, &str> = UNTESTED.into_iter().collect();
    let missing: Vec<&str> = ALL
        .iter()
        .map(|code| code.name)
        .filter(|name| !cases.contains(*name) && !tests.contains(*name) && !untested.contains_key(name))
        .collect();
    assert!(missing.is_empty(), "no test gives {missing:?}");
}
