use super::Value;
use crate::fault::Fault;
use crate::text;

/// The longest text that a function makes.
const LONGEST: usize = 1 << 20;

/// What the names of functions without a target may begin with.
pub(super) const SPACES: &[&str] = &["jsonpatch", "lists", "optional"];

/// A function without a target.
pub(super) fn named(name: &str, arguments: &[Value]) -> Result<Value, Fault> {
    Ok(match (name, arguments) {
        ("size", [target]) => return method("size", target, &[]),
        ("matches", [target, pattern]) => {
            return method("matches", target, std::slice::from_ref(pattern));
        }
        ("dyn", [value]) => value.clone(),
        ("string", [value]) => Value::String(as_text(value)?),
        ("int", [Value::Int(number)]) => Value::Int(*number),
        ("int", [Value::Double(number)]) => Value::Int(*number as i64),
        ("int", [Value::String(text)]) => {
            Value::Int(text.parse().map_err(|_| Fault::fails(format!("`{text}` is no integer")))?)
        }
        ("double", [Value::Double(number)]) => Value::Double(*number),
        ("double", [Value::Int(number)]) => Value::Double(*number as f64),
        ("double", [Value::String(text)]) => {
            Value::Double(text.parse().map_err(|_| Fault::fails(format!("`{text}` is no number")))?)
        }
        ("bool", [Value::Bool(bool)]) => Value::Bool(*bool),
        ("bool", [Value::String(text)]) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Value::Bool(true),
            "false" | "False" | "FALSE" | "f" | "0" => Value::Bool(false),
            _ => return Err(Fault::fails(format!("`{text}` is no boolean"))),
        },
        ("optional.of", [value]) => Value::optional(Some(value.clone())),
        ("optional.none", []) => Value::Optional(None),
        ("optional.ofNonZeroValue", [value]) => {
            Value::optional(Some(value.clone()).filter(|value| !is_zero(value)))
        }
        ("jsonpatch.escapeKey", [Value::String(key)]) => {
            Value::String(key.replace('~', "~0").replace('/', "~1"))
        }
        ("lists.range", [Value::Int(end)]) if *end <= 10_000 => {
            Value::List((0..*end).map(Value::Int).collect())
        }
        _ => return Err(unknown(name)),
    })
}

/// A function of a target.
pub(super) fn method(name: &str, target: &Value, arguments: &[Value]) -> Result<Value, Fault> {
    let value = match target {
        Value::String(text) => of_text(name, text, arguments)?,
        Value::List(items) => of_list(name, items, arguments)?,
        Value::Optional(inner) => of_optional(name, inner.as_deref(), arguments)?,
        Value::Map(map) if name == "size" => Some(Value::Int(map.len() as i64)),
        _ => None,
    };
    match value {
        Some(Value::String(text)) if text.len() > LONGEST => {
            Err(Fault::unknown(format!("the result of `{name}` is too long")))
        }
        Some(value) => Ok(value),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Fault {
    Fault::unknown(format!("kic does not evaluate `{name}()` on these values"))
}

fn of_text(name: &str, text: &str, arguments: &[Value]) -> Result<Option<Value>, Fault> {
    let string = |text: &str| Some(Value::text(text));
    let place = |at: Option<usize>| {
        Some(Value::Int(at.map_or(-1, |at| text.get(..at).map_or(0, |before| before.chars().count()) as i64)))
    };
    Ok(match (name, arguments) {
        ("size", []) => Some(Value::Int(text.chars().count() as i64)),
        ("startsWith", [Value::String(other)]) => Some(Value::Bool(text.starts_with(other.as_str()))),
        ("endsWith", [Value::String(other)]) => Some(Value::Bool(text.ends_with(other.as_str()))),
        ("contains", [Value::String(other)]) => Some(Value::Bool(text.contains(other.as_str()))),
        ("matches", [Value::String(pattern)]) => Some(Value::Bool(text::regex(pattern)?.is_match(text))),
        ("find", [Value::String(pattern)]) => {
            string(text::regex(pattern)?.find(text).map_or("", |found| found.as_str()))
        }
        ("findAll", [Value::String(pattern)]) => Some(Value::List(
            text::regex(pattern)?.find_iter(text).map(|found| Value::text(found.as_str())).collect(),
        )),
        ("lowerAscii", []) => string(&text.to_ascii_lowercase()),
        ("upperAscii", []) => string(&text.to_ascii_uppercase()),
        ("trim", []) => string(text.trim()),
        ("reverse", []) => Some(Value::String(text.chars().rev().collect())),
        ("charAt", [Value::Int(at)]) => {
            let found = usize::try_from(*at).ok().and_then(|at| text.chars().nth(at));
            match found {
                Some(letter) => Some(Value::String(letter.into())),
                None if usize::try_from(*at).ok() == Some(text.chars().count()) => string(""),
                None => return Err(Fault::fails("`charAt` is past the end of the text")),
            }
        }
        ("indexOf", [Value::String(other)]) => place(text.find(other.as_str())),
        ("lastIndexOf", [Value::String(other)]) => place(text.rfind(other.as_str())),
        ("replace", [Value::String(from), Value::String(to)]) => string(&text.replace(from.as_str(), to)),
        ("replace", [Value::String(from), Value::String(to), Value::Int(times)]) => {
            string(&match usize::try_from(*times) {
                Ok(times) => text.replacen(from.as_str(), to, times),
                Err(_) => text.replace(from.as_str(), to),
            })
        }
        ("split", [Value::String(separator)]) => Some(split(text, separator, usize::MAX)),
        ("split", [Value::String(separator), Value::Int(most)]) => {
            Some(split(text, separator, usize::try_from(*most).unwrap_or(usize::MAX)))
        }
        ("substring", [Value::Int(from)]) => Some(substring(text, *from, text.chars().count() as i64)?),
        ("substring", [Value::Int(from), Value::Int(to)]) => Some(substring(text, *from, *to)?),
        ("format", [Value::List(values)]) => Some(format(text, values)?),
        _ => None,
    })
}

fn split(text: &str, separator: &str, most: usize) -> Value {
    if most == 0 {
        return Value::List(Vec::new());
    }
    Value::List(if separator.is_empty() {
        text.chars().map(|letter| Value::String(letter.into())).collect()
    } else {
        text.splitn(most, separator).map(Value::text).collect()
    })
}

fn substring(text: &str, from: i64, to: i64) -> Result<Value, Fault> {
    let count = text.chars().count();
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from <= to && to <= count => {
            Ok(Value::String(text.chars().skip(from).take(to - from).collect()))
        }
        _ => Err(Fault::fails("`substring` goes past the end of the text")),
    }
}

/// `%s` and `%d`.
fn format(text: &str, values: &[Value]) -> Result<Value, Fault> {
    let mut values = values.iter();
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            result.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') => result.push('%'),
            Some('s' | 'd') => {
                let value = values.next().ok_or_else(|| Fault::fails("`format` has too few values"))?;
                result.push_str(&as_text(value)?);
            }
            _ => return Err(Fault::unknown("kic evaluates `%s` and `%d` in `format`")),
        }
    }
    Ok(Value::String(result))
}

