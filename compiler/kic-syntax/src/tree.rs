use kic_base::{Source, Span, Spanned};

/// A KDL document: its text, and the tree read from it.
#[derive(Debug, Clone)]
pub struct File {
    /// The text, under its name.
    pub source: Source,
    /// The nodes of the outermost level, in the order of the text.
    pub nodes: Vec<Node>,
}

/// One node: `(annotation)name argument property=value { children }`.
#[derive(Debug, Clone)]
pub struct Node {
    /// What stands in parentheses before the name; its span leaves the parentheses out.
    pub annotation: Option<Spanned<String>>,
    /// The name, unescaped; its span has the quotes, where there are any.
    pub name: Spanned<String>,
    /// Arguments and properties, in the order of the text.
    pub entries: Vec<Entry>,
    /// What stands in braces, which may be nothing; `None` without braces.
    pub children: Option<Vec<Node>>,
    /// From the annotation or name to the last entry or the closing brace.
    pub span: Span,
}

impl Node {
    /// The entries without a name.
    pub fn arguments(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.name.is_none())
    }

    /// The entries with a name.
    pub fn properties(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.name.is_some())
    }

    /// The property of that name. Where an erroneous document has several, the first.
    pub fn property(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name.as_ref().is_some_and(|own| own.value == name))
    }

    /// The children; none without braces.
    pub fn children(&self) -> &[Node] {
        self.children.as_deref().unwrap_or_default()
    }

    /// The node without its children: from the annotation or name to the last entry.
    pub fn head(&self) -> Span {
        let start = self.span.range().start;
        let last = self.entries.last().map_or(&self.name.span, |entry| &entry.span);
        self.span.source().span(start..last.range().end)
    }
}

/// An argument or a property of a node: `(annotation)value` or `name=(annotation)value`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name of a property; `None` for an argument.
    pub name: Option<Spanned<String>>,
    /// What stands in parentheses before the value; its span leaves the parentheses out.
    pub annotation: Option<Spanned<String>>,
    /// The value.
    pub value: Value,
    /// The value alone, with the quotes of a string, without the annotation.
    pub value_span: Span,
    /// All of it.
    pub span: Span,
}

/// A value of KDL.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A string, unescaped and without the indentation of a multi-line string.
    String(String),
    /// A number without a decimal point or exponent, in any base.
    Integer(i128),
    /// A number with a decimal point or exponent, or `#inf`, `#-inf`, `#nan`.
    Float(f64),
    /// `#true` or `#false`.
    Bool(bool),
    /// `#null`.
    Null,
}

impl Value {
    /// What messages call a value of this kind, without an article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Bool(_) => "boolean",
            Self::Null => "null",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

macro_rules! from_integer {
    ($($integer:ty)*) => {
        $(impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        })*
    };
}

from_integer!(u8 u16 u32 u64 i8 i16 i32 i64 i128);
