//! The types of parameters.

use std::sync::Arc;

use kic_base::closest;
use kic_diag::{Diagnostic, declared as code};
use kic_syntax::Value;

use super::binding::{Binding, Form, Scalar};
use crate::decode::list;
use crate::schema::Type;
use crate::value;

/// What a value of a parameter may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ParameterType {
    /// Any value.
    Any,
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// `#true` or `#false`.
    Bool,
    /// A text of a form that the language knows.
    Text(&'static str, Type),
    /// A Kubernetes quantity, such as `500Mi`.
    Quantity,
    /// One of these words.
    Enum(Arc<[String]>),
    /// Values of one type, in order.
    List(Box<ParameterType>),
    /// Values of one type, by name.
    Map(Box<ParameterType>),
    /// A declaration with an error, which has been reported.
    Unknown,
}

/// The types: as they are written, and what they are, for the reference.
pub(crate) const TYPES: [(&str, &str); 14] = [
    ("string", "Any text."),
    ("int", "A whole number, without quotes."),
    ("bool", "`#true` or `#false`."),
    ("version", "A version, such as `v1.19.8`: it may serve as an image's tag."),
    ("path", "A path of the machine that compiles, relative to the file that the value is written in."),
    ("duration", "A time span, such as `90s`, `5m` or `1h30m`."),
    ("quantity", "A Kubernetes quantity, such as `500m`, `2` or `128Mi`, in quotes."),
    ("registry", "The host of a registry, such as `sea.hub:5000`."),
    ("image", "An image reference, or an image on disk, such as `oci:./image`."),
    ("platform", "A platform, such as `linux/amd64`."),
    ("enum", "One of the words that `one-of` inside lists."),
    ("list<TYPE>", "Any number of values of a type, in order."),
    ("map<TYPE>", "Any number of values of a type, by name."),
    ("any", "Any value, lists and maps included, as in the data of an object."),
];

/// The most types inside each other.
const DEEPEST: usize = 8;

impl ParameterType {
    /// Reads a type; `Err` holds what is wrong, and what may have been meant.
    pub fn parse(text: &str, choices: &[String]) -> Result<Self, (String, String)> {
        Self::parse_inner(text, choices, 0).map_err(|wrong| {
            let help = match closest(&wrong, TYPES.iter().map(|(name, _)| *name)) {
                Some(close) if close.ends_with('>') => format!("write `{close}`, such as `list<string>`"),
                Some(close) => format!("did you mean `{}`?", text.replace(&wrong, close)),
                None => format!("a type is {}", list(TYPES.iter().map(|(name, _)| *name))),
            };
            (wrong, help)
        })
    }

    fn parse_inner(text: &str, choices: &[String], depth: usize) -> Result<Self, String> {
        if depth > DEEPEST {
            return Err(text.to_owned());
        }
        let inner = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
        if let Some(item) = inner("list<") {
            return Ok(Self::List(Box::new(Self::parse_inner(item, choices, depth + 1)?)));
        }
        if let Some(item) = inner("map<") {
            return Ok(Self::Map(Box::new(Self::parse_inner(item, choices, depth + 1)?)));
        }
        Ok(match text {
            "any" => Self::Any,
            "string" => Self::String,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "version" => Self::Text("version", Type::Version),
            "path" => Self::Text("path", Type::Path),
            "duration" => Self::Text("duration", Type::Duration),
            "quantity" => Self::Quantity,
            "registry" => Self::Text("registry", Type::Registry),
            "image" => Self::Text("image", Type::Image),
            "platform" => Self::Text("platform", Type::Platform),
            "enum" => Self::Enum(choices.into()),
            _ => return Err(text.to_owned()),
        })
    }

    /// The type as a declaration writes it.
    pub fn name(&self) -> String {
        match self {
            Self::Any => "any".into(),
            Self::String => "string".into(),
            Self::Int => "int".into(),
            Self::Bool => "bool".into(),
            Self::Text(name, _) => (*name).into(),
            Self::Quantity => "quantity".into(),
            Self::Enum(_) => "enum".into(),
            Self::List(item) => format!("list<{}>", item.name()),
            Self::Map(item) => format!("map<{}>", item.name()),
            Self::Unknown => "unknown".into(),
        }
    }

