use crate::YamlValue;

/// What a plain scalar means, as Kubernetes' own reader (sigs.k8s.io/yaml) decides it, which is YAML 1.1 more
/// than 1.2:
///
/// | text | means |
/// |---|---|
/// | nothing, `~`, `null`, `Null`, `NULL` | null |
/// | `true`, `yes`, `on`, `y` and `false`, `no`, `off`, `n`: lower case, `Capital` or `UPPER` | a boolean |
/// | `12`, `1_000`, `0x1F`, `0o17`, `017`, `0b11`, each with a sign | an integer |
/// | `1.5`, `1e3`, `.5`, `08`, `.inf`, `-.inf`, `.nan` | a float |
/// | dates, `1:30`, numbers that neither 64 bits nor a float hold, and all else | text |
pub(crate) fn resolve(text: &str) -> YamlValue {
    let Some(first) = text.bytes().next() else { return YamlValue::Null };
    match first {
        b'0'..=b'9' | b'+' | b'-' | b'.' => number(text),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => match text {
            "~" | "null" | "Null" | "NULL" => Some(YamlValue::Null),
            _ => boolean(text).map(YamlValue::Bool),
        },
        _ => None,
    }
    .unwrap_or_else(|| YamlValue::String(text.to_owned()))
}

/// Whether `text` is a boolean of YAML 1.1.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The number that `text` is.
pub(crate) fn number(text: &str) -> Option<YamlValue> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(YamlValue::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(YamlValue::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(YamlValue::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let plain;
    let text = if text.contains('_') {
        plain = text.replace('_', "");
        plain.as_str()
    } else {
        text
    };
    // What 64 bits do not hold is read as a float where it can be one, and what no float holds either is text.
    match integer(text).filter(|number| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(number)) {
        Some(number) => Some(YamlValue::Integer(number)),
        None => float(text).filter(|number| number.is_finite()).map(YamlValue::Float),
    }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().next()?.is_ascii_alphanumeric() {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -number } else { number })
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn float(text: &str) -> Option<f64> {
    let mut rest = text.as_bytes();
    let digits = |rest: &mut &[u8]| {
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *rest = &rest[count..];
        count
    };
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let whole = digits(&mut rest);
    if let [b'.', tail @ ..] = rest {
        rest = tail;
        if digits(&mut rest) + whole == 0 {
            return None;
        }
    } else if whole == 0 {
        return None;
    }
    if let [b'e' | b'E', tail @ ..] = rest {
        rest = tail;
        if let [b'-' | b'+', tail @ ..] = rest {
            rest = tail;
        }
        if digits(&mut rest) == 0 {
            return None;
        }
    }
    if rest.is_empty() { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_kubernetes_reads() {
        use YamlValue::{Bool, Float, Integer, Null};
        for (text, value) in [
            ("", Null),
            ("~", Null),
            ("NULL", Null),
            ("yes", Bool(true)),
            ("y", Bool(true)),
            ("On", Bool(true)),
            ("OFF", Bool(false)),
            ("n", Bool(false)),
            ("0", Integer(0)),
            ("-12", Integer(-12)),
            ("+5", Integer(5)),
            ("1_000", Integer(1000)),
            ("0644", Integer(0o644)),
            ("0o644", Integer(0o644)),
            ("0x1F", Integer(31)),
            ("-0b11", Integer(-3)),
            ("18446744073709551615", Integer(18_446_744_073_709_551_615)),
            ("08", Float(8.0)),
            ("1e3", Float(1000.0)),
            (".5", Float(0.5)),
            ("1.", Float(1.0)),
            ("-.inf", Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
        for text in [
            "yEs",
            "nULL",
            "0x",
            "0xg",
            "+-5",
            "1.2.3",
            "1:30",
            "2001-01-01",
            ".",
            "-",
            "+",
            "1e",
            "e3",
            "0o8x",
            "v1",
            "inf",
            "nan",
            "true ",
            "--5",
            "0x-1",
            "1e400",
            "-1e400",
            "0xFFFFFFFFFFFFFFFFFF",
        ] {
            assert_eq!(resolve(text), YamlValue::String(text.into()), "{text}");
        }
        assert!(matches!(resolve(&"9".repeat(60)), Float(_)));
    }
}
