use std::collections::BTreeMap;
use std::ops::Range;

use kic_base::{Source, Span, Spanned};
use kic_diag::{Diagnostic, declared as code};

use crate::errors::{Cut, Errors, Legacy};
use crate::lexer::{Kind, Quotes, Token};
use crate::{Entry, Node, Value, number, string};

/// Reads tokens into nodes. Their braces pair up and do not nest deeper than the stack allows.
pub(crate) struct Parser<'a, 'e, 's> {
    source: &'a Source,
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    errors: &'e mut Errors<'s>,
}

impl<'a, 'e, 's> Parser<'a, 'e, 's> {
    /// A parser at the first of `tokens`, whose last one is the end of the text.
    pub(crate) fn new(source: &'a Source, tokens: &'a [Token], errors: &'e mut Errors<'s>) -> Self {
        Self { source, text: source.text(), tokens, at: 0, errors }
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

    /// An argument or a property. `None` when it could not be read; what was wrong with it was told.
    fn entry(&mut self) -> Option<Entry> {
        let start = self.token().range().start;
        let annotation = self.annotation();
        let first = self.token();
        if !matches!(first.kind, Kind::Word | Kind::Keyword | Kind::Text(_)) {
            let written = self.text_of(first);
            self.wrong(
                first.range(),
                format!("{} where a value was to stand", describe(first.kind, written)),
                "expected a value",
                "a value is a word, a string in quotes, a number, #true, #false or #null",
            );
            if first.kind == Kind::Stray {
                self.bump();
            }
            return None;
        }
        self.bump();
        let after_first = self.at;
        self.space();
        if self.kind() != Kind::Equals {
            self.at = after_first;
            let value = self.value(first);
            let span = self.span(start..first.range().end);
            return Some(Entry { name: None, annotation, value, value_span: self.span(first.range()), span });
        }
        let equals = self.bump();
        let name = self.property_name(first);
        if let Some(annotation) = &annotation {
            let help = format!("write `{}=({})value`", Cut(&name), Cut(annotation));
            let range = annotation.span.range();
            self.wrong(
                range,
                "an annotation stands before a property's name",
                "it belongs to the value",
                help,
            );
        }
        self.space();
        let annotation = self.annotation();
        let token = self.token();
        if !matches!(token.kind, Kind::Word | Kind::Keyword | Kind::Text(_)) {
            let written = self.text_of(token);
            self.wrong(
                equals.range(),
                format!("the property `{}` has no value", Cut(&name)),
                format!("expected a value after it, not {}", describe(token.kind, written)),
                "write the value behind the `=`; an empty text is `\"\"`, no value at all is `#null`",
            );
            return None;
        }
        self.bump();
        Some(Entry {
            name: Some(Spanned::new(name, self.span(first.range()))),
            annotation,
            value: self.value(token),
            value_span: self.span(token.range()),
            span: self.span(start..token.range().end),
        })
    }

    fn property_name(&mut self, token: Token) -> String {
        let written = self.text_of(token);
        let bad = token.kind == Kind::Keyword
            || (token.kind == Kind::Word && (number::is_number(written) || is_reserved(written)));
        if bad {
            self.wrong(
                token.range(),
                format!("a property is named `{}`, which is no bare string", Cut(written)),
                "expected a name",
                format!("put the name in quotes: `\"{}\"=`", Cut(written)),
            );
        }
        self.string(token)
    }

    /// `(string)`, and the space after it.
    fn annotation(&mut self) -> Option<Spanned<String>> {
        if self.kind() != Kind::OpenParenthesis {
            return None;
        }
        let opening = self.bump();
        self.space();
        let token = self.token();
        let mut annotation = None;
        if matches!(token.kind, Kind::Word | Kind::Text(_)) {
            self.bump();
            annotation = Some(Spanned::new(self.string(token), self.span(token.range())));
            self.space();
        }
        if annotation.is_none() || self.kind() != Kind::CloseParenthesis {
            let help = "parentheses hold one word that says of which type the value is: `(duration)\"5m\"`; other text goes in quotes";
            let label =
                if annotation.is_none() { "expected one word in it" } else { "expected `)` after one word" };
            self.wrong(opening.range(), "parentheses do not hold one word", label, help);
            while !matches!(
                self.kind(),
                Kind::CloseParenthesis
                    | Kind::Newline
                    | Kind::OpenBrace
                    | Kind::CloseBrace
                    | Kind::End
                    | Kind::Semicolon
            ) {
                self.bump();
            }
        }
        if self.kind() == Kind::CloseParenthesis {
            self.bump();
        }
        self.space();
        annotation
    }

    fn value(&mut self, token: Token) -> Value {
        let written = self.text_of(token);
        match token.kind {
            Kind::Keyword => match written {
                "#true" => Value::Bool(true),
                "#false" => Value::Bool(false),
                "#null" => Value::Null,
                "#inf" => Value::Float(f64::INFINITY),
                "#-inf" => Value::Float(f64::NEG_INFINITY),
                "#nan" => Value::Float(f64::NAN),
                _ => {
                    let keywords = ["#true", "#false", "#null", "#inf", "#-inf", "#nan"];
                    let help = match kic_base::closest(written, keywords) {
                        Some(near) => {
                            format!("did you mean `{near}`? a text goes in quotes: `\"{}\"`", Cut(written))
                        }
                        None => format!("a text with `#` in it goes in quotes: `\"{}\"`", Cut(written)),
                    };
                    let message = format!("KDL has no keyword `{}`", Cut(written));
                    self.wrong(token.range(), message, "not #true, #false, #null, #inf, #-inf or #nan", help);
                    Value::Null
                }
            },
            Kind::Word => match written {
                "true" | "false" | "null" => {
                    self.errors.legacy(token.range(), Legacy::Keyword);
                    if written == "null" { Value::Null } else { Value::Bool(written == "true") }
                }
                "inf" | "-inf" | "nan" => {
                    let help = format!("write `#{written}` for the number, or `\"{written}\"` for the text");
                    self.wrong(
                        token.range(),
                        format!("`{written}` is no bare string"),
                        "kept for the number",
                        help,
                    );
                    Value::String(written.to_owned())
                }
                _ if number::is_number(written) => number::decode(written, token.range(), self.errors),
                _ => Value::String(written.to_owned()),
            },
            _ => Value::String(self.string(token)),
        }
    }

    /// The text of a word or string.
    fn string(&mut self, token: Token) -> String {
        match token.kind {
            Kind::Text(quotes) => string::decode(self.text, token.range(), quotes, self.errors),
            _ => self.text_of(token).to_owned(),
        }
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
        let names = entries.iter().filter_map(|entry| entry.name.as_ref());
        // Few nodes have many properties; the map is for those that are made to take long.
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for name in names {
            match seen.get(name.value.as_str()) {
                None => {
                    seen.insert(&name.value, &name.span);
                }
                Some(first) => {
                    let message = format!("the property `{}` is given twice", Cut(&name.value));
                    let error = Diagnostic::new(&code::DUPLICATE_PROPERTY, message)
                        .at(&name.span, "and again here")
                        .at(first, "here")
                        .help("delete one: KDL alone would take the last in silence");
                    self.errors.push(error);
                }
            }
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
    fn space(&mut self) -> bool {
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

    fn wrong(
        &mut self,
        range: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.errors.add(&code::SYNTAX_ERROR, range, message, label, help);
    }

    fn token(&self) -> Token {
        self.tokens[self.at]
    }

    fn kind(&self) -> Kind {
        self.tokens[self.at].kind
    }

    /// The token, left behind; the end stays.
    fn bump(&mut self) -> Token {
        let token = self.tokens[self.at];
        if token.kind != Kind::End {
            self.at += 1;
        }
        token
    }

    fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.range()]
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.source.span(range)
    }
}

/// Bare words that KDL 2 gives no meaning to, so that nobody writes them for the keywords.
fn is_reserved(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan")
}

fn describe(kind: Kind, written: &str) -> String {
    match kind {
        Kind::End => "the end of the text".to_owned(),
        Kind::Newline | Kind::LineComment => "the end of the line".to_owned(),
        Kind::Text(Quotes::Plain | Quotes::Raw) => format!("the string {}", Cut(written)),
        Kind::Text(_) => "a string".to_owned(),
        Kind::Word | Kind::Keyword => format!("`{}`", Cut(written)),
        _ => format!("`{}`", Cut(written)),
    }
}
