//! Charts and kustomizations.

use std::path::{Path, PathBuf};

use kic_base::{ImageReference, Spanned};
use kic_diag::{Diagnostic, declared as code};

use super::{Context, is_manifest_name, url_file_name};
use crate::chart::{Chart, ChartSource, ChartValues, Kustomization};
use crate::decode::Decoded;
use crate::object;
use crate::spec::{Fetch, ManifestItem};
use crate::value::{invalid_image, is_name};

/// The longest name of a release that `helm` takes.
const LONGEST_RELEASE: usize = 53;

impl Context<'_> {
    pub(super) fn chart(&mut self, node: &Decoded, namespace: Option<&str>) -> Option<ManifestItem> {
        let text = node.text(0)?;
        let source = self.chart_source(node, &text)?;
        let release = self.release(node, &text, &source)?;
        let mut values = Vec::new();
        for child in node.children_named("values") {
            let files = child.paths(0).into_iter();
            values.extend(files.map(|path| Spanned::new(ChartValues::File(path.value), path.span)));
            if child.node.children.is_some() {
                let map = object::map(child.node, &mut self.diagnostics);
                values.push(Spanned::new(ChartValues::Inline(map), child.span().clone()));
            }
        }
        let versions = node.children_named("api-versions").flat_map(|child| child.texts(0));
        let own_namespace = node.text_property("namespace").map(|text| text.value);
        Some(ManifestItem::Chart(Box::new(Chart {
            source: Spanned::new(source, text.span),
            release,
            namespace: own_namespace.or(namespace.map(str::to_owned)).unwrap_or_else(|| "default".to_owned()),
            values,
            api_versions: versions.map(|text| text.value).collect(),
            kube_version: node.text_property("kube-version").map(|text| text.value),
            include_crds: node.bool_property("include-crds").unwrap_or(true),
            hooks: node.bool_property("hooks").unwrap_or(true),
        })))
    }

    fn chart_source(&mut self, node: &Decoded, text: &Spanned<String>) -> Option<ChartSource> {
        let version = node.text_property("version");
        let checksum = node.checksum_property("sha256");
        let repo = node.text_property("repo");
        let mut needless = Vec::new();
        let source = if let Some(reference) = text.value.strip_prefix("oci://") {
            needless.extend(repo.as_ref().map(|repo| ("repo", &repo.span)));
            needless.extend(checksum.as_ref().map(|sum| ("sha256", &sum.span)));
            ChartSource::Registry(self.chart_reference(node, text, reference, version.as_ref())?)
        } else if let Some(repo) = &repo {
            needless.extend(checksum.as_ref().map(|sum| ("sha256", &sum.span)));
            if !is_chart_name(&text.value) {
                self.error(
                    Diagnostic::new(&code::INVALID_NAME, format!("`{}` is no name of a chart", text.value))
                        .at(&text.span, "with `repo`, this is the chart's name")
                        .help("write the name alone, as the repository's index has it"),
                );
                return None;
            }
            ChartSource::Repository {
                url: repo.value.trim_end_matches('/').to_owned(),
                name: text.value.clone(),
                version: version.map(|version| version.value),
            }
        } else if text.value.starts_with("https://") || text.value.starts_with("http://") {
            needless.extend(version.as_ref().map(|version| ("version", &version.span)));
            ChartSource::Url(Fetch { url: text.clone(), sha256: checksum.clone() })
        } else {
            needless.extend(checksum.as_ref().map(|sum| ("sha256", &sum.span)));
            if let Some(version) = &version {
                self.error(
                    Diagnostic::new(
                        &code::CONFLICTING_FORMS,
                        "a chart on disk has the version that its own file says",
                    )
                    .at(&version.span, "this says another thing, or the same again")
                    .help("leave `version` out, or name a repository with `repo=\"https://…\"`"),
                );
            }
            if text.value.is_empty() || text.value.contains('\0') {
                self.error(
                    Diagnostic::new(&code::INVALID_PATH, "the path of the chart is empty, or no path")
                        .at(&text.span, "")
                        .help("name a folder that holds a `Chart.yaml`, or a `.tgz` archive"),
                );
                return None;
            }
            ChartSource::Path(PathBuf::from(&text.value))
        };
        for (name, span) in needless {
            let diagnostic = Diagnostic::new(
                &code::CONFLICTING_FORMS,
                format!("`{name}` has no meaning for a chart of this kind"),
            )
            .at(span, "this one")
            .at(&text.span, "the chart is named here")
            .help("leave it out");
            self.error(diagnostic);
        }
        Some(source)
    }

    fn chart_reference(
        &mut self,
        node: &Decoded,
        text: &Spanned<String>,
        reference: &str,
        version: Option<&Spanned<String>>,
    ) -> Option<ImageReference> {
        let last = reference.rsplit('/').next().unwrap_or(reference);
        let has_version = last.contains([':', '@']);
        let whole = match version {
            Some(version) if has_version => {
                self.error(
                    Diagnostic::new(&code::CONFLICTING_FORMS, "the version of the chart is said twice")
                        .at(&version.span, "here")
                        .at(&text.span, "and here")
                        .help("keep one of the two"),
                );
                return None;
            }
            // A tag has no `+`: this is how `helm push` writes it.
            Some(version) => format!("{reference}:{}", version.value.replace('+', "_")),
            None if has_version => reference.to_owned(),
            None => {
                self.error(
                    Diagnostic::new(
                        &code::MISSING_PROPERTY,
                        "a chart in a registry needs the property `version`",
                    )
                    .at(&node.node.head(), "`version=` is missing")
                    .help("write `version=\"1.2.3\"`; a registry has no newest release"),
                );
                return None;
            }
        };
        match whole.parse() {
            Ok(reference) => Some(reference),
            Err(error) => {
                let diagnostic = invalid_image(&whole, &ToString::to_string(&error), &text.span);
                self.error(diagnostic.help("write `oci://HOST[:PORT]/REPOSITORY`, and `version=\"…\"`"));
                None
            }
        }
    }

    /// The release's name: the one that is said, else that of the chart, as its source has it.
    fn release(&mut self, node: &Decoded, text: &Spanned<String>, source: &ChartSource) -> Option<String> {
        let (name, span) = match node.text_property("name") {
            Some(name) => (name.value, name.span),
            None if node.node.property("name").is_some() => return None,
            None => (own_name(source).unwrap_or_default(), text.span.clone()),
        };
        if is_name(&name) && name.len() <= LONGEST_RELEASE {
            return Some(name);
        }
        self.error(
            Diagnostic::new(&code::INVALID_NAME, format!("`{name}` cannot be the name of a release"))
                .at(&span, "")
                .help(format!(
                    "say it with `name=\"…\"`: letters in lower case, digits and `-`, at most {LONGEST_RELEASE}"
                )),
        );
        None
    }

    pub(super) fn kustomize(&mut self, node: &Decoded) -> Option<ManifestItem> {
        let folder = node.path(0)?;
        let file_name = match self.file_name(node)? {
            Some(name) => name.value,
            None => {
                let located = self.locate(&folder);
                let name =
                    located.file_name().and_then(|name| name.to_str()).map(|name| format!("{name}.yaml"));
                match name.filter(|name| is_manifest_name(name)) {
                    Some(name) => name,
                    None => {
                        self.error(
                            Diagnostic::new(&code::INVALID_PATH, "the folder's path ends with no name")
                                .at(&folder.span, "")
                                .help("name the file in the layer with `as=\"NAME.yaml\"`"),
                        );
                        return None;
                    }
                }
            }
        };
        Some(ManifestItem::Kustomize(Kustomization { folder, file_name }))
    }
}

