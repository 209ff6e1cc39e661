//! Compiles an image anew from what is recorded in it, and tells whether the same comes out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kic_base::{Digest, Epoch, Platform};
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Assembled, Context, DiskImages, Documents, GatherOptions, LockMode, fault, obtain};
use kic_graph::{BlobFacts, KIND_ANNOTATION, NAME_ANNOTATION, NodeIndex};
use kic_oci::layer::read_file;
use kic_oci::layer_diff::diff_layers;
use kic_oci::model::{Descriptor, Manifest};
use kic_spec::Settings;
use kic_store::Store;

use crate::cached_blobs::keep_cached_blobs;
use crate::check::scratch_folder;
use crate::compile::{Request, compile};
use crate::image::{ImageAt, open_image};
use crate::source::{RecordedWorld, SourceRecord};

/// Where the record stands in the launch layer.
pub(crate) const SOURCE_PATH: &str = "kic/source.json";

/// More of a launch layer is not unpacked.
const LIMIT: u64 = 128 << 20;

/// Compiles the image anew, with the files of `folder`, and gives the digest that came out: that of the image.
///
/// # Errors
/// `no-source` where nothing is recorded, `missing-parameter` where the values of parameters are to be given, whatever the compile
/// meets, and `rebuild-differs`, with the first difference, where another image comes out.
pub async fn rebuild(
    image: &str,
    folder: &Path,
    settings: &Settings,
    context: &Context,
) -> Result<Digest, Diagnostics> {
    let opened = open_image(image, context).await?;
    let record = record(image, &opened, context).await?;
    let missing = |name: &&String| !settings.set.iter().any(|(given, _)| given == *name);
    if let Some(name) = record.set.iter().find(missing) {
        return Err(Diagnostic::new(
            &code::MISSING_PARAMETER,
            format!("`{image}` was compiled with a value for `{name}`, which is not recorded"),
        )
        .help(format!("give it, as it was then: `--set {name}=VALUE`"))
        .into());
    }
    let allow_missing = record.allow_missing.iter().filter_map(|text| text.parse().ok()).collect();
    let request = Request {
        spec: folder.join(&record.spec),
        output: None,
        gather: GatherOptions {
            lock: LockMode::Locked,
            source_date_epoch: record.source_date_epoch,
            epoch: record.epoch,
            allow_missing,
        },
        settings: settings.clone(),
        check: false,
        explain: false,
        record_source: true,
    };
    // From an empty store: what an earlier compile has recorded would only be found again.
    let (scratch, _lock) = scratch_folder(context)?;
    let store = Store::open(scratch.path()).map_err(|error| fault::store(&error))?;
    keep_cached_blobs(&opened, &store, context).await?;
    let again = Context {
        store: store.clone(),
        substituter: Some(context.store.clone()),
        disk_images: Arc::new(DiskImages::default()),
        build: None,
        ..context.clone()
    };
    let world = RecordedWorld { record: &record, folder };
    let compiled =
        Box::pin(compile(&request, &world, &again)).await.map_err(|error| elsewhere(error, folder))?;
    let digest = compiled.image.root.digest;
    if digest == opened.root.digest {
        return Ok(digest);
    }
    let difference = first_difference(&opened, &compiled.image, &store, context).await?;
    Err(Diagnostic::new(
        &code::REBUILD_DIFFERS,
        format!("`{image}` is {}, and what it was compiled from gives {digest}", opened.root.digest),
    )
    .note(format!("{difference} (left is the image, right what came out now)"))
    .help("compile with the kic that built it, and with the same files; else somebody changed the image, or what is recorded in it")
    .into())
}

/// Says where was looked for what is not there.
fn elsewhere(error: Diagnostics, folder: &Path) -> Diagnostics {
    let place = match folder.as_os_str().is_empty() {
        true => "the working folder".to_owned(),
        false => format!("`{}`", folder.display()),
    };
    let looked = format!("the files of layers are looked for in {place}; `--source DIR` names another one");
    let noted = |one: Diagnostic| match one.code {
        missing if missing == &code::FILE_NOT_FOUND => one.note(looked.clone()),
        missing if missing == &code::IMAGE_NOT_FOUND => one.note(
            "what is cached is taken from the image itself; bases and charts must be there as they were",
        ),
        _ => one,
    };
    error.iter().cloned().map(noted).collect()
}

