use std::collections::BTreeSet;

use kic_base::Span;

use crate::{Code, Severity};

/// A place in a text, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What to say about it; may be empty.
    pub text: String,
}

/// One thing to tell the user: what is wrong, where, what was expected, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Its declared kind.
    pub code: &'static Code,
    /// One sentence without a full stop.
    pub message: String,
    /// Places, the one it is about first. They may lie in several sources.
    pub labels: Vec<Label>,
    /// What to do.
    pub help: Option<String>,
    /// Further facts, one sentence each.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// A diagnostic of that code, with no place yet.
    #[must_use]
    pub fn new(code: &'static Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: Vec::new(), help: None, notes: Vec::new() }
    }

    /// Adds a place; the first one added is the one that the diagnostic is about.
    #[must_use]
    pub fn at(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span: span.clone(), text: text.into() });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do, where there is something to say.
    #[must_use]
    pub fn help_if(self, help: Option<impl Into<String>>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Adds a further fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// So many errors, and so many warnings, are kept; what comes after them is only counted.
const MOST_KEPT: usize = 1000;

/// Everything to tell the user at one time. What is said again of the same place is left out, and so is what comes
/// after [`Diagnostics::are_full`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    /// What was said: of which source and place, and in which words.
    said: BTreeSet<(String, usize, String)>,
    errors: usize,
    omitted: usize,
}

impl Diagnostics {
    /// Nothing to tell.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let is_error = diagnostic.code.severity == Severity::Error;
        let place = diagnostic.labels.first().map(|label| {
            let source = label.span.source().name().to_owned();
            (source, label.span.range().start, diagnostic.message.clone())
        });
        if place.as_ref().is_some_and(|place| self.said.contains(place)) {
            return;
        }
        let count = if is_error { self.errors } else { self.kept.len() - self.errors };
        if count >= MOST_KEPT {
            self.omitted += 1;
            return;
        }
        self.said.extend(place);
        self.errors += usize::from(is_error);
        self.kept.push(diagnostic);
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: Self) {
        self.omitted += others.omitted;
        self.extend(others.kept);
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether an error is among them.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many errors are among them.
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// Whether no more errors are kept: there is no use in looking for others.
    pub fn are_full(&self) -> bool {
        self.errors >= MOST_KEPT
    }

    /// How many were left out because there were so many before them.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// In the order in which they were added.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// `value` where no error is among them; otherwise all of them as the error. Warnings stay in `self`
    /// with the value.
    pub fn or<T>(self, value: T) -> Result<(T, Self), Self> {
        if self.has_errors() { Err(self) } else { Ok((value, self)) }
    }

    /// The exit status of a run that ends with these: that of the gravest class among the errors, 0 with none.
    pub fn exit_status(&self) -> u8 {
        let errors = self.kept.iter().filter(|diagnostic| diagnostic.code.severity == Severity::Error);
        errors.map(|diagnostic| diagnostic.code.class.exit_status()).max().unwrap_or(0)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut diagnostics = Self::new();
        diagnostics.push(diagnostic);
        diagnostics
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(diagnostics: T) -> Self {
        let mut all = Self::new();
        all.extend(diagnostics);
        all
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        for diagnostic in diagnostics {
            self.push(diagnostic);
        }
    }
}

#[cfg(test)]
mod tests {
    use kic_base::Source;

    use super::*;
    use crate::declared as code;

    #[test]
    fn the_same_thing_is_said_once_of_a_place_and_a_flood_is_counted() {
        let source = Source::new("a.kdl", "x".repeat(5000));
        let error =
            |at: usize| Diagnostic::new(&code::UNKNOWN_NODE, "no such node").at(&source.span(at..at + 1), "");
        let mut all = Diagnostics::new();
        for at in 0..1500 {
            all.push(error(at));
            all.push(error(at));
        }
        // Warnings have room of their own.
        all.push(Diagnostic::new(&code::EMPTY_LAYER, "it is empty").at(&source.span(0..1), ""));
        assert_eq!((all.iter().count(), all.error_count(), all.omitted()), (1001, 1000, 1000));
        assert!(all.are_full() && all.has_errors());
        let mut other = Diagnostics::from(error(3));
        other.append(all);
        assert_eq!(other.error_count(), 1000);
        let other_file = Diagnostic::new(&code::UNKNOWN_NODE, "no such node")
            .at(&Source::new("b.kdl", "x").span(0..1), "");
        let mut two = Diagnostics::from(error(0));
        two.push(other_file);
        assert_eq!(two.error_count(), 2);
    }
}