/// The name that a chart's source gives it.
fn own_name(source: &ChartSource) -> Option<String> {
    let of_file = |name: &str| {
        // `NAME-VERSION.tgz`
        let name = name.strip_suffix(".tgz").or_else(|| name.strip_suffix(".tar.gz")).unwrap_or(name);
        let is_version = |rest: &str| {
            let rest = rest.strip_prefix('v').unwrap_or(rest);
            rest.starts_with(|first: char| first.is_ascii_digit()) && rest.contains('.')
        };
        let end = name.match_indices('-').find(|(at, _)| is_version(&name[at + 1..])).map(|(at, _)| at);
        name[..end.unwrap_or(name.len())].to_owned()
    };
    match source {
        ChartSource::Path(path) => {
            let name = path.file_name()?.to_str()?;
            Some(if is_archive(path) { of_file(name) } else { name.to_owned() })
        }
        ChartSource::Url(fetch) => url_file_name(&fetch.url.value).map(of_file),
        ChartSource::Repository { name, .. } => Some(name.clone()),
        ChartSource::Registry(reference) => reference.repository().rsplit('/').next().map(str::to_owned),
    }
}

fn is_archive(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(".tgz") || path.ends_with(".tar.gz"))
}

fn is_chart_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_as_its_chart_is() {
        let path = |path: &str| own_name(&ChartSource::Path(path.into())).unwrap_or_default();
        assert_eq!(path("charts/shop"), "shop");
        assert_eq!(path("charts/shop-2"), "shop-2");
        assert_eq!(path("charts/shop-1.2.3.tgz"), "shop");
        assert_eq!(path("kube-state-metrics-v5.0.1-rc.1.tgz"), "kube-state-metrics");
        assert_eq!(path("shop.tgz"), "shop");
        assert_eq!(path(".."), "");
        let reference: ImageReference = "sea.hub:5000/charts/shop:1.2.3".parse().unwrap();
        assert_eq!(own_name(&ChartSource::Registry(reference)).as_deref(), Some("shop"));
    }
}
