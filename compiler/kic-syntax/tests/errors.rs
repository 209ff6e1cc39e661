//! Broken texts, and what is said of them: code, place, and the cure in the help or label.

#![allow(clippy::unwrap_used)]

use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics};
use kic_syntax::{File, Value, parse};

fn errors(text: &str) -> Diagnostics {
    parse(&Source::new("a.kdl", text)).1
}

/// The only error of the text: its code, and what its first label covers.
fn only(text: &str) -> Diagnostic {
    let errors = errors(text);
    assert_eq!(errors.iter().count(), 1, "{errors:#?}");
    errors.into_iter().next().unwrap()
}

#[track_caller]
fn one(text: &str, code: &str, place: &str, cure: &str) {
    let error = only(text);
    assert_eq!(error.code.name, code, "{error:#?}");
    assert_eq!(error.labels[0].span.text(), place, "{error:#?}");
    let said =
        format!("{} {} {}", error.message, error.labels[0].text, error.help.as_deref().unwrap_or_default());
    assert!(said.contains(cure), "`{cure}` not in {said}");
}

fn read(text: &str) -> File {
    parse(&Source::new("a.kdl", text)).0
}

#[test]
fn kdl_1_habits_are_named_with_their_cure() {
    one("a #true\nb true", "kdl-1", "true", "`#true`");
    one("a #true\nb c=null", "kdl-1", "null", "`#null`");
    one("a #true\nb r\"x y\"", "kdl-1", "r\"x y\"", "`#\"…\"#`");
    one("a #true\nb r##\"x \"# y\"## 1", "kdl-1", "r##\"x \"# y\"##", "`#\"…\"#`");
    one("a \"x\ny\nz\"\nb #true", "kdl-1", "\"x\ny\nz\"", "\"\"\"");
    one("a #true \"a\\/b\"", "kdl-1", "\\/", "no escape");
    assert_eq!(read("a true").nodes[0].entries[0].value, Value::Bool(true));
    assert_eq!(read("a r\"x y\"").nodes[0].entries[0].value, Value::from("x y"));
}

#[test]
fn a_kdl_1_document_gets_one_error_that_says_how_to_convert_it() {
    for text in ["/- kdl-version 1\na true\nb [", "\u{feff}/-kdl-version 1\r\na 1\r\n"] {
        let error = only(text);
        assert_eq!(error.code.name, "kdl-1");
        assert!(error.labels[0].span.text().contains("kdl-version 1"));
        assert!(error.help.unwrap().contains("`#true`"));
    }
    let error = only("a true\nb r\"x\" false");
    assert_eq!(error.code.name, "kdl-1");
    assert_eq!(
        error.labels.iter().map(|label| label.span.text()).collect::<Vec<_>>(),
        ["true", "r\"x\"", "false"]
    );
    assert!(errors("/- kdl-version 2\na #true").is_empty());
    assert!(errors("/- kdl-version 1 2\na #true").is_empty());
}

#[test]
fn an_unclosed_string_is_shown_where_it_opens_and_hides_nothing() {
    let found = errors("a \"x\nb \"y\" 1.\nc \"z\nd [");
    let found: Vec<_> = found.iter().map(|e| (e.code.name, e.labels[0].span.to_string())).collect();
    assert_eq!(
        found,
        [
            ("unterminated-string", "a.kdl:1:3".to_owned()),
            ("invalid-number", "a.kdl:2:7".to_owned()),
            ("unterminated-string", "a.kdl:3:3".to_owned()),
            ("syntax-error", "a.kdl:4:3".to_owned()),
        ]
    );
    one("a #\"x\"\nb 1", "unterminated-string", "#\"", "`\"#`");
    one("a \"x\\", "unterminated-string", "\"", "close it");
    one("a \"\"\"", "unterminated-string", "\"\"\"", "line of its own");
}

