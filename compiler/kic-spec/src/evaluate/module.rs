//! Modules: where they are, and what they say of themselves.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use kic_base::{Source, Spanned, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{Node, Value};

use super::binding::Binding;
use super::parameter::{Parameter, declared};
use crate::decode::decode;
use crate::world::World;
use crate::{nodes, stdlib};

/// What names a module in one compile: `std:NAME`, or the path of its file, seen from where kic runs.
pub(super) fn identity(name: &Spanned<String>, diagnostics: &mut Diagnostics) -> Option<String> {
    if let Some(standard) = name.value.strip_prefix("std:") {
        if stdlib::find(standard).is_some() {
            return Some(name.value.clone());
        }
        let help = match closest(standard, stdlib::names()) {
            Some(close) => format!("did you mean `std:{close}`?"),
            None => format!("the standard library has {}", crate::decode::list(stdlib::names())),
        };
        diagnostics.push(
            Diagnostic::new(
                &code::UNKNOWN_MODULE,
                format!("the standard library has no module `{standard}`"),
            )
            .at(&name.span, "unknown module")
            .help(help),
        );
        return None;
    }
    if name.value.starts_with("oci://") {
        diagnostics.push(
            Diagnostic::new(&code::UNKNOWN_MODULE, "modules in registries cannot be used yet")
                .at(&name.span, "")
                .help("copy the module beside the spec, and use its path"),
        );
        return None;
    }
    if !name.value.ends_with(".kdl") {
        let close = closest(&name.value, stdlib::names());
        diagnostics.push(
            Diagnostic::new(&code::UNKNOWN_MODULE, format!("`{}` names no module", name.value))
                .at(&name.span, "unknown module")
                .help(match close {
                    Some(close) => format!("did you mean `std:{close}`? A file's name ends with `.kdl`"),
                    None => "write `std:NAME` for one of the standard library, or the path of a `.kdl` file"
                        .to_owned(),
                }),
        );
        return None;
    }
    let from = name.span.source().name();
    if from.starts_with("std:") {
        diagnostics.push(
            Diagnostic::new(&code::UNKNOWN_MODULE, "a module of the standard library has no files beside it")
                .at(&name.span, "")
                .help("use another one of the standard library"),
        );
        return None;
    }
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    Some(normalised(&folder.join(&name.value)).display().to_string())
}

/// A module that was read.
#[derive(Debug)]
pub(crate) struct Module {
    node: Node,
    pub parameters: BTreeMap<String, Parameter>,
}

impl Module {
    pub fn children(&self) -> &[Node] {
        self.node.children()
    }
}

/// The modules that were read, each once, whatever the number of its uses and of the platforms.
#[derive(Debug, Default)]
pub(crate) struct Library {
    modules: BTreeMap<String, (Option<Arc<Module>>, Diagnostics)>,
}

impl Library {
    /// The module of that identity, used at `name`; `None` where it has no whole text.
    pub fn find(
        &mut self,
        identity: &str,
        name: &Spanned<String>,
        world: &dyn World,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<Module>> {
        let (module, said) = self.modules.entry(identity.to_owned()).or_insert_with(|| {
            let mut said = Diagnostics::new();
            let module = read(identity, name, world, &mut said).map(|node| {
                check_documentation(node.children(), &mut said);
                Arc::new(Module { parameters: declared(node.children(), &mut said), node })
            });
            (module, said)
        });
        diagnostics.extend(said.iter().cloned());
        module.clone()
    }
}

/// Holds the `doc` and `example` nodes of a spec or module against their schema.
pub(super) fn check_documentation(nodes: &[Node], diagnostics: &mut Diagnostics) {
    for node in nodes.iter().filter(|node| node.name.value == "example") {
        decode(node, &nodes::EXAMPLE, diagnostics);
    }
    let mut first: Option<&Node> = None;
    for node in nodes.iter().filter(|node| node.name.value == "doc") {
        decode(node, &nodes::DOC, diagnostics);
        if let Some(first) = first {
            diagnostics.push(
                Diagnostic::new(&code::DUPLICATE_NODE, "`doc` stands twice")
                    .at(&node.head(), "here again")
                    .at(&first.head(), "first here")
                    .help("keep one of the two"),
            );
        }
        first = first.or(Some(node));
    }
}

/// Reads a module: a file with one `module` node.
fn read(
    identity: &str,
    name: &Spanned<String>,
    world: &dyn World,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let text = match identity.strip_prefix("std:").and_then(stdlib::find) {
        Some(text) => text.to_owned(),
        None => match world.read(Path::new(identity)).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                diagnostics.push(
                    Diagnostic::new(&code::UNREADABLE_FILE, format!("`{identity}` is not UTF-8 text"))
                        .at(&name.span, "used here")
                        .help("save it as UTF-8"),
                );
                return None;
            }
            Err(error) => {
                diagnostics.push(crate::resolve::unreadable(Path::new(identity), &name.span, &error));
                return None;
            }
        },
    };
    let (mut file, errors) = kic_syntax::parse(&Source::new(identity, text));
    let broken = errors.has_errors();
    diagnostics.append(errors);
    if broken {
        return None;
    }
    let is_module = |node: &Node| node.name.value == "module";
    if file.nodes.len() == 1 && is_module(&file.nodes[0]) {
        // What stands inside is looked at when the module is used.
        decode(&Node { children: None, ..file.nodes[0].clone() }, &nodes::MODULE, diagnostics);
        return file.nodes.pop();
    }
    let other = file.nodes.iter().find(|node| !is_module(node)).or(file.nodes.get(1));
    let span = other.map_or_else(|| file.source.span(0..0), Node::head);
    let diagnostic = match other {
        Some(_) if file.nodes.iter().any(is_module) => Diagnostic::new(
            &code::NOT_A_MODULE,
            "a module's file holds one `module` node, and nothing beside it",
        )
        .at(&span, "this stands beside it"),
        _ => Diagnostic::new(&code::NOT_A_MODULE, format!("`{identity}` is no module"))
            .at(&span, "expected one `module` node"),
    };
    let help = match other.map(|node| node.name.value.as_str()) {
        Some("cluster") => "a whole spec can be a base: `base spec=\"…\"`",
        Some("module") => "move one of them into a file of its own",
        Some(name) if closest(name, ["module"]).is_some() => "did you mean `module`?",
        Some(_) if file.nodes.iter().any(is_module) => "move it inside the module",
        _ => "write `module \"NAME\" { … }` around what the file holds",
    };
    diagnostics.push(diagnostic.at(&name.span, "used here").help(help));
    None
}