fn of_list(name: &str, items: &[Value], arguments: &[Value]) -> Result<Option<Value>, Fault> {
    Ok(match (name, arguments) {
        ("size", []) => Some(Value::Int(items.len() as i64)),
        ("join", []) => Some(Value::String(texts(items)?.concat())),
        ("join", [Value::String(separator)]) => Some(Value::String(texts(items)?.join(separator))),
        ("indexOf", [wanted]) => {
            let at = items.iter().position(|item| item.same(wanted));
            Some(Value::Int(at.map_or(-1, |at| at as i64)))
        }
        ("lastIndexOf", [wanted]) => {
            let at = items.iter().rposition(|item| item.same(wanted));
            Some(Value::Int(at.map_or(-1, |at| at as i64)))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => match (usize::try_from(*from), usize::try_from(*to))
        {
            (Ok(from), Ok(to)) => items.get(from..to).map(|items| Value::List(items.to_vec())),
            _ => None,
        },
        ("reverse", []) => Some(Value::List(items.iter().rev().cloned().collect())),
        ("first", []) => Some(Value::optional(items.first().cloned())),
        ("last", []) => Some(Value::optional(items.last().cloned())),
        ("flatten", []) => Some(Value::List(
            items
                .iter()
                .flat_map(|item| match item {
                    Value::List(inner) => inner.clone(),
                    other => vec![other.clone()],
                })
                .collect(),
        )),
        ("distinct", []) => {
            let mut kept: Vec<Value> = Vec::new();
            for item in items {
                if !kept.iter().any(|other| other.same(item)) {
                    kept.push(item.clone());
                }
            }
            Some(Value::List(kept))
        }
        _ => None,
    })
}

fn of_optional(name: &str, inner: Option<&Value>, arguments: &[Value]) -> Result<Option<Value>, Fault> {
    Ok(match (name, arguments) {
        ("hasValue", []) => Some(Value::Bool(inner.is_some())),
        ("value", []) => match inner {
            Some(value) => Some(value.clone()),
            None => return Err(Fault::fails("an optional without a value is asked for it")),
        },
        ("orValue", [other]) => Some(inner.unwrap_or(other).clone()),
        ("or", [other]) => Some(match inner {
            Some(value) => Value::optional(Some(value.clone())),
            None => other.clone(),
        }),
        _ => None,
    })
}

fn texts(items: &[Value]) -> Result<Vec<&str>, Fault> {
    items
        .iter()
        .map(|item| match item {
            Value::String(text) => Ok(text.as_str()),
            other => Err(Fault::fails(format!("`join` joins texts, not {}", other.kind()))),
        })
        .collect()
}

fn as_text(value: &Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Double(number) => Ok(number.to_string()),
        Value::Bool(bool) => Ok(bool.to_string()),
        other => Err(Fault::fails(format!("{} is no text", other.kind()))),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(bool) => !bool,
        Value::Int(number) => *number == 0,
        Value::Double(number) => *number == 0.0,
        Value::String(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Optional(inner) => inner.is_none(),
    }
}
