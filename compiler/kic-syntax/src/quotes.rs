//! Where a string in quotes ends, and what to say when it does not.

use kic_diag::{Diagnostic, declared as code};

use crate::character::{blank_length, maybe_newline, newline_length, space_length, spaces_length};
use crate::errors::Legacy;
use crate::lexer::{Kind, Lexer, Quotes};

impl Lexer<'_, '_, '_> {
    pub(crate) fn is_legacy_raw_string(&self) -> bool {
        let rest = &self.bytes[self.at + 1..];
        let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
        rest.get(hashes) == Some(&b'"')
    }

    pub(crate) fn legacy_raw_string(&mut self) -> Kind {
        let start = self.at;
        let hashes = self.bytes[start + 1..].iter().take_while(|byte| **byte == b'#').count();
        let inside = start + hashes + 2;
        let close = format!("\"{}", "#".repeat(hashes));
        self.at = self.find_in_line(inside, &close).unwrap_or_else(|end| end);
        self.errors.legacy(start..self.at, Legacy::RawString);
        Kind::Text(Quotes::Broken)
    }

    pub(crate) fn quoted(&mut self) -> Kind {
        let start = self.at;
        if self.bytes[start..].starts_with(b"\"\"\"") {
            self.errors.has_new_spelling = true;
            return self.triple(start, 3, "");
        }
        let mut at = start + 1;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    let rest = &self.bytes[self.at..];
                    let is_comment = [b"//", b"/*", b"/-"].iter().any(|mark| rest.starts_with(*mark));
                    let ends = rest.first().is_none_or(|next| b" \t\r\n;}=)\\".contains(next)) || is_comment;
                    if !ends {
                        self.line().glued.get_or_insert(start..at + 1);
                    }
                    return Kind::Text(Quotes::Plain);
                }
                Some(b'\\') => {
                    at += 1;
                    let blank = blank_length(&self.bytes[at..]);
                    at += if blank > 0 { blank } else { self.character_length(at) };
                }
                Some(&byte) if !maybe_newline(byte) => at += 1,
                Some(_) if newline_length(&self.bytes[at..]) == 0 => at += 1,
                _ => break,
            }
        }
        // No closing quote on this line. One more quote than opens on a later line, and it was meant for
        // several lines.
        match self.closing_quote_below(at, "\"") {
            Some(end) => {
                self.at = end;
                self.errors.legacy(start..end, Legacy::Multiline);
            }
            None => {
                self.at = self.before_braces(start + 1, at);
                match self.line().glued.clone() {
                    Some(glued) => self.lost_quote(glued, start),
                    None => self.unterminated(start, 1, self.at, "\""),
                }
            }
        }
        Kind::Text(Quotes::Broken)
    }

    /// The end of a string that is not closed on its line: before the brace with which the line opens a block, or
    /// before those with which it closes what it opened.
    fn before_braces(&mut self, inside: usize, end: usize) -> usize {
        let text = &self.text[inside..end];
        let open = self.line().open;
        let trimmed = text.trim_end();
        if trimmed.ends_with('{') {
            return inside + trimmed.len() - 1;
        }
        let mut rest = text;
        for _ in 0..open {
            match rest.trim_end_matches([' ', '\t', ';']).strip_suffix('}') {
                Some(before) => rest = before,
                None => break,
            }
        }
        inside + rest.len()
    }

    /// An odd number of quotes on a line: the string that something follows at once is more likely to lack its quote
    /// than the last one.
    fn lost_quote(&mut self, glued: std::ops::Range<usize>, last: usize) {
        let error = Diagnostic::new(&code::UNTERMINATED_STRING, "a string is never closed")
            .at(
                &self.errors.span(glued),
                "its quote may be missing in here: what follows stands right behind it",
            )
            .at(&self.errors.span(last..last + 1), "this quote is then left over");
        self.errors
            .push(error.help("close each string with `\"` on the same line, and write a space behind it"));
    }

    /// The end of a string that would go on over the line end at `from`: on the next line that has a quote in
    /// it, when the first one there looks like the end of a text and not like the start of another.
    fn closing_quote_below(&self, from: usize, close: &str) -> Option<usize> {
        let mut at = from;
        while at < self.bytes.len() {
            let end = self.end_of_line(at);
            let line = &self.text[at..end];
            if let Some(quote) = line.find('"') {
                let after = quote + close.len();
                let starts = line[..quote].ends_with([' ', '\t', '=', '(', ')', '#']) || quote == 0;
                let ends = line[quote..].starts_with(close)
                    && (after == line.len() || line[after..].starts_with([' ', '\t', ';', '}', '=', ')']));
                let odd = line.matches('"').count() % 2 == 1;
                return (ends && odd && (!starts || after == line.len())).then_some(at + after);
            }
            at = end + newline_length(&self.bytes[end..]).max(1);
        }
        None
    }

    fn unterminated(&mut self, start: usize, opening: usize, end: usize, close: &str) {
        let error = Diagnostic::new(&code::UNTERMINATED_STRING, "a string is never closed")
            .at(&self.errors.span(start..start + opening), "it starts here")
            .at(&self.errors.span(end..end), format!("expected `{close}` before here"));
        self.errors.push(error.help(if close.contains("\"\"\"") {
            format!("close it with `{close}` on a line of its own")
        } else {
            format!(
                "close it with `{close}` on the same line; a text of several lines stands between `\"\"\"`"
            )
        }));
    }

    pub(crate) fn raw(&mut self, hashes: usize) -> Kind {
        let start = self.at;
        let fence = self.text[start..start + hashes].to_owned();
        if self.bytes[start + hashes..].starts_with(b"\"\"\"") {
            return self.triple(start, hashes + 3, &fence);
        }
        let inside = start + hashes + 1;
        let close = format!("\"{fence}");
        let end = match self.find_in_line(inside, &close) {
            Ok(end) => {
                self.at = end;
                return Kind::Text(Quotes::Raw);
            }
            Err(end) => end,
        };
        match self.closing_quote_below(end, &close) {
            Some(end) => {
                self.at = end;
                self.errors.add(
                    &code::INVALID_STRING,
                    start..end,
                    "a raw string in single quotes ends on the line where it starts",
                    "goes on over several lines",
                    format!("write `{fence}\"\"\"`, the lines, and `\"\"\"{fence}` on a line of its own"),
                );
            }
            None => {
                self.at = end;
                self.unterminated(start, hashes + 1, end, &close);
            }
        }
        Kind::Text(Quotes::Broken)
    }

    /// `"""` or `#"""`, whose opening has `opening` bytes.
    fn triple(&mut self, start: usize, opening: usize, fence: &str) -> Kind {
        let raw = !fence.is_empty();
        let inside = start + opening;
        let close = format!("\"\"\"{fence}");
        if newline_length(&self.bytes[inside..]) == 0 {
            let found = self.find_in_line(inside, &close);
            let (Ok(end) | Err(end)) = found;
            let spaces = spaces_length(&self.bytes[inside..]);
            if found.is_err() && end == self.text.len() {
                self.at = end;
                self.unterminated(start, opening, end, &close);
                return Kind::Text(Quotes::Broken);
            }
            if found.is_ok() || inside + spaces < end {
                self.at = end;
                let help = if found.is_ok() {
                    format!(
                        "write the text in single quotes, `{fence}\"…\"{fence}`, or on lines of its own between the `\"\"\"`"
                    )
                } else {
                    "write the text on lines of its own, and the closing quotes on the last".to_owned()
                };
                self.errors.add(
                    &code::INVALID_STRING,
                    start..end,
                    "the text of a multi-line string starts on the line after its quotes",
                    "text right after the quotes",
                    help,
                );
                return Kind::Text(Quotes::Broken);
            }
            self.errors.add(
                &code::INVALID_STRING,
                inside..end,
                "a space stands between the quotes of a multi-line string and the end of the line",
                "spaces here",
                "delete them",
            );
        }
        self.triple_body(start, opening, &close, raw)
    }

    fn triple_body(&mut self, start: usize, opening: usize, close: &str, raw: bool) -> Kind {
        let mut at = start + opening;
        let mut blank = false;
        while at < self.bytes.len() && self.searches < 4 {
            let rest = &self.bytes[at..];
            if rest.starts_with(close.as_bytes()) {
                let end = at + close.len();
                if blank {
                    self.at = end;
                    return Kind::Text(if raw { Quotes::RawTriple } else { Quotes::Triple });
                }
                let opens = newline_length(&self.bytes[end..]) > 0
                    && matches!(self.bytes[at - 1], b' ' | b'\t' | b'=' | b')');
                if opens {
                    return self.not_closed(start, opening, close, Some(at));
                }
                self.at = end;
                self.errors.add(
                    &code::INVALID_STRING,
                    at..end,
                    "the closing quotes of a multi-line string stand on a line of their own",
                    "text before them",
                    "put them on the next line: the spaces before them are taken off every line of the text",
                );
                return Kind::Text(Quotes::Broken);
            }
            let newline = if maybe_newline(rest[0]) { newline_length(rest) } else { 0 };
            if newline > 0 {
                blank = true;
                at += newline;
            } else if rest[0] == b'\\' && !raw {
                let skipped = blank_length(&rest[1..]);
                if skipped > 0 {
                    // `\` and the white space after it go away, line breaks too.
                    at += 1 + skipped;
                } else {
                    blank = false;
                    at += 1 + self.character_length(at + 1);
                }
            } else {
                blank = blank && space_length(rest) > 0;
                at += self.character_length(at);
            }
        }
        self.searches += 1;
        self.not_closed(start, opening, close, None)
    }

    /// Ends an unclosed multi-line string where its indentation ends, so that the errors after it show too.
    fn not_closed(&mut self, start: usize, opening: usize, close: &str, next: Option<usize>) -> Kind {
        let indentation = spaces_length(&self.bytes[self.line_start..]);
        let mut at = self.end_of_line(start);
        let limit = next.unwrap_or(self.bytes.len());
        while at < limit {
            let newline = newline_length(&self.bytes[at..]);
            let line = at + newline;
            let own = spaces_length(&self.bytes[line..]);
            let after = &self.bytes[line + own..];
            let empty = after.is_empty() || newline_length(after) > 0;
            if newline > 0 && !empty && own <= indentation {
                break;
            }
            at = self.end_of_line(line);
        }
        self.at = at.min(limit).max(start + opening);
        let end = self.at;
        let mut error = Diagnostic::new(&code::UNTERMINATED_STRING, "a multi-line string is never closed")
            .at(&self.errors.span(start..start + opening), "it starts here");
        if end < self.bytes.len() {
            let text = "by its indentation the text ends before here";
            error = error.at(&self.errors.span(end + 1..end + 1), text);
        } else {
            error = error.at(&self.errors.span(end..end), format!("expected `{close}` before here"));
        }
        if let Some(next) = next {
            let span = self.errors.span(next..next + close.len());
            error = error.at(&span, "these would close it, but look like the start of another");
        }
        self.errors.push(error.help(format!("close it with `{close}` on a line of its own")));
        Kind::Text(Quotes::Broken)
    }
}
