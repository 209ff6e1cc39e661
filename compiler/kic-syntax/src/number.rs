//! Numbers: decimal, `0x`, `0o` and `0b` integers, and decimals with a point or an exponent.

use std::ops::Range;

use kic_diag::declared as code;

use crate::Value;
use crate::errors::{Cut, Errors};

/// Whether a bare word is to be read as a number, rightly spelt or not: KDL has no bare string that starts so.
pub(crate) fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let unsigned = unsigned.strip_prefix('.').unwrap_or(unsigned);
    unsigned.starts_with(|c: char| c.is_ascii_digit())
}

/// The value of a word that [`is_number`]. A wrong one is told of, and taken as a string.
pub(crate) fn decode(word: &str, range: Range<usize>, errors: &mut Errors<'_>) -> Value {
    let (message, label, help) = match read(word) {
        Ok(value) => return value,
        Err(Wrong::TooLarge) => (
            format!("the number `{}` is too large", Cut(word)),
            "more than kic can hold",
            "integers go from -2^127 to 2^127-1, others to about 1.8e308; write a longer one as a string, in quotes",
        ),
        Err(Wrong::Digits(base)) => {
            errors.add(
                &code::INVALID_NUMBER,
                range,
                format!("`{}` is no number in base {base}", Cut(word)),
                "no digits, or wrong ones",
                "`0x` takes the digits 0 to 9 and a to f, `0o` 0 to 7, `0b` 0 and 1; `_` may stand between digits",
            );
            return Value::String(word.to_owned());
        }
        Err(Wrong::Point) => (
            format!("`{}` needs a digit on both sides of the point", Cut(word)),
            "no digit there",
            "write `0.5`, `1.0`; a text goes in quotes",
        ),
        Err(Wrong::Comma) => (
            format!("`{}` ends with a comma", Cut(word)),
            "a comma",
            "KDL separates values by spaces: delete the comma",
        ),
        Err(Wrong::Text) => {
            let help = format!("a text that starts with a digit goes in quotes: `\"{}\"`", Cut(word));
            let message = format!("`{}` is no number", Cut(word));
            errors.add(&code::INVALID_NUMBER, range, message, "starts like a number", help);
            return Value::String(word.to_owned());
        }
    };
    errors.add(&code::INVALID_NUMBER, range, message, label, help);
    Value::String(word.to_owned())
}

enum Wrong {
    TooLarge,
    Digits(u32),
    Point,
    Comma,
    Text,
}

fn read(word: &str) -> Result<Value, Wrong> {
    let (negative, unsigned) = match word.as_bytes().first() {
        Some(b'-') => (true, &word[1..]),
        Some(b'+') => (false, &word[1..]),
        _ => (false, word),
    };
    let base = match unsigned.as_bytes() {
        [b'0', b'x', ..] => 16,
        [b'0', b'o', ..] => 8,
        [b'0', b'b', ..] => 2,
        _ => 10,
    };
    if base != 10 {
        let digits = &unsigned[2..];
        let right = digits.starts_with(|c: char| c.is_digit(base))
            && digits.chars().all(|c| c.is_digit(base) || c == '_');
        return if right { integer(digits, base, negative) } else { Err(Wrong::Digits(base)) };
    }
    let whole = digits_length(unsigned);
    let mut rest = &unsigned[whole..];
    if rest.is_empty() {
        return integer(unsigned, 10, negative);
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits_length(fraction);
        if whole == 0 || length == 0 {
            return Err(Wrong::Point);
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = digits_length(exponent);
        rest = if length > 0 { &exponent[length..] } else { rest };
    }
    match rest {
        "" => {}
        "," => return Err(Wrong::Comma),
        _ => return Err(Wrong::Text),
    }
    let value: f64 = word.replace('_', "").parse().map_err(|_| Wrong::Text)?;
    if value.is_finite() { Ok(Value::Float(value)) } else { Err(Wrong::TooLarge) }
}

/// The length of `digit (digit | '_')*` at the start, 0 without.
fn digits_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'_').count()
}

fn integer(digits: &str, base: u32, negative: bool) -> Result<Value, Wrong> {
    let mut value: i128 = 0;
    for digit in digits.chars().filter_map(|c| c.to_digit(base)) {
        let digit = i128::from(digit);
        let shifted = value.checked_mul(i128::from(base));
        let next = if negative {
            shifted.and_then(|value| value.checked_sub(digit))
        } else {
            shifted.and_then(|value| value.checked_add(digit))
        };
        value = next.ok_or(Wrong::TooLarge)?;
    }
    Ok(Value::Integer(value))
}