    /// The words of an enum, wherever it is in the type.
    pub fn choices(&self) -> Option<&Arc<[String]>> {
        match self {
            Self::Enum(choices) => Some(choices),
            Self::List(item) | Self::Map(item) => item.choices(),
            _ => None,
        }
    }

    /// The value as this type, or what is wrong with it.
    pub fn accept(&self, binding: &Binding) -> Result<Binding, Diagnostic> {
        let scalar = |scalar: &Scalar, form: Form| Ok(Binding::Scalar(Scalar { form, ..scalar.clone() }));
        match (self, binding) {
            (Self::Unknown, _) | (_, Binding::Unknown) => Ok(Binding::Unknown),
            (Self::Any, _) => Ok(binding.clone()),
            (Self::List(item), Binding::List(list)) => {
                let items = list.items.iter().map(|one| item.accept(one)).collect::<Result<_, _>>()?;
                Ok(Binding::list(items, list.span.clone()))
            }
            // `{}` and nothing at all are both an empty list, and an empty map.
            (Self::List(_), Binding::Map(map)) if map.fields.is_empty() => {
                Ok(Binding::list(Vec::new(), map.span.clone()))
            }
            (Self::Map(_), Binding::List(list)) if list.items.is_empty() => {
                Ok(Binding::map([].into(), list.span.clone()))
            }
            // A list of one is written as the one.
            (Self::List(item), Binding::Scalar(one)) => {
                Ok(Binding::list(vec![item.accept(binding)?], one.span.clone()))
            }
            (Self::Map(item), Binding::Map(map)) => {
                let accept = |(name, one): (&String, &Binding)| Ok((name.clone(), item.accept(one)?));
                let fields = map.fields.iter().map(accept).collect::<Result<_, Diagnostic>>()?;
                Ok(Binding::map(fields, map.span.clone()))
            }
            (Self::String, Binding::Scalar(one @ Scalar { value: Value::String(_), .. })) => {
                // A path stays one; what words another parameter may be does not bind this one.
                scalar(one, if one.form == Form::Path { Form::Path } else { Form::Any })
            }
            (Self::Int, Binding::Scalar(one @ Scalar { value: Value::Integer(_), .. }))
            | (Self::Bool, Binding::Scalar(one @ Scalar { value: Value::Bool(_), .. })) => {
                scalar(one, Form::Any)
            }
            (Self::Text(name, wanted), Binding::Scalar(one @ Scalar { value: Value::String(_), .. })) => {
                value::read(&one.value, *wanted, &one.span)?;
                scalar(one, if *name == "path" { Form::Path } else { Form::Any })
            }
            (Self::Quantity, Binding::Scalar(one @ Scalar { value: Value::String(text), .. })) => {
                if is_quantity(text) {
                    return scalar(one, Form::Any);
                }
                Err(Diagnostic::new(&code::WRONG_TYPE, format!("`{}` is no quantity", value::shown(text)))
                    .at(&one.span, "")
                    .help(
                        "write a number with a suffix of Kubernetes, such as `500m`, `2`, `128Mi` or `1.5G`",
                    ))
            }
            (Self::Enum(choices), Binding::Scalar(one @ Scalar { value: Value::String(text), .. })) => {
                if choices.contains(text) {
                    return scalar(one, Form::OneOf(choices.clone()));
                }
                let words = || choices.iter().map(String::as_str);
                let help = match closest(text, words()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("write {}", self.describe()),
                };
                let message = format!("`{}` is not {}", value::shown(text), self.describe());
                Err(Diagnostic::new(&code::UNKNOWN_CHOICE, message).at(&one.span, "").help(help))
            }
            _ => Err(self.wrong(binding)),
        }
    }

