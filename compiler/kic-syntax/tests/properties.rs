//! What holds for every text, tried on many made up ones.

use kic_base::{Source, Spanned};
use kic_syntax::{Entry, Node, Plain, Value, format, parse};
use proptest::prelude::*;

/// Pieces that texts of KDL, right and wrong, are made of.
const PIECES: &[&str] = &[
    "a",
    "b",
    "node",
    "-",
    "+1",
    "12",
    "0x1F",
    "1.5e3",
    "0b12",
    ".5",
    "5m",
    "true",
    "null",
    "inf",
    "#true",
    "#null",
    "#nan",
    "#x",
    "r\"x\"",
    "\"x\"",
    "\"x y\\n\"",
    "\"",
    "\"\"\"",
    "\"\"\"\n",
    "\"\"\"\n  x\n  \"\"\"",
    "\"\"\"\n  x\\\n y\n \\q\n \"\"\"",
    "#\"",
    "\"#",
    "#\"x\"#",
    "##\"x\"#y\"##",
    "#\"\"\"\n x\n \"\"\"#",
    "\\",
    "\\\n",
    "\\ // c\n",
    "\\/",
    "\\u{41}",
    "\\u{110000}",
    "{",
    "}",
    "{ ",
    " }",
    "{\n",
    "\n}",
    "(",
    ")",
    "(t)",
    "=",
    " = ",
    ";",
    "; ",
    "/-",
    "/- ",
    "//",
    "// c\n",
    " // c\n",
    "/*",
    "*/",
    "/* c */",
    "/* /* d */ */",
    " ",
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\n\n\n",
    "\r\n",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\u{c}",
    "\u{a0}",
    "\u{3000}",
    "\u{feff}",
    "\0",
    "\u{7f}",
    "\u{202e}",
    "\u{200b}",
    "“",
    "”",
    "＝",
    "｛",
    "｝",
    "；",
    "é",
    "𝄞",
    ",",
    ":",
    "[",
    "]",
    "http://x",
    "a/b",
    "/",
    "C:\\x",
    "b=1",
    "b=\"x\"",
    "\"b\"=(t)#true",
    "/- kdl-version 1\n",
    "/- kdl-version 2\n",
];

