//! The text that a string in quotes stands for.

use std::ops::Range;

use kic_diag::{Diagnostic, declared as code};

use crate::character::{blank_length, newline_length, spaces_length};
use crate::errors::{Cut, Errors, Legacy};
use crate::lexer::Quotes;

/// What the string at `range` of `text` stands for.
pub(crate) fn decode(text: &str, range: Range<usize>, quotes: Quotes, errors: &mut Errors<'_>) -> String {
    let written = &text[range.clone()];
    let hashes = written.bytes().take_while(|byte| *byte == b'#').count();
    match quotes {
        Quotes::Plain => plain(&written[1..written.len() - 1], range.start + 1, errors),
        Quotes::Raw => written[hashes + 1..written.len() - hashes - 1].to_owned(),
        Quotes::Triple => triple(text, range.start + 3..range.end - 3, false, errors),
        Quotes::RawTriple => triple(text, range.start + hashes + 3..range.end - hashes - 3, true, errors),
        Quotes::Broken => {
            let open = |c: char| matches!(c, '"' | '#' | '“' | '”' | '„' | '‟' | '″' | '＂');
            written
                .strip_prefix('r')
                .filter(|rest| rest.starts_with(open))
                .unwrap_or(written)
                .trim_matches(open)
                .to_owned()
        }
    }
}

/// Resolves the escapes of `inside`, which starts at byte `offset` of the text.
fn plain(inside: &str, offset: usize, errors: &mut Errors<'_>) -> String {
    let mut value = String::with_capacity(inside.len());
    let mut at = 0;
    while let Some(next) = inside[at..].find('\\') {
        value.push_str(&inside[at..at + next]);
        at += next;
        at += escape(&inside[at..], offset + at, &mut value, errors);
    }
    value.push_str(&inside[at..]);
    value
}

/// Resolves the escape that `text` starts with and gives its length.
fn escape(text: &str, offset: usize, value: &mut String, errors: &mut Errors<'_>) -> usize {
    let blank = blank_length(&text.as_bytes()[1..]);
    if blank > 0 {
        return 1 + blank;
    }
    let Some(c) = text[1..].chars().next() else { return 1 };
    let length = 1 + c.len_utf8();
    let plain = match c {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\x08',
        'f' => '\x0c',
        's' => ' ',
        '\\' | '"' => c,
        '/' => {
            errors.legacy(offset..offset + length, Legacy::Slash);
            '/'
        }
        'u' => return unicode_escape(text, offset, value, errors),
        _ => {
            errors.add(
                &code::INVALID_STRING,
                offset..offset + length,
                format!("`\\{c}` is no escape"),
                "not one of \\n \\r \\t \\b \\f \\s \\\\ \\\" \\u{…}",
                "write `\\\\` for a backslash, or put the text between `#\"` and `\"#`, where nothing is escaped",
            );
            c
        }
    };
    value.push(plain);
    length
}

/// `\u{1F600}`
fn unicode_escape(text: &str, offset: usize, value: &mut String, errors: &mut Errors<'_>) -> usize {
    let digits = text[2..].strip_prefix('{').map_or("", |rest| {
        let length = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        &rest[..length]
    });
    let closed = text.as_bytes().get(3 + digits.len()) == Some(&b'}');
    let number = if (1..=6).contains(&digits.len()) { u32::from_str_radix(digits, 16).ok() } else { None };
    if let (true, Some(c)) = (closed, number.and_then(char::from_u32)) {
        value.push(c);
        return 4 + digits.len();
    }
    let length = if closed { 4 + digits.len() } else { 2 };
    let message = match number {
        Some(_) if closed => format!("U+{} is no Unicode character", digits.to_uppercase()),
        _ => "`\\u` needs one to six hexadecimal digits in braces".to_owned(),
    };
    let help = "write `\\u{1F600}` for the character U+1F600; surrogates, D800 to DFFF, are no characters";
    errors.add(&code::INVALID_STRING, offset..offset + length, message, "this escape", help);
    length
}

