use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kic_base::Platform;
use kic_diag::{Diagnostic, Diagnostics, declared as code};
use kic_exec::{Assembled, Context, DiskImages, LockMode, fault};
use kic_graph::{KIND_ANNOTATION, NAME_ANNOTATION};
use kic_oci::layer_diff::diff_layers;
use kic_oci::model::Descriptor;
use kic_spec::World;
use kic_store::Store;
use tempfile::TempDir;

use crate::compile::{Request, compile};

/// A layer that two builds of one spec made differently.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The platforms whose image it belongs to.
    pub platforms: Vec<Platform>,
    /// Kind and name of the layer.
    pub layer: String,
    /// The layer of the first build, where it has one there.
    pub first: Option<Descriptor>,
    /// The layer of the second build.
    pub second: Option<Descriptor>,
    /// What differs, entry by entry, in words.
    pub entries: Vec<String>,
}

impl Difference {
    /// Whether it is that of these two layers.
    fn is_between(&self, first: Option<&Descriptor>, second: Option<&Descriptor>) -> bool {
        let digest = |layer: Option<&Descriptor>| layer.map(|layer| layer.digest);
        digest(self.first.as_ref()) == digest(first) && digest(self.second.as_ref()) == digest(second)
    }
}

/// How many entries of a layer are shown that differ.
const SHOWN: usize = 50;

/// The name of the folder of a second store begins so.
const SCRATCH: &str = ".kic-check-";

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
            self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
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
pub(crate) async fn check(
    request: &Request,
    first: &Assembled,
    world: &dyn World,
    context: &Context,
) -> Result<(), Diagnostics> {
    let (folder, _lock) = scratch_folder(context)?;
    let store = Store::open(folder.path()).map_err(|error| fault::store(&error))?;
    let again = Context {
        store: store.clone(),
        substituter: Some(context.store.clone()),
        disk_images: Arc::new(DiskImages::default()),
        build: None,
        sources: Arc::default(),
        early: None,
        ..context.clone()
    };
    let mut request = request.clone();
    request.output = None;
    request.check = false;
    request.explain = false;
    // The first build wrote the lock; the second must find everything in it.
    request.gather.lock = LockMode::Locked;
    let second = Box::pin(compile(&request, world, &again)).await?.image;
    if second.root.digest == first.root.digest {
        return Ok(());
    }
    let mut diagnostic = Diagnostic::new(
        &code::NOT_REPRODUCIBLE,
        format!("two builds differ: {} and {}", first.root.digest, second.root.digest),
    );
    for difference in differences(first, &second, &context.store, &store)? {
        diagnostic = diagnostic.note(difference.to_string());
    }
    Err(diagnostic.help("a layer that differs was built from something that is not declared, or its record in the store is wrong").into())
}

/// A folder beside the store's own, so that big layers go to a disk that has room for them. It is locked as long as
/// the file that comes with it is open.
pub(crate) fn scratch_folder(context: &Context) -> Result<(TempDir, File), Diagnostics> {
    let beside = context.store.path().parent().map_or_else(std::env::temp_dir, PathBuf::from);
    remove_stale(&beside);
    scratch_folder_in(&beside)
        .or_else(|_| scratch_folder_in(&std::env::temp_dir()))
        .map_err(|error| fault::input_output(error, "making a second store").into())
}

fn scratch_folder_in(beside: &Path) -> io::Result<(TempDir, File)> {
    loop {
        let folder = tempfile::Builder::new().prefix(SCRATCH).tempdir_in(beside)?;
        // Until it is locked, another process may take it for a dead one's and remove it.
        let lock = match File::open(folder.path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        lock.lock()?;
        if folder.path().is_dir() {
            return Ok((folder, lock));
        }
    }
}

/// Removes the second stores of processes that were killed: those whose lock nobody holds.
fn remove_stale(beside: &Path) {
    let Ok(entries) = fs::read_dir(beside) else { return };
    for entry in entries.flatten() {
        let is_scratch = entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes())
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_scratch {
            continue;
        }
        let Ok(lock) = File::open(entry.path()) else { continue };
        if lock.try_lock().is_ok() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn differences(
    first: &Assembled,
    second: &Assembled,
    first_store: &Store,
    second_store: &Store,
) -> Result<Vec<Difference>, Diagnostics> {
    let mut differences: Vec<Difference> = Vec::new();
    for (platform, layers) in &first.layers {
        let others = second.layers.get(platform).map_or(&[][..], Vec::as_slice);
        for index in 0..layers.len().max(others.len()) {
            let (left, right) = (layers.get(index), others.get(index));
            if left.map(|layer| layer.digest) == right.map(|layer| layer.digest) {
                continue;
            }
            let known = differences.iter_mut().find(|known| known.is_between(left, right));
            if let Some(known) = known {
                known.platforms.push(platform.clone());
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
                    Ok(found) => {
                        entries.extend(found.iter().take(SHOWN).map(ToString::to_string));
                        if found.len() > SHOWN {
                            entries.push(format!("and {} more", found.len() - SHOWN));
                        }
                    }
                    Err(error) => entries.push(format!("they cannot be compared: {error}")),
                }
            }
            differences.push(Difference {
                platforms: vec![platform.clone()],
                layer: left.or(right).map(name).unwrap_or_default(),
                first: left.cloned(),
                second: right.cloned(),
                entries,
            });
        }
    }
    Ok(differences)
}
