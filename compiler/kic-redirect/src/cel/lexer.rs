use crate::fault::Fault;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Int(i64),
    Double(f64),
    String(String),
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "||", "&&", "==", "!=", "<=", ">=", ".?", "[?", "{", "}", "(", ")", "[", "]", ".", ",", ":", "?", "+",
    "-", "*", "/", "%", "<", ">", "!",
];

/// The tokens of an expression, `End` last.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let Some(first) = rest.chars().next() else { break };
        if let Some((string, after)) = string(rest)? {
            tokens.push(Token::String(string));
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if first.is_ascii_digit() {
            let (token, after) = number(rest)?;
            tokens.push(token);
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            return Err(Fault::fails(format!("`{first}` may not stand in an expression")));
        }
    }
    tokens.push(Token::End);
    Ok(tokens)
}

fn number(rest: &str) -> Result<(Token, &str), Fault> {
    let wrong = |text: &str| Fault::fails(format!("`{text}` is no number"));
    if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let end = digits.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(digits.len());
        let number = i64::from_str_radix(&digits[..end], 16).map_err(|_| wrong(rest))?;
        return Ok((Token::Int(number), digits[end..].strip_prefix(['u', 'U']).unwrap_or(&digits[end..])));
    }
    let digits = |text: &str| text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(rest);
    let mut double = false;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|digit: char| digit.is_ascii_digit()) {
        double = true;
        end += 1 + digits(&rest[end + 1..]);
    }
    if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
        let signed = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        if signed.starts_with(|digit: char| digit.is_ascii_digit()) {
            double = true;
            end += 1 + (exponent.len() - signed.len()) + digits(signed);
        }
    }
    let text = &rest[..end];
    if double {
        return Ok((Token::Double(text.parse().map_err(|_| wrong(text))?), &rest[end..]));
    }
    let after = rest[end..].strip_prefix(['u', 'U']).unwrap_or(&rest[end..]);
    Ok((Token::Int(text.parse().map_err(|_| wrong(text))?), after))
}

/// A string literal at the start of `rest`, and what follows it.
fn string(rest: &str) -> Result<Option<(String, &str)>, Fault> {
    let (raw, quoted) = match rest.strip_prefix(['r', 'R']) {
        Some(after) if after.starts_with(['"', '\'']) => (true, after),
        _ => (false, rest),
    };
    if let Some(after) = rest.strip_prefix(['b', 'B'])
        && after.starts_with(['"', '\''])
    {
        return Err(Fault::unknown("kic does not evaluate bytes"));
    }
    let Some(quote) = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| quoted.starts_with(quote)) else {
        return Ok(None);
    };
    let mut text = String::new();
    let mut inner = &quoted[quote.len()..];
    loop {
        if let Some(after) = inner.strip_prefix(quote) {
            return Ok(Some((text, after)));
        }
        let Some(letter) = inner.chars().next() else {
            return Err(Fault::fails("a text is not closed"));
        };
        inner = &inner[letter.len_utf8()..];
        if letter == '\\' && !raw {
            let (letter, after) = escape(inner)?;
            text.push(letter);
            inner = after;
        } else {
            text.push(letter);
        }
    }
}

/// What follows a backslash.
fn escape(rest: &str) -> Result<(char, &str), Fault> {
    let wrong = || Fault::fails("a backslash in a text stands before a letter that means nothing there");
    let letter = rest.chars().next().ok_or_else(wrong)?;
    let after = &rest[letter.len_utf8()..];
    let digits = |count: usize, radix: u32, from: &str| {
        let code = from.get(..count).and_then(|digits| u32::from_str_radix(digits, radix).ok());
        code.and_then(char::from_u32).ok_or_else(wrong)
    };
    Ok(match letter {
        'a' => ('\u{7}', after),
        'b' => ('\u{8}', after),
        'f' => ('\u{c}', after),
        'n' => ('\n', after),
        'r' => ('\r', after),
        't' => ('\t', after),
        'v' => ('\u{b}', after),
        '\\' | '\'' | '"' | '`' | '?' => (letter, after),
        'x' | 'X' => (digits(2, 16, after)?, &after[2..]),
        'u' => (digits(4, 16, after)?, &after[4..]),
        'U' => (digits(8, 16, after)?, &after[8..]),
        '0'..='3' => (digits(3, 8, rest)?, &rest[3..]),
        _ => return Err(wrong()),
    })
}