/// A multi-line string: `body` goes from the newline after the opening quotes to the closing quotes. As KDL
/// says, escaped white space goes away first, then the indentation of the last line, then come the other
/// escapes; newlines become line feeds; a line of nothing but white space is empty.
fn triple(text: &str, body: Range<usize>, raw: bool, errors: &mut Errors<'_>) -> String {
    // Spaces before the first newline were already told of.
    let start = body.start + spaces_length(&text.as_bytes()[body.start..body.end]);
    let start = start + newline_length(&text.as_bytes()[start..body.end]);
    let mut lines = lines(text, start..body.end, raw);
    let Some(last) = lines.pop() else { return String::new() };
    let prefix = last.text(text);
    if spaces_length(prefix.as_bytes()) < prefix.len() {
        errors.add(
            &code::INVALID_STRING,
            body.end..body.end + 3,
            "the closing quotes of a multi-line string stand on a line of their own",
            "text before them",
            "put them on the next line: the spaces before them are taken off every line of the text",
        );
        return String::new();
    }
    let mut value = String::with_capacity(body.len());
    let mut told = false;
    for (number, line) in lines.iter().enumerate() {
        if number > 0 {
            value.push('\n');
        }
        let own = line.text(text);
        let spaces = spaces_length(own.as_bytes());
        if spaces == own.len() {
            continue;
        }
        let Some(rest) = own.strip_prefix(prefix.as_str()) else {
            if !told {
                errors.push(other_indentation(line.0[0].start, spaces, &own, &prefix, body.end, errors));
                told = true;
            }
            value.push_str(own.trim_start());
            continue;
        };
        if raw || !rest.contains('\\') {
            value.push_str(rest);
            continue;
        }
        let mut at = 0;
        while let Some(next) = rest[at..].find('\\') {
            value.push_str(&rest[at..at + next]);
            at += next;
            at += escape(&rest[at..], line.offset(prefix.len() + at), &mut value, errors);
        }
        value.push_str(&rest[at..]);
    }
    value
}

fn other_indentation(
    line: usize,
    spaces: usize,
    own: &str,
    prefix: &str,
    close: usize,
    errors: &Errors<'_>,
) -> Diagnostic {
    let own = &own[..spaces];
    let label = if own.len() < prefix.len() && prefix.starts_with(own) {
        "less than the closing quotes"
    } else {
        "not the same spaces and tabs as before the closing quotes"
    };
    Diagnostic::new(&code::INVALID_STRING, "a line of a multi-line string is indented otherwise than its end")
        .at(&errors.span(line..line + spaces), label)
        .at(&errors.span(close - prefix.len()..close), format!("each line starts with these: {}", Cut(&format!("{prefix:?}"))))
        .help("indent every line at least as far as the closing quotes, with the same characters; those spaces are not part of the text")
}

/// A line of a multi-line string without its escaped white space: the ranges of the text that remain.
struct Line(Vec<Range<usize>>);

impl Line {
    fn text(&self, text: &str) -> String {
        self.0.iter().map(|piece| &text[piece.clone()]).collect()
    }

    /// Where byte `at` of the line stands in the text.
    fn offset(&self, mut at: usize) -> usize {
        for piece in &self.0 {
            if at < piece.len() {
                return piece.start + at;
            }
            at -= piece.len();
        }
        self.0.last().map_or(0, |piece| piece.end)
    }
}

/// The lines of a multi-line string, the one before the closing quotes last. Each has at least one piece.
fn lines(text: &str, body: Range<usize>, raw: bool) -> Vec<Line> {
    let bytes = &text.as_bytes()[..body.end];
    let mut lines = Vec::new();
    let mut pieces = Vec::new();
    let mut from = body.start;
    let mut at = body.start;
    while at < bytes.len() {
        let newline = newline_length(&bytes[at..]);
        if newline > 0 {
            pieces.push(from..at);
            lines.push(Line(std::mem::take(&mut pieces)));
            at += newline;
            from = at;
        } else if bytes[at] == b'\\' && !raw {
            let blank = blank_length(&bytes[at + 1..]);
            if blank > 0 {
                pieces.push(from..at);
                at += 1 + blank;
                from = at;
            } else {
                // The character after it is no newline: two bytes, or the first two of a longer one.
                at += 2;
            }
        } else {
            at += 1;
        }
    }
    pieces.push(from.min(bytes.len())..bytes.len());
    lines.push(Line(pieces));
    lines
}
