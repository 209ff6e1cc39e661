use std::collections::BTreeMap;
use std::ops::Range;

use kic_base::{Source, Span, Spanned};
use kic_diag::{Diagnostic, declared as code};

use crate::entry::{describe, is_reserved};
use crate::errors::{Cut, Errors};
use crate::lexer::{Kind, Token};
use crate::{Entry, Node, number};

/// Reads tokens into nodes. Their braces pair up and do not nest deeper than the stack allows.
pub(crate) struct Parser<'a, 'e, 's> {
    source: &'a Source,
    pub(crate) text: &'a str,
    tokens: &'a [Token],
    pub(crate) at: usize,
    pub(crate) errors: &'e mut Errors<'s>,
    /// How many nodes and entries may still be read.
    left: usize,
}

/// At most so many nodes and entries are read of one text: they take a hundred times the memory of a text that
/// holds nothing else.
const MOST_PARTS: usize = 2_000_000;

impl<'a, 'e, 's> Parser<'a, 'e, 's> {
    /// A parser at the first of `tokens`, whose last one is the end of the text.
    pub(crate) fn new(source: &'a Source, tokens: &'a [Token], errors: &'e mut Errors<'s>) -> Self {
        Self { source, text: source.text(), tokens, at: 0, errors, left: MOST_PARTS }
    }

    /// The whole text.
    pub(crate) fn document(mut self) -> Vec<Node> {
        self.nodes()
    }

