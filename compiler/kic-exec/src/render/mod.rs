//! Programs of the user's that make Kubernetes objects of charts and kustomizations.
//!
//! **Invariants:** a program sees only files that its [`kic_graph::Rendering`] names, in a folder made for it; it gets no
//! network and nothing of the user's environment but `PATH`; it ends in time, and its output has a bound; it is run twice,
//! and what it gives must be the same.

mod differences;
mod helm;
mod kustomize;
mod program;
mod rendered;
mod run;
mod split;
mod tree;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use helm::{ChartFiles, Helm, find_helm, render_chart};
pub(crate) use kustomize::{find_kustomize, gather_kustomization, refused, render_kustomization};
pub(crate) use rendered::Rendered;
pub(crate) use tree::folder_files;

/// Where programs of the user's are looked for, and how long one may run.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The folders of `PATH`, in order.
    pub folders: Vec<PathBuf>,
    /// After this time a program is ended.
    pub time_limit: Duration,
}

impl Default for Programs {
    fn default() -> Self {
        Self { folders: Vec::new(), time_limit: Duration::from_secs(120) }
    }
}
