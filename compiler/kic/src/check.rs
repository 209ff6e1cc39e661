use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kic_base::Platform;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Context, DiskImages, LockMode, fault};
use kic_graph::{KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::layer_diff::diff_layers;
use kic_oci::model::Descriptor;
use kic_spec::World;
use kic_store::Store;

use crate::compile::{Compiled, Request, compile};

/// A layer that two builds of one spec made differently.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The platform.
    pub platform: Platform,
    /// Kind and name of the layer.
    pub layer: String,
    /// The layer of the first build, where it has one there.
    pub first: Option<Descriptor>,
    /// The layer of the second build.
    pub second: Option<Descriptor>,
    /// What differs, entry by entry, in words.
    pub entries: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = |layer: &Option<Descriptor>| match layer {
            Some(layer) => layer.digest.to_string(),
            None => "nothing".to_owned(),
        };
        write!(
            f,
            "{} of {}: {} and {}",
            self.layer,
            self.platform,
            digest(&self.first),
            digest(&self.second)
        )?;
        self.entries.iter().try_for_each(|entry| write!(f, "\n  {entry}"))
    }
}

/// Builds a second time, from an empty store, and compares with what came out first. What is known by digest comes
/// from the first store; everything that kic builds is built anew.
///
/// # Errors
/// `not-reproducible` with every difference, and whatever the second build meets.
pub async fn check(
    request: &Request,
    first: &Compiled,
    world: &dyn World,
    context: &Context,
) -> Result<(), Diagnostics> {
    let folder = scratch_folder(context)?;
    let store = Store::open(folder.path()).map_err(|error| fault::store(&error))?;
    let again = Context {
        store: store.clone(),
        substituter: Some(context.store.clone()),
        disk_images: Arc::new(DiskImages::default()),
        ..context.clone()
    };
    let mut request = request.clone();
    request.output = None;
    // The first build wrote the lock; the second must find everything in it.
    request.gather.lock = LockMode::Locked;
    let second = compile(&request, world, &again).await?;
    if second.image.root.digest == first.image.root.digest {
        return Ok(());
    }
    let mut diagnostic = Diagnostic::new(
        &code::NOT_REPRODUCIBLE,
        format!("two builds differ: {} and {}", first.image.root.digest, second.image.root.digest),
    );
    for difference in differences(first, &second, &context.store, &store)? {
        diagnostic = diagnostic.note(difference.to_string());
    }
    Err(diagnostic.help("a layer that differs was built from something that is not declared, or its record in the store is wrong").into())
}

/// A folder beside the store's own, so that big layers go to a disk that has room for them.
fn scratch_folder(context: &Context) -> Result<tempfile::TempDir, Diagnostics> {
    let beside = context.store.path().parent().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::Builder::new().prefix(".kic-check-").tempdir_in(beside);
    folder
        .or_else(|_| tempfile::Builder::new().prefix(".kic-check-").tempdir())
        .map_err(|error| fault::input_output(error, "making a second store").into())
}

fn differences(
    first: &Compiled,
    second: &Compiled,
    first_store: &Store,
    second_store: &Store,
) -> Result<Vec<Difference>, Diagnostics> {
    let mut differences = Vec::new();
    for (platform, layers) in &first.image.layers {
        let others = second.image.layers.get(platform).map_or(&[][..], Vec::as_slice);
        for index in 0..layers.len().max(others.len()) {
            let (left, right) = (layers.get(index), others.get(index));
            if left.map(|layer| layer.digest) == right.map(|layer| layer.digest) {
                continue;
            }
            let name = |layer: &Descriptor| {
                let annotation = |name: &str| layer.annotations.get(name).cloned().unwrap_or_default();
                format!("{} `{}`", annotation(KIND_ANNOTATION), annotation(NAME_ANNOTATION))
            };
            let mut entries = Vec::new();
            if let (Some(left), Some(right)) = (left, right) {
                let left_bytes = first_store.blob(&left.digest).map_err(|error| fault::store(&error))?;
                let right_bytes = second_store.blob(&right.digest).map_err(|error| fault::store(&error))?;
                match diff_layers(left_bytes, &left.media_type, right_bytes, &right.media_type) {
                    Ok(found) => entries.extend(found.iter().take(50).map(ToString::to_string)),
                    Err(error) => entries.push(format!("they cannot be compared: {error}")),
                }
            }
            differences.push(Difference {
                platform: platform.clone(),
                layer: left.or(right).map(name).unwrap_or_default(),
                first: left.cloned(),
                second: right.cloned(),
                entries,
            });
        }
    }
    Ok(differences)
}
