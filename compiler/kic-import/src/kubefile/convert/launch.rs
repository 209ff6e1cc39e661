//! `CMD`, `CMDS` and `LAUNCH`: what is run at a start, and what that applies.

use kic_base::Source;
use kic_syntax::Value;

use super::super::copied::{Kind, is_url, join, name, plain};
use super::super::instruction::{Instruction, json_list, words};
use super::super::start::{Start, steps};
use super::{APPLICATIONS, Conversion, Layer, layer_name, stem};

impl Conversion<'_> {
    /// What is run at a start.
    pub(super) fn start(&mut self, one: &Instruction) {
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
                self.apply(&[target], None, one);
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
                    self.apply(&paths, namespace, one);
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

    /// Applies what will be at these paths of the image; where one is not known, a command does.
    fn apply(&mut self, paths: &[String], namespace: Option<String>, one: &Instruction) {
        let mut sources = Vec::new();
        for path in paths {
            if is_url(path) {
                sources.push(path.clone());
                continue;
            }
            let found = self.parts.copies.iter().find_map(|copied| copied.source_of(path, self.folder));
            let Some(found) = found else {
                // Another command of the same line may have become a step: this one alone is run.
                let files: String = paths.iter().map(|path| format!(" -f {path}")).collect();
                let namespace = namespace.map(|name| format!(" --namespace={name}")).unwrap_or_default();
                self.run(&format!("kubectl apply{files}{namespace}"), "", one);
                self.note(
                    &one.span,
                    &format!("`{path}` is nothing that this Kubefile copies: the images that it names are not found"),
                    "where the base brings it, name its images in the registry; else check that the file is there",
                );
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

    pub(super) fn free_name(&self, name: String) -> String {
        let is_free = |name: &String| self.parts.layers.iter().all(|layer| layer.name != *name);
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
    }

    /// Marks what a layer of manifests holds: it is not copied again.
    pub(super) fn use_source(&mut self, source: &str) {
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
    pub(super) fn is_policy(&self, path: &str) -> bool {
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
}
