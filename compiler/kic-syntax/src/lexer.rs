use std::ops::Range;

use kic_diag::{Diagnostic, declared as code};

use crate::character::{
    describe, is_disallowed, is_invisible, looks_like, maybe_newline, newline_length, space_length,
    spaces_length,
};
use crate::errors::{Cut, Errors};

/// What a token is. The tokens of a text cover it without gaps, so that the formatter loses nothing, and
/// the last one is [`Kind::End`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Space,
    Newline,
    /// `// …`, without the newline.
    LineComment,
    /// `/* … */`, with those nested in it.
    BlockComment,
    /// `\` before the end of a line.
    Continuation,
    /// `/-`
    Slashdash,
    OpenBrace,
    CloseBrace,
    OpenParenthesis,
    CloseParenthesis,
    Equals,
    Semicolon,
    /// A bare string or a number.
    Word,
    /// `#true` and the like.
    Keyword,
    /// A string in quotes.
    Text(Quotes),
    /// A character that begins nothing.
    Stray,
    /// The end of the text.
    End,
}

/// How a string is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// `"…"`
    Plain,
    /// `"""`, lines, `"""`
    Triple,
    /// `#"…"#`
    Raw,
    /// `#"""`, lines, `"""#`
    RawTriple,
    /// Not as KDL wants it, which was already said: its text is what lies between the quote characters.
    Broken,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Token {
    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Cuts a text of less than 4 GiB into tokens.
pub(crate) fn tokens(text: &str, errors: &mut Errors<'_>) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        errors,
        searches: 0,
        line_start: 0,
        brackets: 0,
        line: Line::default(),
    };
    let mut tokens = Vec::with_capacity(text.len() / 6 + 1);
    while lexer.at < text.len() {
        let start = lexer.at;
        let kind = lexer.next();
        debug_assert!(lexer.at > start, "a token has at least one byte");
        tokens.push(Token { kind, start: start as u32, end: lexer.at as u32 });
    }
    let end = text.len() as u32;
    tokens.push(Token { kind: Kind::End, start: end, end });
    tokens
}

pub(crate) struct Lexer<'a, 'e, 's> {
    pub(crate) text: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
    pub(crate) errors: &'e mut Errors<'s>,
    /// How many searches for the end of a string went to the end of the text in vain.
    pub(crate) searches: usize,
    /// Where the last line outside of strings and comments starts.
    pub(crate) line_start: usize,
    /// How many `[` have no `]` yet.
    brackets: usize,
    line: Line,
}

/// What the line so far tells of a string that is not closed on it.
#[derive(Default)]
pub(crate) struct Line {
    /// Where it starts.
    start: usize,
    /// The first string in quotes behind which something follows without a space.
    pub(crate) glued: Option<Range<usize>>,
    /// How many braces are open.
    pub(crate) open: usize,
}

