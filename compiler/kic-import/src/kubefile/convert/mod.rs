//! From instructions to the parts of a spec.

mod bring;
mod launch;
mod leftovers;

use std::collections::BTreeMap;

use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::Value;

use super::copied::{Copied, Folder, name};
use super::instruction::{Instruction, OF_CONTAINERS, json_list, pairs, words};
use super::variables::{Substituted, Variable, parameter_name, substitute};

/// Where sealer puts what `APP` brings.
const APPLICATIONS: &str = "application/apps";

/// The parts of a spec, each a line or block of KDL.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub parameters: Vec<String>,
    pub platform: Option<String>,
    pub base: Option<String>,
    pub labels: Vec<String>,
    /// The lists of images.
    pub lists: Vec<String>,
    pub copies: Vec<Copied>,
    pub layers: Vec<Layer>,
    pub steps: Vec<String>,
    /// What has no counterpart: the number of the line, and what to write instead.
    pub notes: Vec<(usize, String)>,
}

/// A layer of manifests or policies.
#[derive(Debug)]
pub(super) struct Layer {
    pub is_policy: bool,
    pub name: String,
    pub namespace: Option<String>,
    pub items: Vec<String>,
}

/// What `APP`, `CNI` or `CSI` names.
#[derive(Debug, Default)]
struct Application {
    paths: Vec<String>,
    commands: Option<Vec<String>>,
}

struct Conversion<'a> {
    source: &'a Source,
    folder: &'a dyn Folder,
    diagnostics: &'a mut Diagnostics,
    parts: Parts,
    variables: BTreeMap<String, Variable>,
    environment: Vec<(String, String)>,
    applications: BTreeMap<String, Application>,
    /// Whether it is of a sealer before 0.9, which copies a folder itself, and takes each target for a folder.
    is_early: bool,
}

pub(super) fn convert(
    source: &Source,
    instructions: &[Instruction],
    folder: &dyn Folder,
    diagnostics: &mut Diagnostics,
) -> Parts {
    let is_late = |one: &Instruction| {
        ["APP", "APPCMDS", "APPENV", "CMDS", "CNI", "CSI", "KUBEVERSION", "LAUNCH"]
            .contains(&one.name.as_str())
    };
    let mut conversion = Conversion {
        source,
        folder,
        diagnostics,
        parts: Parts::default(),
        variables: BTreeMap::from([("ARCH".to_owned(), Variable::BuiltIn("platform.arch"))]),
        environment: Vec::new(),
        applications: BTreeMap::new(),
        is_early: !instructions.iter().any(is_late),
    };
    // Of several stages, the last is the image.
    let last = instructions.iter().rposition(|one| one.name == "FROM").unwrap_or(0);
    for (index, instruction) in instructions.iter().enumerate() {
        if index >= last || instruction.name == "ARG" {
            conversion.bring(instruction);
        } else if instruction.name == "FROM" {
            conversion.note(
                &instruction.span,
                "only the last stage becomes the image",
                "make a spec of its own of this stage, or build what it builds elsewhere, and `copy` the result",
            );
        }
    }
    let instructions = &instructions[last.min(instructions.len())..];
    if conversion.parts.base.is_none() && !conversion.diagnostics.has_errors() {
        conversion.diagnostics.push(
            Diagnostic::new(&code::INVALID_KUBEFILE, "the Kubefile has no `FROM`")
                .at(&source.span(0..0), "in this file")
                .help("begin it with the image below: `FROM kubernetes:v1.19.8`, or `FROM scratch`"),
        );
    }
    // What is applied can only be found when everything is there.
    for instruction in instructions {
        conversion.start(instruction);
    }
    conversion.lists_and_manifests();
    conversion.leave_out_what_is_used();
    conversion.parts.notes.sort_by_key(|(line, _)| *line);
    conversion.parts
}

