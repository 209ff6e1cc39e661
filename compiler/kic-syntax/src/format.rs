use std::ops::Range;

use kic_base::Source;
use kic_diag::{Diagnostic, Diagnostics, declared as code};

use crate::errors::Errors;
use crate::lexer::{self, Kind, Token};
use crate::{File, Node, parse};

/// The text in the one layout of kic. It has the same nodes, values and comments, and formats to itself.
///
/// - Four spaces a level, one space between the parts of a node, none round `=`; line feeds; no `;` but between
///   nodes in a block on one line.
/// - The spelling of strings and numbers stays, multi-line strings and block comments stay to the letter.
/// - A block written on one line stays on one line; so does each `\` at the end of a line inside a node.
/// - One blank line stays between nodes where there was any; none at the start or the end of a block.
/// - `//` after a node stays there, one space behind it; where such comments on lines that follow one another
///   start in the same column, they do so again.
///
/// # Errors
///
/// A text with errors is not formatted: they come back.
pub fn format(source: &Source) -> Result<String, Diagnostics> {
    let (before, diagnostics) = parse(source);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let tokens = lexer::tokens(source.text(), &mut Errors::new(source));
    let mut formatter =
        Formatter { text: source.text(), tokens: &tokens, at: 0, out: String::new(), trailing: Vec::new() };
    formatter.out.reserve(source.text().len());
    formatter.nodes(0, Layout::Lines);
    if !formatter.out.is_empty() {
        formatter.out.push('\n');
    }
    let formatted = formatter.aligned();
    // Cheap next to what a lost line of a spec would cost.
    let after = Source::new(source.name(), formatted);
    if is_same(&before, &parse(&after)) && comments(source) == comments(&after) {
        return Ok(after.text().to_owned());
    }
    let message = "the formatter would have changed what the text means, so it left it alone";
    Err(Diagnostic::new(&code::INTERNAL, message).at(&source.span(0..0), "in this text").into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A node a line.
    Lines,
    /// `{ a; b }`
    OneLine,
}

/// A `//` comment behind a node.
struct Trailing {
    /// Where it starts in the output.
    at: usize,
    /// In which column, from 0 and in characters, it started in the text.
    column: usize,
}

/// Line ends inside a node that were passed and not written yet, with the comments on those lines.
#[derive(Default)]
struct Continuations {
    any: bool,
    blocks: Vec<Token>,
    lines: Vec<Token>,
}

struct Formatter<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    out: String,
    trailing: Vec<Trailing>,
}

