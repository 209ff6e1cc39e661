use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, Severity};
use serde::{Deserialize, Serialize};

/// Warnings as they are kept from one run to the next, with the texts that they point into.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct KeptWarnings {
    /// Name and text.
    sources: Vec<(String, String)>,
    warnings: Vec<KeptWarning>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptWarning {
    code: String,
    message: String,
    labels: Vec<KeptLabel>,
    help: Option<String>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptLabel {
    /// The place in the list of sources.
    source: usize,
    start: usize,
    end: usize,
    text: String,
}

impl KeptWarnings {
    pub fn of(warnings: &Diagnostics) -> Self {
        let mut kept = Self::default();
        let mut sources: Vec<Source> = Vec::new();
        for warning in warnings.iter() {
            let labels = warning.labels.iter().map(|label| {
                let source = place_of(&mut sources, &label.span);
                let range = label.span.range();
                KeptLabel { source, start: range.start, end: range.end, text: label.text.clone() }
            });
            kept.warnings.push(KeptWarning {
                code: warning.code.name.to_owned(),
                message: warning.message.clone(),
                labels: labels.collect(),
                help: warning.help.clone(),
                notes: warning.notes.clone(),
            });
        }
        kept.sources =
            sources.iter().map(|source| (source.name().to_owned(), source.text().to_owned())).collect();
        kept
    }

    /// Whether one points into the text of that name.
    pub fn point_into(&self, name: &str) -> bool {
        self.sources.iter().any(|(source, _)| source == name)
    }

    /// The warnings; `None` where this is no list of warnings of this kic.
    pub fn diagnostics(&self) -> Option<Diagnostics> {
        let sources: Vec<Source> =
            self.sources.iter().map(|(name, text)| Source::new(name.clone(), text.clone())).collect();
        let mut diagnostics = Diagnostics::new();
        for warning in &self.warnings {
            let code = kic_diag::by_name(&warning.code).filter(|code| code.severity != Severity::Error)?;
            let mut diagnostic = Diagnostic::new(code, warning.message.clone());
            for label in &warning.labels {
                let span = sources.get(label.source)?.span(label.start..label.end);
                diagnostic = diagnostic.at(&span, label.text.clone());
            }
            diagnostic.help.clone_from(&warning.help);
            diagnostic.notes.clone_from(&warning.notes);
            diagnostics.push(diagnostic);
        }
        Some(diagnostics)
    }
}

fn place_of(sources: &mut Vec<Source>, span: &Span) -> usize {
    match sources.iter().position(|source| source == span.source()) {
        Some(place) => place,
        None => {
            sources.push(span.source().clone());
            sources.len() - 1
        }
    }
}

#[cfg(test)]
mod tests {
    use kic_diag::declared as code;

    use super::*;

    #[test]
    fn warnings_come_back_as_they_were() {
        let (one, two) = (Source::new("a.kdl", "a ü b"), Source::new("b.kdl", "b"));
        let mut warnings = Diagnostics::new();
        warnings.push(
            Diagnostic::new(&code::EMPTY_LAYER, "it is empty")
                .at(&one.span(2..4), "here")
                .at(&two.span(0..1), "")
                .help("fill it")
                .note("really"),
        );
        warnings.push(Diagnostic::new(&code::EMPTY_LAYER, "so is this").at(&one.span(0..1), ""));
        let json = serde_json::to_vec(&KeptWarnings::of(&warnings)).unwrap();
        let kept: KeptWarnings = serde_json::from_slice(&json).unwrap();
        assert_eq!(kept.sources.len(), 2);
        assert_eq!(kept.diagnostics(), Some(warnings));
        let error = Diagnostics::from(Diagnostic::new(&code::UNKNOWN_NODE, "an error"));
        assert_eq!(KeptWarnings::of(&error).diagnostics(), None);
    }
}
