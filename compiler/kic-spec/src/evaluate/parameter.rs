//! Parameters: what `param` declares, and what a call gives for them.

use std::collections::{BTreeMap, BTreeSet};

use kic_base::{Span, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Entry, Node, Value};

use super::binding::{Binding, Scope};
use crate::schema::Type;
use crate::value;

/// A declared parameter.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    /// Its name.
    pub name: String,
    /// What a value of it may be.
    pub kind: ParameterType,
    /// Its value where a call gives none.
    pub default: Option<Binding>,
    /// What it says of itself.
    pub doc: String,
    /// The head of its declaration.
    pub span: Span,
}

/// What a value of a parameter may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ParameterType {
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
    Enum(Vec<String>),
    /// Values of one type, in order.
    List(Box<ParameterType>),
    /// Values of one type, by name.
    Map(Box<ParameterType>),
}

/// The names of the types, for suggestions and messages.
const NAMES: [&str; 12] = [
    "string",
    "int",
    "bool",
    "version",
    "path",
    "duration",
    "quantity",
    "registry",
    "image",
    "platform",
    "enum",
    "list<…>",
];

impl ParameterType {
    fn parse(text: &str, choices: &[String], depth: usize) -> Option<Self> {
        let inner = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
        if depth > 8 {
            return None;
        }
        if let Some(item) = inner("list<") {
            return Some(Self::List(Box::new(Self::parse(item.trim(), choices, depth + 1)?)));
        }
        if let Some(item) = inner("map<") {
            return Some(Self::Map(Box::new(Self::parse(item.trim(), choices, depth + 1)?)));
        }
        Some(match text {
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
            "enum" => Self::Enum(choices.to_vec()),
            _ => return None,
        })
    }

    /// The type as a declaration writes it.
    pub fn name(&self) -> String {
        match self {
            Self::String => "string".into(),
            Self::Int => "int".into(),
            Self::Bool => "bool".into(),
            Self::Text(name, _) => (*name).into(),
            Self::Quantity => "quantity".into(),
            Self::Enum(_) => "enum".into(),
            Self::List(item) => format!("list<{}>", item.name()),
            Self::Map(item) => format!("map<{}>", item.name()),
        }
    }

    /// The value as this type, or what is wrong with it.
    fn accept(&self, binding: Binding) -> Result<Binding, Diagnostic> {
        let wrong = |binding: &Binding| {
            Diagnostic::new(
                &code::WRONG_TYPE,
                format!("expected {}, found {}", self.describe(), binding.describe()),
            )
            .at(binding.span(), "")
        };
        match (self, binding) {
            (Self::List(item), Binding::List(items, span)) => Ok(Binding::List(
                items.into_iter().map(|one| item.accept(one)).collect::<Result<_, _>>()?,
                span,
            )),
            // A list of one is written as the one.
            (Self::List(item), scalar @ Binding::Scalar { .. }) => {
                let span = scalar.span().clone();
                Ok(Binding::List(vec![item.accept(scalar)?], span))
            }
            (Self::Map(item), Binding::Map(fields, span)) => {
                let accept = |(name, one)| Ok((name, item.accept(one)?));
                Ok(Binding::Map(fields.into_iter().map(accept).collect::<Result<_, Diagnostic>>()?, span))
            }
            (Self::String, binding @ Binding::Scalar { value: Value::String(_), .. })
            | (Self::Int, binding @ Binding::Scalar { value: Value::Integer(_), .. })
            | (Self::Bool, binding @ Binding::Scalar { value: Value::Bool(_), .. }) => Ok(binding),
            (Self::Text(name, wanted), Binding::Scalar { value: Value::String(text), span, .. }) => {
                value::read(&Value::String(text.clone()), *wanted, &span)?;
                Ok(Binding::Scalar { value: Value::String(text), span, is_path: *name == "path" })
            }
            (Self::Quantity, Binding::Scalar { value: Value::String(text), span, is_path }) => {
                if is_quantity(&text) {
                    return Ok(Binding::Scalar { value: Value::String(text), span, is_path });
                }
                Err(Diagnostic::new(&code::WRONG_TYPE, format!("`{text}` is no quantity"))
                    .at(&span, "")
                    .help(
                        "write a number with a suffix of Kubernetes, such as `500m`, `2`, `128Mi` or `1.5G`",
                    ))
            }
            (Self::Enum(choices), Binding::Scalar { value: Value::String(text), span, is_path }) => {
                if choices.contains(&text) {
                    return Ok(Binding::Scalar { value: Value::String(text), span, is_path });
                }
                let help = match closest(&text, choices.iter().map(String::as_str)) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("it is {}", self.describe()),
                };
                Err(Diagnostic::new(&code::UNKNOWN_CHOICE, format!("`{text}` is not {}", self.describe()))
                    .at(&span, "")
                    .help(help))
            }
            (_, binding) => {
                let help = match (self, &binding) {
                    (Self::Int, Binding::Scalar { value: Value::String(text), .. })
                        if text.parse::<i128>().is_ok() =>
                    {
                        Some(format!("write it without quotes: `{text}`"))
                    }
                    (Self::Bool, Binding::Scalar { value: Value::String(text), .. })
                        if text == "true" || text == "false" =>
                    {
                        Some(format!("write `#{text}`"))
                    }
                    (Self::String | Self::Text(..), Binding::Scalar { .. }) => {
                        Some(format!("put it in quotes: `\"{}\"`", binding.span().text()))
                    }
                    _ => None,
                };
                Err(wrong(&binding).help_if(help))
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::String => "a string".into(),
            Self::Int => "an integer".into(),
            Self::Bool => "`#true` or `#false`".into(),
            Self::Text(_, wanted) => wanted.describe(),
            Self::Quantity => "a quantity".into(),
            Self::Enum(choices) => Type::describe_words(choices.iter().map(String::as_str)),
            Self::List(item) => format!("a list, each of it {}", item.describe()),
            Self::Map(item) => format!("a map, each of it {}", item.describe()),
        }
    }
}

