use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

/// One text that spans point into: a spec, a module, a lock, a manifest. Cheap to clone; two sources are
/// equal when they are the same text under the same name.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(Arc<SourceInner>);

struct SourceInner {
    name: String,
    text: OnceLock<String>,
    /// Gives the text when somebody asks for it first.
    load: Option<Box<dyn Fn() -> String + Send + Sync>>,
    /// Where each line starts, in bytes; found when the first place is asked for.
    lines: OnceLock<Vec<usize>>,
}

impl PartialEq for SourceInner {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text() == other.text()
    }
}

impl Eq for SourceInner {}

impl SourceInner {
    fn text(&self) -> &str {
        self.text.get_or_init(|| self.load.as_ref().map(|load| load()).unwrap_or_default())
    }
}

impl Source {
    /// A source of that name (a path as the user wrote it) and text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = OnceLock::from(text.into());
        Self(Arc::new(SourceInner { name: name.into(), text, load: None, lines: OnceLock::new() }))
    }

    /// A source whose text is only had when somebody asks for it, which is when one of its places is shown.
    pub fn lazy(name: impl Into<String>, load: impl Fn() -> String + Send + Sync + 'static) -> Self {
        let inner = SourceInner {
            name: name.into(),
            text: OnceLock::new(),
            load: Some(Box::new(load)),
            lines: OnceLock::new(),
        };
        Self(Arc::new(inner))
    }

    /// The name under which diagnostics show it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        self.0.text()
    }

    /// A span of a range that was one of this text before, without asking for the text.
    pub fn span_again(&self, range: Range<usize>) -> Span {
        Span { source: self.clone(), start: range.start, end: range.end }
    }

    /// A span of `range`, in bytes, clamped to the text and to character boundaries.
    pub fn span(&self, range: Range<usize>) -> Span {
        let Range { start, end } = clamped(self.text(), range);
        Span { source: self.clone(), start, end }
    }

    /// Line and column, both counted from 1, of a byte offset; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text().len());
        let lines = self.0.lines.get_or_init(|| {
            let ends = self.text().bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= offset);
        let before = &self.text().as_bytes()[lines[line - 1]..offset];
        (line, String::from_utf8_lossy(before).chars().count() + 1)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?}, {} bytes)", self.name(), self.text().len())
    }
}

/// A range of bytes in a source.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    source: Source,
    start: usize,
    end: usize,
}

impl Span {
    /// The source it lies in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Its range, in bytes, clamped to the text and to character boundaries.
    pub fn range(&self) -> Range<usize> {
        clamped(self.source.text(), self.start..self.end)
    }

    /// The text it covers.
    pub fn text(&self) -> &str {
        &self.source.text()[self.range()]
    }

    /// From the start of this span to the end of `other`, which lies in the same source.
    pub fn to(&self, other: &Self) -> Self {
        Self { source: self.source.clone(), start: self.start, end: self.end.max(other.end) }
    }
}

/// The range, within the text, and not in the middle of a character.
fn clamped(text: &str, range: Range<usize>) -> Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Span {
    /// `NAME:LINE:COLUMN`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.line_column(self.start);
        write!(f, "{}:{line}:{column}", self.source.name())
    }
}

/// A value and the place where the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// A value written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }

    /// The same place with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Spanned<U> {
        Spanned { value: change(self.value), span: self.span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_clamped_and_counted_in_lines_and_characters() {
        let source = Source::new("a.kdl", "é b\ncd");
        assert_eq!(source.span(3..4).to_string(), "a.kdl:1:3");
        assert_eq!(source.span(5..7).to_string(), "a.kdl:2:1");
        assert_eq!(source.span(1..2).text(), "é");
        assert_eq!(source.span(90..99).text(), "");
    }

    #[test]
    fn a_lazy_text_is_had_once_and_only_when_a_place_is_shown() {
        let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let source = Source::lazy("a.yaml", move || {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            "é b\ncd".to_owned()
        });
        let (span, gone) = (source.span_again(5..7), source.span_again(1..90));
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert_eq!((span.to_string().as_str(), span.text()), ("a.yaml:2:1", "cd"));
        assert_eq!((gone.text(), gone.range()), ("é b\ncd", 0..7));
        assert_eq!(source, Source::new("a.yaml", "é b\ncd"));
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