fn text_of(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

/// What may stand where a node goes on.
const GAPS: &[&str] = &[
    " ",
    " ",
    " ",
    "   ",
    "\t",
    "\u{a0}",
    " /*c*/ ",
    " /* m\n  n */",
    " \\\n",
    " \\\r\n\t",
    " \\ // k\n",
    " \\ /*l*/\n",
    " \\ /*l*/ // k\n",
    " \\\n \\\n",
    " \\ // k\n \\ // l\n",
];
const TIGHT_GAPS: &[&str] = &["", "", "", " ", "/*c*/", " /* c */ ", " \\\n", " \\ // k\n"];
const NAMES: &[&str] = &["a", "b-c", "\"x y\"", "é", "#\"r\"#", "-", "+.", "r"];
const VALUES: &[&str] = &[
    "d",
    "1",
    "-0x1F",
    "1.5",
    "1_0e-3",
    "#true",
    "#nan",
    "\"x y\\\" \\\n z\"",
    "#\"r\"s\"#",
    "\"\"\"\n  x\n    y\n\n  \"\"\"",
    "\"\"\"\r\n\t\tx \\\r\n y\r\n\t\"\"\"",
    "#\"\"\"\n x\n\n \"\"\"#",
];
const SLASHDASHES: &[&str] =
    &["/-", "/-", "/- ", "/-\n", "/- /* s */ ", "/- // t\n", "/- // t\n\n  \\ // u\n"];
const ENDS: &[&str] = &[
    "\n",
    "\n",
    "\n",
    "\n\n\n",
    "\r\n",
    ";",
    "; ",
    " // q\n",
    "      // r\n",
    ";// s\n",
    " ; /* t */\n",
    "; /* u */ ",
    " /* v */ // w\n",
    " \\\n\n",
    " \\ // x\n\n",
    " \\ // x\n \\ // y\n\n",
    "\n  // z\n",
    "\n\n/* 1\n2 */\n\n",
    " \\ // x\n;",
    " \\ // x\n // y\n",
    "\n\\\n",
    "\n\\ // 3\n",
];

/// A text that is right: nodes with everything that KDL lets stand in and between them.
fn right_text() -> impl Strategy<Value = String> {
    let pick = prop::sample::select::<&'static str>;
    let annotation = move || {
        prop_oneof![
            4 => Just(String::new()),
            1 => (pick(TIGHT_GAPS), pick(NAMES), pick(TIGHT_GAPS), pick(TIGHT_GAPS)).prop_map(|(a, n, b, c)| format!("({a}{n}{b}){c}")),
        ]
    };
    let property = move || {
        let value = (pick(TIGHT_GAPS), annotation(), pick(VALUES));
        (pick(NAMES), any::<u64>(), pick(TIGHT_GAPS), value)
            .prop_map(|(_, number, a, (b, t, value))| format!("p{number}{a}={b}{t}{value}"))
    };
    let entry =
        move || prop_oneof![(annotation(), pick(VALUES)).prop_map(|(t, value)| t + value), property()];
    let entry = move || prop_oneof![4 => entry(), 1 => (pick(SLASHDASHES), entry()).prop_map(|(dash, entry)| format!("{dash}{entry}"))];
    let head = move || {
        let entries = prop::collection::vec((pick(GAPS), entry()), 0..4).prop_map(|entries| {
            entries.into_iter().map(|(gap, entry)| format!("{gap}{entry}")).collect::<String>()
        });
        let dash = prop_oneof![5 => Just(""), 1 => pick(SLASHDASHES)];
        (dash, annotation(), pick(NAMES), entries)
            .prop_map(|(dash, t, name, entries)| format!("{dash}{t}{name}{entries}"))
    };
    let many = move |node: BoxedStrategy<String>, most| {
        let starts = prop_oneof![3 => Just(""), 1 => pick(&["\n", "\n\n", " // 4\n", "// 5\n\n", "/* 6 */", "/* 7 */\n", " \\\n", " "])];
        let last = prop_oneof![1 => Just(String::new()), 2 => node.clone()];
        (starts, prop::collection::vec((node, pick(ENDS)), 0..most), last).prop_map(|(start, nodes, last)| {
            let nodes: String = nodes.into_iter().map(|(node, end)| node + end).collect();
            format!("{start}{nodes}{last}")
        })
    };
    let node = head().prop_recursive(3, 16, 3, move |inner| {
        let block = many(inner.boxed(), 3).prop_map(|nodes| format!("{{{nodes}}}"));
        let dashed = (pick(SLASHDASHES), block.clone()).prop_map(|(dash, block)| format!("{dash}{block}"));
        let tail = prop_oneof![
            2 => Just(String::new()),
            3 => (pick(GAPS), block).prop_map(|(gap, block)| format!("{gap}{block}")),
            1 => (pick(GAPS), dashed).prop_map(|(gap, block)| format!("{gap}{block}")),
        ];
        (head(), tail).prop_map(|(head, tail)| head + &tail)
    });
    many(node.boxed(), 5)
}

/// What a tree holds, without places.
fn shape(nodes: &[Node]) -> Vec<String> {
    let name = |name: &Option<Spanned<String>>| name.as_ref().map(|name| name.value.clone());
    let entry = |e: &Entry| format!("{:?}={:?}{:?}", name(&e.name), name(&e.annotation), e.value);
    let one = |node: &Node| {
        let entries: Vec<_> = node.entries.iter().map(entry).collect();
        let children = node.children.as_ref().map(|children| shape(children));
        format!("{:?} {:?} {entries:?} {children:?}", name(&node.annotation), node.name.value)
    };
    nodes.iter().map(one).collect()
}

fn kdl_shape(nodes: &[kdl::KdlNode]) -> Vec<String> {
    let name = |name: Option<&kdl::KdlIdentifier>| name.map(|name| name.value().to_owned());
    let entry = |e: &kdl::KdlEntry| {
        let value = match e.value() {
            kdl::KdlValue::String(text) => Value::String(text.clone()),
            kdl::KdlValue::Integer(value) => Value::Integer(*value),
            kdl::KdlValue::Float(value) => Value::Float(*value),
            kdl::KdlValue::Bool(value) => Value::Bool(*value),
            kdl::KdlValue::Null => Value::Null,
        };
        format!("{:?}={:?}{value:?}", name(e.name()), name(e.ty()))
    };
    let one = |node: &kdl::KdlNode| {
        let entries: Vec<_> = node.entries().iter().map(entry).collect();
        let children = node.children().map(|children| kdl_shape(children.nodes()));
        format!("{:?} {:?} {entries:?} {children:?}", name(node.ty()), node.name().value())
    };
    nodes.iter().map(one).collect()
}

fn check_spans(node: &Node, text: &str) {
    let outer = node.span.range();
    assert!(outer.start <= outer.end && outer.end <= text.len());
    for entry in &node.entries {
        let (span, value) = (entry.span.range(), entry.value_span.range());
        assert!(outer.start <= span.start && span.end <= outer.end, "{node:?}");
        assert!(span.start <= value.start && value.end == span.end, "{entry:?}");
    }
    node.children().iter().for_each(|child| check_spans(child, text));
}

fn parses(text: &str) {
    let (file, errors) = parse(&Source::new("a.kdl", text));
    file.nodes.iter().for_each(|node| check_spans(node, text));
    if errors.is_empty() {
        assert!(file.nodes.iter().all(|node| node.span.text().trim() == node.span.text()), "{file:?}");
    }
    for error in errors.iter() {
        assert!(!error.labels.is_empty(), "{error:?}");
        assert!(error.help.is_some(), "{error:?}");
    }
}

fn plain_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::String),
        "[\\PC\n\r\t\"\\\\#]{0,12}".prop_map(Value::String),
        any::<i128>().prop_map(Value::Integer),
        any::<f64>().prop_filter("equal to itself", |value| !value.is_nan()).prop_map(Value::Float),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ]
}