/// `[+-]DIGITS[.DIGITS]SUFFIX` (Kubernetes, `resource.Quantity`).
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let exponent = |suffix: &str| {
        suffix
            .strip_prefix(['e', 'E'])
            .is_some_and(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits).parse::<u16>().is_ok())
    };
    number.bytes().any(|byte| byte.is_ascii_digit())
        && number.bytes().filter(|byte| *byte == b'.').count() <= 1
        && (["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
            .contains(&suffix)
            || exponent(suffix))
}

/// The parameters that the `param` nodes among `nodes` declare.
pub(crate) fn declared(nodes: &[Node], diagnostics: &mut Diagnostics) -> BTreeMap<String, Parameter> {
    let mut parameters: BTreeMap<String, Parameter> = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.name.value == "param") {
        let Some(parameter) = declare(node, diagnostics) else { continue };
        if let Some(first) = parameters.get(&parameter.name) {
            diagnostics.push(
                Diagnostic::new(
                    &code::DUPLICATE_NODE,
                    format!("the parameter `{}` is declared twice", parameter.name),
                )
                .at(&parameter.span, "here again")
                .at(&first.span, "first here")
                .help("give one of them another name"),
            );
        } else {
            parameters.insert(parameter.name.clone(), parameter);
        }
    }
    parameters
}

fn declare(node: &Node, diagnostics: &mut Diagnostics) -> Option<Parameter> {
    // The default may have any shape; its type is checked below.
    let is_default = |child: &&Node| child.name.value == "default";
    let plain = Node {
        children: node
            .children
            .as_ref()
            .map(|all| all.iter().filter(|child| !is_default(child)).cloned().collect()),
        ..node.clone()
    };
    let checked = crate::decode::decode(&plain, &crate::nodes::PARAM, diagnostics);
    let (name, kind) = (checked.text(0)?, checked.text_property("type")?);
    let child = |name: &str| node.children().iter().find(|child| child.name.value == name);
    let choices: Vec<String> = child("one-of")
        .into_iter()
        .flat_map(Node::arguments)
        .filter_map(|entry| if let Value::String(text) = &entry.value { Some(text.clone()) } else { None })
        .collect();
    let Some(parsed) = ParameterType::parse(&kind.value, &choices, 0) else {
        let help = match closest(&kind.value, NAMES) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!(
                "a type is {}, `list<TYPE>` or `map<TYPE>`",
                crate::decode::list(NAMES[..11].iter().copied())
            ),
        };
        diagnostics.push(
            Diagnostic::new(&code::UNKNOWN_TYPE, format!("there is no type `{}`", kind.value))
                .at(&kind.span, "")
                .help(help),
        );
        return None;
    };
    if kind.value.contains("enum") == choices.is_empty() {
        let (span, message, help) = if choices.is_empty() {
            (node.head(), "an enum needs its words", "add `{ one-of \"a\" \"b\"; }`")
        } else {
            (kind.span.clone(), "`one-of` belongs to an enum", "write `type=\"enum\"`, or leave `one-of` out")
        };
        diagnostics.push(Diagnostic::new(&code::UNKNOWN_TYPE, message).at(&span, "").help(help));
        return None;
    }
    let default = match (node.property("default"), child("default")) {
        (Some(entry), _) => Some(Binding::scalar(entry.value.clone(), entry.value_span.clone())),
        (None, Some(node)) => Some(literal(node)),
        (None, None) => None,
    };
    let default = match default.map(|default| parsed.accept(default)).transpose() {
        Ok(default) => default,
        Err(diagnostic) => {
            diagnostics.push(diagnostic.at(&kind.span, format!("the type is `{}`", kind.value)));
            return None;
        }
    };
    let doc = child("doc").and_then(|node| node.arguments().next()).map(|entry| entry.value.clone());
    let doc = if let Some(Value::String(doc)) = doc { doc } else { String::new() };
    Some(Parameter { name: name.value, kind: parsed, default, doc, span: node.head() })
}

