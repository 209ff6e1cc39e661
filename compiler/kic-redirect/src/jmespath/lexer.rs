use serde_json::Value as Json;

use crate::fault::Fault;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Without quotes: it may be a function's name.
    Name(String),
    Quoted(String),
    Number(i64),
    Literal(Json),
    /// An operator, or a bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "||", "&&", "==", "!=", "<=", ">=", "[?", "[]", "[", "]", "{", "}", "(", ")", ".", ",", ":", "*", "@",
    "|", "<", ">", "!", "&",
];

/// The tokens of an expression, `End` last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if matches!(first, ' ' | '\t' | '\n' | '\r') {
            rest = &rest[1..];
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if first == '-' || first.is_ascii_digit() {
            let end = rest[1..].find(|digit: char| !digit.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
            let number = rest[..end].parse().map_err(|_| {
                let help = "a name with a hyphen stands in quotes, as in `a.\"b-c\".d`";
                Fault::fails(format!("`{}` is no number in `{text}`: {help}", &rest[..end]))
            })?;
            tokens.push(Token::Number(number));
            rest = &rest[end..];
        } else if let Some(after) = rest.strip_prefix('"') {
            let (inner, after) = until(after, '"', text)?;
            let name = serde_json::from_str(&format!("\"{inner}\""))
                .map_err(|_| Fault::fails(format!("`\"{inner}\"` is no name in `{text}`")))?;
            tokens.push(Token::Quoted(name));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('\'') {
            let (inner, after) = until(after, '\'', text)?;
            tokens.push(Token::Literal(Json::String(inner.replace("\\'", "'"))));
            rest = after;
        } else if let Some(after) = rest.strip_prefix('`') {
            let (inner, after) = until(after, '`', text)?;
            let inner = inner.replace("\\`", "`");
            let inner = inner.trim_start();
            // What is no JSON is a text, as in the first JMESPath.
            let value = serde_json::from_str(inner).unwrap_or_else(|_| Json::String(inner.to_owned()));
            tokens.push(Token::Literal(value));
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(Fault::fails(format!("`{first}` may not stand in the expression `{text}`")));
        }
    }
    tokens.push(Token::End);
    Ok(tokens)
}

/// What stands before the closing `quote`, and what after it.
fn until<'a>(rest: &'a str, quote: char, text: &str) -> Result<(&'a str, &'a str), Fault> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if letter == '\\' {
            escaped = true;
        } else if letter == quote {
            return Ok((&rest[..at], &rest[at + 1..]));
        }
    }
    Err(Fault::fails(format!("a `{quote}` is not closed in `{text}`")))
}
