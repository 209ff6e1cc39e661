use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kic_base::Digest;
use kic_store::{Boot, Suspects};

use super::existing::Existing;
use super::files::{
    Standing, Trust, digest_of, has_blob, make_directory, put_blob, standing, sync_directory, write_file,
};
use super::reachable::reachable;
use super::{LayoutError, LayoutOptions, OCI_LAYOUT, REFERENCE_NAME, Written};
use crate::blob_source::BlobSource;
use crate::model::{Descriptor, Index, canonical_json, media_types};
use crate::sibling::Destination;

/// Writes an image into the OCI layout at `directory`, under the name `reference`. `root` is its manifest or
/// index, and `blobs` are all that it needs, `root` among them or not.
///
/// A directory that does not exist is built beside its place and renamed into it; its parent must exist. An empty
/// directory becomes a layout. In an OCI layout that is there, other references are kept: missing blobs are
/// added, then `index.json` is replaced, then the blobs go that only the reference's former image needed.
/// Anything else is left alone, as an error.
///
/// One writer at a time: a second one waits. Writing an image that is there already changes nothing. Files have
/// mode 0644 and directories 0755, whatever the umask, except what [`LayoutOptions::sharing`] says.
pub fn write_layout(
    directory: &Path,
    root: &Descriptor,
    reference: &str,
    blobs: &[Descriptor],
    source: &dyn BlobSource,
    options: LayoutOptions,
) -> Result<Written, LayoutError> {
    let (root, blobs) = (named(root, reference)?, distinct(root, blobs)?);
    loop {
        let written = match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => add(directory, &root, &blobs, source, options)?,
            Ok(_) => {
                return Err(LayoutError::Occupied { path: directory.to_owned(), found: "no directory" });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(directory).is_ok() {
                    let found = "a symbolic link that leads nowhere";
                    return Err(LayoutError::Occupied { path: directory.to_owned(), found });
                }
                create(directory, &root, &blobs, source, options)?
            }
            Err(error) => return Err(LayoutError::at(directory, error)),
        };
        // Nothing: another process made, or replaced, the directory meanwhile.
        if let Some(written) = written {
            return Ok(written);
        }
    }
}

/// Whether the layout at `directory` holds the image under that name, with all its blobs, and [`write_layout`] would have nothing
/// to do. Of blobs the size alone is looked at. `false` where that cannot be told: also where a power failure may have taken bytes of one, or
/// one is among the `suspects`, for to hash them takes a while.
pub fn is_in_layout(
    directory: &Path,
    root: &Descriptor,
    reference: &str,
    blobs: &[Descriptor],
    suspects: &Suspects,
) -> bool {
    let (Ok(root), Ok(blobs), Ok(Some(layout))) =
        (named(root, reference), distinct(root, blobs), Existing::open(directory))
    else {
        return false;
    };
    let trust = Trust { boot: layout.boot, suspects };
    layout.has_index(&with_root(layout.index.clone(), &root).0)
        && File::open(layout.blobs()).is_ok_and(|directory| {
            blobs.values().all(|blob| standing(&directory, blob, &trust) == Standing::There)
        })
}

/// The descriptor of an image in an `index.json`.
pub(super) fn named(root: &Descriptor, reference: &str) -> Result<Descriptor, LayoutError> {
    if reference.is_empty() || reference.chars().any(char::is_control) {
        return Err(LayoutError::Reference { reference: reference.to_owned() });
    }
    Ok(root.clone().annotated(REFERENCE_NAME, reference))
}

/// Every blob once, by digest.
pub(super) fn distinct(
    root: &Descriptor,
    blobs: &[Descriptor],
) -> Result<BTreeMap<Digest, Descriptor>, LayoutError> {
    let mut distinct = BTreeMap::<Digest, Descriptor>::new();
    for blob in blobs.iter().chain([root]) {
        let first = distinct.entry(blob.digest).or_insert_with(|| blob.clone());
        if first.size != blob.size {
            return Err(LayoutError::Size { digest: blob.digest, expected: first.size, found: blob.size });
        }
    }
    Ok(distinct)
}

fn create(
    directory: &Path,
    root: &Descriptor,
    blobs: &BTreeMap<Digest, Descriptor>,
    source: &dyn BlobSource,
    options: LayoutOptions,
) -> Result<Option<Written>, LayoutError> {
    let destination = Destination::of(directory).map_err(|error| LayoutError::parent(directory, error))?;
    let sibling = destination.sibling_directory().map_err(|error| LayoutError::at(directory, error))?;
    let path = sibling.path.path();
    let blobs_path = path.join("blobs").join("sha256");
    make_directory(&path.join("blobs"))?;
    make_directory(&blobs_path)?;
    let boot = File::open(&blobs_path).ok().and_then(Boot::of);
    let mut written = Written { changed: true, ..Written::default() };
    for blob in blobs.values() {
        put_blob(&blobs_path.join(blob.digest.hex()), blob, source, options, boot)?;
        written.added += 1;
        written.added_bytes += blob.size;
    }
    write_file(&path.join("oci-layout"), OCI_LAYOUT)?;
    write_file(&path.join("index.json"), &canonical_json(&Index::new(vec![root.clone()])))?;
    for directory in [&blobs_path, &path.join("blobs"), path] {
        sync_directory(directory)?;
    }
    match fs::rename(path, destination.path()) {
        Ok(()) => {}
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(LayoutError::at(directory, error)),
    }
    // It has another name now, so there is nothing left to remove under this one.
    let _ = sibling.path.keep();
    sync_directory(&destination.directory)?;
    Ok(Some(written))
}