#[test]
fn a_lost_quote_is_looked_for_in_the_string_that_something_follows_at_once() {
    // One error, in the first string: all the quotes behind it only follow.
    let error = only("cluster \"shop version=\"v1\" flag=\"true\" {\n    a 1\n}\n");
    assert_eq!(error.code.name, "unterminated-string");
    let places: Vec<_> = error.labels.iter().map(|label| label.span.text()).collect();
    assert_eq!(places, ["\"shop version=\"", "\""]);
    one("a \"b\" c=\"5m d=\"7m\"", "unterminated-string", "\"5m d=\"", "write a space behind it");
    // The braces of the line are none of the string's.
    one("a {\n    b \"c {\n        d 1\n    }\n}\n", "unterminated-string", "\"", "close it");
    one("a { b \"c; }\nd 1", "unterminated-string", "\"", "close it");
}

#[test]
fn a_lost_opening_brace_is_shown_on_its_line() {
    let error = only("a {\n    b 1  c 2; }\n    d 3\n}\n");
    assert_eq!(
        (error.code.name, error.labels[0].span.to_string()),
        ("unbalanced-brace", "a.kdl:2:15".to_owned())
    );
    assert!(errors("a {\n  b 1 }\nc 2").is_empty());
}

#[test]
fn an_unclosed_multi_line_string_ends_where_its_indentation_does() {
    let text =
        "a {\n    b \"\"\"\n        x\n        y\n    c 1\n    d \"\"\"\n        z\n        \"\"\"\n}\n";
    let error = only(text);
    assert_eq!(error.code.name, "unterminated-string");
    assert_eq!(error.labels[0].span.to_string(), "a.kdl:2:7");
    assert_eq!(error.labels[1].span.to_string(), "a.kdl:5:1");
    assert_eq!(error.labels[2].span.to_string(), "a.kdl:6:7");
    let file = read(text);
    let names: Vec<_> = file.nodes[0].children().iter().map(|node| node.name.value.as_str()).collect();
    assert_eq!(names, ["b", "c", "d"]);
    assert_eq!(file.nodes[0].children()[2].entries[0].value, Value::from("z"));
    one(
        "a {\n  b #\"\"\"\n    x\n  c [\n}".replace('[', "1").as_str(),
        "unterminated-string",
        "#\"\"\"",
        "`\"\"\"#`",
    );
}

#[test]
fn multi_line_strings_say_what_is_wrong_with_their_layout() {
    one("a \"\"\"x\"\"\"", "invalid-string", "\"\"\"x\"\"\"", "`\"…\"`");
    one("a \"\"\" \n  x\n  \"\"\"", "invalid-string", " ", "delete them");
    one("a \"\"\"\n  x\"\"\"\nb", "invalid-string", "\"\"\"", "next line");
    let error = only("a \"\"\"\n    x\n  y\n    \"\"\"");
    assert_eq!(error.labels[0].span.to_string(), "a.kdl:3:1");
    assert_eq!(error.labels[1].span.to_string(), "a.kdl:4:1");
    one("a \"\"\"\n\tx\n  \"\"\"", "invalid-string", "\t", "not the same spaces and tabs");
    one("a #\"x\ny\"#", "invalid-string", "#\"x\ny\"#", "`#\"\"\"`");
}

#[test]
fn escapes_are_shown_to_the_character() {
    one("a \"x\\d y\"", "invalid-string", "\\d", "`\\\\`");
    one("a \"x\\u{d800}\"", "invalid-string", "\\u{d800}", "no Unicode character");
    one("a \"x\\u12\"", "invalid-string", "\\u", "in braces");
    one("a \"x\\u{1234567}\"", "invalid-string", "\\u{1234567}", "one to six");
    one("a \"\"\"\n  x\n  é\\q\n  \"\"\"", "invalid-string", "\\q", "no escape");
}

#[test]
fn a_lost_brace_is_shown_at_the_block_that_lacks_it() {
    let text = "cluster {\n    launch {\n        run 1\n    base 2\n}\n\nmodule\n";
    let error = only(text);
    assert_eq!(error.code.name, "unbalanced-brace");
    assert_eq!(error.labels[0].span.to_string(), "a.kdl:2:12");
    assert_eq!(error.labels[1].span.to_string(), "a.kdl:5:1");
    // The tree is as the indentation has it.
    assert_eq!(read(text).nodes.len(), 2);
    let error = only("a {\n    b {\n        c 1\n    }\n");
    assert_eq!(error.labels[0].span.to_string(), "a.kdl:1:3");
    assert_eq!(error.labels[1].span.to_string(), "a.kdl:5:1");
    assert_eq!(errors("a {\n    b {\n        c {\n}").iter().count(), 2);
}

