//! The layers: `files`, `manifests`, `policies` and `readiness`.

use kic_base::Spanned;
use kic_diag::{Diagnostic, declared as code};

use super::Context;
use crate::decode::Decoded;
use crate::object;
use crate::readiness::{Check, CheckKind};
use crate::spec::{Content, Fetch, FileItem, Layer, LayerKind, ManifestItem};

impl Context<'_> {
    pub(super) fn files(&mut self, node: &Decoded) -> Option<Layer> {
        let mut items = Vec::new();
        for child in &node.children {
            let item = match child.schema.name {
                "copy" => self.copy(child),
                "text" => self.text(child),
                _ => self.files_fetch(child),
            };
            items.extend(item.map(|item| Spanned::new(item, child.span().clone())));
        }
        self.layer(node, Content::Files(items))
    }

    pub(super) fn layer(&mut self, node: &Decoded, content: Content) -> Option<Layer> {
        // One that a `when` or `for` left empty is as it was meant.
        if node.node.children.is_none() {
            self.error(
                Diagnostic::new(
                    &code::EMPTY_LAYER,
                    format!("this `{}` layer holds nothing", node.schema.name),
                )
                .at(&node.node.head(), "")
                .help("leave it out, or put something inside"),
            );
        }
        Some(Layer {
            name: node.text(0)?,
            after: node.text_property("after"),
            span: node.span().clone(),
            platform: None,
            is_split: matches!(content, Content::Files(_)) && node.bool_property("split")?,
            content,
        })
    }

    pub(super) fn copy(&mut self, node: &Decoded) -> Option<FileItem> {
        let mut exclude: Vec<Spanned<String>> = node.text_property("exclude").into_iter().collect();
        exclude.extend(node.children_named("exclude").flat_map(|child| child.texts(0)));
        for glob in exclude.iter().filter(|glob| !is_glob(&glob.value)) {
            self.error(
                Diagnostic::new(&code::INVALID_PATH, format!("`{}` is no glob", glob.value))
                    .at(&glob.span, "a bracket or brace is never closed")
                    .help("close it; `\\\\[` stands for a bracket itself"),
            );
        }
        let to = match node.node.property("to") {
            Some(_) => node.image_path_property("to")?.value,
            None => String::new(),
        };
        Some(FileItem::Copy { from: node.path(0)?, to, mode: node.mode_property(), exclude })
    }

    pub(super) fn text(&mut self, node: &Decoded) -> Option<FileItem> {
        let to = node.image_path(0)?;
        if to.value.is_empty() || to.value.ends_with('/') {
            self.error(
                Diagnostic::new(&code::INVALID_PATH, "`text` writes a file, and this is a folder")
                    .at(&to.span, "")
                    .help("add the file's name"),
            );
            return None;
        }
        let mut text = node.text(1)?.value;
        for line in node.children.iter().filter_map(|line| line.text(0)) {
            text.push_str(&line.value);
            text.push('\n');
        }
        Some(FileItem::Text { to: to.value, text, mode: node.mode_property()? })
    }

    pub(super) fn files_fetch(&mut self, node: &Decoded) -> Option<FileItem> {
        let fetch = Fetch { url: node.text(0)?, sha256: node.checksum_property("sha256") };
        let mut to = node.image_path_property("to")?;
        if to.value.is_empty() || to.value.ends_with('/') {
            let Some(name) = url_file_name(&fetch.url.value) else {
                self.error(
                    Diagnostic::new(&code::INVALID_PATH, "the URL ends with no file name")
                        .at(&to.span, "a folder")
                        .help("add the file's name to `to`"),
                );
                return None;
            };
            to.value.push_str(name);
        }
        Some(FileItem::Fetch { fetch, to: to.value, mode: node.mode_property()? })
    }

    pub(super) fn manifests(
        &mut self,
        node: &Decoded,
        kind: LayerKind,
        registries: &[Spanned<String>],
    ) -> Option<Layer> {
        let namespace = node.text_property("namespace").map(|text| text.value);
        let mut items = Vec::new();
        for child in &node.children {
            let item = match child.schema.name {
                "file" => child
                    .path(0)
                    .and_then(|from| Some(ManifestItem::File { from, name: self.file_name(child)? })),
                "fetch" => self.manifest_fetch(child),
                "chart" => self.chart(child, namespace.as_deref()),
                "kustomize" => self.kustomize(child),
                _ => self.object(child),
            };
            items.extend(item.map(|item| Spanned::new(item, child.span().clone())));
        }
        let content = match kind {
            LayerKind::Policies => Content::Policies { namespace, items },
            _ => Content::Manifests { namespace, rewrite: self.rewrite(node, registries), items },
        };
        self.layer(node, content)
    }

    /// The host that images are named after: the one that is said, else that of the only registry.
    fn rewrite(&mut self, node: &Decoded, registries: &[Spanned<String>]) -> Option<Spanned<String>> {
        if let Some(host) = node.text_property("rewrite") {
            return Some(host);
        }
        if node.bool_property("rewrite") != Some(true) {
            return None;
        }
        let span = node.node.property("rewrite").map_or_else(|| node.node.head(), |entry| entry.span.clone());
        let other = registries.iter().find(|other| other.value != registries[0].value);
        match (registries.first(), other) {
            (Some(only), None) => Some(Spanned::new(only.value.clone(), span)),
            (Some(first), Some(other)) => {
                self.error(
                    Diagnostic::new(&code::MISSING_FORM, "`rewrite=#true` does not say after which registry")
                        .at(&span, "this one")
                        .at(&first.span, "one is here")
                        .at(&other.span, "and one here")
                        .help(format!("name one of them: `rewrite=\"{}\"`", first.value)),
                );
                None
            }
            _ => {
                self.error(
                    Diagnostic::new(
                        &code::MISSING_FORM,
                        "`rewrite=#true` needs a registry, and the spec has none",
                    )
                    .at(&span, "this one")
                    .help(
                        "add `registry \"HOST\" { discover; }`, or name that of the base: `rewrite=\"HOST\"`",
                    ),
                );
                None
            }
        }
    }

    /// The `as` of a manifest: outer `None` where it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are two things")]
    pub(super) fn file_name(&mut self, node: &Decoded) -> Option<Option<Spanned<String>>> {
        let Some(name) = node.text_property("as") else { return Some(None) };
        if is_manifest_name(&name.value) {
            return Some(Some(name));
        }
        self.error(
            Diagnostic::new(&code::INVALID_PATH, format!("`{}` is no name of a manifest", name.value))
                .at(&name.span, "")
                .help("write a file name that ends with `.yaml`, `.yml` or `.json`"),
        );
        None
    }

    pub(super) fn manifest_fetch(&mut self, node: &Decoded) -> Option<ManifestItem> {
        let fetch = Fetch { url: node.text(0)?, sha256: node.checksum_property("sha256") };
        let name = self.file_name(node)?;
        if name.is_none() && !url_file_name(&fetch.url.value).is_some_and(is_manifest_name) {
            self.error(
                Diagnostic::new(&code::INVALID_PATH, "the URL ends with no name of a manifest")
                    .at(&fetch.url.span, "")
                    .help("name the file with `as=\"NAME.yaml\"`"),
            );
            return None;
        }
        Some(ManifestItem::Fetch { fetch, name })
    }

    pub(super) fn object(&mut self, node: &Decoded) -> Option<ManifestItem> {
        let (kind, name) = (node.text(0)?, node.text_property("name")?);
        let namespace = node.text_property("namespace");
        let namespace = namespace.as_ref().map(|text| text.value.as_str());
        let object = object::object(node.node, &kind.value, &name.value, namespace, &mut self.diagnostics);
        let short_kind = kind.value.rsplit('/').next().unwrap_or(&kind.value).to_lowercase();
        let plain: String =
            name.value.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let file_name = match namespace {
            Some(namespace) => format!("{short_kind}-{namespace}-{plain}.yaml"),
            None => format!("{short_kind}-{plain}.yaml"),
        };
        Some(ManifestItem::Object { file_name, object })
    }

    pub(super) fn readiness(&mut self, node: &Decoded) -> Option<Layer> {
        // Absent only where it is wrong, which has been reported.
        let layer_timeout = node.seconds_property("timeout").unwrap_or_default();
        let mut checks = Vec::new();
        for child in &node.children {
            let what = match child.schema.name {
                "admits" => self.admits(child),
                "webhook" => self.webhook(child),
                "rollout" if !self.is_named(child) => None,
                _ => check_kind(child),
            };
            let Some(what) = what else { continue };
            let timeout_seconds = child.seconds_property("timeout").unwrap_or(layer_timeout);
            let check = Check { what, timeout_seconds, interval_seconds: 2 };
            checks.push(Spanned::new(check, child.span().clone()));
        }
        self.layer(node, Content::Readiness(checks))
    }

    /// Whether a check of a rollout names an object: kubectl knows no rollout of a whole kind.
    fn is_named(&mut self, node: &Decoded) -> bool {
        let Some(resource) = node.text(0).filter(|resource| !resource.value.contains('/')) else {
            return true;
        };
        self.error(
            Diagnostic::new(
                &code::INVALID_RESOURCE,
                format!("`{}` names a kind, and no object of it", resource.value),
            )
            .at(&resource.span, "")
            .help(format!("write `KIND/NAME`, such as `deployment/{}`", resource.value)),
        );
        false
    }

    fn webhook(&mut self, node: &Decoded) -> Option<CheckKind> {
        let resource = node.text(0)?;
        let kinds = ["validatingwebhookconfiguration", "mutatingwebhookconfiguration"];
        let (kind, name) = resource.value.split_once('/').unwrap_or((&resource.value, ""));
        let kind = kind.split('.').next().unwrap_or(kind).to_lowercase();
        if name.is_empty() || !kinds.contains(&kind.strip_suffix('s').unwrap_or(&kind)) {
            self.error(
                Diagnostic::new(
                    &code::INVALID_RESOURCE,
                    format!("`{}` is no configuration of webhooks", resource.value),
                )
                .at(&resource.span, "")
                .help("write `validatingwebhookconfiguration/NAME` or `mutatingwebhookconfiguration/NAME`"),
            );
            return None;
        }
        Some(CheckKind::Webhook { resource: resource.value })
    }

    fn admits(&mut self, node: &Decoded) -> Option<CheckKind> {
        let (kind, name) = (node.text(0)?, node.text_property("name")?);
        let namespace = node.text_property("namespace").map(|text| text.value);
        let namespace = namespace.as_deref();
        let object = object::object(node.node, &kind.value, &name.value, namespace, &mut self.diagnostics);
        Some(CheckKind::Admits { object })
    }
}

