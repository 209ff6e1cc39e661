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
/// `{source, line, column, end_line, end_column, start, end, text}` with lines and columns from 1 and
/// `start` and `end` in bytes.
pub fn json(diagnostics: &Diagnostics) -> Value {
    let label = |label: &crate::Label| {
        let (line, column) = label.span.source().line_column(label.span.range().start);
        let (end_line, end_column) = label.span.source().line_column(label.span.range().end);
        json!({
            "source": label.span.source().name(), "line": line, "column": column, "end_line": end_line,
            "end_column": end_column, "start": label.span.range().start, "end": label.span.range().end,
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
    }
}

/// The text of a source, as miette reads it.
struct Text(Source);

impl SourceCode for Text {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // miette counts lines from the start of what it is given, for each label: give it the few lines around.
        let text = self.0.text();
        let start = span.offset().min(text.len());
        let end = (start + span.len()).min(text.len());
        let mut from = start;
        for _ in 0..=before {
            from = text[..from].rfind('\n').unwrap_or(0);
        }
        from += usize::from(text[from..].starts_with('\n'));
        let mut to = end;
        for _ in 0..=after {
            to = text[to..].find('\n').map_or(text.len(), |at| to + at + 1);
        }
        let shifted = SourceSpan::from((start - from, end - start));
        let (first_line, _) = self.0.line_column(from);
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
        };
        let mut sources: Vec<&Source> = Vec::new();
        for label in &diagnostic.labels {
            if !sources.contains(&label.span.source()) {
                sources.push(label.span.source());
            }
        }
        let labels_in = |source: &Source| {
            let here = diagnostic.labels.iter().filter(|label| label.span.source() == source);
            here.map(|label| {
                LabeledSpan::new(some(&label.text), label.span.range().start, length(&label.span))
            })
            .collect::<Vec<_>>()
        };
        let part = |source: &Source, message: String| Self {
            code: None,
            severity: miette::Severity::Advice,
            message,
            help: None,
            source: Some(NamedSource::new(source.name(), Text(source.clone()))),
            labels: labels_in(source),
        };
        let mut help: Vec<String> = diagnostic.notes.iter().map(|note| format!("note: {note}")).collect();
        help.splice(0..0, diagnostic.help.clone());
        let mut whole = match sources.first() {
            Some(source) => part(source, diagnostic.message.clone()),
            None => Self {
                code: None,
                severity,
                message: diagnostic.message.clone(),
                help: None,
                source: None,
                labels: Vec::new(),
            },
        };
        whole.code = Some(diagnostic.code.name);
        whole.severity = severity;
        whole.help = (!help.is_empty()).then(|| help.join("\n"));
        let others = sources.iter().skip(1).map(|source| part(source, format!("in {}", source.name())));
        std::iter::once(whole).chain(others).collect()
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn length(span: &Span) -> usize {
    span.range().len()
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