impl Formatter<'_> {
    /// Nodes and comments up to a closing brace, which is left, or the end.
    fn nodes(&mut self, depth: usize, layout: Layout) {
        // Newlines since the last node, comment or brace.
        let mut newlines = 0;
        let mut first = true;
        // Whether a block comment was written that the next node follows on the same line.
        let mut glued = false;
        loop {
            let token = self.token();
            match token.kind {
                Kind::End | Kind::CloseBrace => return,
                Kind::Space | Kind::Semicolon | Kind::Continuation => self.at += 1,
                Kind::Newline => {
                    newlines += 1;
                    self.at += 1;
                }
                Kind::LineComment => {
                    self.at += 1;
                    if newlines == 0 && !self.out.is_empty() {
                        self.trailing_comment(token);
                    } else {
                        self.begin(depth, layout, first, newlines);
                        self.push(token);
                        first = false;
                    }
                    newlines = 0;
                    glued = false;
                }
                Kind::BlockComment => {
                    self.at += 1;
                    let ends = self.line_ends();
                    if glued || (newlines == 0 && ends && !self.out.is_empty()) {
                        self.out.push(' ');
                    } else {
                        self.begin(depth, layout, first, newlines);
                        first = false;
                    }
                    self.push(token);
                    glued = !ends;
                    newlines = 0;
                }
                _ => {
                    if glued {
                        self.out.push(' ');
                    } else {
                        self.begin(depth, layout, first, newlines);
                    }
                    (first, glued) = (false, false);
                    if token.kind == Kind::Slashdash {
                        self.slashdash(depth);
                    }
                    newlines = self.node(depth);
                }
            }
        }
    }

    /// Goes to where the next node or comment starts.
    fn begin(&mut self, depth: usize, layout: Layout, first: bool, newlines: usize) {
        match layout {
            Layout::OneLine if first => self.out.push(' '),
            Layout::OneLine => self.out.push_str("; "),
            Layout::Lines => {
                if !self.out.is_empty() {
                    self.out.push('\n');
                }
                if !first && newlines > 1 {
                    self.out.push('\n');
                }
                self.indent(depth);
            }
        }
    }

    /// A node without the comment behind it. Gives the number of newlines that it took.
    fn node(&mut self, depth: usize) -> usize {
        self.annotation(depth);
        self.copy();
        let mut passed = Continuations::default();
        loop {
            match self.kind() {
                Kind::Space => self.at += 1,
                Kind::Continuation => self.continuation(&mut passed),
                Kind::Semicolon => {
                    self.at += 1;
                    return self.end_continued(passed, depth);
                }
                Kind::End | Kind::Newline | Kind::CloseBrace | Kind::LineComment => {
                    return self.end_continued(passed, depth);
                }
                kind => {
                    self.out.push(' ');
                    self.continue_line(std::mem::take(&mut passed), depth);
                    match kind {
                        Kind::BlockComment => self.copy(),
                        Kind::OpenBrace => self.block(depth),
                        Kind::Slashdash => {
                            self.slashdash(depth + 1);
                            if self.kind() == Kind::OpenBrace { self.block(depth) } else { self.entry(depth) }
                        }
                        _ => self.entry(depth),
                    }
                }
            }
        }
    }

    /// Writes the line ends that were passed, behind a space, where the node goes on after them.
    fn continue_line(&mut self, passed: Continuations, depth: usize) {
        for comment in passed.blocks {
            self.push(comment);
            self.out.push(' ');
        }
        if passed.any && passed.lines.is_empty() {
            self.out.push_str("\\\n");
            self.indent(depth + 1);
        }
        for comment in passed.lines {
            self.out.push_str("\\ ");
            self.push(comment);
            self.out.push('\n');
            self.indent(depth + 1);
        }
    }

    /// Writes the comments of the line ends that were passed, where the node ended after them: the first
    /// behind the node, the others on lines of their own.
    fn end_continued(&mut self, passed: Continuations, depth: usize) -> usize {
        for comment in passed.blocks {
            self.out.push(' ');
            self.push(comment);
        }
        let newlines = usize::from(!passed.lines.is_empty());
        for (number, comment) in passed.lines.into_iter().enumerate() {
            if number == 0 {
                self.trailing_comment(comment);
            } else {
                self.begin(depth, Layout::Lines, false, 1);
                self.push(comment);
            }
        }
        newlines
    }

    /// `/-` and what stands between it and what it takes out.
    fn slashdash(&mut self, depth: usize) {
        self.copy();
        let spaced = self.kind() == Kind::Space;
        let mut after_comment = false;
        loop {
            match self.kind() {
                Kind::Space | Kind::Newline | Kind::Continuation => self.at += 1,
                Kind::BlockComment => {
                    self.out.push(' ');
                    self.copy();
                    after_comment = true;
                }
                Kind::LineComment => {
                    self.out.push(' ');
                    self.copy();
                    self.out.push('\n');
                    self.indent(depth);
                    after_comment = false;
                }
                _ => break,
            }
        }
        if after_comment || (spaced && self.out.ends_with("/-")) {
            self.out.push(' ');
        }
    }

    fn block(&mut self, depth: usize) {
        let layout = self.layout();
        self.copy();
        let start = self.out.len();
        self.nodes(if layout == Layout::Lines { depth + 1 } else { depth }, layout);
        if self.out.len() > start {
            match layout {
                Layout::OneLine => self.out.push(' '),
                Layout::Lines => {
                    self.out.push('\n');
                    self.indent(depth);
                }
            }
        }
        self.copy();
    }

    /// How the block that starts here was written.
    fn layout(&self) -> Layout {
        let mut depth = 0;
        for token in &self.tokens[self.at..] {
            match token.kind {
                Kind::OpenBrace => depth += 1,
                Kind::CloseBrace => depth -= 1,
                Kind::Newline | Kind::LineComment | Kind::End => return Layout::Lines,
                Kind::Text(_) | Kind::BlockComment if self.text[token.range()].contains(['\n', '\r']) => {
                    return Layout::Lines;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        Layout::OneLine
    }

    fn entry(&mut self, depth: usize) {
        self.annotation(depth);
        self.copy();
        let after = self.at;
        self.skip_space();
        let is_property = self.kind() == Kind::Equals;
        self.at = after;
        if is_property {
            self.tight(depth);
            self.copy();
            self.tight(depth);
            self.annotation(depth);
            self.copy();
        }
    }

    fn skip_space(&mut self) {
        loop {
            match self.kind() {
                Kind::Space | Kind::BlockComment => self.at += 1,
                Kind::Continuation => self.continuation(&mut Continuations::default()),
                _ => return,
            }
        }
    }

    /// `(type)`
    fn annotation(&mut self, depth: usize) {
        if self.kind() == Kind::OpenParenthesis {
            self.copy();
            self.tight(depth);
            self.copy();
            self.tight(depth);
            self.copy();
            self.tight(depth);
        }
    }

    /// Leaves out spaces, and keeps comments, where nothing else may stand.
    fn tight(&mut self, depth: usize) {
        let mut passed = Continuations::default();
        loop {
            match self.kind() {
                Kind::Space => self.at += 1,
                Kind::BlockComment => {
                    passed.blocks.push(self.token());
                    self.at += 1;
                }
                Kind::Continuation => self.continuation(&mut passed),
                _ => break,
            }
        }
        for comment in passed.blocks {
            self.push(comment);
        }
        for comment in passed.lines {
            self.out.push_str(" \\ ");
            self.push(comment);
            self.out.push('\n');
            self.indent(depth + 1);
        }
    }

    /// Passes `\`, the end of its line, and the comments between them.
    fn continuation(&mut self, passed: &mut Continuations) {
        passed.any = true;
        self.at += 1;
        loop {
            match self.kind() {
                Kind::Space => {}
                Kind::BlockComment => passed.blocks.push(self.token()),
                Kind::LineComment => passed.lines.push(self.token()),
                Kind::Newline => {
                    self.at += 1;
                    return;
                }
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Whether nothing follows on this line that is not a comment or the end of a block.
    fn line_ends(&self) -> bool {
        let mut rest = self.tokens[self.at..].iter().map(|token| token.kind);
        let next = rest.find(|kind| !matches!(kind, Kind::Space | Kind::BlockComment | Kind::Semicolon));
        matches!(next, None | Some(Kind::Newline | Kind::End | Kind::CloseBrace | Kind::LineComment))
    }

    fn trailing_comment(&mut self, token: Token) {
        let index = self.tokens.partition_point(|before| before.start < token.start);
        let mut column = 0;
        for before in self.tokens[..index].iter().rev() {
            let written = &self.text[before.range()];
            let line = written.rsplit(['\n', '\r']).next().unwrap_or_default();
            if before.kind != Kind::Newline {
                column += line.chars().count();
            }
            if before.kind == Kind::Newline || line.len() < written.len() {
                break;
            }
        }
        self.out.push(' ');
        self.trailing.push(Trailing { at: self.out.len(), column });
        self.push(token);
    }

    /// The output, with the comments that stood in one column in one column again.
    fn aligned(self) -> String {
        let Self { out, trailing, .. } = self;
        let line_start = |at: usize| out[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let mut result = String::with_capacity(out.len() + 64);
        let mut copied = 0;
        let mut from = 0;
        while from < trailing.len() {
            let mut to = from + 1;
            while trailing.get(to).is_some_and(|next| {
                let previous = &trailing[to - 1];
                let lines = out[previous.at..next.at].matches('\n').count();
                next.column == previous.column && lines == 1
            }) {
                to += 1;
            }
            let width = |one: &Trailing| out[line_start(one.at)..one.at].chars().count();
            let widest = trailing[from..to].iter().map(width).max().unwrap_or(0);
            for one in &trailing[from..to] {
                result.push_str(&out[copied..one.at]);
                result.extend(std::iter::repeat_n(' ', widest - width(one)));
                copied = one.at;
            }
            from = to;
        }
        result.push_str(&out[copied..]);
        result
    }

    fn indent(&mut self, depth: usize) {
        self.out.extend(std::iter::repeat_n("    ", depth));
    }

    /// Writes the token that comes next.
    fn copy(&mut self) {
        self.push(self.token());
        if self.kind() != Kind::End {
            self.at += 1;
        }
    }

    fn push(&mut self, token: Token) {
        let written = &self.text[token.range()];
        match token.kind {
            Kind::LineComment => self.out.push_str(written.trim_end()),
            Kind::Text(_) | Kind::BlockComment if written.contains('\r') => {
                // KDL reads every line break in a string as a line feed.
                self.out.push_str(&written.replace("\r\n", "\n").replace('\r', "\n"));
            }
            _ => self.out.push_str(written),
        }
    }

    fn token(&self) -> Token {
        self.tokens[self.at]
    }

    fn kind(&self) -> Kind {
        self.tokens[self.at].kind
    }
}

fn is_same(before: &File, after: &(File, Diagnostics)) -> bool {
    !after.1.has_errors() && are_same(&before.nodes, &after.0.nodes)
}

fn are_same(before: &[Node], after: &[Node]) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            let annotation = |node: &Node| node.annotation.as_ref().map(|annotation| annotation.value.clone());
            before.name.value == after.name.value
                && annotation(before) == annotation(after)
                && before.children.is_some() == after.children.is_some()
                && before.entries.len() == after.entries.len()
                && before.entries.iter().zip(&after.entries).all(|(before, after)| {
                    let text = |name: &Option<kic_base::Spanned<String>>| name.as_ref().map(|name| name.value.clone());
                    text(&before.name) == text(&after.name)
                        && text(&before.annotation) == text(&after.annotation)
                        // The spelling stays, so `#nan`, which equals nothing, needs no care.
                        && (before.value == after.value || before.value_span.text() == after.value_span.text())
                })
                && are_same(before.children(), after.children())
        })
}

/// All comments, and how much is taken out by `/-`.
fn comments(source: &Source) -> Vec<String> {
    let text =
        |range: Range<usize>| source.text()[range].trim_end().replace("\r\n", "\n").replace('\r', "\n");
    lexer::tokens(source.text(), &mut Errors::new(source))
        .into_iter()
        .filter(|token| matches!(token.kind, Kind::LineComment | Kind::BlockComment | Kind::Slashdash))
        .map(|token| text(token.range()))
        .collect()
}