    /// Nodes up to a closing brace, which is left, or the end.
    fn nodes(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            self.blank();
            match self.kind() {
                Kind::End | Kind::CloseBrace => return nodes,
                Kind::Slashdash => {
                    let slashdash = self.bump();
                    self.blank();
                    if self.is_entry_or_node() {
                        self.node();
                    } else {
                        self.nothing_after(slashdash);
                    }
                }
                Kind::Semicolon => {
                    let semicolon = self.bump();
                    self.wrong(
                        semicolon.range(),
                        "a `;` without a node before it",
                        "nothing to end",
                        "delete it",
                    );
                }
                Kind::OpenBrace => self.misplaced_block(&mut nodes),
                _ => nodes.extend(self.node()),
            }
        }
    }

    /// `{` where a node was to start: most often that of the node before it, on a line of its own.
    fn misplaced_block(&mut self, nodes: &mut [Node]) {
        let opening = self.token().range();
        let span = self.span(opening.clone());
        let (children, end) = self.block();
        let error = match nodes.last_mut().filter(|node| node.children.is_none()) {
            Some(node) => {
                let error =
                    Diagnostic::new(&code::SYNTAX_ERROR, "`{` does not stand on the line of its node")
                        .at(&span, "a line break ended the node before it")
                        .at(&node.name.span, "this node has no children so")
                        .help(format!("put it on the node's line: `{} {{`", Cut(node.head().text())));
                node.children = Some(children);
                node.span = self.source.span(node.span.range().start..end);
                error
            }
            None => Diagnostic::new(&code::SYNTAX_ERROR, "a block without a node before it")
                .at(&span, "expected the name of a node")
                .help("write a name before the brace: `name {`; KDL has no bare blocks as JSON has"),
        };
        self.errors.push(error);
    }

    fn node(&mut self) -> Option<Node> {
        if !self.spend() {
            return None;
        }
        let start = self.token().range().start;
        let annotation = self.annotation();
        let name_token = self.token();
        let Some(name) = self.node_name() else {
            self.skip_line();
            return None;
        };
        let mut node = Node {
            annotation,
            span: self.span(start..name_token.range().end),
            name,
            entries: Vec::new(),
            children: None,
        };
        let mut end = name_token.range().end;
        let mut slashdashed_block = false;
        loop {
            let spaced = self.space();
            let token = self.token();
            match token.kind {
                Kind::End | Kind::Newline | Kind::LineComment | Kind::CloseBrace => break,
                Kind::Semicolon => {
                    self.bump();
                    break;
                }
                Kind::Slashdash => {
                    self.bump();
                    if !spaced && node.children.is_none() {
                        self.wrong(
                            token.range(),
                            "a space is missing before `/-`",
                            "no space before it",
                            "add one",
                        );
                    }
                    self.blank();
                    if self.kind() == Kind::OpenBrace {
                        self.block();
                        slashdashed_block = true;
                    } else if !self.is_entry_or_node() {
                        self.nothing_after(token);
                    } else if node.children.is_some() || slashdashed_block {
                        self.after_block();
                        self.entry();
                    } else {
                        self.entry();
                    }
                }
                Kind::OpenBrace => {
                    if node.children.is_some() {
                        self.wrong(
                            token.range(),
                            "a node has two blocks of children",
                            "the second",
                            "join them in one block",
                        );
                    }
                    let (children, block_end) = self.block();
                    node.children.get_or_insert_default().extend(children);
                    end = block_end;
                }
                Kind::Equals => self.misplaced_equals(&node),
                Kind::CloseParenthesis => {
                    self.bump();
                    self.wrong(
                        token.range(),
                        "a `)` without `(`",
                        "nothing to close",
                        "delete it, or put the text in quotes",
                    );
                }
                _ if node.children.is_some() => {
                    // The next turn of `nodes` reads it as a node of its own.
                    self.after_block();
                    break;
                }
                _ => {
                    if slashdashed_block {
                        self.after_block();
                    } else if !spaced {
                        self.missing_space(token);
                    }
                    if let Some(entry) = self.entry() {
                        end = entry.span.range().end;
                        node.entries.push(entry);
                    }
                }
            }
        }
        node.span = self.span(start..end);
        self.check_duplicates(&node.entries);
        Some(node)
    }

    /// Counts a node or an entry. After the last that may be read it is `false`, at the end of the text.
    pub(crate) fn spend(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                self.errors.add(
                    &code::TEXT_TOO_LARGE,
                    self.token().range(),
                    format!("the text has more than {MOST_PARTS} nodes and values"),
                    "nothing is read from here on",
                    "put large contents into files of their own, and name those here",
                );
            }
        }
        if self.left == 0 {
            self.at = self.tokens.len() - 1;
        }
        self.left > 0
    }

    fn node_name(&mut self) -> Option<Spanned<String>> {
        let token = self.token();
        let written = self.text_of(token);
        match token.kind {
            Kind::Word if number::is_number(written) => self.wrong(
                token.range(),
                format!("a node is named `{}`, a number", Cut(written)),
                "expected a name",
                format!("a name that starts with a digit goes in quotes: `\"{}\"`", Cut(written)),
            ),
            Kind::Word if is_reserved(written) => self.wrong(
                token.range(),
                format!("a node is named `{written}`, which KDL keeps for its keywords"),
                "expected a name",
                format!("put the name in quotes: `\"{written}\"`"),
            ),
            Kind::Keyword => self.wrong(
                token.range(),
                format!("a node is named `{}`, a keyword", Cut(written)),
                "expected a name",
                "a node starts with its name; values come after it",
            ),
            Kind::Word | Kind::Text(_) => {}
            _ => {
                self.wrong(
                    token.range(),
                    format!("{} where a node was to start", describe(token.kind, written)),
                    "expected the name of a node",
                    "a node is a name, then its values, then its children in braces",
                );
                return None;
            }
        }
        self.bump();
        Some(Spanned::new(self.string(token), self.span(token.range())))
    }

    /// `{ … }`: the children and the end of the closing brace.
    fn block(&mut self) -> (Vec<Node>, usize) {
        self.bump();
        let nodes = self.nodes();
        let end = self.token().range().end;
        if self.kind() == Kind::CloseBrace {
            self.bump();
        }
        (nodes, end)
    }

    fn misplaced_equals(&mut self, node: &Node) {
        let equals = self.bump();
        let name = &node.name.value;
        let (message, help) = if node.entries.is_empty() {
            (
                format!("the node `{}` is followed by `=`", Cut(name)),
                format!(
                    "a node takes its values without `=`: `{} \"value\"`; `=` stands between the name and the value of a property of a node",
                    Cut(node.head().text())
                ),
            )
        } else {
            (
                "a `=` without the name of a property before it".to_owned(),
                "a property is `name=value`; a text with `=` in it goes in quotes".to_owned(),
            )
        };
        self.wrong(equals.range(), message, "not here", help);
    }

    fn missing_space(&mut self, token: Token) {
        let written = self.text_of(token);
        let previous = self.tokens[self.at - 1];
        let (message, help) = match written.as_bytes() {
            [b',', ..] => {
                ("a comma after a value".to_owned(), "KDL separates values by spaces: delete the comma")
            }
            [b':', ..] => (
                "a colon after a name".to_owned(),
                "KDL has no colons as JSON and YAML have: write `name value`, or `name=value` for a property",
            ),
            _ => (
                format!("a space is missing after `{}`", Cut(self.text_of(previous))),
                "put a space between values; a `\"` in a string is written `\\\"`",
            ),
        };
        self.wrong(token.range(), message, "directly after it", help);
    }

    fn after_block(&mut self) {
        let range = self.token().range();
        self.wrong(
            range,
            "a node goes on after its children",
            "expected a line break or `;`",
            "values stand before the children; another node starts on a line of its own",
        );
    }

    fn nothing_after(&mut self, slashdash: Token) {
        self.wrong(
            slashdash.range(),
            "`/-` has nothing to take out",
            "expected a node, a value or a block after it",
            "`/-` takes out what comes next; a comment starts with `//`",
        );
    }

    fn check_duplicates(&mut self, entries: &[Entry]) {
        let mut names = entries.iter().filter_map(|entry| entry.name.as_ref());
        let Some(first) = names.next() else { return };
        let mut seen = BTreeMap::from([(first.value.as_str(), &first.span)]);
        for name in names {
            let Some(first) = seen.insert(&name.value, &name.span) else { continue };
            let message = format!("the property `{}` is given twice", Cut(&name.value));
            let error = Diagnostic::new(&code::DUPLICATE_PROPERTY, message)
                .at(&name.span, "and again here")
                .at(first, "here")
                .help("delete one: KDL alone would take the last in silence");
            self.errors.push(error);
        }
    }

    /// Skips to the end of the line, over whole blocks.
    fn skip_line(&mut self) {
        let mut depth = 0;
        loop {
            match self.kind() {
                Kind::End => return,
                Kind::Newline | Kind::CloseBrace if depth == 0 => return,
                Kind::OpenBrace => depth += 1,
                Kind::CloseBrace => depth -= 1,
                _ => {}
            }
            self.bump();
        }
    }

    /// Skips what may stand between nodes, and after `/-`.
    fn blank(&mut self) {
        while self.space() || matches!(self.kind(), Kind::Newline | Kind::LineComment) {
            if matches!(self.kind(), Kind::Newline | Kind::LineComment) {
                self.bump();
            }
        }
    }

    /// Skips what may stand between the parts of a node: spaces, block comments, and `\` with the end of its
    /// line. Whether there was any.
    pub(crate) fn space(&mut self) -> bool {
        let start = self.at;
        loop {
            match self.kind() {
                Kind::Space | Kind::BlockComment => {
                    self.bump();
                }
                Kind::Continuation => {
                    let continuation = self.bump();
                    while matches!(self.kind(), Kind::Space | Kind::BlockComment) {
                        self.bump();
                    }
                    if self.kind() == Kind::LineComment {
                        self.bump();
                    }
                    match self.kind() {
                        Kind::Newline => {
                            self.bump();
                        }
                        Kind::End => {}
                        _ => self.wrong(
                            continuation.range(),
                            "a `\\` is not at the end of its line",
                            "expected the line to end after it",
                            "`\\` lets a node go on on the next line; in a text it stands in quotes",
                        ),
                    }
                }
                _ => return self.at > start,
            }
        }
    }

    fn is_entry_or_node(&self) -> bool {
        !matches!(
            self.kind(),
            Kind::End | Kind::CloseBrace | Kind::OpenBrace | Kind::Semicolon | Kind::Slashdash | Kind::Equals
        )
    }

    pub(crate) fn wrong(
        &mut self,
        range: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.errors.add(&code::SYNTAX_ERROR, range, message, label, help);
    }

    pub(crate) fn token(&self) -> Token {
        self.tokens[self.at]
    }

    pub(crate) fn kind(&self) -> Kind {
        self.tokens[self.at].kind
    }

    /// The token, left behind; the end stays.
    pub(crate) fn bump(&mut self) -> Token {
        let token = self.tokens[self.at];
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    pub(crate) fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.range()]
    }

    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        self.source.span(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer;

    #[test]
    fn nodes_beyond_the_bound_are_not_read() {
        let source = Source::new("a.kdl", "a 1 { b 2; c }\nd");
        for (left, nodes, told) in [(10, 2, 0), (5, 1, 1), (3, 1, 1), (1, 0, 1)] {
            let mut errors = Errors::new(&source);
            let tokens = lexer::tokens(source.text(), &mut errors);
            let mut parser = Parser::new(&source, &tokens, &mut errors);
            parser.left = left;
            assert_eq!(parser.document().len(), nodes, "{left}");
            let errors = errors.finish(None);
            let codes: Vec<_> = errors.iter().map(|error| error.code.name).collect();
            assert_eq!(
                codes.iter().filter(|code| **code == "text-too-large").count(),
                told,
                "{left} {codes:?}"
            );
        }
    }
}
