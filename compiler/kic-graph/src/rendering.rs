//! Charts and kustomizations: what decides the text that a program of the user's makes of them.

use std::collections::BTreeMap;

use kic_base::{Digest, StableHasher};
use kic_spec::{Chart, ChartSource, ChartValues, ManifestItem, Spec};

/// The derivation of a rendered text. Its digest says everything that the text depends on:
///
/// | what | how it enters the digest |
/// |---|---|
/// | the program | its name, the version that it says, the digest of its file |
/// | the command line | every argument, in order |
/// | the files that it sees | each one's path and the digest of its bytes |
/// | how the text is taken apart into files | the number of that form |
///
/// What never enters: paths of this machine, the environment (the program gets none), who may read a file. The layer
/// that the text stands in depends on the text alone, so that two builds of one program that give one text give one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendering {
    /// The program, such as `helm`.
    pub program: String,
    /// The version that it says.
    pub version: String,
    /// The digest of its file.
    pub binary: Digest,
    /// Its arguments; paths are relative to the folder of the files.
    pub arguments: Vec<String>,
    /// The files that it sees, by path.
    pub files: BTreeMap<String, Digest>,
}

/// The form in which a rendered text is taken apart.
const FORM: u64 = 1;

impl Rendering {
    /// The digest over all of it.
    pub fn digest(&self) -> Digest {
        let mut hasher = StableHasher::new();
        hasher.text("kic rendering").number(FORM);
        hasher.text(&self.program).text(&self.version).digest(&self.binary);
        hasher.list(&self.arguments, |hasher, argument| {
            hasher.text(argument);
        });
        hasher.list(&self.files, |hasher, (path, digest)| {
            hasher.text(path).digest(digest);
        });
        hasher.finish()
    }
}

/// What tells the charts and kustomizations of a spec apart; `None` for what is not rendered. Two that ask for the same
/// have one key.
pub fn render_key(spec: &Spec, item: &ManifestItem) -> Option<Digest> {
    let mut hasher = StableHasher::new();
    match item {
        ManifestItem::Chart(chart) => chart_key(spec, chart, &mut hasher),
        ManifestItem::Kustomize(kustomization) => {
            let folder = spec.locate(&kustomization.folder);
            hasher.variant("Kustomize").bytes(folder.as_os_str().as_encoded_bytes());
            hasher.text(&kustomization.file_name);
        }
        _ => return None,
    }
    Some(hasher.finish())
}

fn chart_key(spec: &Spec, chart: &Chart, hasher: &mut StableHasher) {
    hasher.variant("Chart");
    match &chart.source.value {
        ChartSource::Path(path) => {
            let path = spec.locate_from(path, &chart.source.span);
            hasher.variant("Path").bytes(path.as_os_str().as_encoded_bytes());
        }
        ChartSource::Url(fetch) => {
            hasher.variant("Url").text(&fetch.url.value);
        }
        ChartSource::Repository { url, name, version } => {
            hasher.variant("Repository").text(url).text(name);
            hasher.option(version.as_ref(), |hasher, version| {
                hasher.text(version);
            });
        }
        ChartSource::Registry(reference) => {
            hasher.variant("Registry").text(&reference.to_string());
        }
    }
    hasher.text(&chart.release).text(&chart.namespace);
    hasher.list(&chart.values, |hasher, values| match &values.value {
        ChartValues::File(path) => {
            let path = spec.locate_from(path, &values.span);
            hasher.variant("File").bytes(path.as_os_str().as_encoded_bytes());
        }
        // `serde_json` keeps the keys of an object sorted.
        ChartValues::Inline(map) => {
            hasher.variant("Inline").text(&map.to_string());
        }
    });
    hasher.list(&chart.api_versions, |hasher, version| {
        hasher.text(version);
    });
    hasher.option(chart.kube_version.as_ref(), |hasher, version| {
        hasher.text(version);
    });
    hasher.boolean(chart.include_crds).boolean(chart.hooks);
}

/// The files that a chart may become, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChartPart {
    /// The definitions of its `crds` folders.
    Crds,
    /// The hooks that run before an installation.
    PreInstall,
    /// Everything else.
    Objects,
    /// The hooks that run after an installation.
    PostInstall,
}

impl ChartPart {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Crds, Self::PreInstall, Self::Objects, Self::PostInstall];

    /// The name of the file in the layer.
    pub fn file_name(self, release: &str) -> String {
        match self {
            Self::Crds => format!("{release}-crds.yaml"),
            Self::PreInstall => format!("{release}-pre-install.yaml"),
            Self::Objects => format!("{release}.yaml"),
            Self::PostInstall => format!("{release}-post-install.yaml"),
        }
    }
}
