//! The modules of `stdlib/` are all embedded, say what they are for, and their examples and pages are true.
//! `UPDATE_EXPECT=1` rewrites the pages of the book.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_spec::reference::within;
use kic_spec::{documentation, module_page, standard_modules};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn names_in(folder: &Path, end: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(end).map(str::to_owned)).collect()
}

#[test]
fn every_module_of_the_folder_is_embedded() {
    let embedded: Vec<&str> = standard_modules().collect();
    assert!(embedded.is_sorted(), "{embedded:?}");
    let embedded: BTreeSet<String> = embedded.into_iter().map(str::to_owned).collect();
    assert_eq!(names_in(&root().join("stdlib"), ".kdl"), embedded);
}

#[test]
fn every_module_says_what_it_is_for() {
    for name in standard_modules() {
        let module = documentation(name).unwrap();
        assert!(module.doc.trim_end().ends_with('.'), "std:{name} has no doc");
        assert!(!module.examples.is_empty(), "std:{name} has no example");
        for parameter in &module.parameters {
            assert!(parameter.doc.ends_with('.'), "std:{name}: {} has no doc", parameter.name);
        }
        let text = fs::read_to_string(root().join("stdlib").join(format!("{name}.kdl"))).unwrap();
        assert_eq!(kic_syntax::format(&Source::new(format!("{name}.kdl"), &text)).unwrap(), text, "kic fmt");
        assert!(text.starts_with(&format!("module \"{name}\" {{")), "std:{name} has another name inside");
    }
}

#[test]
fn every_example_resolves_without_a_word() {
    for name in standard_modules() {
        for example in documentation(name).unwrap().examples {
            assert!(example.contains(&format!("use \"std:{name}\"")), "std:{name}: {example}");
            let text = within("", &example);
            let (file, said) = kic_syntax::parse(&Source::new("cluster.kdl", text.clone()));
            assert!(said.is_empty(), "{text}\n{said:?}");
            let world: BTreeMap<PathBuf, String> = BTreeMap::new();
            match kic_spec::resolve(&file, Path::new("cluster.kdl"), &world) {
                Ok((_, said)) | Err(said) => assert!(said.is_empty(), "std:{name}: {text}\n{said:?}"),
            }
        }
    }
}

#[test]
fn the_pages_of_the_book_are_what_the_modules_say() {
    let folder = root().join("book/src/std");
    #[allow(clippy::disallowed_methods)]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let summary = fs::read_to_string(root().join("book/src/SUMMARY.md")).unwrap();
    for name in standard_modules() {
        let page = folder.join(format!("{name}.md"));
        let expected = module_page(name).unwrap();
        if update && fs::read_to_string(&page).unwrap_or_default() != expected {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&page, &expected).unwrap();
        }
        assert!(
            fs::read_to_string(&page).unwrap_or_default() == expected,
            "{} differs: run UPDATE_EXPECT=1 cargo test -p kic-spec --test stdlib",
            page.display()
        );
        assert!(
            summary.contains(&format!("    - [`std:{name}`](std/{name}.md)\n")),
            "SUMMARY.md lacks std:{name}"
        );
    }
    let pages: BTreeSet<String> = standard_modules().map(str::to_owned).collect();
    assert_eq!(names_in(&folder, ".md"), pages);
}
