use std::fmt;

use kic_base::{Source, Span};
use miette::{
    LabeledSpan, MietteError, MietteSpanContents, NamedSource, ReportHandler, SourceCode, SourceSpan,
    SpanContents,
};
use serde_json::{Value, json};

use crate::{Diagnostic, Diagnostics, Severity};

/// Draws each diagnostic with `handler`, one after the other, with an empty line between them.
pub fn draw(diagnostics: &Diagnostics, handler: &dyn ReportHandler) -> String {
    struct With<'a>(&'a dyn ReportHandler, Part);
    impl fmt::Display for With<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // `ReportHandler` draws to a formatter through its `debug` method.
            self.0.debug(&self.1, f)
        }
    }
    let one = |diagnostic| {
        Part::all(diagnostic).into_iter().map(|part| With(handler, part).to_string()).collect::<String>()
    };
    diagnostics.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// The diagnostics as JSON: an array of `{code, severity, message, help, notes, url, labels}`, each label
/// `{source, line, column, endLine, endColumn, start, end, text}` with lines and columns from 1 and
/// `start` and `end` in bytes.
pub fn json(diagnostics: &Diagnostics) -> Value {
    let label = |label: &crate::Label| {
        let (line, column) = label.span.source().line_column(label.span.range().start);
        let (end_line, end_column) = label.span.source().line_column(label.span.range().end);
        json!({
            "source": label.span.source().name(), "line": line, "column": column, "endLine": end_line,
            "endColumn": end_column, "start": label.span.range().start, "end": label.span.range().end,
            "text": label.text,
        })
    };
    let one = |diagnostic: &Diagnostic| {
        json!({
            "code": diagnostic.code.name,
            "severity": severity_name(diagnostic.code.severity),
            "message": diagnostic.message,
            "help": diagnostic.help,
            "notes": diagnostic.notes,
            "labels": diagnostic.labels.iter().map(label).collect::<Vec<_>>(),
        })
    };
    Value::Array(diagnostics.iter().map(one).collect())
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// The longest line that is drawn, in bytes. A longer one would fill the screen, and hide its own label.
const WIDEST: usize = 1000;

/// The text of a source, as miette reads it.
struct Text {
    source: Source,
    /// What is shown where the text holds something that a terminal would act on; as long as the text.
    printable: Option<String>,
}

impl Text {
    fn new(source: &Source) -> Self {
        let is_printable = !source.text().chars().any(is_unprintable);
        Self { source: source.clone(), printable: (!is_printable).then(|| printable(source.text())) }
    }
}

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // miette counts lines from the start of what it is given, for each label: give it the few lines around.
        let text = self.printable.as_deref().unwrap_or(self.source.text());
        let start = span.offset().min(text.len());
        let end = (start + span.len()).min(text.len());
        let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let mut from = line_start(start);
        for _ in 0..before {
            from = line_start(from.saturating_sub(1));
        }
        let mut to = end;
        for _ in 0..=after {
            to = text[to..].find('\n').map_or(text.len(), |at| to + at + 1);
        }
        let shifted = SourceSpan::from((start - from, end - start));
        let (first_line, _) = self.source.line_column(from);
        let window = text[from..to].read_span(&shifted, before, after)?;
        let span = SourceSpan::from((window.span().offset() + from, window.span().len()));
        let data = text.as_bytes().get(span.offset()..span.offset() + span.len()).unwrap_or_default();
        let line = window.line() + first_line - 1;
        Ok(Box::new(MietteSpanContents::new(data, span, line, window.column(), window.line_count())))
    }
}

/// What miette draws at one time: the labels of one diagnostic that lie in one source. Labels in other
/// sources follow as parts of their own, each drawn with its own text.
struct Part {
    code: Option<&'static str>,
    severity: miette::Severity,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<Text>>,
    labels: Vec<LabeledSpan>,
}