#[test]
fn a_doubled_brace_is_shown_with_the_block_that_was_closed_already() {
    let text = "cluster {\n    launch {\n        run 1\n    }\n    }\n    base 2\n}\n";
    let error = only(text);
    assert_eq!(error.code.name, "unbalanced-brace");
    let places: Vec<_> = error.labels.iter().map(|label| label.span.to_string()).collect();
    assert_eq!(places, ["a.kdl:5:5", "a.kdl:2:12", "a.kdl:4:5"]);
    assert_eq!(read(text).nodes[0].children().len(), 2);
    one("a 1\n}\nb 2", "unbalanced-brace", "}", "nothing is open");
    // Indentation that says nothing is not believed.
    one("a {\n      b {\n  }\n", "unbalanced-brace", "{", "close");
}

#[test]
fn braces_in_the_wrong_place_are_explained() {
    let text = "cluster 1\n{\n    a\n}\n";
    one(text, "syntax-error", "{", "`cluster 1 {`");
    assert_eq!(read(text).nodes[0].children().len(), 1);
    one("{ \"a\" 1 }", "syntax-error", "{", "name before");
    one("a { b } { c }", "syntax-error", "{", "join");
    one("a { b } c", "syntax-error", "c", "line break or `;`");
    assert!(errors("a{}\nb { c; d }; e").is_empty());
}

#[test]
fn a_duplicate_property_is_shown_twice() {
    let error = only("a b=1 c=2 \"b\"=3");
    assert_eq!(error.code.name, "duplicate-property");
    assert_eq!(error.labels.iter().map(|label| label.span.text()).collect::<Vec<_>>(), ["\"b\"", "b"]);
    assert!(errors("a b=1 /-b=2\nc b=1 { d b=2 }").is_empty());
}

#[test]
fn numbers_that_are_none_say_why() {
    one(
        "a 170141183460469231731687303715884105728",
        "invalid-number",
        "170141183460469231731687303715884105728",
        "2^127",
    );
    assert!(
        errors("a 170141183460469231731687303715884105727 -170141183460469231731687303715884105728")
            .is_empty()
    );
    one("a 1e999", "invalid-number", "1e999", "too large");
    one("a 5m", "invalid-number", "5m", "`\"5m\"`");
    one("a v=1.19.8", "invalid-number", "1.19.8", "`\"1.19.8\"`");
    one("a 0o9", "invalid-number", "0o9", "base 8");
    one("a 0x_1", "invalid-number", "0x_1", "base 16");
    one("a .5", "invalid-number", ".5", "both sides");
    one("a 1, 2", "invalid-number", "1,", "delete the comma");
}

#[test]
fn habits_of_other_languages_are_explained() {
    one("version = \"v1\"", "syntax-error", "=", "without `=`");
    one("a b=1 = 2", "syntax-error", "=", "`name=value`");
    one("images [\"a\", \"b\"]", "syntax-error", "[", "no lists in brackets");
    one("images [\n  a\n  b\n]", "syntax-error", "[", "one after another");
    one("a { \"b\": 1 }", "syntax-error", ":", "no colons");
    one("a \"x\", \"y\"", "syntax-error", ",", "delete the comma");
    one("image docker.io/nginx:1", "syntax-error", "docker.io/nginx:1", "`\"docker.io/nginx:1\"`");
    one("url http://x/y", "syntax-error", "http://x/y", "`\"http://x/y\"`");
    one("run C:\\x", "syntax-error", "C:\\x", "`\"C:\\\\x\"`");
    one("a #yes", "syntax-error", "#yes", "goes in quotes");
    one("a #tru", "syntax-error", "#tru", "`#true`");
    one("a inf", "syntax-error", "inf", "`#inf`");
}

#[test]
fn spaces_round_an_equals_sign_are_kdl() {
    let file = read("a b = 1 c= 2 d =3");
    assert!(errors("a b = 1 c= 2 d =3").is_empty());
    assert_eq!(file.nodes[0].property("d").unwrap().value, Value::Integer(3));
}

