//! The book's page on the language is what the compiler says of itself, and its examples are true.
//! `UPDATE_EXPECT=1` rewrites the page.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kic_base::Source;
use kic_spec::reference::{places, reference, topic_names, topics, within};
use kic_spec::schema::Type;

#[test]
fn the_page_of_the_book_is_what_the_compiler_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../book/src/reference/language.md");
    let found = fs::read_to_string(&page).unwrap_or_default();
    if found == reference() {
        return;
    }
    #[allow(clippy::disallowed_methods)]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    assert!(
        update,
        "book/src/reference/language.md is not what kic-spec says: run UPDATE_EXPECT=1 cargo test -p kic-spec --test reference"
    );
    fs::write(page, reference()).unwrap();
}

/// What is said of a spec, in a folder with what examples name.
fn said(text: &str) -> Vec<String> {
    let mut world: BTreeMap<PathBuf, String> = BTreeMap::new();
    world.insert("imageList".into(), "docker.io/library/nginx:1.27\n".into());
    let (file, said) = kic_syntax::parse(&Source::new("cluster.kdl", text));
    assert!(said.is_empty(), "{text}\n{said:?}");
    let said = match kic_spec::resolve(&file, Path::new("cluster.kdl"), &world) {
        Ok((_, warnings)) => warnings,
        Err(errors) => errors,
    };
    said.iter().map(|one| format!("{}: {}", one.code.name, one.message)).collect()
}

#[test]
fn every_example_compiles_where_its_node_stands() {
    for place in places() {
        let example = place.schema.example;
        let parent = place.path.rsplit_once('/').map(|(parent, _)| parent);
        let text = match (place.path.as_str(), parent) {
            ("cluster", _) => example.to_owned(),
            // A module's contents are those of a spec.
            ("module", _) => example.replacen("module", "cluster", 1).replacen(" {", " {\nbase scratch", 1),
            (_, Some(parent))
                if !example.starts_with(&format!("{} ", parent.rsplit('/').next().unwrap())) =>
            {
                within(parent, example)
            }
            _ => within("", example),
        };
        assert_eq!(said(&text), Vec::<String>::new(), "{}\n{text}", place.path);
        assert!(example.contains(place.schema.name), "{}", place.path);
    }
}

#[test]
fn every_default_is_a_value_of_its_type() {
    let mut defaults = 0;
    for place in places() {
        for property in place.schema.properties {
            let Some(default) = property.default else { continue };
            defaults += 1;
            // Said in the spec, it is taken, and says nothing new.
            let mut example = place.schema.example.to_owned();
            if !example.contains(&format!("{}=", property.name)) {
                let end = example.find(" {").unwrap_or(example.len());
                example.insert_str(end, &format!(" {}={}", property.name, default.value()));
            }
            let parent = place.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert_eq!(said(&within(parent, &example)), Vec::<String>::new(), "{example}");
        }
    }
    assert!(defaults >= 7, "{defaults}");
}

#[test]
fn every_name_has_a_topic() {
    let names = topic_names();
    for name in &names {
        let found = topics(name);
        assert!(!found.is_empty(), "{name}");
        for topic in found {
            assert!(topic.text.starts_with("# `") && topic.text.ends_with('\n'), "{name}");
            assert!(topic.doc.ends_with('.'), "{name}: {}", topic.doc);
        }
    }
    for name in ["rollout", "fetch", "files/fetch", "platform.arch", "list<TYPE>", "force", "(force)"] {
        assert!(!topics(name).is_empty(), "{name}");
    }
    assert_eq!(topics("fetch").len(), 2);
    assert_eq!(topics("nothing-like-it").len(), 0);
}

#[test]
fn every_note_is_about_a_node_and_every_type_is_used() {
    let used: BTreeSet<&str> = places()
        .iter()
        .flat_map(|place| {
            let arguments = place.schema.arguments.iter().map(|argument| argument.value.name());
            arguments
                .chain(place.schema.properties.iter().map(|property| property.value.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    for value in Type::ALL {
        assert!(used.contains(value.name()), "no node takes a {}", value.name());
    }
    assert!(used.iter().all(|name| *name == "choice" || Type::ALL.iter().any(|value| value.name() == *name)));
}