    fn wrong(&self, binding: &Binding) -> Diagnostic {
        let what = binding.describe();
        let diagnostic =
            Diagnostic::new(&code::WRONG_TYPE, format!("expected {}, found {what}", self.describe()));
        let diagnostic = match binding.span() {
            Some(span) => diagnostic.at(span, format!("this is {what}")),
            None => diagnostic,
        };
        let text = |scalar: &Scalar| scalar.span.text().trim_start_matches('#').to_owned();
        diagnostic.help(match (self, binding) {
            (Self::Int, Binding::Scalar(Scalar { value: Value::String(text), .. }))
                if text.parse::<i128>().is_ok() =>
            {
                format!("write it without quotes: `{text}`")
            }
            (Self::Bool, Binding::Scalar(Scalar { value: Value::String(text), .. }))
                if text == "true" || text == "false" =>
            {
                format!("write `#{text}`")
            }
            (Self::Int, Binding::Scalar(_)) => "write a whole number, without quotes".to_owned(),
            (Self::Bool, Binding::Scalar(_)) => "write `#true` or `#false`".to_owned(),
            (Self::List(_) | Self::Map(_), _) => format!("write {}", self.form()),
            (_, Binding::Scalar(Scalar { value: Value::Null, .. })) => {
                "give it a value, or leave it out".to_owned()
            }
            (_, Binding::Scalar(scalar)) => format!("put it in quotes: `\"{}\"`", text(scalar)),
            _ => format!("give one value: {}", self.describe()),
        })
    }

    /// How a list or map is written.
    fn form(&self) -> &'static str {
        match self {
            Self::List(_) => "the items behind the name, in a node inside: `NAME \"a\" \"b\"`",
            _ => "the names and values inside a node: `NAME { key \"value\"; }`",
        }
    }

    /// What a value of it is called in a sentence.
    pub fn describe(&self) -> String {
        match self {
            Self::Any => "any value".into(),
            Self::String => "a string".into(),
            Self::Int => "an integer".into(),
            Self::Bool => "`#true` or `#false`".into(),
            Self::Text(_, wanted) => wanted.describe(),
            Self::Quantity => "a quantity".into(),
            Self::Enum(choices) => Type::describe_words(choices.iter().map(String::as_str)),
            Self::List(item) if **item == Self::Any => "a list".into(),
            Self::Map(item) if **item == Self::Any => "a map".into(),
            Self::List(item) => format!("a list, each of it {}", item.describe()),
            Self::Map(item) => format!("a map, each value of it {}", item.describe()),
            Self::Unknown => "a value".into(),
        }
    }
}

/// `[+-]DIGITS[.DIGITS]SUFFIX` (Kubernetes, `resource.Quantity`).
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = |suffix: &str| {
        suffix.strip_prefix(['e', 'E']).is_some_and(|digits| {
            let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
            digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        })
    };
    number.bytes().any(|byte| byte.is_ascii_digit())
        && number.bytes().filter(|byte| *byte == b'.').count() <= 1
        && (["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
            .contains(&suffix)
            || exponent(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_what_kubernetes_takes() {
        for text in ["0", "500m", "128Mi", "1.5G", "+2", "-3", ".5", "1.", "1e3", "1E-3", "1E", "12e+6"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "m", "1.2.3", "5 Mi", "5mi", "5KB", "1e", "1e++3", "e3", "0x10", "1,5"] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        for (name, _) in TYPES {
            let name = name.replace("TYPE", "map<int>");
            assert_eq!(ParameterType::parse(&name, &[]).map(|kind| kind.name()), Ok(name));
        }
        for (text, wrong, help) in [
            ("strng", "strng", "did you mean `string`?"),
            ("list<map<bol>>", "bol", "did you mean `list<map<bool>>`?"),
            ("list", "list", "a type is"),
            ("list<string", "list<string", "list<TYPE>"),
            ("String", "String", "did you mean `string`?"),
            ("", "", "a type is"),
        ] {
            let found = ParameterType::parse(text, &[]).expect_err(text);
            assert_eq!(found.0, wrong);
            assert!(found.1.contains(help), "{text}: {}", found.1);
        }
    }
}