impl Part {
    fn all(diagnostic: &Diagnostic) -> Vec<Self> {
        let severity = match diagnostic.code.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        };
        let mut sources: Vec<&Source> = Vec::new();
        for label in &diagnostic.labels {
            if !sources.contains(&label.span.source()) {
                sources.push(label.span.source());
            }
        }
        let part = |source: &Source, message: String| {
            let here = || diagnostic.labels.iter().filter(|label| label.span.source() == source);
            let is_hidden = here().any(|label| is_hidden(&label.span));
            let labels = here().map(|label| {
                let start = label.span.range().start.min(last_shown(source.text()));
                LabeledSpan::new(some(&shown(&label.text)), start, label.span.range().len())
            });
            Self {
                code: None,
                severity: miette::Severity::Advice,
                message: if is_hidden { places(message, here()) } else { message },
                help: None,
                source: (!is_hidden).then(|| NamedSource::new(shown(source.name()), Text::new(source))),
                labels: if is_hidden { Vec::new() } else { labels.collect() },
            }
        };
        let mut help: Vec<String> = diagnostic.notes.iter().map(|note| format!("note: {note}")).collect();
        help.splice(0..0, diagnostic.help.clone());
        let mut whole = match sources.first() {
            Some(source) => part(source, shown(&diagnostic.message)),
            None => Self {
                code: None,
                severity,
                message: shown(&diagnostic.message),
                help: None,
                source: None,
                labels: Vec::new(),
            },
        };
        whole.code = Some(diagnostic.code.name);
        whole.severity = severity;
        whole.help = (!help.is_empty()).then(|| shown(&help.join("\n")));
        let others =
            sources.iter().skip(1).map(|source| part(source, format!("in {}", shown(source.name()))));
        std::iter::once(whole).chain(others).collect()
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether the lines around `span` are not drawn: one is too long, or may be a secret.
fn is_hidden(span: &Span) -> bool {
    let text = span.source().text();
    let range = span.range();
    let line_start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let start = text[..line_start.saturating_sub(1)].rfind('\n').map_or(0, |at| at + 1);
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |at| from + at);
    let end = line_end((line_end(range.end) + 1).min(text.len()));
    text[start..end].lines().any(|line| line.len() > WIDEST)
        || has_secret(documents(text, start, end))
        || secret_nodes(text).any(|node| node.start < end && start < node.end)
}

/// The documents of a YAML stream in which the bytes from `start` to `end` lie.
fn documents(text: &str, start: usize, end: usize) -> &str {
    let from = text[..start].rfind("\n---").map_or(0, |at| at + 1);
    // A document may begin right at the first line that is drawn.
    let to = text[end..].find("\n---").map_or(text.len(), |at| end + at);
    &text[from..to]
}

/// Whether an object in a text is a Secret: whatever stands beside it, broken or not, is not to be shown.
fn has_secret(text: &str) -> bool {
    let is_blank = |character: char| character.is_whitespace() || matches!(character, '"' | '\'');
    text.match_indices("Secret").any(|(at, word)| {
        let after = &text[at + word.len()..];
        let after = after.strip_prefix("List").unwrap_or(after);
        let before = text[..at].trim_end_matches(is_blank);
        !after.starts_with(char::is_alphanumeric)
            && before
                .strip_suffix(':')
                .is_some_and(|before| before.trim_end_matches(is_blank).ends_with("kind"))
    })
}

/// The lines of each node `object "v1/Secret" … { … }` of a spec or module.
fn secret_nodes(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    text.match_indices("\"v1/Secret\"").map(move |(at, _)| {
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = |line: &str| line.len() - line.trim_start().len();
        let mut lines = text[start..].split_inclusive('\n');
        let first = lines.next().unwrap_or_default();
        let mut end = start + first.len();
        if first.trim_end().ends_with('{') {
            for line in lines {
                end += line.len();
                if !line.trim().is_empty() && indent(line) <= indent(first) {
                    break;
                }
            }
        }
        start..end
    })
}

/// The message with the places that are not drawn.
fn places<'a>(message: String, labels: impl Iterator<Item = &'a crate::Label>) -> String {
    let place = |label: &crate::Label| {
        let text = if label.text.is_empty() { String::new() } else { format!(": {}", shown(&label.text)) };
        format!("\nat {}{text}", shown(&label.span.to_string()))
    };
    labels.fold(message, |message, label| message + &place(label))
}

/// The last offset that miette draws: what lies behind the last line break has no line.
fn last_shown(text: &str) -> usize {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text).len()
}