/// What a module says of itself.
#[derive(Debug, Clone)]
pub struct ModuleDocumentation {
    /// Its name.
    pub name: String,
    /// Its `doc`.
    pub doc: String,
    /// Its parameters, in the order of the text.
    pub parameters: Vec<ParameterDocumentation>,
    /// Its `example` nodes: texts that stand in a spec.
    pub examples: Vec<String>,
}

/// What a module says of one of its parameters.
#[derive(Debug, Clone)]
pub struct ParameterDocumentation {
    /// Its name.
    pub name: String,
    /// Its type, as a declaration writes it.
    pub kind: String,
    /// The words of an enum.
    pub words: Vec<String>,
    /// Whether a call must give it.
    pub is_required: bool,
    /// Its value where a call gives none, as a declaration writes it; `None` as well where it then has none.
    pub default: Option<String>,
    /// Its `doc`.
    pub doc: String,
}

/// The documentation of a module of the standard library.
pub fn documentation(name: &str) -> Option<ModuleDocumentation> {
    documentation_of(name, &Source::new(format!("std:{name}"), stdlib::find(name)?)).ok()
}

/// What the module in `source` says of itself, for a reader who knows it by `name`.
///
/// # Errors
/// Where it cannot be read, or is no module.
pub fn documentation_of(name: &str, source: &Source) -> Result<ModuleDocumentation, Diagnostics> {
    let (file, said) = kic_syntax::parse(source);
    if said.has_errors() {
        return Err(said);
    }
    let Some(module) = file.nodes.first().filter(|node| node.name.value == "module") else {
        let span = file.nodes.first().map_or_else(|| source.span(0..0), Node::head);
        let diagnostic = Diagnostic::new(&code::NOT_A_MODULE, format!("`{name}` is no module"))
            .at(&span, "expected one `module` node")
            .help("write `module \"NAME\" { … }` around what the file holds");
        return Err(diagnostic.into());
    };
    let texts = |name: &'static str| {
        let nodes = module.children().iter().filter(move |child| child.name.value == name);
        nodes.filter_map(|node| match &node.arguments().next()?.value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
    };
    let mut parameters: Vec<Parameter> =
        declared(module.children(), &mut Diagnostics::new()).into_values().collect();
    parameters.sort_by_key(|parameter| parameter.span.range().start);
    let parameters = parameters.into_iter().map(|parameter| ParameterDocumentation {
        kind: parameter.kind.name(),
        words: parameter.kind.choices().map(|words| words.to_vec()).unwrap_or_default(),
        is_required: parameter.default.is_none(),
        default: parameter.default.as_ref().filter(|default| !default.is_null()).map(shown),
        name: parameter.name,
        doc: parameter.doc,
    });
    Ok(ModuleDocumentation {
        name: name.to_owned(),
        doc: texts("doc").next().unwrap_or_default(),
        parameters: parameters.collect(),
        examples: texts("example").collect(),
    })
}

/// A value as a `default` writes it.
fn shown(binding: &Binding) -> String {
    let inner = |one: &Binding| match one {
        Binding::List(list) => format!(
            "{{ {} }}",
            list.items.iter().map(|one| format!("- {};", shown(one))).collect::<Vec<_>>().join(" ")
        ),
        one => shown(one),
    };
    match binding {
        Binding::Scalar(scalar) => scalar.value.to_string(),
        Binding::List(list) => list.items.iter().map(inner).collect::<Vec<_>>().join(" "),
        Binding::Map(map) if map.fields.is_empty() => "{}".to_owned(),
        Binding::Map(map) => {
            let fields = map.fields.iter().map(|(name, one)| format!("{name} {};", shown(one)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(" "))
        }
        Binding::Unknown => String::new(),
    }
}

/// A path with `.` and inner `..` taken out, so that two spellings of one file compare equal.
pub(crate) fn normalised(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            component => out.push(component),
        }
    }
    out
}