pub(super) fn check_kind(node: &Decoded) -> Option<CheckKind> {
    let namespace = node.text_property("namespace").map(|text| text.value);
    let text = |index| node.text(index).map(|text| text.value);
    Some(match node.schema.name {
        "rollout" => CheckKind::Rollout { resource: text(0)?, namespace },
        "condition" => CheckKind::Condition {
            resource: text(0)?,
            condition: text(1)?,
            status: node.text_property("status")?.value,
            namespace,
        },
        "exists" => CheckKind::Exists { resource: text(0)?, namespace },
        "established" => {
            CheckKind::Established { crds: node.texts(0).into_iter().map(|text| text.value).collect() }
        }
        "jsonpath" => CheckKind::Jsonpath {
            resource: text(0)?,
            path: text(1)?,
            equals: node.text_property("equals")?.value,
            namespace,
        },
        "nodes" => CheckKind::Nodes { count: node.number_property("count")? },
        "endpoints" => {
            CheckKind::Endpoints { service: text(0)?, namespace, count: node.number_property("count")? }
        }
        "policy" => CheckKind::Policy { resource: text(0)?, namespace },
        "http" => CheckKind::Http {
            url: text(0)?,
            status: u16::try_from(node.number_property("status")?).ok()?,
            insecure: node.bool_property("insecure")?,
        },
        _ => CheckKind::Command { command: text(0)? },
    })
}

/// The last part of a URL's path, where it has one.
pub fn url_file_name(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    let (_, after_scheme) = path.split_once("://")?;
    let (_, path) = after_scheme.split_once('/')?;
    path.rsplit('/').next().filter(|name| !name.is_empty() && *name != "." && *name != "..")
}

/// Whether a file of that name is a manifest, by its ending.
pub fn is_manifest_name(name: &str) -> bool {
    let good_end = [".yaml", ".yml", ".json"].iter().any(|end| name.len() > end.len() && name.ends_with(end));
    good_end && !name.contains(['/', '\0'])
}

/// Whether every bracket and brace of a glob is closed: one with an open bracket matches nothing, in silence.
fn is_glob(text: &str) -> bool {
    let mut closing = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.next().is_none() => return false,
            '[' if closing.last() != Some(&']') => closing.push(']'),
            '{' if closing.last() != Some(&']') => closing.push('}'),
            ']' | '}' if closing.last() == Some(&character) => {
                closing.pop();
            }
            _ => {}
        }
    }
    closing.is_empty()
}