/// Whether a character may do something to a terminal other than stand there.
fn is_unprintable(character: char) -> bool {
    (character.is_control() && !matches!(character, '\n' | '\t'))
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A text without characters that a terminal would act on.
fn shown(text: &str) -> String {
    text.chars().map(|character| if is_unprintable(character) { '\u{fffd}' } else { character }).collect()
}

/// The same, every character as long as before, so that spans still fit.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let ends_a_line = character == '\r' && characters.peek() == Some(&'\n');
        out.push(match character.len_utf8() {
            _ if ends_a_line || !is_unprintable(character) => character,
            1 => '?',
            2 => '¿',
            _ => '\u{fffd}',
        });
    }
    out
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Part {}

impl miette::Diagnostic for Part {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = _>>)
    }
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme};

    use super::*;
    use crate::declared as code;

    fn drawn(text: &str, range: std::ops::Range<usize>, message: &str) -> String {
        let source = Source::new("a.kdl", text);
        let diagnostic = Diagnostic::new(&code::UNKNOWN_NODE, message).at(&source.span(range), "this");
        draw(&diagnostic.into(), &GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()))
    }

    #[test]
    fn nothing_that_a_text_holds_reaches_the_terminal_as_a_command() {
        let text = "a \u{1b}[31mb\r\u{202e}c \u{9b}x\r\n\td \0";
        let drawn = drawn(text, 0..1, "`\u{1b}]0;x\u{7}` is\u{200b} wrong");
        assert!(!drawn.chars().any(is_unprintable), "{drawn:?}");
        assert!(drawn.contains("a ?[31mb?\u{fffd}c ¿x"), "{drawn}");
        assert_eq!(printable(text).len(), text.len());
    }

    #[test]
    fn a_line_that_would_fill_the_screen_is_named_and_not_drawn() {
        let text = format!("a\n{}\nb\n", "x".repeat(10_000));
        let wide = drawn(&text, 5_000..5_001, "wrong");
        assert!(wide.len() < 200 && wide.contains("at a.kdl:2:4999: this"), "{wide}");
        assert!(drawn("a\n", 0..1, "wrong").contains("a.kdl:1:1"));
    }

    #[test]
    fn lines_of_a_secret_are_named_and_not_drawn() {
        for secret in [
            "kind: Secret\nstringData:\n  a: hunter2\n",
            "stringData:\n  a: hunter2\nkind:   'Secret' # b\n",
            "{\"kind\":\n\"SecretList\", \"a\": \"hunter2\"}\n",
            "kind: List\nitems:\n- kind: Secret\n  a: [hunter2\n",
        ] {
            let at = secret.find("hunter2").unwrap_or_default();
            let text = drawn(secret, at..at + 3, "wrong");
            assert!(!text.contains("hunter2") && text.contains(": this"), "{text}");
            // Nor where the place lies in a document beside it.
            for text in [format!("{secret}---\nimage: x\n"), format!("image: x\n---\n{secret}")] {
                let image = text.find("image").unwrap_or_default();
                assert!(!drawn(&text, image..image + 5, "wrong").contains("hunter2"), "{text}");
            }
        }
        let spec = "cluster \"a\"\nmanifests \"a\" {\n    object \"v1/Secret\" name=\"a\" {\n        stringData {\n            a \"hunter2\"\n        }\n    }\n}\nb \"c\"\n";
        let node = spec.find("stringData").unwrap_or_default();
        assert!(!drawn(spec, node..node + 1, "wrong").contains("hunter2"));
        assert!(drawn(spec, 0..7, "wrong").contains("cluster \"a\""));
        for text in [
            "kind: SecretStore\na: shown\n",
            "kind: Secret\n---\nx: 1\ny: 1\na: shown\n",
            "a: shown # Secret\n",
        ] {
            let at = text.find("shown").unwrap_or_default();
            assert!(drawn(text, at..at + 5, "wrong").contains("a: shown"), "{text}");
        }
    }

    #[test]
    fn a_text_that_begins_with_an_empty_line_is_drawn_from_there() {
        for text in ["\n", "\r\n", "\n\n", "\n\na\n"] {
            let drawn = drawn(text, 0..0, "wrong");
            assert!(drawn.contains("a.kdl:1:1") && !drawn.contains("OutOfBounds"), "{text:?}: {drawn}");
        }
        let second = drawn("\na b\n", 1..2, "wrong");
        assert!(second.contains("1 │ \n") && second.contains("2 │ a b"), "{second}");
    }

    #[test]
    fn the_end_of_a_text_is_drawn_on_its_last_line() {
        assert!(drawn("a {\n", 4..4, "wrong").contains("1 │ a {"));
    }
}