#[test]
fn parts_that_are_missing_are_named() {
    one("a b=\nc", "syntax-error", "=", "`b` has no value");
    one("a \"b\"c", "syntax-error", "c", "space is missing");
    one("a (b c)1", "syntax-error", "(", "one word");
    one("a (b", "syntax-error", "(", "one word");
    one("a )", "syntax-error", ")", "nothing to close");
    one("a (b)\nc", "syntax-error", "\n", "expected a value");
    one("a (t)b=1", "syntax-error", "t", "`b=(t)value`");
    one("a 1=2", "syntax-error", "1", "`\"1\"=`");
    one("12 a", "syntax-error", "12", "`\"12\"`");
    one("#true a", "syntax-error", "#true", "keyword");
    one("true a", "syntax-error", "true", "`\"true\"`");
    one("= a", "syntax-error", "=", "name of a node");
    one("a \"x\"/-1", "syntax-error", "/-", "space");
    one("a /-", "syntax-error", "/-", "nothing to take out");
    one("a { /- }", "syntax-error", "/-", "nothing to take out");
    one("a; ; b", "syntax-error", ";", "delete");
    one("a \\ /* c */ b", "syntax-error", "\\", "end of its line");
    one("a /* x /* y */ b", "unterminated-comment", "/*", "`*/`");
    // The comment took the brace with it: one mistake, one error.
    one("a { /* x\n}\n", "unterminated-comment", "/*", "`*/`");
}

#[test]
fn characters_that_may_not_stand_in_a_text_are_named() {
    one("a \"x\0y\"", "invalid-character", "\0", "NUL");
    one("a // \u{202e}x", "invalid-character", "\u{202e}", "direction");
    one("a\u{feff} b", "invalid-character", "\u{feff}", "byte order mark");
    one("a \x1b[0m b".replace("[0m", "").as_str(), "invalid-character", "\x1b", "terminal");
    let utf_16: String = "cluster 1\n".chars().flat_map(|c| [c, '\0']).collect();
    one(&utf_16, "invalid-character", "c", "UTF-16");
    assert!(errors("\u{feff}a 1\r\nb\u{a0}2\r\n").is_empty());
    assert_eq!(read("\u{feff}a 1").nodes[0].span.range(), 3..6);
}

#[test]
fn characters_that_only_look_right_are_told_apart() {
    one("a “x y” 1", "confusable-character", "“x y”", "plain `\"`");
    one("a b＝1", "confusable-character", "＝", "`=`");
    one("a c\u{200b}d", "confusable-character", "\u{200b}", "invisible");
    let text = "a ｛\n    b 1；c\n｝\n";
    let found = errors(text);
    assert!(found.iter().all(|error| error.code.name == "confusable-character"), "{found:?}");
    assert_eq!(found.iter().count(), 3);
    assert_eq!(read(text).nodes[0].children().len(), 2);
    assert_eq!(read("a b＝1").nodes[0].property("b").unwrap().value, Value::Integer(1));
    assert_eq!(read("a “x y”").nodes[0].entries[0].value, Value::from("x y"));
    assert!(errors("a \"“x” ＝\u{200b}\" // “ ＝").is_empty());
}

#[test]
fn blocks_too_deep_are_refused_and_those_at_the_bound_are_read() {
    let nested = |depth: usize, open: &str| open.repeat(depth) + "b" + &"}".repeat(depth);
    assert!(errors(&nested(128, "a {")).is_empty());
    one(&nested(129, "a {"), "nested-too-deep", "{", "128");
    one(&nested(100_000, "a {"), "nested-too-deep", "{", "128");
    // kdl-rs takes 20 s for a depth of 20.
    assert!(errors(&nested(128, "a /-{")).is_empty());
    let unclosed = "a {".repeat(100_000);
    assert!(errors(&unclosed).has_errors());
    assert!(errors(&("/*".repeat(100_000) + &"*/".repeat(100_000))).is_empty());
    assert!(errors(&"(".repeat(100_000)).has_errors());
    assert!(errors(&"/-".repeat(100_000)).has_errors());
}

#[test]
fn a_text_that_is_too_large_is_refused() {
    let error = only(&" ".repeat((16 << 20) + 1));
    assert_eq!(error.code.name, "text-too-large");
    assert!(error.message.contains("16 MiB"));
}

#[test]
fn errors_without_end_are_cut_off() {
    assert!(errors(&"a [\n".repeat(10_000)).iter().count() <= 65);
}
