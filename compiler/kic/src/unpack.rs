use std::path::Path;

use kic_base::Platform;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, Event, fault, obtain};
use kic_graph::{BlobFacts, NAME_ANNOTATION, NodeIndex};
use kic_oci::unpack::{Refusal, UnpackError, UnpackLayer, UnpackOptions};
use kic_store::StoreError;

use crate::fetch::fetch_all;
use crate::image::open_image;
use crate::told_reader::ToldReader;

/// What was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// How many layers.
    pub layers: usize,
    /// What the layers said and what was left out.
    pub report: kic_oci::unpack::UnpackReport,
}

/// Unpacks the root file system of an image into `directory`, which must be new or empty.
///
/// # Errors
/// What went wrong with the disk or the registry, and what is refused of hostile layers. The directory is as it was
/// then.
pub async fn unpack(
    image: &str,
    platform: Option<&Platform>,
    directory: &Path,
    options: UnpackOptions,
    context: &Context,
) -> Result<Unpacked, Diagnostics> {
    let opened = open_image(image, context).await?;
    let there = || {
        let names = opened.manifests.iter().filter_map(|(platform, ..)| platform.as_ref());
        names.map(|platform| format!("`{platform}`")).collect::<Vec<_>>().join(", ")
    };
    let chosen = match (platform, opened.manifests.as_slice()) {
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(Diagnostic::new(
                &code::PLATFORM_MISSING,
                format!("`{image}` is there for several platforms"),
            )
            .help(format!("choose one with `--platform`: {}", there()))
            .into());
        }
        (Some(wanted), all) => all.iter().find(|(own, ..)| own.as_ref().is_none_or(|own| own == wanted)),
    };
    let not_there = |wanted: &Platform, there: String| {
        Diagnostic::new(&code::PLATFORM_MISSING, format!("`{image}` is not there for `{wanted}`"))
            .help(format!("it is there for {there}"))
    };
    let (own, manifest) = match (chosen, platform) {
        (Some((own, _, manifest)), _) => (own, manifest),
        (None, Some(wanted)) => return Err(not_there(wanted, there()).into()),
        (None, None) => return Err(fault::internal("an image has no manifest").into()),
    };
    if let (Some(wanted), None) = (platform, own)
        && let Some(config) = opened.config(image, manifest, context).await?
        && config.platform() != *wanted
    {
        return Err(not_there(wanted, format!("`{}`", config.platform())).into());
    }
    let origin = opened.origin();
    fetch_all(&manifest.layers, &origin, context).await?;
    let bytes = manifest.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    context.watch.event(Event::Reading { done: "unpacked", bytes: Some(bytes) });
    let mut layers = Vec::new();
    for (index, layer) in manifest.layers.iter().enumerate() {
        let facts =
            BlobFacts { media_type: layer.media_type.clone(), digest: layer.digest, size: layer.size };
        let reader = obtain(&facts, &origin, NodeIndex::end(), context).await?;
        let name = layer.annotations.get(NAME_ANNOTATION).cloned().unwrap_or_else(|| (index + 1).to_string());
        let reader = Box::new(ToldReader::new(reader, context));
        layers.push(UnpackLayer { media_type: layer.media_type.clone(), reader, name });
    }
    let count = layers.len();
    let directory = directory.to_owned();
    let unpacking =
        move || kic_oci::unpack::unpack(layers, &directory, &options).map_err(|error| refused(&error).into());
    let report = context.blocking(unpacking).await?;
    Ok(Unpacked { layers: count, report })
}

fn refused(error: &UnpackError) -> Diagnostic {
    if let UnpackError::Read { source, .. } = error
        && let Some(source) = source.get_ref().and_then(|source| source.downcast_ref::<StoreError>())
    {
        return fault::store(source);
    }
    let message = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let full = |source: &std::io::Error| fault::is_full(source);
    match error {
        UnpackError::MediaType { .. }
        | UnpackError::Refused {
            reason: Refusal::SpecialFile(_) | Refusal::Sparse | Refusal::Kind(_), ..
        } => Diagnostic::new(&code::UNPACK_REFUSED, message)
            .help("unpack it with another tool, such as umoci or a container runtime: nothing was unpacked"),
        UnpackError::Refused { .. } | UnpackError::Limit { .. } | UnpackError::Read { .. } => {
            Diagnostic::new(&code::UNPACK_REFUSED, message)
                .help("the image is hostile or damaged: nothing was unpacked")
        }
        UnpackError::NotEmpty { .. } => {
            Diagnostic::new(&code::OUTPUT_NOT_EMPTY, message).help("choose a new or empty folder")
        }
        UnpackError::Destination { source, .. } | UnpackError::Write { source, .. } if full(source) => {
            Diagnostic::new(&code::STORE_FULL, message).help("make room")
        }
        _ => Diagnostic::new(&code::OUTPUT_UNWRITABLE, message)
            .help("choose a new or empty folder, which you may write to"),
    }
}
