//! What is read of YAML texts, good and broken, and where errors point.

#![expect(clippy::panic, reason = "helpers of tests")]

use kic_base::Source;
use kic_manifest::{Object, Style, Yaml, YamlError, YamlValue, read};

const OBJECT: &str = "apiVersion: v1\nkind: A\n";

fn source(text: &str) -> Source {
    Source::new("m.yaml", text)
}

fn one(text: &str) -> Object {
    let (mut objects, errors) = read(&source(text));
    assert_eq!(errors, [], "{text}");
    assert_eq!(objects.len(), 1, "{text}");
    objects.remove(0)
}

/// The error that a text has, and how many objects there are in spite of it.
fn error(text: &str) -> (YamlError, usize) {
    let (objects, mut errors) = read(&source(text));
    assert_eq!(errors.len(), 1, "{text}: {errors:?}");
    (errors.remove(0), objects.len())
}

fn field<'a>(object: &'a Object, key: &str) -> &'a Yaml {
    object.root.get(key).unwrap_or_else(|| panic!("no {key}"))
}

#[test]
fn spans_of_scalars_are_exact_in_bytes() {
    for newline in ["\n", "\r\n"] {
        let text = format!(
            "\u{feff}# größe\n{OBJECT}plain: é ü # c\nsingle: 'it''s é'   # c\ndouble:  \"\\\"é\\\"\"\nanchored: &a !!str 'x'\nalias: *a\n\
             literal: | # c\n\n  é one\n   two\n\nfolded: !x >-\n  a\n  b\nlist:\n- \n- é\nflow: [a, \"b\", {{c: d}}]\nnothing:\nlast: z\n"
        )
        .replace('\n', newline);
        let object = one(&text);
        for (key, raw, style) in [
            ("plain", "é ü", Style::Plain),
            ("single", "'it''s é'", Style::SingleQuoted),
            ("double", "\"\\\"é\\\"\"", Style::DoubleQuoted),
            ("anchored", "'x'", Style::SingleQuoted),
            ("alias", "'x'", Style::SingleQuoted),
            ("literal", "é one\n   two", Style::Literal),
            ("folded", "a\n  b", Style::Folded),
            ("list", "- \n- é", Style::Collection),
            ("flow", "[a, \"b\", {c: d}]", Style::Collection),
            ("nothing", "", Style::Plain),
            ("last", "z", Style::Plain),
        ] {
            let node = field(&object, key);
            assert_eq!(node.span.text(), raw.replace('\n', newline), "{key}");
            assert_eq!(node.style, style, "{key}");
        }
        assert_eq!(field(&object, "literal").as_str(), Some("\né one\n two\n"));
        let nothing = field(&object, "nothing").span.range();
        assert_eq!(&text[..nothing.start][text[..nothing.start].len() - 8..], "nothing:");
        assert!(object.span.text().starts_with("apiVersion") && object.span.text().ends_with("last: z"));
    }
}

#[test]
fn values_are_those_that_kubernetes_reads() {
    let object = one(&format!(
        "%YAML 1.1\n%TAG !e! tag:example.com,2000:\n---\n{OBJECT}a: yes\nb: 'yes'\nc: 0644\nd: !!str 5\ne: 2001-01-01\nf: !e!x word\ng: !local 1\n\
         h: !!float 3\ni: {{on: 1}}\no: !!binary |\n  YTog\n  MQ==\nj: 1e3\nk: ~\nl: |2\n   x\nm: \"\\u00e9\\x41\"\n"
    ));
    for (key, value) in [
        ("a", YamlValue::Bool(true)),
        ("b", YamlValue::String("yes".into())),
        ("c", YamlValue::Integer(0o644)),
        ("d", YamlValue::String("5".into())),
        ("e", YamlValue::String("2001-01-01".into())),
        ("f", YamlValue::String("word".into())),
        ("g", YamlValue::String("1".into())),
        ("h", YamlValue::Float(3.0)),
        ("o", YamlValue::String("a: 1".into())),
        ("j", YamlValue::Float(1000.0)),
        ("k", YamlValue::Null),
        ("l", YamlValue::String(" x\n".into())),
        ("m", YamlValue::String("éA".into())),
    ] {
        assert_eq!(field(&object, key).value, value, "{key}");
    }
    assert_eq!(field(&object, "i").to_json(), serde_json::json!({"true": 1}));
}

#[test]
fn merges_keep_what_is_said_first() {
    let object = one(&format!(
        "{OBJECT}a: &a {{p: 1}}\nb: &b {{p: 2, q: 3}}\nx: {{<<: [*a, *b], r: 4}}\ny1:\n  <<: *b\n  q: 9\nz: {{'<<': 1}}\n\
         w: {{r: 4, <<: *a, s: 5}}\nv: {{p: 1, <<: *a}}\n"
    ));
    assert_eq!(field(&object, "x").to_json(), serde_json::json!({"p": 1, "q": 3, "r": 4}));
    assert_eq!(field(&object, "y1").to_json(), serde_json::json!({"p": 2, "q": 9}));
    assert_eq!(field(&object, "z").to_json(), serde_json::json!({"<<": 1}));
    assert_eq!(field(&object, "w").to_json(), serde_json::json!({"p": 1, "r": 4, "s": 5}));
    assert_eq!(field(&object, "v").to_json(), serde_json::json!({"p": 1}));
}

