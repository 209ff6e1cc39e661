//! The parts of a node: arguments, properties, annotations, values.

use kic_base::Spanned;

use crate::errors::{Cut, Legacy};
use crate::grammar::Parser;
use crate::lexer::{Kind, Quotes, Token};
use crate::{Entry, Value, number, string};

impl Parser<'_, '_, '_> {
    /// An argument or a property. `None` when it could not be read; what was wrong with it was told.
    pub(crate) fn entry(&mut self) -> Option<Entry> {
        if !self.spend() {
            return None;
        }
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
    pub(crate) fn annotation(&mut self) -> Option<Spanned<String>> {
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
                _ if self.errors.are_full() => Value::Null,
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
    pub(crate) fn string(&mut self, token: Token) -> String {
        match token.kind {
            Kind::Text(quotes) => string::decode(self.text, token.range(), quotes, self.errors),
            _ => self.text_of(token).to_owned(),
        }
    }
}

/// Bare words that KDL 2 gives no meaning to, so that nobody writes them for the keywords.
pub(crate) fn is_reserved(word: &str) -> bool {
    matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan")
}

/// A token for a message.
pub(crate) fn describe(kind: Kind, written: &str) -> String {
    match kind {
        Kind::End => "the end of the text".to_owned(),
        Kind::Newline | Kind::LineComment => "the end of the line".to_owned(),
        Kind::Text(Quotes::Plain | Quotes::Raw) => format!("the string {}", Cut(written)),
        Kind::Text(_) => "a string".to_owned(),
        Kind::Word | Kind::Keyword => format!("`{}`", Cut(written)),
        _ => format!("`{}`", Cut(written)),
    }
}