impl Lexer<'_, '_, '_> {
    pub(crate) fn line(&mut self) -> &mut Line {
        if self.line.start != self.line_start {
            self.line = Line { start: self.line_start, ..Line::default() };
        }
        &mut self.line
    }

    fn next(&mut self) -> Kind {
        let rest = &self.bytes[self.at..];
        match rest[0] {
            b'{' => {
                self.line().open += 1;
                self.take(1, Kind::OpenBrace)
            }
            b'}' => {
                let open = &mut self.line().open;
                *open = open.saturating_sub(1);
                self.take(1, Kind::CloseBrace)
            }
            b'(' => self.take(1, Kind::OpenParenthesis),
            b')' => self.take(1, Kind::CloseParenthesis),
            b'=' => self.take(1, Kind::Equals),
            b';' => self.take(1, Kind::Semicolon),
            b'"' => self.quoted(),
            b'/' => match rest.get(1) {
                Some(b'-') => self.take(2, Kind::Slashdash),
                Some(b'/') => {
                    self.at = self.end_of_line(self.at);
                    Kind::LineComment
                }
                Some(b'*') => self.block_comment(),
                _ => self.word(),
            },
            b'\\' => {
                let after = &rest[1 + spaces_length(&rest[1..])..];
                let ends = after.is_empty()
                    || newline_length(after) > 0
                    || after.starts_with(b"//")
                    || after.starts_with(b"/*");
                if ends { self.take(1, Kind::Continuation) } else { self.word() }
            }
            b'#' => self.hash(),
            b'r' if self.is_legacy_raw_string() => self.legacy_raw_string(),
            _ => {
                let newline = newline_length(rest);
                if newline > 0 {
                    self.line_start = self.at + newline;
                    return self.take(newline, Kind::Newline);
                }
                let mut spaces = spaces_length(rest);
                // A disallowed character was already reported: it separates, so that nothing else follows.
                while let Some(c) = self.text[self.at + spaces..].chars().next().filter(|c| is_disallowed(*c))
                {
                    spaces += c.len_utf8();
                    spaces += spaces_length(&rest[spaces..]);
                }
                if spaces > 0 { self.take(spaces, Kind::Space) } else { self.word() }
            }
        }
    }

    fn take(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    /// The offset of the newline, or of the end of the text, that comes next at or after `from`.
    pub(crate) fn end_of_line(&self, from: usize) -> usize {
        self.find_in_line(from, "\n").unwrap_or_else(|end| end)
    }

    /// The end of `sought` when it comes next on the line of `from`, else the end of that line. It takes no
    /// more time than what it passes.
    pub(crate) fn find_in_line(&self, from: usize, sought: &str) -> Result<usize, usize> {
        let first = sought.as_bytes()[0];
        let mut at = from;
        while at < self.bytes.len() {
            let byte = self.bytes[at];
            if maybe_newline(byte) && newline_length(&self.bytes[at..]) > 0 {
                break;
            }
            if byte == first && self.bytes[at..].starts_with(sought.as_bytes()) {
                return Ok(at + sought.len());
            }
            at += 1;
        }
        Err(at)
    }

    fn block_comment(&mut self) -> Kind {
        let start = self.at;
        let mut depth = 0;
        let mut inner = None;
        loop {
            match &self.bytes[self.at..] {
                [] => break,
                [b'/', b'*', ..] => {
                    if depth > 0 {
                        inner = Some(self.at);
                    }
                    depth += 1;
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Kind::BlockComment;
                    }
                }
                _ => self.at += 1,
            }
        }
        let mut error = Diagnostic::new(&code::UNTERMINATED_COMMENT, "a block comment is never closed")
            .at(&self.errors.span(start..start + 2), "it starts here");
        if let Some(inner) = inner {
            let label = "this one inside it needs a `*/` of its own: block comments nest";
            error = error.at(&self.errors.span(inner..inner + 2), label);
        }
        self.errors.push(error.help("close it with `*/`"));
        self.errors.has_lost_the_end = true;
        Kind::BlockComment
    }

    /// `#true`, `#"raw"#`
    fn hash(&mut self) -> Kind {
        let hashes = self.bytes[self.at..].iter().take_while(|byte| **byte == b'#').count();
        if self.bytes.get(self.at + hashes) == Some(&b'"') {
            self.errors.has_new_spelling = true;
            return self.raw(hashes);
        }
        self.errors.has_new_spelling |= hashes == 1;
        self.word();
        Kind::Keyword
    }

    /// A word: a bare string, a number, or a text that would have needed quotes.
    fn word(&mut self) -> Kind {
        let start = self.at;
        let mut needs_quotes = None;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'_' | b'.' | b':' => self.at += 1,
                b'{' | b'}' | b'(' | b')' | b'=' | b';' | b'"' | b' ' | b'\t' | b'\n' | b'\r' => break,
                b'/' => {
                    let next = self.bytes.get(self.at + 1);
                    let url = self.at > start && self.bytes[self.at - 1] == b':';
                    match next {
                        // `a//b` is `a` and a comment, `a/-b` a lost entry: as KDL has it. A URL is meant as one.
                        Some(b'-' | b'*') if needs_quotes.is_none() && self.at > start => break,
                        Some(b'/') if needs_quotes.is_none() && !url && self.at > start => break,
                        _ => {}
                    }
                    needs_quotes.get_or_insert('/');
                    self.at += 1;
                }
                b'\\' => {
                    let after = &self.bytes[self.at + 1..];
                    if self.at > start && (after.is_empty() || after[0].is_ascii_whitespace()) {
                        break;
                    }
                    needs_quotes.get_or_insert('\\');
                    self.at += 1;
                }
                b'[' | b']' => {
                    needs_quotes.get_or_insert(char::from(byte));
                    self.at += 1;
                }
                b'#' => {
                    if self.at > start {
                        needs_quotes.get_or_insert('#');
                    }
                    self.at += 1;
                }
                0x21..=0x7e => self.at += 1,
                0..=0x7f => break,
                _ => {
                    let rest = &self.bytes[self.at..];
                    if newline_length(rest) > 0 || space_length(rest) > 0 {
                        break;
                    }
                    let Some(c) = self.text[self.at..].chars().next() else { break };
                    if is_disallowed(c) {
                        break;
                    }
                    if let Some(meant) = looks_like(c) {
                        match self.confusable(start, c, meant) {
                            Some(kind) => return kind,
                            None => continue,
                        }
                    }
                    self.at += c.len_utf8();
                    if is_invisible(c) {
                        let range = self.at - c.len_utf8()..self.at;
                        self.errors.add(
                            &code::CONFUSABLE_CHARACTER,
                            range,
                            format!("an invisible character, {}, in a bare word", describe(c)),
                            "it is here, though nothing shows it",
                            "delete it, or write it as an escape in a quoted string",
                        );
                    }
                }
            }
        }
        if let Some(c) = needs_quotes {
            return self.unquoted(start, c);
        }
        if self.at == start {
            // No word character at all: take one, so that the text ends some day.
            self.at += self.text[start..].chars().next().map_or(1, char::len_utf8);
            return Kind::Stray;
        }
        Kind::Word
    }

    /// A word that has characters only a quoted string can have.
    fn unquoted(&mut self, start: usize, c: char) -> Kind {
        let written = &self.text[start..self.at];
        if written.bytes().all(|byte| matches!(byte, b'[' | b']' | b',')) {
            let closed = written.matches(']').count();
            if written.matches('[').count() == 0 && self.brackets >= closed {
                // The error at the opening bracket says it all.
                self.brackets -= closed;
                return Kind::Space;
            }
            self.brackets += written.matches('[').count();
            self.errors.add(
                &code::SYNTAX_ERROR,
                start..self.at,
                format!("`{written}` means nothing in KDL"),
                "not KDL",
                "KDL has no lists in brackets: write values one after another, `images \"a\" \"b\"`, or a child node for each",
            );
            return Kind::Space;
        }
        let quoted = written.trim_matches(['[', ']', ',']).replace('\\', "\\\\");
        self.errors.add(
            &code::SYNTAX_ERROR,
            start..self.at,
            format!("a bare word cannot have `{c}` in it"),
            "needs quotes",
            format!("write `\"{}\"`", Cut(&quoted)),
        );
        Kind::Text(Quotes::Broken)
    }

    /// A character that only looks like one of KDL's. Gives the token that it ends or makes; `None` when the
    /// word goes on.
    fn confusable(&mut self, start: usize, c: char, meant: char) -> Option<Kind> {
        let message =
            format!("`{c}` (U+{:04X}) looks like `{meant}` but is another character to KDL", u32::from(c));
        if meant == '"' && self.at == start {
            let inside = start + c.len_utf8();
            let close = self.text[inside..]
                .char_indices()
                .find(|(_, c)| *c == '\n' || *c == '\r' || *c == '"' || looks_like(*c) == Some('"'))
                .filter(|(_, c)| *c != '\n' && *c != '\r');
            self.at = close.map_or(inside, |(offset, close)| inside + offset + close.len_utf8());
            let help = "write plain `\"` quotes; a word processor or a chat window may have changed them";
            self.errors.add(&code::CONFUSABLE_CHARACTER, start..self.at, message, "quoted so", help);
            return Some(Kind::Text(Quotes::Broken));
        }
        if self.at > start && meant != '"' && meant != '/' && meant != '\\' && meant != '#' {
            // The word ends here, and what looks like punctuation is read as such on the next turn.
            return Some(Kind::Word);
        }
        let range = self.at..self.at + c.len_utf8();
        self.at = range.end;
        self.errors.add(&code::CONFUSABLE_CHARACTER, range, message, "this one", format!("write `{meant}`"));
        match meant {
            '=' => Some(Kind::Equals),
            '{' => Some(Kind::OpenBrace),
            '}' => Some(Kind::CloseBrace),
            '(' => Some(Kind::OpenParenthesis),
            ')' => Some(Kind::CloseParenthesis),
            ';' => Some(Kind::Semicolon),
            _ => None,
        }
    }

    pub(crate) fn character_length(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
    }
}