#[test]
fn characters_that_end_lines_for_some_readers_stand_only_where_that_makes_no_difference() {
    for (character, name) in [('\u{85}', "U+0085"), ('\u{2028}', "U+2028"), ('\u{2029}', "U+2029")] {
        for wrong in [
            format!("# a{character}image: b\n{OBJECT}"),
            format!("{OBJECT}a: b # c{character}d: e\n"),
            format!("{OBJECT}a: b{character}\n"),
            format!("{OBJECT}a: b{character}c\n"),
            format!("{OBJECT}a: |\n  b{character}c\n"),
            format!("{OBJECT}b{character}c: d\n"),
            format!("{OBJECT}a: >-\n  b{character}\n"),
            format!("{OBJECT}a: 'é{character}'\nb: >-\n  'c{character}d'\n"),
            format!("---\n{OBJECT}---\n{OBJECT}a: [b, {character} c]\n"),
        ] {
            let (error, _) = error(&wrong);
            assert!(error.message.starts_with(name), "{wrong:?}: {error:?}");
            assert_eq!(error.span.text(), character.to_string(), "{wrong:?}");
        }
        for right in [
            format!("# a{character}\n{OBJECT}"),
            format!("{OBJECT}a: \"b{character}c\" # d\nb: 'e{character}f'\n'g{character}h': 1\n"),
            format!("{OBJECT}a: |\n  b{character}\n  c\n"),
            format!("{{\"apiVersion\": \"v1\", \"kind\": \"A\", \"a\": \"b{character}c\"}}"),
        ] {
            one(&right);
        }
    }
}

#[test]
fn objects_have_names_and_lists_are_unrolled() {
    let text = "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A, metadata: {name: a, namespace: ns}}\n\
                - {apiVersion: v1, kind: BList, items: [{metadata: {name: b}}]}\n...\n# end\n---\nnull\n---\napiVersion: x/v1\nkind: AccessList\nspec: {}\nitems: [1]\n";
    let (objects, errors) = read(&source(text));
    assert_eq!(errors, []);
    let titles: Vec<String> = objects.iter().map(Object::title).collect();
    assert_eq!(titles, ["A ns/a", "B b", "AccessList ?"]);
    assert_eq!(objects[0].span.text(), "{apiVersion: v1, kind: A, metadata: {name: a, namespace: ns}}");
}

#[test]
fn errors_point_at_their_place_and_say_what_to_do() {
    for (text, place, words, help) in [
        (format!("{OBJECT}x: 1\nx: 2\n"), "4:1", "`x` stands twice", "keep one"),
        (format!("{OBJECT}x: {{on: 1, true: 2}}\n"), "3:12", "`true` stands twice", "keep one"),
        (format!("{OBJECT}x: {{\"é\": 1, é: 2}}\n"), "3:13", "`é` stands twice", "keep one"),
        (format!("{OBJECT}x: é: b\n"), "3:5", "mapping values", "quotes"),
        (format!("{OBJECT}x:\n\ty: 1\n"), "4:2", "tabs", "spaces"),
        (format!("{OBJECT}x: \"abc\n"), "3:4", "", "close the quotes"),
        (format!("{OBJECT}x: [a, b\n"), "4:1", "", "bracket"),
        (format!("{OBJECT}x: *nope\n"), "3:4", "unknown anchor", "anchor"),
        (format!("{OBJECT}x: &a [*a]\n"), "3:8", "alias", "write the value out"),
        (format!("{OBJECT}x: !!int abc\n"), "3:10", "`!!int`", "tag"),
        (format!("{OBJECT}x: !!binary /w==\n"), "3:13", "`!!binary`", "tag"),
        (format!("{OBJECT}x: [1, -.inf]\n"), "3:8", "`-.inf`", "quotes"),
        (format!("{OBJECT}x: !!float .NaN\n"), "3:12", "`.NaN`", "quotes"),
        (format!("{OBJECT}x: {{<<: 1}}\n"), "3:5", "merge", ""),
        (
            format!("{OBJECT}a: &a {{p: 1}}\nx: {{p: 2, <<: *a}}\n"),
            "4:11",
            "`p` stands before",
            "merge first",
        ),
        (
            format!("{OBJECT}a: &a {{p: 1}}\nx: {{<<: {{p: 2}}, <<: *a}}\n"),
            "4:17",
            "`p` stands before",
            "merge first",
        ),
        (format!("{OBJECT}a: &a {{p: 1}}\nx: {{!!merge \"<<\": *a}}\n"), "4:13", "tag", "leave the tag"),
        (format!("{OBJECT}? [a]\n: b\n"), "3:3", "key", ""),
        (format!("{OBJECT}~: b\n"), "3:1", "key", "name"),
        (format!("{OBJECT}a: {{: b}}\n"), "3:5", "key", "name"),
        ("a: 1\n".into(), "1:1", "no Kubernetes object", "objects only"),
        ("apiVersion: v1\n".into(), "1:1", "`kind`", "objects only"),
        ("- a\n".into(), "1:1", "no Kubernetes object", "objects only"),
        ("hello\n".into(), "1:1", "no Kubernetes object", "objects only"),
        ("a: \0".into(), "1:4", "", ""),
    ] {
        let (error, _) = error(&text);
        assert_eq!(error.span.to_string(), format!("m.yaml:{place}"), "{text}: {error:?}");
        assert!(error.message.contains(words), "{text}: {error:?}");
        assert!(error.help.as_deref().unwrap_or_default().contains(help), "{text}: {error:?}");
    }
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    for broken in
        ["x: [a\n", "x: 'b\n", "x: a: b\n", "  @\n", "x:\n\t- a\n", "x: *a\n", "x: &a [*a]\n", "} \n"]
    {
        let text =
            format!("{OBJECT}a: &a 1\n---\n{broken}---\n{OBJECT}b: 1\n---\n{broken}---\n{OBJECT}c: 1\n");
        let (objects, errors) = read(&source(&text));
        assert_eq!((objects.len(), errors.len()), (3, 2), "{broken}: {errors:?}");
        assert!(errors[0].span.range().start < errors[1].span.range().start);
    }
}

