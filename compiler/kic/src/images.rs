use std::collections::BTreeMap;

use kic_base::ImageReference;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::Context;
use kic_graph::{BaseFacts, ImageContents, ListedImage, Redirected};
use kic_spec::{ImagePin, Lock, Spec, World};

use crate::compile::Request;
use crate::resolve::resolve;

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
    let knows_base = is_known(&surveyed.inputs.base);
    diagnostics.append(in_short(surveyed.warnings));
    let pinned = surveyed.locks.first().map(|file| pinned(&file.lock)).unwrap_or_default();
    let (list, more) = kic_graph::list_images(&spec, &surveyed.inputs, &pinned);
    // Where something could not be gathered, lowering misses it, and says what has been said. The closure is another
    // matter, as long as it is known what the base has.
    diagnostics.extend(more.into_iter().filter(|one| is_whole || (knows_base && is_of_closure(one))));
    Ok(Images { spec, list, diagnostics })
}

fn is_known(base: &BaseFacts) -> bool {
    match base {
        BaseFacts::Scratch => true,
        BaseFacts::Image(images) => !images.is_empty(),
        BaseFacts::Spec(inputs) => is_known(&inputs.base),
    }
}

fn is_of_closure(diagnostic: &Diagnostic) -> bool {
    let codes =
        [&code::IMAGE_NOT_CACHED, &code::IMAGE_UNDECIDED, &code::IMAGE_LIKELY, &code::MISSING_IMAGE_ALLOWED];
    codes.contains(&diagnostic.code)
}

/// What a lock says of images.
fn pinned(lock: &Lock) -> BTreeMap<ImageReference, ImageContents> {
    let contents = |pin: &ImagePin| ImageContents {
        digest: pin.digest,
        size: None,
        platforms: pin.platforms.keys().map(ToString::to_string).collect(),
    };
    lock.images.iter().map(|(reference, pin)| (reference.clone(), contents(pin))).collect()
}

/// The same, with one error for all that is not known because kic is offline: the list shows each.
fn in_short(diagnostics: Diagnostics) -> Diagnostics {
    let (offline, mut others): (Vec<_>, Vec<_>) =
        diagnostics.into_iter().partition(|one| one.code == &code::OFFLINE);
    match offline.len() {
        0 | 1 => others.extend(offline),
        count => others.push(
            Diagnostic::new(
                &code::OFFLINE,
                format!("{count} things are not in the store, and kic is offline"),
            )
            .help(
                "run once without `--offline`, so that they are known; what the list has of others is right",
            ),
        ),
    }
    others.into_iter().collect()
}

/// Says what policies and mirrors of a spec make of images in pods of a namespace, whether the spec needs them or not; with what
/// a compile would say of the rest of it.
///
/// # Errors
/// As [`images`].
pub async fn redirect(
    request: &Request,
    images: &[String],
    namespace: &str,
    world: &dyn World,
    context: &Context,
) -> Result<(Vec<Redirected>, Diagnostics), Diagnostics> {
    let (spec, mut diagnostics) = resolve(request, world)?;
    let surveyed = kic_exec::survey(&spec, &request.gather, world, context).await?;
    diagnostics.append(in_short(surveyed.warnings));
    Ok((kic_graph::redirect_images(&spec, &surveyed.inputs, images, namespace), diagnostics))
}
