//! Removes what nothing needs: neither a root that counts nor a process that runs.
//!
//! 1. Everything that stands in the store is listed, and everything that roots keep marked.
//! 2. Downloads that were cut off go first: nothing needs them.
//! 3. What is not marked goes, the longest unused first, in batches.
//! 4. Before each batch, under the store's lock, leases and new roots are read again.
//!
//! Leases are read before roots: a process writes its roots first and gives its leases up then.
//!
//! **Invariant:** a process killed between two removals leaves a good store: records of what is gone count as none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use kic_base::Digest;

use crate::identity::Identity;
use crate::items::{Item, ItemKind, entries, items};
use crate::leases::leased;
use crate::record::Look;
use crate::suspects::is_shared;
use crate::{Root, Store, StoreError, partial, root};

/// How many files are removed while nobody can lease.
const BATCH: usize = 128;

/// How long others may lease between two batches.
const PAUSE: Duration = Duration::from_millis(1);

/// What to remove of that which nothing needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CollectOptions {
    /// Only as much as makes the store no larger than this, in bytes.
    pub max_size: Option<u64>,
    /// Only what was not used since then.
    pub unused_since: Option<SystemTime>,
    /// Nothing: only tell.
    pub dry_run: bool,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// What was removed: kind, digest and size in bytes, the longest unused first.
    pub removed: Vec<(ItemKind, Digest, u64)>,
    /// Roots that no longer count.
    pub stale_roots: Vec<Root>,
    /// Blobs that were set aside as damaged.
    pub set_aside: usize,
    /// Downloads that were cut off.
    pub partials: usize,
    /// Bytes of everything that was removed.
    pub removed_bytes: u64,
    /// Bytes that stay.
    pub kept_bytes: u64,
    /// Bytes of these that roots and processes keep.
    pub needed_bytes: u64,
}

/// Collects. `counts` tells whether a root still counts; `stop` ends the work before the next batch.
///
/// # Errors
/// Those of the disk, and [`StoreError::DamagedRoots`].
pub fn collect(
    store: &Store,
    options: &CollectOptions,
    counts: &dyn Fn(&Root) -> bool,
    stop: &dyn Fn() -> bool,
) -> Result<Collected, StoreError> {
    match store.damaged_roots()?.len() {
        0 => {}
        count => return Err(StoreError::DamagedRoots { count }),
    }
    let mut collected = Collected::default();
    let items = items(store)?;
    let containers = containers(&items);
    let mut marks = Marks { containers: &containers, seen: BTreeMap::new(), live: BTreeSet::new() };
    mark_roots(store, options, counts, &mut marks, &mut collected)?;
    let leases = store.leases().exclude(store.layout(), || leased(store.layout()))?;
    marks.keep(leases);

    let old = |used: SystemTime| options.unused_since.is_none_or(|since| used < since);
    let mut total = items.iter().map(|item| item.size).sum::<u64>();
    for (path, size, used) in set_aside(store)? {
        total += size;
        if old(used) {
            if !options.dry_run {
                remove(&path)?;
            }
            collected.set_aside += 1;
            collected.removed_bytes += size;
            total -= size;
        }
    }
    let partials = partial::all(store.layout())?;
    total += partials.iter().map(|found| found.size).sum::<u64>();
    for found in partials.iter().filter(|found| old(found.since)) {
        if options.max_size.is_none_or(|most| total > most) && found.remove(options.dry_run)? {
            collected.partials += 1;
            collected.removed_bytes += found.size;
            total -= found.size;
        }
    }
    collected.needed_bytes = items.iter().filter(|item| marks.needs(item)).map(|item| item.size).sum();
    let mut unneeded = units(&items);
    unneeded.retain(|unit| old(unit.used) && !unit.items.iter().any(|item| marks.needs(item)));
    let mut chosen = Vec::new();
    let mut left = total;
    for unit in unneeded {
        if options.max_size.is_some_and(|most| left <= most) {
            break;
        }
        left -= unit.items.iter().map(|item| item.size).sum::<u64>().min(left);
        chosen.push(unit);
    }
    let mut removed = Vec::new();
    for batch in chosen.chunks(BATCH) {
        if stop() {
            break;
        }
        if options.dry_run {
            removed.extend(batch.iter().flat_map(|unit| unit.items.iter().copied()));
            continue;
        }
        store.leases().exclude(store.layout(), || {
            marks.keep(leased(store.layout())?);
            marks.keep_new_roots(store)?;
            for unit in batch.iter().filter(|unit| !unit.items.iter().any(|item| marks.needs(item))) {
                for item in &unit.items {
                    remove(&item.path)?;
                    removed.push(*item);
                }
            }
            Ok(())
        })?;
        std::thread::sleep(PAUSE);
    }
    for item in removed {
        collected.removed.push((item.kind, item.digest, item.size));
        collected.removed_bytes += item.size;
        total -= item.size;
    }
    collected.kept_bytes = total;
    Ok(collected)
}

