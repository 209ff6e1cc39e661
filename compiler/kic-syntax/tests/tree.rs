//! What a tree says of a text that is right.

use kic_base::Source;
use kic_syntax::{Node, Value, parse};

fn read(text: &str) -> Vec<Node> {
    let (file, errors) = parse(&Source::new("a.kdl", text));
    assert!(errors.is_empty(), "{errors:#?}");
    file.nodes
}

#[test]
fn spans_cover_exactly_what_they_name() {
    let text = "// é\n(t)cluster \"x y\" ( u ) 5 version = (v)#\"w\"# /-gone {\n  b;\n} ; last\n";
    let nodes = read(text);
    let node = &nodes[0];
    assert_eq!(node.annotation.as_ref().unwrap().span.text(), "t");
    assert_eq!(node.name.span.text(), "cluster");
    assert_eq!(node.span.text(), "(t)cluster \"x y\" ( u ) 5 version = (v)#\"w\"# /-gone {\n  b;\n}");
    assert_eq!(node.head().text(), "(t)cluster \"x y\" ( u ) 5 version = (v)#\"w\"#");
    let entries: Vec<_> = node.entries.iter().map(|e| (e.span.text(), e.value_span.text())).collect();
    assert_eq!(entries, [("\"x y\"", "\"x y\""), ("( u ) 5", "5"), ("version = (v)#\"w\"#", "#\"w\"#")]);
    assert_eq!(node.property("version").unwrap().annotation.as_ref().unwrap().span.text(), "v");
    assert_eq!(node.property("version").unwrap().name.as_ref().unwrap().span.text(), "version");
    assert_eq!(node.children()[0].span.text(), "b");
    assert_eq!(nodes[1].span.text(), "last");
    assert_eq!(node.arguments().count(), 2);
    assert_eq!(node.properties().count(), 1);
}

#[test]
fn values_of_every_kind_are_read() {
    let nodes = read(
        "a bare \"q\\n\\s\\u{e9}\\\n   x\" #\"r\\n\"# 1_000 -0x1F 0b10 +0o17 1.5e3 -2.0 1E-2 #true #false #null #inf #-inf",
    );
    let values: Vec<_> = nodes[0].entries.iter().map(|entry| entry.value.clone()).collect();
    assert_eq!(
        values,
        [
            "bare".into(),
            "q\n éx".into(),
            "r\\n".into(),
            1000.into(),
            (-31).into(),
            2.into(),
            15.into(),
            1500.0.into(),
            (-2.0).into(),
            0.01.into(),
            true.into(),
            false.into(),
            Value::Null,
            f64::INFINITY.into(),
            f64::NEG_INFINITY.into(),
        ]
    );
    assert!(matches!(read("a #nan")[0].entries[0].value, Value::Float(value) if value.is_nan()));
}

#[test]
fn multi_line_strings_lose_their_indentation() {
    let text = "a \"\"\"\r\n    x \\\r\n      y\r\n\r\n      \\\"z\"\r\n    \"\"\" #\"\"\"\n  \\n\n   \"\"\"\n  \"\"\"#";
    let nodes = read(text);
    assert_eq!(nodes[0].entries[0].value, Value::from("x y\n\n  \"z\""));
    assert_eq!(nodes[0].entries[1].value, Value::from("\\n\n \"\"\""));
    assert_eq!(read("a \"\"\"\n\"\"\"")[0].entries[0].value, Value::from(""));
}

#[test]
fn what_a_slashdash_takes_out_is_gone() {
    let nodes = read(
        "/-a { b { /-c } }\nd /-1 2 /- x=3 y=4 /-{ e } { f; /-g; h } /-{ i }\n/- // c\n\nj\nk /-\n  l m",
    );
    assert_eq!(nodes.iter().map(|node| node.name.value.as_str()).collect::<Vec<_>>(), ["d", "k"]);
    assert_eq!(nodes[0].entries.len(), 2);
    assert_eq!(
        nodes[0].children().iter().map(|node| node.name.value.as_str()).collect::<Vec<_>>(),
        ["f", "h"]
    );
    assert_eq!(nodes[1].entries.len(), 1);
}

#[test]
fn comments_and_continued_lines_are_spaces() {
    let nodes = read("a /* 1 /* 2 */ */ b \\ // c\n  d/**/=/**/1 \\\n\ne // f\n\\ // g\nh");
    assert_eq!(nodes.iter().map(|node| node.name.value.as_str()).collect::<Vec<_>>(), ["a", "e", "h"]);
    assert_eq!(nodes[0].entries.len(), 2);
}

#[test]
fn an_empty_text_is_an_empty_tree() {
    assert!(read("").is_empty());
    assert!(read("\u{feff}").is_empty());
    assert!(read(" \n// x\n/* y */").is_empty());
}