#[test]
fn templates_get_one_error_that_says_so() {
    for text in [
        format!("{OBJECT}x: {{{{ .Values.a }}}}\ny1: {{{{ .Values.b }}}}\n---\n{OBJECT}x: {{{{ .c }}}}\n"),
        format!("{{{{- if .Values.a }}}}\n{OBJECT}x: 1\n{{{{- end }}}}\n---\n{OBJECT}x: {{{{ .c }}}}\n"),
        format!("{OBJECT}metadata:\n  {{{{- include \"x\" . | nindent 2 }}}}\nspec: 1\n"),
    ] {
        let (error, _) = error(&text);
        assert!(error.help.unwrap().contains("template"), "{text}");
    }
    // Quoted, as in policies, it is text.
    one(&format!("{OBJECT}x: \"{{{{ request.operation }}}}\"\n"));
}

#[test]
fn depth_and_aliases_are_bounded() {
    let levels = |count: usize| {
        let mut text = format!("{OBJECT}a:\n");
        for level in 1..count {
            text.push_str(&format!("{}a:\n", " ".repeat(level)));
        }
        text
    };
    one(&levels(250));
    one(&format!("{OBJECT}a: {}1{}", "[".repeat(250), "]".repeat(250)));
    let mut laughs = format!("{OBJECT}a: &a [x,x,x,x,x,x,x,x,x,x]\n");
    for letter in 'b'..'n' {
        let before = char::from_u32(u32::from(letter) - 1).unwrap();
        laughs.push_str(&format!("{letter}: &{letter} [{}]\n", vec![format!("*{before}"); 10].join(",")));
    }
    let long = format!("{OBJECT}a: &a \"{}\"\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 1000].join(","));
    let mut stairs = format!("{OBJECT}a0: &a0 {}{}\n", "[".repeat(200), "]".repeat(200));
    for level in 1..4 {
        stairs.push_str(&format!(
            "a{level}: &a{level} {}*a{}{}\n",
            "[".repeat(200),
            level - 1,
            "]".repeat(200)
        ));
    }
    for (text, words) in [
        (levels(400), "256 levels"),
        (format!("{OBJECT}a: {}1{}", "[".repeat(300), "]".repeat(300)), "256 levels"),
        (format!("{OBJECT}a:\n  {}x", "- ".repeat(100_000)), "256 levels"),
        (format!("{{\"apiVersion\": {}", "[".repeat(100_000)), "256 levels"),
        (stairs, "256 levels"),
        (laughs, "expand"),
        (long, "expand"),
    ] {
        let (error, objects) = error(&text);
        assert!(error.message.contains(words), "{error:?}");
        assert_eq!(objects, 0);
    }
}

#[test]
fn no_more_errors_than_a_person_reads() {
    let text = "x: [\n---\n".repeat(10_000);
    let (objects, errors) = read(&source(&text));
    assert_eq!(objects, []);
    assert!((10..=60).contains(&errors.len()), "{}", errors.len());
}

#[test]
fn nothing_is_in_empty_texts() {
    for text in ["", "\n", "# only this\n", "---\n", "---\n---\n...\n", "\u{feff}", "null\n", "~"] {
        assert_eq!(read(&source(text)), (vec![], vec![]), "{text:?}");
    }
}

#[test]
fn an_item_of_a_typed_list_that_is_no_mapping_is_an_error() {
    let text = "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: a}\n- text\n- [1]\n-\n";
    let (objects, errors) = read(&Source::new("list.yaml", text));
    assert_eq!(objects.len(), 1);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(errors[0].span.text(), "text");
}