/// What goes or stays as one: a blob with the records of what lies in it, or a record.
struct Unit<'a> {
    used: SystemTime,
    items: Vec<&'a Item>,
}

/// Everything in units, the longest unused first.
fn units(items: &[Item]) -> Vec<Unit<'_>> {
    let mut inside: BTreeMap<Digest, Vec<&Item>> = BTreeMap::new();
    for item in items.iter().filter(|item| item.kind == ItemKind::Embedded) {
        inside.entry(item.container.unwrap_or(item.digest)).or_default().push(item);
    }
    let mut units = Vec::new();
    for item in items.iter().filter(|item| item.kind != ItemKind::Embedded) {
        let mut all = Vec::new();
        if item.kind == ItemKind::Blob {
            all.extend(inside.remove(&item.digest).unwrap_or_default());
        }
        // Last, so that a record never leads nowhere for long.
        all.push(item);
        units.push(Unit { used: item.used, items: all });
    }
    // Records of what is gone.
    units.extend(inside.into_values().flatten().map(|item| Unit { used: item.used, items: vec![item] }));
    units.sort_by_key(|unit| (unit.used, unit.items.last().map(|item| (item.kind, item.digest))));
    units
}

/// Marks what the roots keep that count, and takes the others out.
fn mark_roots(
    store: &Store,
    options: &CollectOptions,
    counts: &dyn Fn(&Root) -> bool,
    marks: &mut Marks,
    collected: &mut Collected,
) -> Result<(), StoreError> {
    for key in store.root_keys()? {
        let path = store.layout().root_record(&key);
        let identity = Identity::at(&path);
        let root = match root::look(store.layout(), &key)? {
            Look::Good(root) => root,
            Look::Missing => continue,
            Look::Damaged => return Err(StoreError::DamagedRoots { count: 1 }),
        };
        let mut lives = counts(&root);
        if !lives && !options.dry_run {
            // Its file may have been written meanwhile: whoever did that finds its record as it was, and does not write it again.
            lives = store.leases().exclude(store.layout(), || match root::look(store.layout(), &key)? {
                Look::Good(now) if now != root || counts(&now) => Ok(true),
                _ => root::remove(store.layout(), &key).map(|()| false),
            })?;
        }
        if lives {
            marks.seen.insert(key, identity);
            marks.keep(root.kept.iter().map(|kept| kept.digest));
        } else {
            collected.stale_roots.push(root);
        }
    }
    Ok(())
}

/// For each blob that is inside another one: that other one.
fn containers(items: &[Item]) -> BTreeMap<Digest, Digest> {
    items.iter().filter_map(|item| item.container.map(|container| (item.digest, container))).collect()
}

struct Marks<'a> {
    containers: &'a BTreeMap<Digest, Digest>,
    /// The records of roots that are marked, as they were then.
    seen: BTreeMap<Digest, Option<Identity>>,
    live: BTreeSet<Digest>,
}

impl Marks<'_> {
    fn keep(&mut self, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            self.live.extend(self.containers.get(&digest));
            self.live.insert(digest);
        }
    }

    /// Marks what roots keep that were recorded meanwhile. Their files were there a moment ago.
    fn keep_new_roots(&mut self, store: &Store) -> Result<(), StoreError> {
        for key in store.root_keys()? {
            let path = store.layout().root_record(&key);
            let identity = Identity::at(&path);
            if self.seen.get(&key) == Some(&identity) {
                continue;
            }
            self.seen.insert(key, identity);
            if let Look::Good(root) = root::look(store.layout(), &key)? {
                self.keep(root.kept.iter().map(|kept| kept.digest));
            }
        }
        Ok(())
    }

    fn needs(&self, item: &Item) -> bool {
        // The record of an embedded blob goes with the blob that it lies in.
        self.live.contains(item.container.as_ref().unwrap_or(&item.digest))
    }
}

/// The blobs that were set aside as damaged: path, size, and when it was last used. Those that an output shares are left out.
fn set_aside(store: &Store) -> Result<Vec<(PathBuf, u64, SystemTime)>, StoreError> {
    let mut found = Vec::new();
    for path in entries(&store.layout().corrupt_folder())? {
        if let Ok(metadata) = fs::symlink_metadata(&path)
            && metadata.is_file()
            && !is_shared(&metadata)
        {
            found.push((path, metadata.len(), metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
        }
    }
    Ok(found)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::at(path, error)),
        _ => Ok(()),
    }
}
