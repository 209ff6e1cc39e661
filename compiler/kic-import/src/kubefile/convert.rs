//! From instructions to the parts of a spec.

use std::collections::BTreeMap;

use kic_base::{Source, Span};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_syntax::Value;

use super::copied::{Copied, Folder, Kind, is_url, join, name, plain};
use super::instruction::{Instruction, json_list, pairs, words};
use super::start::{Start, steps};
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

    fn copy(&mut self, one: &Instruction) {
        let mut mode = None;
        for option in &one.options {
            match option.split_once('=') {
                Some(("from", _)) => {
                    self.note(
                        &one.span,
                        "a spec has no stages to copy from",
                        "copy the result of the other stage: put it beside the spec, or `fetch` it",
                    );
                    return;
                }
                Some(("chmod", bits)) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    mode = Some(format!("{bits:0>4}"));
                }
                _ => self.no_option(one, option),
            }
        }
        let mut words = words(&one.rest);
        let Some(to) = words.pop().filter(|_| !words.is_empty()) else {
            self.diagnostics.push(
                Diagnostic::new(
                    &code::INVALID_KUBEFILE,
                    format!("`{}` needs a source and a target", one.name),
                )
                .at(&one.span, "it has one path")
                .help(format!("write `{} SOURCE TARGET`, such as `COPY etc .`", one.name)),
            );
            return;
        };
        let to = self.substituted(&to, &one.span);
        let Some(to) = to.known().map(str::to_owned) else {
            self.note(&one.span, "the target depends on an `ARG`", "write the path down");
            return;
        };
        let several = words.len() > 1;
        for from in words {
            let from = self.substituted(&from, &one.span);
            self.bring_in(from, &to, several, mode.clone(), one);
        }
    }

    /// One source of a `COPY`.
    fn bring_in(
        &mut self,
        from: Substituted,
        to: &str,
        several: bool,
        mode: Option<String>,
        one: &Instruction,
    ) {
        let Some(known) = from.known().map(str::to_owned) else {
            // Only the contents of a folder can be meant by all that is in it.
            let from = from.map(|text| text.strip_suffix("/*").unwrap_or(text).to_owned());
            self.parts.copies.push(Copied {
                from,
                to: plain(to),
                is_into: false,
                kind: None,
                mode,
                used: Vec::new(),
                span: one.span.clone(),
            });
            return;
        };
        if is_url(&known) {
            self.push(from, to, true, None, mode, one);
            return;
        }
        let known = plain(&known);
        if let Some(inner) = known.strip_suffix("/*").or((known == "*").then_some("")) {
            let inner = if inner.is_empty() { "." } else { inner };
            self.push(Substituted::literal(inner), to, false, Some(Kind::Folder), mode, one);
            return;
        }
        if known.contains(['*', '?', '[']) {
            self.note(
                &one.span,
                "`copy` takes no pattern",
                "copy the folder, and leave out the rest: `exclude \"*.md\"`",
            );
            return;
        }
        let known = if known.is_empty() { ".".to_owned() } else { known };
        let kind = self.folder.kind(&known).or((known == ".").then_some(Kind::Folder));
        let is_archive =
            [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"].iter().any(|end| known.ends_with(end));
        if one.name == "ADD" && is_archive {
            self.note(
                &one.span,
                "`ADD` unpacks an archive, and `copy` does not",
                "unpack it beside the spec, and copy the folder",
            );
        }
        let folder = match kind {
            // The folder itself, and not only what is in it.
            Some(Kind::Folder) if self.is_early && known != "." => join(&plain(to), name(&known)),
            _ => to.to_owned(),
        };
        let is_folder_target = to.ends_with('/')
            || several
            || self.is_early
            || plain(to).is_empty()
            || (!name(&plain(to)).contains('.') && name(&plain(to)) != name(&known));
        let is_into = kind != Some(Kind::Folder) && is_folder_target;
        self.push(Substituted::literal(known), &folder, is_into, kind, mode, one);
    }

    fn push(
        &mut self,
        from: Substituted,
        to: &str,
        is_into: bool,
        kind: Option<Kind>,
        mode: Option<String>,
        one: &Instruction,
    ) {
        let (to, span) = (plain(to), one.span.clone());
        self.parts.copies.push(Copied { from, to, is_into, kind, mode, used: Vec::new(), span });
    }

    fn application(&mut self, one: &Instruction) {
        let mut words = words(&one.rest).into_iter();
        let Some(app) = words.next() else { return };
        if one.name != "APP" {
            let kind = one.name.to_lowercase();
            self.label(&format!("cluster.alpha.sealer.io/kube-{kind}-{app}"), "true");
        }
        let folder = format!("{APPLICATIONS}/{app}");
        for word in words {
            let path = match word.strip_prefix("local://") {
                Some(path) => plain(path),
                None if is_url(&word) => word,
                None => {
                    self.diagnostics.push(
                        Diagnostic::new(
                            &code::INVALID_KUBEFILE,
                            format!("`{word}` is no source of `{}`", one.name),
                        )
                        .at(&one.span, "this line")
                        .help("write `local://PATH`, or a URL"),
                    );
                    continue;
                }
            };
            self.applications.entry(app.clone()).or_default().paths.push(path.clone());
            let kind = self.folder.kind(&path);
            self.push(Substituted::literal(path), &folder, kind != Some(Kind::Folder), kind, None, one);
        }
    }

    fn run_while_building(&mut self, one: &Instruction) {
        if let Some((url, to)) = download(&one.rest) {
            let url = self.substituted(&url, &one.span);
            let (to, is_into) = match to {
                Some(to) => (to, false),
                None => (String::new(), true),
            };
            self.push(url, &to, is_into, None, None, one);
            return;
        }
        self.note(
            &one.span,
            "kic runs nothing while it compiles: what a command does may differ on each run",
            "copy the result (`copy`), download it by URL and checksum (`fetch`), or run the command at the start (`run`)",
        );
    }

    /// What is run at a start.
    fn start(&mut self, one: &Instruction) {
        let commands = match one.name.as_str() {
            // A list in JSON is a program and its arguments for CMD, and a list of commands for CMDS.
            "CMD" => vec![json_list(&one.rest).map_or_else(|| one.rest.clone(), |list| list.join(" "))],
            "CMDS" => json_list(&one.rest).unwrap_or_else(|| vec![one.rest.clone()]),
            "LAUNCH" => {
                for app in words(&one.rest) {
                    self.launch(app.trim_matches(','), one);
                }
                return;
            }
            _ => return,
        };
        for command in commands {
            self.command(&command, "", one);
        }
    }

    fn launch(&mut self, app: &str, one: &Instruction) {
        let folder = format!("{APPLICATIONS}/{app}");
        let Some(application) = self.applications.remove(app) else {
            self.note(
                &one.span,
                &format!("`{app}` is no application of this Kubefile"),
                "steps of the base image run first, and need no word; else name what is to be applied: `apply`",
            );
            return;
        };
        if let Some(commands) = application.commands {
            for command in commands {
                self.command(&command, &folder, one);
            }
            return;
        }
        for path in application.paths {
            let kind = self.folder.kind(&path);
            let is_chart =
                kind == Some(Kind::Folder) && self.folder.kind(&join(&path, "Chart.yaml")).is_some();
            if is_chart {
                let item =
                    format!("chart {} name={}", Value::from(path.as_str()), Value::from(layer_name(app)));
                self.use_source(&path);
                self.layer(layer_name(app), None, vec![item], false);
            } else if path.ends_with(".sh") {
                self.command(&format!("bash {}", join(&folder, name(&path))), "", one);
            } else {
                let target =
                    if kind == Some(Kind::Folder) { folder.clone() } else { join(&folder, name(&path)) };
                let target = if is_url(&path) { path } else { target };
                self.apply(&[target], None, &format!("kubectl apply -f {folder}"), one);
            }
        }
    }

    /// A command of the start, which is run in `folder`.
    fn command(&mut self, command: &str, folder: &str, one: &Instruction) {
        for step in steps(command) {
            match step {
                Start::Apply { paths, namespace } => {
                    let paths: Vec<String> = paths
                        .iter()
                        .map(|path| {
                            if is_url(path) {
                                path.clone()
                            } else if path.starts_with('/') {
                                plain(path)
                            } else {
                                plain(&join(folder, path))
                            }
                        })
                        .collect();
                    self.apply(&paths, namespace, command, one);
                }
                Start::Run(command) => self.run(&command, folder, one),
            }
        }
    }

    fn run(&mut self, command: &str, folder: &str, one: &Instruction) {
        let is_named = |name: &str| {
            command.contains(&format!("${{{name}}}"))
                || command.match_indices(&format!("${name}")).any(|(at, found)| {
                    !command[at + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                })
        };
        let given: String = self
            .environment
            .iter()
            .filter(|(name, _)| is_named(name))
            .map(|(name, value)| format!("export {name}='{}'; ", value.replace('\'', "'\\''")))
            .collect();
        let folder = if folder.is_empty() { String::new() } else { format!("cd {folder} && ") };
        self.parts.steps.push(format!("run {}", Value::String(format!("{given}{folder}{command}"))));
        let mut words = command.split_whitespace();
        if words.any(|word| word == "helm" || word.ends_with("/helm")) {
            self.note(
                &one.span,
                "the images of a chart that is installed by a command are not found",
                "write `chart` in a `manifests` layer and `apply` it, or name its images in the registry",
            );
        }
    }

    /// Applies what will be at these paths of the image; where one is not known, the command is run as it is.
    fn apply(&mut self, paths: &[String], namespace: Option<String>, command: &str, one: &Instruction) {
        let mut sources = Vec::new();
        for path in paths {
            if is_url(path) {
                sources.push(path.clone());
                continue;
            }
            let found = self.parts.copies.iter().find_map(|copied| copied.source_of(path, self.folder));
            let Some(found) = found else {
                self.run(command, "", one);
                return;
            };
            sources.push(found);
        }
        for source in sources {
            let shown = Value::from(source.as_str());
            let item = if is_url(&source) { format!("fetch {shown}") } else { format!("file {shown}") };
            self.use_source(&source);
            let is_policy = self.is_policy(&source);
            self.layer(layer_name(stem(&source)), namespace.clone(), vec![item], is_policy);
        }
    }

    /// A new layer, and the step that applies it.
    fn layer(&mut self, name: String, namespace: Option<String>, items: Vec<String>, is_policy: bool) {
        if let Some(known) = self.parts.layers.iter().find(|layer| layer.items == items) {
            self.parts.steps.push(format!("apply {}", Value::from(known.name.as_str())));
            return;
        }
        let name = self.free_name(name);
        self.parts.steps.push(format!("apply {}", Value::from(name.as_str())));
        self.parts.layers.push(Layer { is_policy, name, namespace, items });
    }

    fn free_name(&self, name: String) -> String {
        let is_free = |name: &String| self.parts.layers.iter().all(|layer| layer.name != *name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }

    /// Marks what a layer of manifests holds: it is not copied again.
    fn use_source(&mut self, source: &str) {
        for copied in &mut self.parts.copies {
            let Some(from) = copied.from.known() else { continue };
            let inner = if from == "." { Some(source) } else { source.strip_prefix(from) };
            if let Some(inner) =
                inner.filter(|inner| inner.is_empty() || inner.starts_with('/') || from == ".")
            {
                copied.used.push(inner.trim_start_matches('/').to_owned());
            }
        }
    }

    /// Whether a manifest holds admission policies, and nothing else.
    fn is_policy(&self, path: &str) -> bool {
        let Some(text) = self.folder.read(path) else { return false };
        let (objects, _) = kic_manifest::read(&Source::new(path, text));
        let is_policy = |object: &kic_manifest::Object| {
            let group = object.api_version.split('/').next().unwrap_or_default();
            let is_engine = group == "kyverno.io"
                || group.ends_with(".kyverno.io")
                || group == "admissionregistration.k8s.io";
            is_engine && object.kind.contains("Policy")
        };
        !objects.is_empty() && objects.iter().all(is_policy)
    }

    /// sealer's own lists: images of `manifests/imageList`, and of manifests that nothing applies.
    fn lists_and_manifests(&mut self) {
        for index in 0..self.parts.copies.len() {
            let copied = self.parts.copies[index].clone();
            let Some(from) = copied.from.known().map(str::to_owned) else { continue };
            if copied.target().split('/').next() != Some("manifests") {
                continue;
            }
            let files = match copied.kind {
                Some(Kind::Folder) => self.folder.files(&from),
                _ => vec![from],
            };
            for file in files {
                let is_manifest = [".yaml", ".yml"].iter().any(|end| file.ends_with(end));
                let is_list = name(&file).eq_ignore_ascii_case("imageList");
                if is_list {
                    self.parts.lists.push(format!("image-list {}", Value::from(file.as_str())));
                    self.use_source(&file);
                } else if is_manifest && !self.is_used(&file) {
                    self.unapplied(&copied.span, &file);
                }
            }
        }
    }

    /// A manifest that no command applies. sealer caches its images, and so does a layer that the launch leaves out.
    fn unapplied(&mut self, span: &Span, file: &str) {
        let name = layer_name(stem(file));
        if self.parts.steps.is_empty() {
            self.note(
                span,
                &format!("sealer caches the images of `{file}`, and nothing applies it"),
                &format!("`manifests \"{name}\" {{ file \"{file}\"; }}`, and a `launch` that leaves it out"),
            );
            return;
        }
        let (name, item) = (self.free_name(name), format!("file {}", Value::from(file)));
        let is_policy = self.is_policy(file);
        self.parts.layers.push(Layer { is_policy, name, namespace: None, items: vec![item] });
    }

    /// Settles what of a folder is copied beside the layers that hold some of its files.
    fn leave_out_what_is_used(&mut self) {
        for copied in &mut self.parts.copies {
            let Some(from) = copied.from.known().filter(|_| copied.kind == Some(Kind::Folder)) else {
                continue;
            };
            let files = self.folder.files(from);
            let below = |file: &str| {
                if from == "." {
                    file.to_owned()
                } else {
                    file[from.len()..].trim_start_matches('/').to_owned()
                }
            };
            if !copied.used.is_empty() && files.iter().all(|file| copied.used.contains(&below(file))) {
                copied.used = vec![String::new()];
                continue;
            }
            // A glob without `/` is about every folder: a file with a namesake stays.
            copied.used.retain(|used| {
                used.is_empty()
                    || used.contains('/')
                    || files.iter().filter(|file| name(file) == used).count() == 1
            });
            copied.used.sort();
            copied.used.dedup();
        }
    }

    fn is_used(&self, source: &str) -> bool {
        self.parts
            .layers
            .iter()
            .any(|layer| layer.items.iter().any(|item| item.contains(&format!("{}", Value::from(source)))))
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

/// The URL that `wget` or `curl` fetches, and the file that it is written to.
fn download(command: &str) -> Option<(String, Option<String>)> {
    if command.contains(['|', ';', '&', '<', '>', '(', ')', '`', '\n']) {
        return None;
    }
    let all = words(command);
    let (program, rest) = all.split_first()?;
    let (mut url, mut to, mut keeps_name) = (None, None, program == "wget");
    if !matches!(program.as_str(), "wget" | "curl") {
        return None;
    }
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-O" if program == "curl" => keeps_name = true,
            "-LO" | "-fLO" | "-fsSLO" | "-sLO" | "-OL" if program == "curl" => keeps_name = true,
            "-O" | "--output-document" if program == "wget" => to = Some(plain(rest.next()?)),
            "-o" | "--output" | "-Lo" | "-fLo" | "-fsSLo" | "-sLo" if program == "curl" => {
                to = Some(plain(rest.next()?))
            }
            "-q" | "-L" | "-f" | "-s" | "-S" | "-fsSL" | "-fL" | "-sL" | "--no-check-certificate" | "-k" => {}
            word if is_url(word) && url.is_none() => url = Some(word.to_owned()),
            _ => return None,
        }
    }
    (to.is_some() || keeps_name).then_some((url?, to))
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