async fn record(image: &str, opened: &ImageAt, context: &Context) -> Result<SourceRecord, Diagnostics> {
    for (_, _, manifest) in &opened.manifests {
        let is_launch = |layer: &&Descriptor| kind(layer) == Some("launch");
        let Some(layer) = manifest.layers.iter().rfind(is_launch) else { continue };
        let bytes = Documents { context, origin: opened.origin(), span: None }.blob(layer).await?;
        let damaged = |why: String| {
            Diagnostic::new(&code::DAMAGED_IMAGE, format!("`{SOURCE_PATH}` of `{image}`: {why}"))
                .help("compile the image again")
        };
        let file = read_file(bytes.as_slice(), &layer.media_type, SOURCE_PATH, LIMIT)
            .map_err(|error| damaged(error.to_string()))?;
        let Some(file) = file else { continue };
        let record: SourceRecord =
            serde_json::from_slice(&file).map_err(|error| damaged(error.to_string()))?;
        if record.version != 1 {
            return Err(damaged(format!("it has version {}, and this kic reads 1", record.version)).into());
        }
        if Epoch::from_number(record.epoch.number()).is_none() {
            let message =
                format!("this kic cannot build encoder epoch {} of `{image}`", record.epoch.number());
            return Err(Diagnostic::new(&code::LOCK_NEWER, message)
                .help("use the kic that compiled it, or a newer one")
                .into());
        }
        return Ok(record);
    }
    Err(Diagnostic::new(&code::NO_SOURCE, format!("`{image}` does not say what it was compiled from"))
        .help("compile it with `--record-source`")
        .into())
}

fn kind(layer: &Descriptor) -> Option<&str> {
    layer.annotations.get(KIND_ANNOTATION).map(String::as_str)
}

/// The first thing that differs, in words.
async fn first_difference(
    opened: &ImageAt,
    rebuilt: &Assembled,
    store: &Store,
    context: &Context,
) -> Result<String, Diagnostics> {
    let rebuilt_manifests: BTreeMap<&Platform, &(Descriptor, Descriptor)> =
        rebuilt.documents.iter().collect();
    for (index, (platform, descriptor, manifest)) in opened.manifests.iter().enumerate() {
        let by_platform = platform.as_ref().and_then(|platform| rebuilt_manifests.get(platform).copied());
        let other = by_platform.or_else(|| rebuilt.documents.values().nth(index));
        let Some((other, config)) = other else {
            return Ok(format!(
                "it is no longer built for {}",
                platform.as_ref().map(ToString::to_string).unwrap_or_default()
            ));
        };
        if other.digest == descriptor.digest {
            continue;
        }
        let layers = rebuilt.layers.values().nth(index).map_or(&[][..], Vec::as_slice);
        if let Some(difference) = layer_difference(opened, manifest, layers, store, context).await? {
            return Ok(difference);
        }
        return Ok(if config.digest == manifest.config.digest {
            "the layers are the same, and the manifests around them differ".to_owned()
        } else {
            "the layers are the same, and the configurations differ".to_owned()
        });
    }
    Ok("the images are the same, and the indexes around them differ".to_owned())
}

async fn layer_difference(
    opened: &ImageAt,
    manifest: &Manifest,
    layers: &[Descriptor],
    store: &Store,
    context: &Context,
) -> Result<Option<String>, Diagnostics> {
    for index in 0..manifest.layers.len().max(layers.len()) {
        let (old, new) = (manifest.layers.get(index), layers.get(index));
        if old.map(|layer| layer.digest) == new.map(|layer| layer.digest) {
            continue;
        }
        let title = |layer: &Descriptor| {
            let name = layer.annotations.get(NAME_ANNOTATION).cloned().unwrap_or_default();
            format!("{} `{name}`", kind(layer).unwrap_or("base"))
        };
        let (Some(old), Some(new)) = (old, new) else {
            let only = old.or(new).map(title).unwrap_or_default();
            return Ok(Some(format!("layer {}, {only}, is in one of them alone", index + 1)));
        };
        let facts = BlobFacts { media_type: old.media_type.clone(), digest: old.digest, size: old.size };
        let reader = obtain(&facts, &opened.origin(), NodeIndex::end(), context).await?;
        let again = store.blob(&new.digest).map_err(|error| fault::store(&error))?;
        let (one, other) = (old.media_type.clone(), new.media_type.clone());
        let compare = move || Ok(diff_layers(reader, &one, again, &other).map_err(|error| error.to_string()));
        let entry = match context.blocking(compare).await? {
            Ok(entries) => entries.first().map(ToString::to_string),
            Err(error) => Some(format!("it cannot be compared: {error}")),
        };
        let entry = entry.map(|entry| format!(": {entry}")).unwrap_or_default();
        return Ok(Some(format!("layer {}, {}, differs{entry}", index + 1, title(new))));
    }
    Ok(None)
}