fn add(
    directory: &Path,
    root: &Descriptor,
    blobs: &BTreeMap<Digest, Descriptor>,
    source: &dyn BlobSource,
    options: LayoutOptions,
) -> Result<Option<Written>, LayoutError> {
    let Some(layout) = Existing::open(directory)? else { return Ok(None) };
    let filled = layout.prepare().and_then(|()| fill(&layout, root, blobs, source, options));
    if filled.is_err() {
        layout.remove_temporary();
        layout.restore_empty();
    }
    let (mut written, unneeded) = filled?;
    // What a power failure takes of an image just written is noticed, and had anew: only what other references name is to be safe.
    if written.changed && layout.boot.is_none() {
        sync_directory(&layout.path)?;
    }
    let removed = unneeded.iter().filter(|digest| fs::remove_file(layout.blobs().join(digest.hex())).is_ok());
    written.removed = removed.count() as u64;
    Ok(Some(written))
}

/// Adds the image. With it come the blobs that are not needed any more.
fn fill(
    layout: &Existing,
    root: &Descriptor,
    blobs: &BTreeMap<Digest, Descriptor>,
    source: &dyn BlobSource,
    options: LayoutOptions,
) -> Result<(Written, BTreeSet<Digest>), LayoutError> {
    let mut written = Written::default();
    let (mut put, mut added) = (Vec::new(), Added(Vec::new()));
    let blobs_path = layout.blobs();
    let (index, replaced) = with_root(layout.index.clone(), root);
    let index_file = layout.begin_index(&index)?;
    let at = |error| LayoutError::at(&blobs_path, error);
    let directory = File::open(&blobs_path).map_err(at)?;
    let trust = Trust { boot: layout.boot, suspects: &source.suspects() };
    let mut is_damaged = options.verify;
    let is_there = |blob: &&Descriptor| {
        let standing = standing(&directory, blob, &trust);
        is_damaged |= matches!(standing, Standing::Damaged | Standing::Doubtful);
        has_blob(&directory, blob, standing, options.verify)
    };
    let (there, mut missing): (Vec<_>, Vec<_>) = blobs.values().partition(is_there);
    written.kept = there.len() as u64;
    // Documents were made last.
    missing.sort_by_key(|blob| !media_types::is_layer(&blob.media_type));
    for blob in missing {
        let path = blobs_path.join(blob.digest.hex());
        let temporary = layout.temporary(&blob.digest.hex());
        put_blob(&temporary, blob, source, options, layout.boot)?;
        put.push((temporary, path));
        written.added += 1;
        written.added_bytes += blob.size;
    }
    let gone: Vec<Descriptor> = replaced.into_iter().filter(|old| old.digest != root.digest).collect();
    written.replaced = gone.iter().map(|old| old.digest).collect();
    let former = reachable(&blobs_path, &gone);
    // Of what nobody names only what is damaged: after a power failure that may be what the last image had of its own, whose name or
    // manifest was lost.
    let others = if is_damaged || !former.complete { others(&blobs_path, blobs) } else { BTreeSet::new() };
    let former = former.digests;
    let mut unneeded = unneeded(&former | &others, &blobs_path, &index, root, blobs);
    unneeded
        .retain(|digest| former.contains(digest) || digest_of(&directory, &digest.hex()) != Some(*digest));
    // Not before: the next write removes what a killed process left without a name.
    for (temporary, path) in put {
        fs::rename(&temporary, &path).map_err(|error| LayoutError::at(&path, error))?;
        added.0.push(path);
    }
    if written.added > 0 && layout.boot.is_none() {
        directory.sync_all().map_err(at)?;
    }
    let index_changed = layout.finish_index(index_file)?;
    added.0.clear();
    written.changed = index_changed || written.added > 0;
    Ok((written, unneeded))
}

/// The index with `root` in the place of all that had its reference, and what that was.
fn with_root(mut index: Index, root: &Descriptor) -> (Index, Vec<Descriptor>) {
    let reference = |entry: &Descriptor| entry.annotations.get(REFERENCE_NAME).cloned();
    let name = reference(root);
    let (replaced, mut kept): (Vec<_>, Vec<_>) =
        index.manifests.into_iter().partition(|entry| reference(entry) == name);
    kept.push(root.clone());
    kept.sort_by_key(|entry| (reference(entry), entry.digest));
    index.manifests = kept;
    (index, replaced)
}

/// Those of the candidates that neither `root` needs, whose blobs are given, nor another image of the index; none where that cannot be told
/// for certain.
fn unneeded(
    mut candidates: BTreeSet<Digest>,
    blobs_path: &Path,
    index: &Index,
    root: &Descriptor,
    blobs: &BTreeMap<Digest, Descriptor>,
) -> BTreeSet<Digest> {
    if candidates.is_empty() {
        return candidates;
    }
    let needed = reachable(blobs_path, index.manifests.iter().filter(|image| image.digest != root.digest));
    candidates
        .retain(|digest| needed.complete && !needed.digests.contains(digest) && !blobs.contains_key(digest));
    candidates
}

/// The other blobs of the layout than these.
fn others(blobs_path: &Path, blobs: &BTreeMap<Digest, Descriptor>) -> BTreeSet<Digest> {
    let entries = fs::read_dir(blobs_path).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Digest::from_hex(entry.file_name().to_str()?).ok());
    named.filter(|digest| !blobs.contains_key(digest)).collect()
}

/// Blobs added to a layout whose index does not name them yet; removed again on an error.
struct Added(Vec<PathBuf>);

impl Drop for Added {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
