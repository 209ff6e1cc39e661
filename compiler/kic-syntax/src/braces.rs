//! Braces that do not pair up: which one is missing or too many, by the indentation, and tokens in which they
//! pair up again, so that the parser sees the tree that was meant.

use kic_diag::{Diagnostic, declared as code};

use crate::errors::Errors;
use crate::lexer::{Kind, Token};

/// The deepest that blocks may nest. The parser and whoever walks the tree may recurse so far: a level takes a
/// few kilobytes of stack.
pub(crate) const DEEPEST: usize = 128;

/// Makes the braces pair up, and blanks what nests deeper than [`DEEPEST`].
pub(crate) fn balance(tokens: Vec<Token>, errors: &mut Errors<'_>) -> Vec<Token> {
    let mut tokens = tokens;
    let plain = pair_plainly(&tokens);
    if !plain.unclosed.is_empty() || !plain.extra.is_empty() {
        let guided = pair_by_indentation(&tokens);
        let right = if guided.count() <= plain.count() { guided } else { plain };
        report(&right, &tokens, errors);
        tokens = repaired(tokens, right);
    }
    blank_the_deepest(&mut tokens, errors);
    tokens
}

/// What does not pair up. Indices are of tokens.
#[derive(Default)]
struct Pairing {
    /// An opening brace, and the token before which its closing one was expected.
    unclosed: Vec<(usize, usize)>,
    /// A closing brace too many, and the block whose end it may have been meant for.
    extra: Vec<(usize, Option<(usize, usize)>)>,
}

impl Pairing {
    fn count(&self) -> usize {
        self.unclosed.len() + self.extra.len()
    }
}

fn pair_plainly(tokens: &[Token]) -> Pairing {
    let mut pairing = Pairing::default();
    let mut open = Vec::new();
    let mut last = None;
    for (index, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::OpenBrace => open.push(index),
            Kind::CloseBrace => match open.pop() {
                Some(opening) => last = Some((opening, index)),
                None => pairing.extra.push((index, last)),
            },
            _ => {}
        }
    }
    // The innermost first: their closing braces are to stand in that order.
    pairing.unclosed = open.into_iter().rev().map(|opening| (opening, tokens.len() - 1)).collect();
    pairing
}

/// Pairs a closing brace that is the first on its line with the block whose first line is indented as far.
fn pair_by_indentation(tokens: &[Token]) -> Pairing {
    let mut pairing = Pairing::default();
    let mut open: Vec<(usize, u32, u32)> = Vec::new();
    let mut last = None;
    let mut line_start = 0;
    let mut indentation = None;
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Newline {
            line_start = token.end;
            indentation = None;
            continue;
        }
        if token.kind == Kind::Space {
            continue;
        }
        let is_first = indentation.is_none();
        let own = *indentation.get_or_insert(token.start - line_start);
        match token.kind {
            Kind::OpenBrace => open.push((index, own, line_start)),
            Kind::CloseBrace => {
                // A search of the whole stack would take time in proportion to the square of the text.
                let near = open.iter().rev().take(256).position(|(_, indentation, _)| *indentation == own);
                match (open.last(), near) {
                    (None, _) => pairing.extra.push((index, last)),
                    (Some(_), Some(above)) if is_first => {
                        for _ in 0..above {
                            pairing.unclosed.extend(open.pop().map(|(opening, ..)| (opening, index)));
                        }
                        last = open.pop().map(|(opening, ..)| (opening, index));
                    }
                    (Some((_, outer, _)), None) if is_first && *outer < own => {
                        pairing.extra.push((index, last))
                    }
                    // A block that a line closes behind other things is one that it opened.
                    (Some((.., line)), _) if !is_first && *line != line_start => {
                        pairing.extra.push((index, last))
                    }
                    _ => last = open.pop().map(|(opening, ..)| (opening, index)),
                }
            }
            _ => {}
        }
    }
    pairing.unclosed.extend(open.into_iter().rev().map(|(opening, ..)| (opening, tokens.len() - 1)));
    pairing
}

fn report(pairing: &Pairing, tokens: &[Token], errors: &mut Errors<'_>) {
    for (opening, before) in &pairing.unclosed {
        let at_the_end = tokens[*before].kind == Kind::End;
        if at_the_end && errors.has_lost_the_end {
            continue;
        }
        let (label, help) = if at_the_end {
            ("expected its `}` before the text ends here", "close the block with `}`")
        } else {
            (
                "by its indentation this closes an outer block: expected a `}` before it",
                "close the inner block with `}` on a line of its own, indented as the line that opens it",
            )
        };
        let error = Diagnostic::new(&code::UNBALANCED_BRACE, "a block is never closed")
            .at(&errors.span(tokens[*opening].range()), "it is opened here")
            .at(&errors.span(tokens[*before].range()), label)
            .help(help);
        errors.push(error);
    }
    for (extra, last) in &pairing.extra {
        let mut error = Diagnostic::new(&code::UNBALANCED_BRACE, "a closing brace without an open block")
            .at(&errors.span(tokens[*extra].range()), "nothing is open that this could close");
        if let Some((opening, closing)) = last {
            error = error
                .at(&errors.span(tokens[*opening].range()), "the last block before it is opened here")
                .at(&errors.span(tokens[*closing].range()), "and closed here already");
        }
        errors.push(error.help("delete one of the closing braces, or open the block that it was to close"));
    }
}

/// The tokens with the missing braces, each of no length, and without those too many.
fn repaired(mut tokens: Vec<Token>, mut pairing: Pairing) -> Vec<Token> {
    for (extra, _) in pairing.extra {
        tokens[extra].kind = Kind::Space;
    }
    pairing.unclosed.sort_by_key(|(_, before)| *before);
    let mut missing = pairing.unclosed.into_iter().map(|(_, before)| before).peekable();
    let mut repaired = Vec::with_capacity(tokens.len() + 16);
    for (index, token) in tokens.into_iter().enumerate() {
        while missing.next_if_eq(&index).is_some() {
            repaired.push(Token { kind: Kind::CloseBrace, start: token.start, end: token.start });
        }
        repaired.push(token);
    }
    repaired
}

fn blank_the_deepest(tokens: &mut [Token], errors: &mut Errors<'_>) {
    let mut depth = 0;
    for token in tokens {
        match token.kind {
            Kind::OpenBrace => {
                depth += 1;
                if depth == DEEPEST + 1 {
                    errors.add(
                        &code::NESTED_TOO_DEEP,
                        token.range(),
                        format!("blocks nest deeper than {DEEPEST} levels"),
                        format!("level {depth}"),
                        "what lies deeper is not read: make the spec flatter",
                    );
                }
            }
            Kind::CloseBrace => {
                if depth > DEEPEST {
                    token.kind = Kind::Space;
                }
                depth = usize::saturating_sub(depth, 1);
            }
            _ => {}
        }
        if depth > DEEPEST {
            token.kind = Kind::Space;
        }
    }
}
