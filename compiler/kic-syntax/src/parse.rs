use std::ops::Range;

use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::character::{describe, is_disallowed};
use crate::errors::Errors;
use crate::grammar::Parser;
use crate::{File, braces, lexer};

/// The longest text that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// Reads KDL 2. It never fails: there is always a tree, of as much as could be read, and the errors. A tree
/// that comes with errors is good for completing a message, not for compiling it.
pub fn parse(source: &Source) -> (File, Diagnostics) {
    let text = source.text();
    let empty = || File { source: source.clone(), nodes: Vec::new() };
    if text.len() > LONGEST {
        let message = format!("the text is longer than {} MiB, the most that kic reads", LONGEST >> 20);
        let error = Diagnostic::new(&code::TEXT_TOO_LARGE, message).at(&source.span(0..0), "it starts here");
        return (
            empty(),
            error.help("put large contents into files of their own, and name those here").into(),
        );
    }
    let mut errors = Errors::new(source);
    if !check_characters(text, &mut errors) {
        return (empty(), errors.finish(None));
    }
    let version_1 = version_1_marker(text);
    let tokens = braces::balance(lexer::tokens(text, &mut errors), &mut errors);
    let nodes = Parser::new(source, &tokens, &mut errors).document();
    if !errors.are_none()
        && let Some(marker) = conflict_marker(text)
    {
        errors.replace(
            &code::SYNTAX_ERROR,
            marker,
            "an unresolved merge conflict",
            "it begins here",
            "keep one of the two sides, and delete the lines with `<<<<<<<`, `=======` and `>>>>>>>`",
        );
        return (empty(), errors.finish(None));
    }
    (File { source: source.clone(), nodes }, errors.finish(version_1))
}

/// Tells of characters that KDL allows nowhere. `false` when the text is not even text.
fn check_characters(text: &str, errors: &mut Errors<'_>) -> bool {
    let bytes = text.as_bytes();
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    if zeros > 1 && zeros >= bytes.len() / 3 {
        errors.add(
            &code::INVALID_CHARACTER,
            0..1,
            "this is no UTF-8 text: every other byte is zero, as in UTF-16, or it is a binary file",
            "the text starts here",
            "save the file as UTF-8",
        );
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        // Only these bytes begin a character that is not allowed.
        if !matches!(bytes[at], 0..=0x08 | 0x0e..=0x1f | 0x7f | 0xe2 | 0xef) {
            at += 1;
            continue;
        }
        let start = at;
        let Some(first) = text[at..].chars().next() else { break };
        at += first.len_utf8();
        if !is_disallowed(first) || (first == '\u{feff}' && start == 0) {
            continue;
        }
        while let Some(c) = text[at..].chars().next().filter(|c| is_disallowed(*c)) {
            at += c.len_utf8();
        }
        errors.add(
            &code::INVALID_CHARACTER,
            start..at,
            format!("the character {} may not stand in a text", describe(first)),
            "it is here, though nothing may show it",
            format!("delete it; in a quoted string write `\\u{{{:x}}}`", u32::from(first)),
        );
    }
    true
}

/// The first line that git, or a program like it, wrote to mark a conflict.
fn conflict_marker(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with("<<<<<<<") {
            return Some(start..start + line.trim_end().len());
        }
        start += line.len();
    }
    None
}

/// Where the text says of itself that it is KDL 1: `/- kdl-version 1` before anything else.
fn version_1_marker(text: &str) -> Option<Range<usize>> {
    let body = text.trim_start_matches('\u{feff}');
    let line = body.lines().next()?;
    let mut words = line.strip_prefix("/-")?.split_whitespace();
    let is_marker =
        words.next() == Some("kdl-version") && words.next() == Some("1") && words.next().is_none();
    let start = text.len() - body.len();
    is_marker.then(|| start..start + line.trim_end().len())
}
