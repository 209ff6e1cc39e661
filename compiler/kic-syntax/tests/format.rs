//! What the formatter changes, and what it leaves.

#![allow(clippy::panic)]

use kic_base::Source;
use kic_syntax::format;

fn formatted(text: &str) -> String {
    format(&Source::new("a.kdl", text)).unwrap_or_else(|errors| panic!("{text:?}: {errors:#?}"))
}

#[track_caller]
fn becomes(text: &str, expected: &str) {
    assert_eq!(formatted(text), expected);
    assert_eq!(formatted(expected), expected, "a second time");
}

#[test]
fn a_spec_as_it_should_be_stays() {
    let text = r##"// The cluster.
cluster "kubernetes-kyverno" version="v1.19.8" {
    platform "linux/amd64"

    registry "sea.hub:5000" { // here
        discover                                // every image
        image "docker.io/library/nginx:latest"  // and one

        // alone
        /-image "gone" // why
    }

    (force)registry "mirror" {}
    manifests "shop" \
        namespace="shop" \ // where
        after="x"
    object "v1/ConfigMap" { data { text "hello"; more 0x1F } }
    text "etc/x" """
          kept
        as it is
        """ mode=0o644
    run #"echo "$x""# /* a
  block */
}
"##;
    becomes(
        text,
        &text
            .replace(
                "                                // every image",
                "                               // every image",
            )
            .replace("latest\"  //", "latest\" //"),
    );
}

#[test]
fn spaces_and_indentation_become_even() {
    becomes("a   1  b = 2\t( t )\"x\" y=( u ) 3", "a 1 b=2 (t)\"x\" y=(u)3\n");
    becomes("a{b\n\tc  {d}}", "a {\n    b\n    c { d }\n}\n");
    becomes("a { }\nb {\n\n}", "a {}\nb {}\n");
    becomes("a;b ;  c { d;e; } ;", "a\nb\nc { d; e }\n");
    becomes("\u{feff}a\u{a0}1\r\n\r\n\r\nb\r\n", "a 1\n\nb\n");
    becomes("", "");
    becomes("\n\n  \n", "");
}

#[test]
fn one_blank_line_stays_and_none_at_the_ends_of_a_block() {
    becomes("\n\na {\n\n  b\n\n\n\n  c\n\n}\n\n\n", "a {\n    b\n\n    c\n}\n");
    becomes("a { // x\n\n  // y\n\n  b\n  // z\n\n}", "a { // x\n    // y\n\n    b\n    // z\n}\n");
}

#[test]
fn comments_stay_where_they_are() {
    becomes(
        "a // x  \n  // y\n/* z */ b /* w */ 1 /* v */ // u",
        "a // x\n// y\n/* z */ b /* w */ 1 /* v */ // u\n",
    );
    becomes("a;// x\nb; /* y */\nc; /* z */ d", "a // x\nb /* y */\nc\n/* z */ d\n");
    becomes("a { /* x */ b; /* y */ }", "a { /* x */ b /* y */ }\n");
    becomes("a { // x\n}", "a { // x\n}\n");
    becomes("a {\n// x\n}", "a {\n    // x\n}\n");
    becomes("a b /*x*/ = /*y*/ ( /*z*/ t ) 1", "a b/*x*/=/*y*/(/*z*/t)1\n");
    becomes("a b \\ // x\n = 1", "a b \\ // x\n    =1\n");
}

#[test]
fn what_a_slashdash_takes_out_stays_taken_out() {
    becomes("/-  a  1\n/-b\n/-\n\nc", "/- a 1\n/-b\n/-c\n");
    becomes("a /-1 /- 2  /-b = 3 /-{ c }  {d} /- { e\n}", "a /-1 /- 2 /-b=3 /-{ c } { d } /- {\n    e\n}\n");
    becomes("a 1 /- // x\n2 3", "a 1 /- // x\n    2 3\n");
    becomes("/- kdl-version 2\na", "/- kdl-version 2\na\n");
}

#[test]
fn comments_that_stood_in_one_column_do_so_again() {
    becomes("a 1      // x\nbcd 2    // y\ne // z\n", "a 1   // x\nbcd 2 // y\ne // z\n");
    becomes("a   // x\n\nbcd // y\n", "a // x\n\nbcd // y\n");
}

#[test]
fn continued_lines_stay_continued() {
    becomes("a \\\n\\\n  b\\ // x\n c", "a \\\n    b \\ // x\n    c\n");
    becomes("a \\\n\nb", "a\nb\n");
    becomes("a \\ // x\n\nb", "a // x\n\nb\n");
    becomes("a \\ // x\n\\ // y\n\nb", "a // x\n// y\n\nb\n");
    becomes("a \\ /* x */ // y\n b", "a /* x */ \\ // y\n    b\n");
    becomes("\\\na \\", "a\n");
    becomes("\\ // x\na", "// x\na\n");
}

#[test]
fn strings_and_numbers_keep_their_spelling() {
    becomes(
        "a  #\"x\"# \"\\u{e9}\"   \"b\" +1_000 0x0F 1.50E3 \"quoted\"=1",
        "a #\"x\"# \"\\u{e9}\" \"b\" +1_000 0x0F 1.50E3 \"quoted\"=1\n",
    );
}

#[test]
fn line_ends_in_multi_line_strings_become_line_feeds() {
    becomes("a \"\"\"\r\n  x\r\n\r\n  \"\"\"\r\nb /* y\r\nz */", "a \"\"\"\n  x\n\n  \"\"\"\nb /* y\nz */\n");
}

#[test]
fn a_text_with_errors_is_not_formatted() {
    let errors = format(&Source::new("a.kdl", "a {\n b true\n")).unwrap_err();
    assert!(errors.has_errors());
}