fn plain() -> impl Strategy<Value = Plain> {
    let name = || prop_oneof![any::<String>(), "[a-z0-9_.+-]{0,6}", Just("true".to_owned())];
    let node = move |children: BoxedStrategy<Option<Vec<Plain>>>| {
        (
            name(),
            prop::option::of(name()),
            prop::collection::vec(plain_value(), 0..4),
            prop::collection::btree_map(name(), plain_value(), 0..4),
            children,
        )
            .prop_map(|(name, annotation, arguments, properties, children)| Plain {
                name,
                annotation,
                arguments,
                properties: properties.into_iter().collect(),
                children,
            })
    };
    let leaf = node(Just(None).boxed());
    leaf.prop_recursive(4, 24, 4, move |inner| {
        node(prop::option::of(prop::collection::vec(inner, 0..4)).boxed())
    })
}

fn back(node: &Node) -> Plain {
    let name = |name: &Option<Spanned<String>>| name.as_ref().map(|name| name.value.clone());
    Plain {
        name: node.name.value.clone(),
        annotation: name(&node.annotation),
        arguments: node.arguments().map(|entry| entry.value.clone()).collect(),
        properties: node
            .properties()
            .map(|entry| (name(&entry.name).unwrap_or_default(), entry.value.clone()))
            .collect(),
        children: node.children.as_ref().map(|children| children.iter().map(back).collect()),
    }
}

/// The comments of a text, cut out without any of the parser: good for texts whose strings have no slashes.
fn comments(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['/']) {
        rest = &rest[at..];
        let end = if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("//") {
            rest.find(['\n', '\r']).unwrap_or(rest.len())
        } else {
            2.min(rest.len())
        };
        found.push(rest[..end].trim_end().replace("\r\n", "\n"));
        rest = &rest[end..];
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic(text in any::<String>()) {
        parses(&text);
    }

    #[test]
    fn any_text_of_kdl_pieces_is_read_without_panic(text in text_of(PIECES, 40)) {
        parses(&text);
    }

    #[test]
    fn a_right_text_with_one_change_is_read_without_panic(
        text in right_text(), at in any::<prop::sample::Index>(), piece in prop::sample::select(PIECES), cut in 0..3_usize,
    ) {
        let mut boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        boundaries.push(text.len());
        let start = at.index(boundaries.len());
        let end = (start + cut).min(boundaries.len() - 1);
        parses(&format!("{}{piece}{}", &text[..boundaries[start]], &text[boundaries[end]..]));
    }

    /// What we read without an error, kdl-rs reads as the same.
    #[test]
    fn no_text_is_read_otherwise_than_kdl_says(text in prop_oneof![9 => right_text(), 1 => text_of(PIECES, 6)]) {
        // kdl-rs takes exponential time for these.
        if text.matches("/-").count() > 4 {
            return Ok(());
        }
        let (file, errors) = parse(&Source::new("a.kdl", text.as_str()));
        if errors.has_errors() {
            return Ok(());
        }
        match text.parse::<kdl::KdlDocument>() {
            Ok(document) => prop_assert_eq!(shape(&file.nodes), kdl_shape(document.nodes()), "{:?}", text),
            // It refuses some texts with `/-` that KDL allows, such as `a { /-b; }`.
            Err(error) => prop_assert!(text.contains("/-"), "kdl-rs refuses {text:?}: {:?}", error.diagnostics),
        }
    }

    #[test]
    fn what_is_written_reads_back(node in plain()) {
        let text = node.to_string();
        let (file, errors) = parse(&Source::new("a.kdl", text.as_str()));
        prop_assert!(errors.is_empty(), "{text}{errors:?}");
        prop_assert_eq!(file.nodes.len(), 1);
        prop_assert_eq!(back(&file.nodes[0]), node);
        prop_assert_eq!(format(&Source::new("a.kdl", text.as_str())).unwrap(), text);
    }

    #[test]
    fn formatting_keeps_tree_and_comments_and_settles_at_once(text in right_text()) {
        let source = Source::new("a.kdl", text.as_str());
        let (file, errors) = parse(&source);
        prop_assert!(errors.is_empty(), "{errors:?}");
        let formatted = format(&source).unwrap();
        let after = Source::new("a.kdl", formatted.as_str());
        prop_assert_eq!(shape(&file.nodes), shape(&parse(&after).0.nodes), "{}", formatted);
        prop_assert_eq!(comments(&text), comments(&formatted), "{:?}", formatted);
        prop_assert_eq!(format(&after).unwrap(), formatted.clone(), "{:?}", text);
        let strings = text.contains("\"\"\"") || text.contains("/*");
        prop_assert!(strings || formatted.lines().all(|line| line.trim_end() == line), "{:?}", formatted);
        prop_assert!(strings || !formatted.contains("\n\n\n"), "{:?}", formatted);
        prop_assert!(formatted.is_empty() || formatted.ends_with('\n') && !formatted.ends_with("\n\n"));
        prop_assert!(!formatted.contains('\r'));
    }
}
