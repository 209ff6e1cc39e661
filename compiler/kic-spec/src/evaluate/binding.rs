use std::collections::BTreeMap;
use std::sync::Arc;

use kic_base::Span;
use kic_syntax::Value;

/// A value that has a name: of a parameter, of `let`, of `for`, or built in. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Binding {
    /// A string, number, boolean or null.
    Scalar(Scalar),
    /// Values in order.
    List(Arc<List>),
    /// Values by name, in the order of the names.
    Map(Arc<Map>),
    /// Nothing is known of it: an error that has been reported, or a part of the text that is only checked.
    Unknown,
}

/// A string, number, boolean or null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub value: Value,
    /// Where it was written.
    pub span: Span,
    pub form: Form,
}

/// What is known of a scalar beside its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Form {
    /// Nothing.
    Any,
    /// It is a path, which stays relative to the file that it was written in.
    Path,
    /// It is one of these words: comparing it with another one is an error.
    OneOf(Arc<[String]>),
}

#[derive(Debug, PartialEq)]
pub(crate) struct List {
    pub items: Vec<Binding>,
    pub span: Span,
    extent: Extent,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Map {
    pub fields: BTreeMap<String, Binding>,
    pub span: Span,
    extent: Extent,
}

/// How much a value becomes when it is written out: values share their parts, so what is small in memory may be vast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// How many scalars, lists and maps it has.
    pub size: usize,
    /// How many of them lie inside each other.
    pub depth: usize,
}

impl Extent {
    fn around<'a>(inner: impl Iterator<Item = &'a Binding>) -> Self {
        let around = Self { size: 1, depth: 0 };
        let all = inner.map(Binding::extent).fold(around, |all, one| Self {
            size: all.size.saturating_add(one.size),
            depth: all.depth.max(one.depth),
        });
        Self { depth: all.depth + 1, ..all }
    }
}

impl Binding {
    /// A scalar of which nothing more is known.
    pub fn scalar(value: impl Into<Value>, span: Span) -> Self {
        Self::Scalar(Scalar { value: value.into(), span, form: Form::Any })
    }

    pub fn list(items: Vec<Self>, span: Span) -> Self {
        let extent = Extent::around(items.iter());
        Self::List(Arc::new(List { items, span, extent }))
    }

    pub fn map(fields: BTreeMap<String, Self>, span: Span) -> Self {
        let extent = Extent::around(fields.values());
        Self::Map(Arc::new(Map { fields, span, extent }))
    }

    /// Where it was written.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(Scalar { value: Value::Null, .. }))
    }

    pub fn span(&self) -> Option<&Span> {
        match self {
            Self::Scalar(scalar) => Some(&scalar.span),
            Self::List(list) => Some(&list.span),
            Self::Map(map) => Some(&map.span),
            Self::Unknown => None,
        }
    }

    pub fn extent(&self) -> Extent {
        match self {
            Self::Scalar(_) | Self::Unknown => Extent { size: 1, depth: 0 },
            Self::List(list) => list.extent,
            Self::Map(map) => map.extent,
        }
    }

    /// What it is called in a sentence.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Scalar(scalar) => describe(&scalar.value),
            Self::List(..) => "a list",
            Self::Map(..) => "a map",
            Self::Unknown => "a value",
        }
    }
}

/// What a value is called in a sentence.
pub(crate) fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Bool(_) => "a boolean",
        Value::Null => "`#null`",
    }
}
