//! Puts back what was set aside as damaged, or is gone: from the outputs that hold it, else from where it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use kic_base::Digest;
use kic_diag::Diagnostics;
use kic_exec::{Context, Documents, fault, obtain};
use kic_graph::{BlobFacts, NodeIndex, Origin};
use kic_oci::layer::embedded_file_trailer;
use kic_spec::{DiskFormat, ImageSource};
use kic_store::{Kept, Root, Store};

use crate::roots::{OUTPUT, counts, goes_into_layer, has_bytes, read_origin};

/// A blob that an output or a lock needs, and the store does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The blob.
    pub digest: Digest,
    /// What it is, in words.
    pub what: String,
    /// What needs it: the path of an output or a lock.
    pub needed_by: PathBuf,
}

/// What became of a damaged blob, or one that was gone.
#[derive(Debug)]
pub struct Repaired {
    /// The blob.
    pub digest: Digest,
    /// What it is, in words; empty where no root keeps it.
    pub what: String,
    /// Whether it was gone, and not damaged.
    pub was_gone: bool,
    /// What became of it.
    pub repair: Repair,
}

/// What became of it.
#[derive(Debug)]
pub enum Repair {
    /// It is there again, from this place.
    Done(String),
    /// No root keeps it: it was thrown away.
    Unneeded,
    /// It was built from other things: the next compile of this spec does it again.
    Rebuild(String),
    /// Nobody gave it.
    Failed(Diagnostics),
}

/// What roots that count need, and the store does not have, sorted by digest. What lies in a layer that is there is recorded again first.
///
/// # Errors
/// Those of the store.
pub fn lost(context: &Context) -> Result<Vec<Lost>, Diagnostics> {
    let roots = counting(&context.store)?;
    attach_lost(&roots, context);
    Ok(lost_of(&roots, &context.store))
}

fn lost_of(roots: &[Root], store: &Store) -> Vec<Lost> {
    let (mut lost, mut used) = (BTreeMap::new(), BTreeSet::new());
    for root in roots {
        for kept in root.kept.iter().filter(|kept| has_bytes(root, kept) && !store.contains(&kept.digest)) {
            let one = || Lost { digest: kept.digest, what: kept.what.clone(), needed_by: root.path() };
            lost.entry(kept.digest).or_insert_with(one);
            // A layer is there that was made from it: a compile that found that in the store had no need of it.
            if goes_into_layer(kept) && kept.through.is_some_and(|layer| store.contains(&layer)) {
                used.insert(kept.digest);
            }
        }
    }
    lost.into_values().filter(|lost| !used.contains(&lost.digest)).collect()
}

/// The roots that count.
fn counting(store: &Store) -> Result<Vec<Root>, Diagnostics> {
    let roots = store.roots().map_err(|error| fault::store(&error))?;
    Ok(roots.into_iter().map(|found| found.root).filter(counts).collect())
}

/// Repairs everything that was set aside, or is gone.
///
/// # Errors
/// Those of the store. What cannot be had is no error, but a [`Repair`].
pub async fn repair(context: &Context) -> Result<Vec<Repaired>, Diagnostics> {
    let store = &context.store;
    let roots = counting(store)?;
    attach_lost(&roots, context);
    let damaged = store.set_aside().map_err(|error| fault::store(&error))?;
    let lost: BTreeSet<Digest> = lost_of(&roots, store).into_iter().map(|lost| lost.digest).collect();
    let mut all = Vec::new();
    for digest in damaged.union(&lost).copied() {
        let was_gone = !damaged.contains(&digest);
        // A compile had it anew, or it came back with the layer that it lies in.
        if store.contains(&digest) {
            store.forget_set_aside(&digest).map_err(|error| fault::store(&error))?;
            continue;
        }
        let (what, repair) = one(&digest, &roots, context).await?;
        if matches!(repair, Repair::Done(_) | Repair::Unneeded) {
            store.forget_set_aside(&digest).map_err(|error| fault::store(&error))?;
        }
        all.push(Repaired { digest, what, was_gone, repair });
    }
    attach_lost(&roots, context);
    Ok(all)
}

async fn one(digest: &Digest, roots: &[Root], context: &Context) -> Result<(String, Repair), Diagnostics> {
    let keepers: Vec<(&Root, &Kept)> = roots
        .iter()
        .filter_map(|root| root.kept.iter().find(|kept| kept.digest == *digest).map(|kept| (root, kept)))
        .collect();
    let Some((first, kept)) = keepers.first() else { return Ok((String::new(), Repair::Unneeded)) };
    let what = kept.what.clone();
    for (root, _) in keepers.iter().filter(|(root, _)| root.kind == OUTPUT) {
        if from_output(digest, root, context).await.is_ok() {
            attach(digest, root, context);
            return Ok((what, Repair::Done(root.path().display().to_string())));
        }
    }
    let mut failure = None;
    for origin in keepers.iter().flat_map(|(_, kept)| &kept.origins) {
        match from_origin(digest, kept.size, origin, context).await {
            Ok(name) => return Ok((what, Repair::Done(name))),
            Err(error) => failure = Some(error),
        }
    }
    for (root, _) in &keepers {
        match from_inside(digest, root, context).await {
            Some(Ok(name)) => return Ok((what, Repair::Done(name))),
            Some(Err(error)) => failure = Some(error),
            None => {}
        }
    }
    let repair = match failure {
        Some(failure) => Repair::Failed(failure),
        None => Repair::Rebuild(first.made_from().display().to_string()),
    };
    Ok((what, repair))
}