impl Conversion<'_> {
    /// Notes what has no counterpart, and what to write instead.
    fn note(&mut self, span: &Span, what: &str, instead: &str) {
        self.diagnostics.push(
            Diagnostic::new(&code::NO_COUNTERPART, what.to_owned())
                .at(span, "this line")
                .help(instead.to_owned()),
        );
        let line = self.source.text()[..span.range().start].matches('\n').count() + 1;
        let first = span.text().lines().next().unwrap_or_default().trim_end_matches('\\').trim();
        let more = if span.text().contains('\n') { " …" } else { "" };
        self.parts.notes.push((line, format!("Line {line}, `{first}{more}`: {what}. Instead: {instead}.")));
    }

    fn substituted(&mut self, text: &str, span: &Span) -> Substituted {
        let found = substitute(text, &self.variables);
        for unknown in &found.unknown {
            let name = parameter_name(unknown);
            self.variables.insert(unknown.clone(), Variable::Parameter(name.clone()));
            self.parts.parameters.push(format!("param {} type=\"string\"", Value::String(name.clone())));
            self.note(
                span,
                &format!("nothing declares `{unknown}`"),
                &format!(
                    "give the parameter `{name}` a default, or a value at each compile: `--set {name}=…`"
                ),
            );
        }
        found
    }

    /// All but what is run at a start.
    fn bring(&mut self, one: &Instruction) {
        match one.name.as_str() {
            "ARG" => self.argument(one),
            "ENV" => self.environment(one),
            "FROM" => self.from(one),
            "LABEL" => {
                for (name, value) in pairs(&one.rest) {
                    let value = self.substituted(&value, &one.span);
                    self.parts.labels.push(format!("label {} {}", Value::String(name), value.kdl()));
                }
            }
            "MAINTAINER" => self.label("org.opencontainers.image.authors", &one.rest),
            "KUBEVERSION" => {
                self.label("app.alpha.sealer.io/supported-kube-version", &one.rest);
                self.note(
                    &one.span,
                    "kic does not check the version of Kubernetes below",
                    "the label tells it; a `command` in a `readiness` layer can compare `kubectl version`",
                );
            }
            "COPY" | "ADD" => self.copy(one),
            "APP" | "CNI" | "CSI" => self.application(one),
            "APPCMDS" => {
                let (name, rest) = one.rest.split_once(char::is_whitespace).unwrap_or((&one.rest, ""));
                let commands = json_list(rest.trim()).unwrap_or_else(|| vec![rest.trim().to_owned()]);
                self.applications.entry(name.to_owned()).or_default().commands = Some(commands);
            }
            "APPENV" => self.note(
                &one.span,
                "kic sets no environment of an application",
                "put the values into its manifests, or into the command: `run \"NAME=value COMMAND\"`",
            ),
            "WORKDIR" => self.note(
                &one.span,
                "a spec has no current folder",
                "write whole paths: `copy \"x\" to=\"/folder/\"`",
            ),
            "RUN" => self.run_while_building(one),
            name if OF_CONTAINERS.contains(&name) => self.note(
                &one.span,
                "a cluster image runs no container of its own",
                "leave it away; what is run at the start stands in `launch`",
            ),
            _ => {}
        }
    }

    fn label(&mut self, name: &str, value: &str) {
        let value = value.trim_matches('"');
        self.parts.labels.push(format!("label {} {}", Value::from(name), Value::from(value)));
    }

    fn argument(&mut self, one: &Instruction) {
        for word in words(&one.rest) {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
                None => (word, None),
            };
            let parameter = parameter_name(&name);
            if self.variables.get(&name) == Some(&Variable::Parameter(parameter.clone())) {
                continue;
            }
            let default = default.map(|default| self.substituted(&default, &one.span));
            let shown = match &default {
                Some(default) => match default.known() {
                    Some(known) => format!(" default={}", Value::from(known)),
                    None => {
                        self.note(
                            &one.span,
                            "a default in a spec is a text that is known",
                            &format!("give `{parameter}` a value at each compile: `--set {parameter}=…`"),
                        );
                        String::new()
                    }
                },
                None => String::new(),
            };
            self.parts
                .parameters
                .push(format!("param {} type=\"string\"{shown}", Value::from(parameter.as_str())));
            self.variables.insert(name, Variable::Parameter(parameter));
        }
    }

    fn environment(&mut self, one: &Instruction) {
        for (name, value) in pairs(&one.rest) {
            let value = substitute(&value, &self.variables);
            match value.known() {
                Some(known) => {
                    self.variables.insert(name.clone(), Variable::Text(known.to_owned()));
                    self.environment.push((name, known.to_owned()));
                }
                None => self.note(
                    &one.span,
                    &format!(
                        "`{name}` depends on an `ARG`, and commands of a start know no arguments of the build"
                    ),
                    "write the value into the commands that need it",
                ),
            }
        }
        self.note(
            &one.span,
            "kic keeps no environment for templates and scripts",
            "commands of the start that name the variable are given it; for scripts and `.tmpl` files write the value down",
        );
    }

    fn from(&mut self, one: &Instruction) {
        let words = words(&one.rest);
        let Some(image) = words.first() else { return };
        for option in &one.options {
            match option.split_once('=') {
                Some(("platform", platform)) => {
                    let platform = self.substituted(platform, &one.span);
                    self.parts.platform = Some(format!("platform {}", platform.kdl()));
                }
                _ => self.no_option(one, option),
            }
        }
        let image = self.substituted(image, &one.span);
        self.parts.base = Some(match image.known() {
            Some("scratch") => "base scratch".to_owned(),
            _ => format!("base {}", image.map(sealers_name).kdl()),
        });
    }

    fn no_option(&mut self, one: &Instruction, option: &str) {
        let name = option.split('=').next().unwrap_or(option);
        self.note(
            &one.span,
            &format!("`--{name}` has no counterpart"),
            "files belong to root, with the `mode` that a `copy` gives them",
        );
    }
}

/// The image that sealer means by a name without a registry.
fn sealers_name(image: &str) -> String {
    const DOMAIN: &str = "registry.cn-qingdao.aliyuncs.com";
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':', '$']) || first == "localhost" => image.to_owned(),
        Some(_) => format!("{DOMAIN}/{image}"),
        None if image.starts_with('$') => image.to_owned(),
        None => format!("{DOMAIN}/sealer-io/{image}"),
    }
}

/// A name of a layer for a file or application.
fn layer_name(text: &str) -> String {
    let lower: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(60)
        .collect();
    let trimmed = lower.trim_matches('-');
    if trimmed.is_empty() { "manifests".to_owned() } else { trimmed.to_owned() }
}

/// The name of a file without its end.
fn stem(path: &str) -> &str {
    let name = name(path.split(['?', '#']).next().unwrap_or(path));
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}
