use std::path::PathBuf;

use kic_base::{ImageReference, Spanned};
use serde_json::Value as Json;

use crate::spec::Fetch;

/// A Helm chart, to be rendered by the user's `helm`.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Where the chart is.
    pub source: Spanned<ChartSource>,
    /// The name of the release, as templates see it; the files in the layer begin with it.
    pub release: String,
    /// The namespace of the release, and of objects that name none.
    pub namespace: String,
    /// What takes the place of the chart's own values, a later one that of an earlier one.
    pub values: Vec<Spanned<ChartValues>>,
    /// What the cluster is said to serve, beside what `helm` knows.
    pub api_versions: Vec<String>,
    /// The version of Kubernetes that templates see; `helm`'s own where it is not said.
    pub kube_version: Option<String>,
    /// Whether the definitions in the chart's `crds` folders are applied, too.
    pub include_crds: bool,
    /// Whether the hooks of an installation are applied.
    pub hooks: bool,
}

/// Where a chart is.
#[derive(Debug, Clone, PartialEq)]
pub enum ChartSource {
    /// A folder, or an archive (`.tgz`), relative to the file that says it.
    Path(PathBuf),
    /// An archive at a URL.
    Url(Fetch),
    /// In an HTTP repository.
    Repository {
        /// The address of the folder that holds `index.yaml`, without a `/` at the end.
        url: String,
        /// The chart's name.
        name: String,
        /// Its version; the newest release where it is not said.
        version: Option<String>,
    },
    /// In a registry, with a tag or digest.
    Registry(ImageReference),
}

/// Values of a chart.
#[derive(Debug, Clone, PartialEq)]
pub enum ChartValues {
    /// A file of YAML, relative to the file that says it.
    File(PathBuf),
    /// A map, written in the spec.
    Inline(Json),
}

/// A kustomization, to be built by the user's `kustomize` or `kubectl`.
#[derive(Debug, Clone, PartialEq)]
pub struct Kustomization {
    /// Its folder, relative to the file that says it.
    pub folder: Spanned<PathBuf>,
    /// The name of the file in the layer.
    pub file_name: String,
}
