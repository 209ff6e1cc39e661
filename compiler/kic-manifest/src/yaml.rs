use std::borrow::Cow;

use kic_base::Span;

/// A node of a YAML document, and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Yaml {
    /// What it says.
    pub value: YamlValue,
    /// Where, in bytes. A quoted scalar includes its quotes; a block scalar is its content without the header,
    /// from the first character to the last that is no white space; a collection goes from its first
    /// character to the end of its last child, or to the closing bracket; a value left out is empty. Anchors
    /// and tags are left aside. A node that came through an alias has the span of the anchored node.
    pub span: Span,
    /// How it was written.
    pub style: Style,
}

/// The value of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum YamlValue {
    /// `null`, `~`, or nothing.
    Null,
    /// `true`, `yes`, `on` and their kin.
    Bool(bool),
    /// A whole number; in decimals, one that 64 bits do not hold is a float.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Sequence(Vec<Yaml>),
    /// Keys and values in the order of the text, a duplicate key included. Merges (`<<`) are carried out:
    /// what they add comes last. A key is a scalar.
    Mapping(Vec<(Yaml, Yaml)>),
}

/// How a node was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A scalar without quotes, or a value left out.
    Plain,
    /// `'text'`
    SingleQuoted,
    /// `"text"`
    DoubleQuoted,
    /// `|` and lines.
    Literal,
    /// `>` and lines.
    Folded,
    /// A mapping or sequence, in block or flow style.
    Collection,
}

impl Yaml {
    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            YamlValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a sequence; none of anything else.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            YamlValue::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.value {
            YamlValue::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The value under `key` in a mapping; of a duplicate key, the last.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().rev().find(|(name, _)| name.key() == key).map(|(_, value)| value)
    }

    /// The value under a path of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text of a scalar that stands as a key. JSON knows only strings there, so `on:` is the key `true`
    /// and `1:` the key `1`, as Kubernetes reads them. Empty for a collection.
    pub fn key(&self) -> Cow<'_, str> {
        match &self.value {
            YamlValue::String(text) => Cow::Borrowed(text),
            YamlValue::Null => Cow::Borrowed("null"),
            YamlValue::Bool(true) => Cow::Borrowed("true"),
            YamlValue::Bool(false) => Cow::Borrowed("false"),
            YamlValue::Integer(number) => Cow::Owned(number.to_string()),
            YamlValue::Float(number) => Cow::Owned(number.to_string()),
            YamlValue::Sequence(_) | YamlValue::Mapping(_) => Cow::Borrowed(""),
        }
    }

    /// The same value as JSON: numbers that JSON does not know, such as infinities, become strings, and of duplicate keys the last one counts.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::{Number, Value};
        match &self.value {
            YamlValue::Null => Value::Null,
            YamlValue::Bool(value) => Value::Bool(*value),
            YamlValue::Integer(number) => {
                Number::from_i128(*number).map_or_else(|| Value::String(number.to_string()), Value::Number)
            }
            YamlValue::Float(number) => {
                Number::from_f64(*number).map_or_else(|| Value::String(number.to_string()), Value::Number)
            }
            YamlValue::String(text) => Value::String(text.clone()),
            YamlValue::Sequence(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            YamlValue::Mapping(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.key().into_owned(), value.to_json())).collect(),
            ),
        }
    }
}
