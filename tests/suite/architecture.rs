//! The table of crates in the book is true.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::support::root;

/// `crate -> crates that it may import`, from the table in the book.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string(root().join("book/src/contributing/architecture.md")).unwrap();
    let mut table = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `kic")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let imports =
            cells[3].split([',', ' ']).map(|word| word.trim_matches('`')).filter(|word| !word.is_empty());
        let imports = imports
            .filter(|word| *word != "–")
            .map(|word| if word == "kic" { word.to_owned() } else { format!("kic-{word}") });
        table.insert(name, imports.collect());
    }
    assert!(table.len() > 10, "the table is not found in the page");
    table
}

#[test]
fn crates_import_what_the_table_in_the_book_says() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        if ["kic-tests", "kic-bench"].contains(&name) || name.contains("fuzz") {
            continue;
        }
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let own = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap());
        found.insert(
            name.to_owned(),
            own.filter(|name| name.starts_with("kic")).map(str::to_owned).collect::<BTreeSet<_>>(),
        );
    }
    assert_eq!(found, table(), "left: cargo metadata; right: book/src/contributing/architecture.md");
}