/// Copies a blob out of an image that was written.
async fn from_output(digest: &Digest, root: &Root, context: &Context) -> Result<(), Diagnostics> {
    let source = ImageSource::Disk {
        format: DiskFormat::LayoutOrArchive,
        path: root.path(),
        reference: Some(root.name.clone()),
    };
    copy(digest, &Origin::Disk(source), 0, context).await
}

/// Records again what lies in layers that are there, and whose records were lost.
fn attach_lost(roots: &[Root], context: &Context) {
    let store = &context.store;
    for root in roots {
        for kept in &root.kept {
            let Some(container) = &kept.through else { continue };
            let is_content = kept.size.is_some() && !kept.origins.is_empty();
            if is_content && !store.contains(&kept.digest) && store.contains(container) {
                attach(container, root, context);
            }
        }
    }
}

/// Records again what lies in a layer of one blob. Where that fails, the blob is fetched once it is needed by itself.
fn attach(container: &Digest, root: &Root, context: &Context) {
    let Some((body, size)) = only_inside(container, root).and_then(|body| Some((body, body.size?))) else {
        return;
    };
    if let Ok(Some(length)) = context.store.size(container) {
        let header = length.saturating_sub(size).saturating_sub(embedded_file_trailer(size));
        drop(context.store.record_embedded(&body.digest, container, header, size));
    }
}

/// The one blob that a layer was made from, where it is one.
fn only_inside<'a>(container: &Digest, root: &'a Root) -> Option<&'a Kept> {
    let mut inside =
        root.kept.iter().filter(|kept| kept.through == Some(*container) && !kept.origins.is_empty());
    inside.next().filter(|_| inside.next().is_none())
}

/// Fetches a blob from where it came from, and says where that is.
async fn from_origin(
    digest: &Digest,
    size: Option<u64>,
    origin: &str,
    context: &Context,
) -> Result<String, Diagnostics> {
    let Some((origin, is_document)) = read_origin(origin) else {
        return Err(fault::internal("a root names an origin of an unknown kind").into());
    };
    let name = match &origin {
        Origin::Registry(reference) => reference.to_string(),
        Origin::Disk(source) => source.to_string(),
        Origin::Url(_) => "its URL".to_owned(),
    };
    if is_document {
        Documents { context, origin, span: None }.raw(digest).await?;
    } else {
        copy(digest, &origin, size.unwrap_or_default(), context).await?;
    }
    Ok(name)
}

/// Fetches the one blob that lies in a layer, and makes the layer around it: its header is taken from the damaged bytes, and
/// the digest says whether it was whole.
async fn from_inside(digest: &Digest, root: &Root, context: &Context) -> Option<Result<String, Diagnostics>> {
    let body = only_inside(digest, root)?;
    let size = body.size?;
    let mut last = None;
    for origin in &body.origins {
        match from_origin(&body.digest, Some(size), origin, context).await {
            Ok(name) => {
                let (context, digest, body) = (context.clone(), *digest, body.digest);
                let made = context.clone().blocking(move || surround(&digest, &body, size, &context)).await;
                // With a damaged header it is for the next compile to make the layer, out of the blob that is there now.
                return made.is_ok().then_some(Ok(name));
            }
            Err(error) => last = Some(Err(error)),
        }
    }
    last
}

fn surround(container: &Digest, body: &Digest, size: u64, context: &Context) -> Result<(), Diagnostics> {
    let store = &context.store;
    let failed = |error: io::Error| Diagnostics::from(fault::input_output(error, "repairing the store"));
    let trailer = embedded_file_trailer(size);
    let damaged = store.open_set_aside(container).map_err(|error| fault::store(&error))?;
    let Some(damaged) = damaged else { return Err(fault::internal("what was set aside is gone").into()) };
    let length = damaged.metadata().map_err(failed)?.len();
    let header = length.saturating_sub(size).saturating_sub(trailer);
    let mut writer = store.writer().map_err(|error| fault::store(&error))?;
    let mut reader = store.blob(body).map_err(|error| fault::store(&error))?;
    io::copy(&mut damaged.take(header), &mut writer)
        .and_then(|_| io::copy(&mut reader, &mut writer))
        .and_then(|_| io::copy(&mut io::repeat(0).take(trailer), &mut writer))
        .map_err(failed)?;
    writer.commit(Some(container)).map_err(|error| fault::store(&error))?;
    store.record_embedded(body, container, header, size).map_err(|error| fault::store(&error))?;
    Ok(())
}

async fn copy(digest: &Digest, origin: &Origin, size: u64, context: &Context) -> Result<(), Diagnostics> {
    let facts = BlobFacts { media_type: String::new(), digest: *digest, size };
    let mut reader = obtain(&facts, origin, NodeIndex::end(), context).await?;
    if context.store.contains(digest) {
        return Ok(());
    }
    let (digest, outer, context) = (*digest, context, context.clone());
    let work = move || {
        let mut writer = context.store.writer().map_err(|error| fault::store(&error))?;
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count =
                reader.read(&mut buffer).map_err(|error| fault::input_output(error, "reading an image"))?;
            if count == 0 || context.cancel.is_cancelled() {
                break;
            }
            writer
                .write_all(&buffer[..count])
                .map_err(|error| fault::input_output(error, "writing to the store"))?;
        }
        writer.commit(Some(&digest)).map_err(|error| fault::store(&error))?;
        Ok(())
    };
    outer.blocking(work).await
}
