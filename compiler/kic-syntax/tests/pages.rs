//! The pages of the codes of syntax: what they show to fail fails so, and its cure is right.

use kic_base::Source;
use kic_syntax::parse;

const CODES: &[&str] = &[
    "confusable-character",
    "duplicate-property",
    "invalid-character",
    "invalid-number",
    "invalid-string",
    "kdl-1",
    "nested-too-deep",
    "syntax-error",
    "text-too-large",
    "unbalanced-brace",
    "unterminated-comment",
    "unterminated-string",
];

/// The code blocks of a page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<_> = page.split("\n```").collect();
    parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn every_page_fails_and_is_cured_as_it_says() {
    for name in CODES {
        let code = kic_diag::by_name(name).expect(name);
        let blocks = blocks(code.page);
        assert!(!blocks.is_empty(), "{name}");
        for (fence, text) in blocks {
            let errors = parse(&Source::new("page.kdl", text)).1;
            let codes: Vec<_> = errors.iter().map(|error| error.code.name).collect();
            match fence.split(',').find_map(|tag| tag.strip_prefix("error-")) {
                Some(fails) => assert_eq!((fails, codes), (*name, vec![*name]), "{text}"),
                None => assert!(fence.starts_with("kdl") && codes.is_empty(), "{name}: {fence} {codes:?}"),
            }
        }
    }
}
