//! Any text becomes a tree and errors; every span lies in the text, and what is whole reads back as it was.
#![no_main]

use kic_base::{Source, Span};
use kic_syntax::{Node, Plain, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz.kdl", text);
    let (file, errors) = parse(&source);
    for node in &file.nodes {
        check(node, &source);
    }
    for label in errors.iter().flat_map(|error| &error.labels) {
        within(&label.span, &source);
    }
    // Drawing an error looks at the text around it.
    assert_eq!(kic_diag::json(&errors).as_array().map(Vec::len).unwrap_or_default() > 0, !errors.is_empty());
    if errors.has_errors() {
        return;
    }
    let written: String = file.nodes.iter().map(|node| Plain::from(node).to_string()).collect();
    let (again, errors) = parse(&Source::new("again.kdl", written.as_str()));
    assert!(!errors.has_errors(), "{written}");
    let plain = |nodes: &[Node]| nodes.iter().map(|node| Plain::from(node).to_string()).collect::<String>();
    assert_eq!(plain(&again.nodes), written);
});

fn check(node: &Node, source: &Source) {
    within(&node.span, source);
    within(&node.name.span, source);
    within(&node.head(), source);
    for entry in &node.entries {
        within(&entry.span, source);
        within(&entry.value_span, source);
    }
    for child in node.children() {
        check(child, source);
    }
}

fn within(span: &Span, source: &Source) {
    let range = span.range();
    assert!(source.text().get(range.clone()).is_some(), "{range:?} is no part of the text");
}
