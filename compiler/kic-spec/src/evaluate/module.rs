//! Modules: where they are, and what they say of themselves.

use std::path::{Component, Path, PathBuf};

use kic_base::{Source, Spanned, closest};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::{File, Value};

use super::parameter::declared;
use crate::stdlib;
use crate::world::World;

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

/// Reads a module: a file with one `module` node.
pub(super) fn read(
    identity: &str,
    name: &Spanned<String>,
    world: &dyn World,
    diagnostics: &mut Diagnostics,
) -> Option<File> {
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
    let (file, errors) = kic_syntax::parse(&Source::new(identity, text));
    let broken = errors.has_errors();
    diagnostics.append(errors);
    if broken {
        return None;
    }
    match file.nodes.as_slice() {
        [node] if node.name.value == "module" => {
            let named = matches!(node.arguments().next().map(|entry| &entry.value), Some(Value::String(_)));
            if named && node.entries.len() == 1 {
                return Some(file);
            }
            diagnostics.push(
                Diagnostic::new(&code::NOT_A_MODULE, "a module has a name, and nothing else before its `{`")
                    .at(&node.head(), "")
                    .help("write `module \"NAME\" { … }`"),
            );
        }
        nodes => {
            let span = nodes.first().map_or_else(|| file.source.span(0..0), |node| node.head());
            let diagnostic = Diagnostic::new(&code::NOT_A_MODULE, format!("`{identity}` is no module"))
                .at(&span, "expected one `module` node")
                .at(&name.span, "used here");
            diagnostics.push(match nodes.first().map(|node| node.name.value.as_str()) {
                Some("cluster") => diagnostic.help("a whole spec can be a base: `base spec=\"…\"`"),
                _ => diagnostic.help("write `module \"NAME\" { … }` around what the file holds"),
            });
        }
    }
    None
}

/// What a module says of itself.
#[derive(Debug, Clone)]
pub struct ModuleDocumentation {
    /// Its name.
    pub name: String,
    /// Its `doc`.
    pub doc: String,
    /// Its parameters: name, type, default where there is one, and doc.
    pub parameters: Vec<(String, String, Option<String>, String)>,
}

/// The documentation of a module of the standard library.
pub fn documentation(name: &str) -> Option<ModuleDocumentation> {
    let (file, _) = kic_syntax::parse(&Source::new(format!("std:{name}"), stdlib::find(name)?));
    let module = file.nodes.first()?;
    let doc = module
        .children()
        .iter()
        .find(|child| child.name.value == "doc")
        .and_then(|child| child.arguments().next());
    let doc = doc.map(|entry| entry.value.clone());
    let mut diagnostics = Diagnostics::new();
    let parameters = declared(module.children(), &mut diagnostics).into_values().map(|parameter| {
        let default = parameter.default.map(|default| {
            let text = default.span().text();
            text.strip_prefix("default").unwrap_or(text).trim().to_owned()
        });
        (parameter.name, parameter.kind.name(), default, parameter.doc)
    });
    Some(ModuleDocumentation {
        name: name.to_owned(),
        doc: if let Some(Value::String(doc)) = doc { doc } else { String::new() },
        parameters: parameters.collect(),
    })
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