/// The value of a node in a call or a default: several arguments, or children named `-`, are a list; properties
/// and other children are a map; one argument is itself.
fn literal(node: &Node) -> Binding {
    shape(node, &mut |entry| Binding::scalar(entry.value.clone(), entry.value_span.clone()))
}

/// The same, with `scalar` giving the value of each entry.
pub(crate) fn shape(node: &Node, scalar: &mut dyn FnMut(&Entry) -> Binding) -> Binding {
    let arguments: Vec<&Entry> = node.arguments().collect();
    let properties: Vec<&Entry> = node.properties().collect();
    let children = node.children();
    let items_only = !children.is_empty() && children.iter().all(|child| child.name.value == "-");
    if properties.is_empty()
        && (items_only || (children.is_empty() && node.children.is_none() && arguments.len() != 1))
    {
        let mut items: Vec<Binding> = arguments.into_iter().map(&mut *scalar).collect();
        items.extend(children.iter().map(|child| shape(child, scalar)));
        return Binding::List(items, node.span.clone());
    }
    if let ([only], true, true) = (arguments.as_slice(), properties.is_empty(), children.is_empty()) {
        return scalar(only);
    }
    let mut fields = BTreeMap::new();
    for property in properties {
        if let Some(name) = &property.name {
            fields.insert(name.value.clone(), scalar(property));
        }
    }
    for child in children {
        fields.insert(child.name.value.clone(), shape(child, scalar));
    }
    Binding::Map(fields, node.span.clone())
}

/// What a call gives for a parameter.
#[derive(Debug)]
pub(crate) struct Given {
    pub name: String,
    pub value: Binding,
    pub span: Span,
}

/// The scope of a body whose parameters are `declared`: what a call gives, and defaults for the rest. Every error
/// labels both the call and the declaration.
pub(crate) fn bind(
    what: &str,
    declared: &BTreeMap<String, Parameter>,
    given: Vec<Given>,
    call: &Span,
    diagnostics: &mut Diagnostics,
) -> Scope {
    let mut scope = Scope::default();
    let mut seen: BTreeMap<String, Span> = BTreeMap::new();
    // A misspelt parameter is reported as such, and not again as a missing one.
    let mut meant: BTreeSet<&str> = BTreeSet::new();
    for one in given {
        let Some(parameter) = declared.get(&one.name) else {
            let names = || declared.keys().map(String::as_str);
            let diagnostic =
                Diagnostic::new(&code::UNKNOWN_PARAMETER, format!("{what} has no parameter `{}`", one.name))
                    .at(&one.span, "unknown parameter");
            meant.extend(closest(&one.name, names()));
            diagnostics.push(match closest(&one.name, names()).and_then(|close| declared.get(close)) {
                Some(close) => diagnostic
                    .at(&close.span, "declared here")
                    .help(format!("did you mean `{}`?", close.name)),
                None if declared.is_empty() => diagnostic.help("it has no parameters"),
                None => diagnostic.help(format!("it has {}", crate::decode::list(names()))),
            });
            continue;
        };
        if let Some(first) = seen.get(&one.name) {
            diagnostics.push(
                Diagnostic::new(&code::DUPLICATE_NODE, format!("`{}` is given twice", one.name))
                    .at(&one.span, "here again")
                    .at(first, "first here")
                    .help("keep one of the two"),
            );
            continue;
        }
        seen.insert(one.name.clone(), one.span.clone());
        match parameter.kind.accept(one.value) {
            Ok(value) => scope = scope.with(one.name, value),
            Err(diagnostic) => {
                let declared = format!("`{}` is declared as `{}`", parameter.name, parameter.kind.name());
                diagnostics.push(diagnostic.at(&parameter.span, declared));
            }
        }
    }
    for parameter in declared.values().filter(|parameter| !seen.contains_key(&parameter.name)) {
        match &parameter.default {
            Some(default) => scope = scope.with(parameter.name.clone(), default.clone()),
            None if meant.contains(parameter.name.as_str()) => {}
            None => diagnostics.push(
                Diagnostic::new(
                    &code::MISSING_PARAMETER,
                    format!("{what} needs the parameter `{}`", parameter.name),
                )
                .at(call, format!("`{}` is missing", parameter.name))
                .at(&parameter.span, "declared here, without a default")
                .help(if parameter.doc.is_empty() {
                    format!("give it: `{}=…`, {}", parameter.name, parameter.kind.describe())
                } else {
                    format!(
                        "give it: `{}=…`, {}: {}",
                        parameter.name,
                        parameter.kind.describe(),
                        parameter.doc
                    )
                }),
            ),
        }
    }
    scope
}
