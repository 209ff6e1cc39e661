use std::fmt;
use std::ops::Range;

use kic_base::{Source, Span};
use kic_diag::{Code, Diagnostic, Diagnostics, declared as code};

/// At most so many errors of one text are kept: a text that is not KDL at all would give one a word.
const MOST_ERRORS: usize = 64;

/// A spelling of KDL 1.
pub(crate) enum Legacy {
    /// `true`, `false` or `null` without `#`.
    Keyword,
    /// `r"…"`.
    RawString,
    /// A string in single quotes over several lines.
    Multiline,
    /// `\/` in a string.
    Slash,
}

/// The errors of one text, as they are found.
pub(crate) struct Errors<'a> {
    source: &'a Source,
    found: Vec<Diagnostic>,
    legacy: Vec<(Range<usize>, Legacy)>,
    /// Whether a spelling that only KDL 2 has was seen.
    pub(crate) has_new_spelling: bool,
    /// Whether a comment that is never closed took the rest of the text with it, closing braces among it.
    pub(crate) has_lost_the_end: bool,
}

impl<'a> Errors<'a> {
    pub(crate) fn new(source: &'a Source) -> Self {
        Self {
            source,
            found: Vec::new(),
            legacy: Vec::new(),
            has_new_spelling: false,
            has_lost_the_end: false,
        }
    }

    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        self.source.span(range)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if !self.are_full() {
            self.found.push(diagnostic);
        }
    }

    /// Whether there are none.
    pub(crate) fn are_none(&self) -> bool {
        self.found.is_empty() && self.legacy.is_empty()
    }

    /// An error in place of all others, which only follow from it.
    pub(crate) fn replace(
        &mut self,
        code: &'static Code,
        range: Range<usize>,
        message: &str,
        label: &str,
        help: &str,
    ) {
        self.found.clear();
        self.legacy.clear();
        self.add(code, range, message, label, help);
    }

    /// Whether no more are kept.
    pub(crate) fn are_full(&self) -> bool {
        self.found.len() >= MOST_ERRORS
    }

    /// An error with one place and a cure.
    pub(crate) fn add(
        &mut self,
        code: &'static Code,
        range: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = Diagnostic::new(code, message).at(&self.span(range), label);
        self.push(diagnostic.help(help));
    }

    /// A spelling of KDL 1; with others, it may turn out that the whole text is KDL 1.
    pub(crate) fn legacy(&mut self, range: Range<usize>, legacy: Legacy) {
        if self.legacy.len() < MOST_ERRORS {
            self.legacy.push((range, legacy));
        }
    }

    /// All of them in the order of the text, one a line at most of those that are only about syntax: the
    /// second would most likely follow from the first.
    pub(crate) fn finish(mut self, version_1: Option<Range<usize>>) -> Diagnostics {
        if version_1.is_some() {
            self.found.clear();
        }
        if version_1.is_some() || (self.legacy.len() > 1 && !self.has_new_spelling) {
            let whole = self.whole_document(version_1);
            self.found.push(whole);
        } else {
            let legacy = std::mem::take(&mut self.legacy);
            for (range, legacy) in legacy {
                self.found.push(self.one_spelling(range, &legacy));
            }
        }
        let start = |error: &Diagnostic| error.labels.first().map_or(0, |label| label.span.range().start);
        // The graver and more exact errors of one place come before the general ones.
        self.found.sort_by_key(|error| (start(error), *error.code == code::SYNTAX_ERROR));
        let text = self.source.text();
        let mut diagnostics = Diagnostics::new();
        let mut previous: Option<usize> = None;
        let mut lost_quote: Option<usize> = None;
        for error in self.found {
            let at = start(&error);
            let is_on_line_of =
                |before: Option<usize>| before.is_some_and(|before| !text[before..at].contains(['\n', '\r']));
            let follows = *error.code == code::SYNTAX_ERROR && is_on_line_of(previous);
            // Behind a lost quote, texts are words and words are texts.
            if !follows && !is_on_line_of(lost_quote) {
                if *error.code == code::UNTERMINATED_STRING {
                    lost_quote = Some(at);
                }
                diagnostics.push(error);
            }
            previous = Some(at);
        }
        diagnostics
    }

    fn one_spelling(&self, range: Range<usize>, legacy: &Legacy) -> Diagnostic {
        let span = self.span(range);
        let written = Cut(span.text()).to_string();
        let cure = cure(legacy, &written);
        let (message, help) = match legacy {
            Legacy::Keyword => (
                format!("`{written}` without `#` is KDL 1"),
                format!("write `#{written}` for the value, or `\"{written}\"` for the text"),
            ),
            Legacy::RawString => (
                "a raw string with `r` is KDL 1".to_owned(),
                "put `#` at both ends and leave `r` out: `#\"…\"#`; more `#` where the text has `\"#` in it"
                    .to_owned(),
            ),
            Legacy::Multiline => (
                "a string in single quotes ends on the line where it starts".to_owned(),
                "write `\"\"\"`, the lines, and `\"\"\"` on a line of its own, whose indentation is taken off every line"
                    .to_owned(),
            ),
            Legacy::Slash => {
                ("the escape `\\/` is KDL 1".to_owned(), "write `/`: it needs no escape".to_owned())
            }
        };
        Diagnostic::new(&code::KDL_1, message).at(&span, cure).help(help)
    }

    fn whole_document(&mut self, version: Option<Range<usize>>) -> Diagnostic {
        let mut error = Diagnostic::new(&code::KDL_1, "this text is KDL 1, and kic reads KDL 2");
        if let Some(range) = version {
            error = error.at(&self.span(range), "it says so itself");
        }
        self.legacy.sort_by_key(|(range, _)| range.start);
        for (range, legacy) in self.legacy.iter().take(8) {
            let span = self.span(range.clone());
            let cure = cure(legacy, &Cut(span.text()).to_string());
            error = error.at(&span, cure);
        }
        error
            .help(
                "convert it: `true`, `false`, `null` become `#true`, `#false`, `#null`; `r\"…\"` becomes `#\"…\"#`; \
                 strings over several lines stand between `\"\"\"`, each on its own line; `\\/` becomes `/`; \
                 `/- kdl-version 1` goes away",
            )
    }
}

fn cure(legacy: &Legacy, written: &str) -> String {
    match legacy {
        Legacy::Keyword => format!("in KDL 2: `#{written}`"),
        Legacy::RawString => "in KDL 2: `#\"…\"#`".to_owned(),
        Legacy::Multiline => "in KDL 2: `\"\"\"`, with the text on lines of its own".to_owned(),
        Legacy::Slash => "in KDL 2: `/`".to_owned(),
    }
}

/// What was written, cut short for a message.
pub(crate) struct Cut<'a>(pub(crate) &'a str);

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.split(['\n', '\r']).next().unwrap_or_default();
        match line.char_indices().nth(40) {
            Some((end, _)) => write!(f, "{}…", &line[..end]),
            None if line.len() < self.0.len() => write!(f, "{line}…"),
            None => f.write_str(line),
        }
    }
}
