//! The book lists every declared code, in its table of contents and in its index of errors, and nothing else.
//! `UPDATE_EXPECT=1` rewrites both lists.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use kic_diag::{ALL, Severity};

fn book(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../book/src").join(path)
}

/// Compares the lines of the file that `belongs` picks, which stand together, with `wanted`.
fn expect_lines(path: &str, begin_after: &str, belongs: impl Fn(&str) -> bool, wanted: &[String]) {
    let text = fs::read_to_string(book(path)).unwrap();
    let found: Vec<&str> = text.lines().filter(|line| belongs(line)).collect();
    if found == wanted {
        return;
    }
    #[allow(clippy::disallowed_methods)]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    assert!(
        update,
        "the list of codes in book/src/{path} is not that of the declarations: run UPDATE_EXPECT=1 cargo test -p kic-diag"
    );
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| !belongs(line)) {
        lines.push(line.to_owned());
        if line == begin_after {
            lines.extend_from_slice(wanted);
        }
    }
    fs::write(book(path), lines.join("\n") + "\n").unwrap();
}

#[test]
fn the_table_of_contents_lists_every_code() {
    let entry = |name: &str| format!("    - [`{name}`](errors/{name}.md)");
    let wanted: Vec<String> = ALL.iter().map(|code| entry(code.name)).collect();
    expect_lines("SUMMARY.md", "- [Errors](errors.md)", |line| line.contains("](errors/"), &wanted);
}

#[test]
fn the_index_of_errors_lists_every_code() {
    let row = |code: &&kic_diag::Code| {
        let (kind, status) = match code.severity {
            Severity::Error => ("error", code.class.exit_status().to_string()),
            Severity::Warning => ("warning", String::new()),
            Severity::Note => ("note", String::new()),
        };
        format!("| [`{0}`](errors/{0}.md) | {kind} | {status} | {1} |", code.name, code.summary)
    };
    let wanted: Vec<String> = ALL.iter().map(row).collect();
    expect_lines("errors.md", "|---|---|---|---|", |line| line.contains("](errors/"), &wanted);
}

#[test]
fn every_page_belongs_to_a_declared_code() {
    for page in fs::read_dir(book("errors")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let code = name.strip_suffix(".md").and_then(kic_diag::by_name);
        assert!(code.is_some(), "book/src/errors/{name} is the page of no declared code");
    }
}
