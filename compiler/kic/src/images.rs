use kic_diag::Diagnostics;
use kic_exec::Context;
use kic_graph::ListedImage;
use kic_spec::{Spec, World};

use crate::compile::{Request, resolve};

/// The images of a spec.
#[derive(Debug)]
pub struct Images {
    /// The closed value, which knows by which modules a place comes in.
    pub spec: Spec,
    /// The images, by name.
    pub list: Vec<ListedImage>,
    /// What a compile would say of them: errors, too.
    pub diagnostics: Diagnostics,
}

/// Lists the images that a spec has to do with: those in its cache, those that it leaves out, and those that are missing.
/// Tags that have no pin are resolved; what fails is told with the list.
///
/// # Errors
/// Those of the texts, and a lock that cannot be read: without them nothing is known.
pub async fn images(request: &Request, world: &dyn World, context: &Context) -> Result<Images, Diagnostics> {
    let (spec, mut diagnostics) = resolve(request, world)?;
    let surveyed = kic_exec::survey(&spec, &request.gather, world, context).await?;
    let is_whole = !surveyed.warnings.has_errors();
    diagnostics.append(surveyed.warnings);
    let (list, more) = kic_graph::list_images(&spec, &surveyed.inputs);
    // Where something could not be gathered, lowering misses it, and says what has been said.
    if is_whole {
        diagnostics.append(more);
    }
    Ok(Images { spec, list, diagnostics })
}
