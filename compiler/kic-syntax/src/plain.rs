use std::fmt;

use crate::{Node, Value, readable};

/// A node to be written, without places: what `kic.lock` and `kic eval` are made of.
///
/// `Display` writes KDL 2 that parses back to the same values: four spaces of indentation, one node a
/// line, string values always quoted, a final line feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plain {
    /// The name.
    pub name: String,
    /// What stands in parentheses before the name.
    pub annotation: Option<String>,
    /// Values without a name, in order.
    pub arguments: Vec<Value>,
    /// Values with a name, in order, after the arguments.
    pub properties: Vec<(String, Value)>,
    /// What stands in braces; `None` writes no braces.
    pub children: Option<Vec<Plain>>,
}

impl Plain {
    /// A node of that name and nothing else.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            annotation: None,
            arguments: Vec::new(),
            properties: Vec::new(),
            children: None,
        }
    }

    /// Puts `(annotation)` before the name.
    #[must_use]
    pub fn annotation(mut self, annotation: impl Into<String>) -> Self {
        self.annotation = Some(annotation.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, value: impl Into<Value>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Adds a property. The name must be new on this node.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn child(mut self, child: Plain) -> Self {
        self.children.get_or_insert_default().push(child);
        self
    }

    /// Adds children; with none, an empty block.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Plain>) -> Self {
        self.children.get_or_insert_default().extend(children);
        self
    }

    /// As `Display`, but for texts of several lines, which are multi-line strings.
    pub fn to_readable(&self) -> String {
        let mut out = String::new();
        readable::write(self, 0, &mut out);
        out
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:indent$}", "", indent = depth * 4)?;
        if let Some(annotation) = &self.annotation {
            write!(f, "({})", Name(annotation))?;
        }
        write!(f, "{}", Name(&self.name))?;
        for value in &self.arguments {
            write!(f, " {value}")?;
        }
        for (name, value) in &self.properties {
            write!(f, " {}={value}", Name(name))?;
        }
        match self.children.as_deref() {
            None => writeln!(f),
            Some([]) => writeln!(f, " {{}}"),
            Some(children) => {
                writeln!(f, " {{")?;
                for child in children {
                    child.write(f, depth + 1)?;
                }
                writeln!(f, "{:indent$}}}", "", indent = depth * 4)
            }
        }
    }
}

impl From<&Node> for Plain {
    /// What a node says, without where it says it.
    fn from(node: &Node) -> Self {
        let mut out = Self::new(node.name.value.clone());
        out.annotation = node.annotation.as_ref().map(|annotation| annotation.value.clone());
        for entry in &node.entries {
            match &entry.name {
                None => out.arguments.push(entry.value.clone()),
                Some(name) => out.properties.push((name.value.clone(), entry.value.clone())),
            }
        }
        out.children = node.children.as_ref().map(|children| children.iter().map(Self::from).collect());
        out
    }
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl fmt::Display for Value {
    /// As KDL; strings always quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => Quoted(text).fmt(f),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_nan() => f.write_str("#nan"),
            Self::Float(value) if value.is_infinite() && *value < 0.0 => f.write_str("#-inf"),
            Self::Float(value) if value.is_infinite() => f.write_str("#inf"),
            // Rust's debug form is the shortest that reads back the same, and has a point or an exponent.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => write!(f, "#{value}"),
            Self::Null => f.write_str("#null"),
        }
    }
}

/// A name of a node, a property or an annotation: bare where it is plain ASCII, else quoted.
pub(crate) struct Name<'a>(pub &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.0 == "-"
            || self.0.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && self.0.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                && !matches!(self.0, "true" | "false" | "null" | "inf" | "nan");
        if bare { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Newlines, control characters and marks of direction, which KDL forbids or a reader cannot see.
                '\0'..='\x1f'
                | '\x7f'..='\u{a0}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}' => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use kic_base::Source;

    use super::*;

    #[test]
    fn readable_texts_read_back_and_are_formatted() {
        let texts = [
            "a\nb",
            "a\nb\n",
            "\n\na\n\n  b\n\n",
            "  indented\n\tlines\n",
            "a\\b\nc",
            "\"\"\"\n\"\"\"#\n\"\"\"##\n",
            "one line\n",
            "blank\n  \nline",
            "\n",
            "\n\n",
            "return\r\nline",
            "separator\u{2028}\nline",
            "bell\u{7}\nline",
            "quote\"\nline\"",
            "#\n\"#\n",
        ];
        for text in texts {
            let node =
                Plain::new("outer").child(Plain::new("inner").argument(text)).child(Plain::new("after"));
            let written = node.to_readable();
            let source = Source::new("a.kdl", written.as_str());
            let (file, diagnostics) = crate::parse(&source);
            assert!(diagnostics.is_empty(), "{written}{diagnostics:?}");
            assert_eq!(Plain::from(&file.nodes[0]), node, "{written}");
            assert_eq!(crate::format(&source).as_deref(), Ok(written.as_str()));
        }
        let several = Plain::new("x").argument("a\\\nb").to_readable();
        assert_eq!(several, "x #\"\"\"\n    a\\\n    b\n    \"\"\"#\n");
    }

    #[test]
    fn a_written_node_parses_back_to_the_same_values() {
        let text = "quotes \" back\\slash\r\nand\u{85}controls\u{0}\u{feff}\u{202e} end";
        let node = Plain::new("a b").annotation("t").argument(text).argument(0.1 + 0.2).argument(u64::MAX);
        let node = node.property("true", true).property("x", Value::Null);
        let node =
            node.child(Plain::new("inner").argument("#not-a-keyword")).child(Plain::new("").children([]));
        let (file, diagnostics) = crate::parse(&Source::new("a.kdl", node.to_string()));
        assert!(diagnostics.is_empty(), "{node}{diagnostics:?}");
        let read = &file.nodes[0];
        assert_eq!(read.name.value, "a b");
        assert_eq!(read.annotation.as_ref().unwrap().value, "t");
        assert_eq!(read.arguments().map(|entry| entry.value.clone()).collect::<Vec<_>>(), node.arguments);
        assert_eq!(read.property("true").unwrap().value, Value::Bool(true));
        assert_eq!(read.property("x").unwrap().value, Value::Null);
        assert_eq!(read.children()[0].entries[0].value, Value::from("#not-a-keyword"));
        assert_eq!(read.children()[1].children.as_ref().unwrap().len(), 0);
    }
}
