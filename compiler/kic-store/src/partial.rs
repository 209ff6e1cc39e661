//! Downloads that were cut off, and what came of them.
//!
//! The file of a writer that is dropped before its end gets the name `partial/HEX`, by the digest of the blob that it was to be, and at its
//! end the record of which ranges of the blob are in it, followed by the length of that record. The next writer of that blob takes
//! the file back into `tmp/`, under the file's lock: no two ever write into one.
//!
//! Nothing is believed of it but where bytes are: all of them go through the digest again. So none of it is synced: what a power failure
//! takes shows in the digest, and the blob is fetched from nothing.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use kic_base::Digest;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::file_system::is_at;
use crate::items::entries;
use crate::layout::{Layout, make_folder};
use crate::record;
use crate::temporary_file::{MODE, TemporaryFile};

/// Less is not kept: to fetch it again takes no longer than a few requests do, and most blobs are smaller than that.
const LEAST: u64 = 1 << 20;

/// More ranges are not recorded. A download has at most one gap for each of its connections, and one for each of those of the runs before.
const MOST_RANGES: usize = 1000;

/// The longest record that is read: [`MOST_RANGES`] need less.
const LONGEST: u64 = 64 << 10;

/// How long the length is that a file ends with.
const LENGTH: u64 = 8;

/// A blob that is fetched. What came of it is kept where the download is cut off, and the next one goes on with it.
#[derive(Debug, Clone, Copy)]
pub struct Download {
    /// The digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether to begin with nothing, whatever was kept: there is reason to mistrust it.
    pub anew: bool,
}

/// What stands in the file behind its bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Where in the file the blob begins.
    begin: u64,
    /// Which ranges of the blob are there: beginnings and ends, in order, none touching another.
    ranges: Vec<(u64, u64)>,
}

/// A file that was taken over, and the ranges of the blob that are in it.
pub(crate) type Taken = (TemporaryFile, Vec<Range<u64>>);

/// Takes over what an earlier download left, where that blob began at the same place of its file: nobody else finds it from now on. What
/// cannot be used is removed. One that somebody else is taking over is left alone.
pub(crate) fn take(layout: &Layout, download: &Download, begin: u64) -> Result<Option<Taken>, StoreError> {
    let Some(file) = TemporaryFile::take(layout, &layout.partial(&download.digest))? else { return Ok(None) };
    let Some(ranges) = file.read(|file| recorded(file, download, begin)) else { return Ok(None) };
    let end = begin + ranges.last().map_or(0, |range| range.end);
    file.truncate(end)?;
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    Ok(Some((file, ranges)))
}

/// The ranges that a file says that it has; nothing where it is not whole, or another one than is wanted.
fn recorded(file: &File, download: &Download, begin: u64) -> Option<Vec<Range<u64>>> {
    let size = file.metadata().ok()?.len();
    let mut length = [0; LENGTH as usize];
    file.read_exact_at(&mut length, size.checked_sub(LENGTH)?).ok()?;
    let length = u64::from_le_bytes(length);
    let at = size.checked_sub(LENGTH)?.checked_sub(length)?;
    if length > LONGEST {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut bytes, at).ok()?;
    let record: Record = serde_json::from_slice(record::checked(&bytes, &download.digest)?.1).ok()?;
    let mut last = None;
    for (from, to) in &record.ranges {
        if from >= to || last.is_some_and(|last| last >= *from) {
            return None;
        }
        last = Some(*to);
    }
    let end = last.filter(|end| *end <= download.size)?;
    let is_whole = record.begin == begin && begin.checked_add(end)? <= at;
    is_whole.then(|| record.ranges.into_iter().map(|(from, to)| from..to).collect())
}

/// Keeps a file that has these ranges of a blob, which begins at `begin`, for the next download. Of two that are left, the one stays that
/// has more. Nothing is told of what goes wrong: it is then as if nothing had come.
pub(crate) fn keep(
    layout: &Layout,
    file: &mut TemporaryFile,
    digest: &Digest,
    begin: u64,
    ranges: &[Range<u64>],
) {
    let ranges = &ranges[..ranges.len().min(MOST_RANGES)];
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let Some(last) = ranges.last().filter(|_| bytes >= LEAST) else { return };
    let end = begin + last.end;
    let record = Record { begin, ranges: ranges.iter().map(|range| (range.start, range.end)).collect() };
    let Ok((_, mut text)) = record::encode(digest, &record, 1024) else { return };
    text.extend((text.len() as u64).to_le_bytes());
    let path = layout.partial(digest);
    let is_less = |there: &fs::Metadata| file.metadata().is_ok_and(|own| own.blocks() < there.blocks());
    if fs::symlink_metadata(&path).is_ok_and(|there| is_less(&there)) {
        return;
    }
    // Whatever is behind it came of a write that failed.
    let _ = (file.truncate(end))
        .and_then(|()| file.write_all_at(&text, end).map_err(|error| StoreError::at(&path, error)))
        // So that the next one may write to it.
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| make_folder(&layout.partials()))
        .and_then(|()| file.rename(&path));
}

/// A download that was cut off.
#[derive(Debug)]
pub(crate) struct Found {
    path: PathBuf,
    /// The bytes that it takes of the disk. It has holes where bytes are missing.
    pub(crate) size: u64,
    /// When it was cut off.
    pub(crate) since: SystemTime,
}

/// All of them, those that were cut off first before the others.
pub(crate) fn all(layout: &Layout) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for path in entries(&layout.partials())? {
        let is_ours = path.file_name().and_then(|name| name.to_str()).map(Digest::from_hex);
        if let (Some(Ok(_)), Ok(metadata)) = (is_ours, fs::symlink_metadata(&path))
            && metadata.is_file()
        {
            let size = metadata.len().min(metadata.blocks().saturating_mul(512));
            found.push(Found { path, size, since: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) });
        }
    }
    found.sort_by(|one, other| (one.since, &one.path).cmp(&(other.since, &other.path)));
    Ok(found)
}

impl Found {
    /// Removes it, unless somebody is taking it over, or this is only to tell. Gives whether it is, or would be, gone.
    pub(crate) fn remove(&self, dry_run: bool) -> Result<bool, StoreError> {
        let Ok(file) = File::open(&self.path) else { return Ok(false) };
        if file.try_lock().is_err() || !is_at(&file, &self.path) {
            return Ok(false);
        }
        // The lock is held until the name is gone: whoever opened it meanwhile finds it taken.
        if !dry_run {
            record::remove(&self.path)?;
        }
        Ok(true)
    }
}
