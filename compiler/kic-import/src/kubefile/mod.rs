//! Kubefiles, the build files of sealer, as specs.
//!
//! 1. [`instruction`]: the lines;
//! 2. [`variables`]: `ARG` becomes parameters, `ENV` is put in;
//! 3. [`copied`]: what `COPY`, `ADD`, `APP`, `CNI` and `CSI` bring into the image, and where it goes;
//! 4. [`start`]: what `CMD`, `CMDS` and `LAUNCH` run at a start, and which manifests they apply;
//! 5. [`spec`]: all of it as text.
//!
//! What has no counterpart is told twice: as a warning, and as a comment in the spec.

mod convert;
mod copied;
mod instruction;
mod spec;
mod start;
mod variables;

use kic_base::Source;
use kic_diag::Diagnostics;

pub use copied::{Folder, Kind};

/// What a Kubefile does not say.
#[derive(Debug, Clone)]
pub struct KubefileOptions<'a> {
    /// The name of the cluster image.
    pub name: &'a str,
    /// Its version; a Kubefile's own is told to `sealer build`.
    pub version: Option<&'a str>,
    /// The host of the registry in the cluster; sealer's is `sea.hub:5000`.
    pub registry: &'a str,
}

/// The spec that a Kubefile becomes, formatted, and warnings about what has no counterpart.
///
/// # Errors
/// `invalid-kubefile`
pub fn kubefile(
    source: &Source,
    options: &KubefileOptions<'_>,
    folder: &dyn Folder,
) -> Result<(String, Diagnostics), Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let instructions = instruction::instructions(source, &mut diagnostics);
    let parts = convert::convert(source, &instructions, folder, &mut diagnostics);
    let text = spec::write(&parts, options);
    let (_, warnings) = diagnostics.or(())?;
    kic_syntax::format(&Source::new("cluster.kdl", text)).map(|formatted| (formatted, warnings))
}
