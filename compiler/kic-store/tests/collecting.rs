//! What a collection removes, and what it keeps.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::*;
use kic_store::{CollectOptions, Collected, ItemKind, Kept, Root, collect};
use serde_json::json;

fn root(name: &str, digest: Digest, kept: &[Digest]) -> Root {
    let mut root = Root::new("output", Path::new("/out"), name, digest, Path::new("/spec"));
    root.kept = kept.iter().map(|digest| kept_as(*digest, None)).collect();
    root
}

fn kept_as(digest: Digest, through: Option<Digest>) -> Kept {
    Kept { digest, what: "a blob".to_owned(), through, size: None, origins: Vec::new() }
}

fn run(store: &Store, options: CollectOptions) -> Collected {
    collect(store, &options, &|_| true, &|| false).unwrap()
}

fn removed(collected: &Collected) -> BTreeSet<Digest> {
    collected.removed.iter().map(|(_, digest, _)| *digest).collect()
}

/// Fills a store by one process and opens it as another one, which leases nothing yet.
fn filled<T>(fill: impl FnOnce(&Store) -> T) -> (tempfile::TempDir, Store, T) {
    let (folder, store) = new_store();
    let value = fill(&store);
    let path = store.path().to_owned();
    drop(store);
    (folder, Store::open(&path).unwrap(), value)
}

/// Makes a file look as if it was last used that many hours ago.
fn age(path: &Path, hours: u64) {
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - hours * 3600);
    let times = FileTimes::new().set_accessed(then).set_modified(then);
    File::open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn what_no_root_keeps_goes_and_everything_else_stays() {
    let (_folder, store, (kept, lost, derivation, other)) = filled(|store| {
        let (kept, lost) = (write(store, b"kept"), write(store, b"lost"));
        let (derivation, other) = (Digest::of(b"derivation"), Digest::of(b"other"));
        store.record(&derivation, &json!({ "digest": kept })).unwrap();
        store.record(&other, &json!({ "digest": lost })).unwrap();
        store.add_root(&root("", kept, &[kept, derivation])).unwrap();
        (kept, lost, derivation, other)
    });
    let told = run(&store, CollectOptions { dry_run: true, ..CollectOptions::default() });
    assert_eq!(removed(&told), [lost, other].into());
    assert!(blob_path(&store, &lost).exists(), "a dry run removes nothing");
    let done = run(&store, CollectOptions::default());
    assert_eq!(done.removed, told.removed);
    assert_eq!(done.removed_bytes, told.removed_bytes);
    assert_eq!((done.kept_bytes, done.needed_bytes), (told.kept_bytes, done.kept_bytes));
    assert_eq!(store.read(&kept, 10).unwrap(), b"kept");
    assert!(store.output(&derivation).unwrap().is_some() && store.output(&other).unwrap().is_none());
    assert!(!store.contains(&lost));
    assert!(run(&store, CollectOptions::default()).removed.is_empty());
}

#[test]
fn a_root_that_no_longer_counts_keeps_nothing() {
    let (_folder, store, (one, two)) = filled(|store| {
        let (one, two) = (write(store, b"one"), write(store, b"two"));
        store.add_root(&root("one", one, &[one])).unwrap();
        store.add_root(&root("two", two, &[two])).unwrap();
        (one, two)
    });
    let counts = |root: &Root| root.name == "two";
    let dry = CollectOptions { dry_run: true, ..CollectOptions::default() };
    let told = collect(&store, &dry, &counts, &|| false).unwrap();
    assert_eq!((removed(&told), told.stale_roots.len()), ([one].into(), 1));
    assert_eq!(store.roots().unwrap().len(), 2);
    let done = collect(&store, &CollectOptions::default(), &counts, &|| false).unwrap();
    assert_eq!((removed(&done), done.stale_roots.len()), ([one].into(), 1));
    assert_eq!(store.roots().unwrap().len(), 1);
    assert!(store.contains(&two));
}

#[test]
fn a_newer_root_takes_the_place_of_the_one_of_the_same_file() {
    let (_folder, store, (old, new)) = filled(|store| {
        let (old, new) = (write(store, b"old"), write(store, b"new"));
        assert!(store.add_root(&root("x", old, &[old])).unwrap());
        assert!(!store.add_root(&root("x", old, &[old])).unwrap(), "it says that already");
        assert!(store.add_root(&root("x", new, &[new])).unwrap());
        (old, new)
    });
    assert_eq!(removed(&run(&store, CollectOptions::default())), [old].into());
    assert!(store.contains(&new));
}

#[test]
fn what_a_living_process_asked_for_or_wrote_stays() {
    let (_folder, store, (used, embedded, container)) = filled(|store| {
        let mut writer = store.embedding_writer(&[7; 512], 512).unwrap();
        writer.write_all(b"body").unwrap();
        let (container, _) = writer.commit(&Digest::of(b"body"), 4).unwrap();
        write(store, b"unused");
        (write(store, b"used"), Digest::of(b"body"), container)
    });
    let other = Store::open(store.path()).unwrap();
    assert!(other.contains(&used));
    assert!(other.contains(&embedded));
    let new = write(&other, b"new");
    assert_eq!(removed(&run(&store, CollectOptions::default())), [Digest::of(b"unused")].into());
    for digest in [used, embedded, container, new] {
        assert!(other.contains(&digest), "{digest}");
    }
    drop(other);
    let all = [used, embedded, container, new].into();
    assert_eq!(removed(&run(&store, CollectOptions::default())), all);
}

#[test]
fn a_container_stays_with_what_is_inside_it_and_they_go_together() {
    let (_folder, store, (body, container)) = filled(|store| {
        let mut writer = store.embedding_writer(&[7; 512], 512).unwrap();
        writer.write_all(b"body").unwrap();
        let (container, _) = writer.commit(&Digest::of(b"body"), 4).unwrap();
        store.add_root(&root("", container, &[Digest::of(b"body")])).unwrap();
        (Digest::of(b"body"), container)
    });
    assert!(run(&store, CollectOptions::default()).removed.is_empty());
    let place = store.blob_place(&body).unwrap().unwrap();
    assert_eq!((place.container, place.offset, place.size), (Some(container), 512, 4));
    let none = collect(&store, &CollectOptions::default(), &|_| false, &|| false).unwrap();
    let expected = [(ItemKind::Embedded, body), (ItemKind::Blob, container)];
    assert_eq!(none.removed.iter().map(|(kind, digest, _)| (*kind, *digest)).collect::<Vec<_>>(), expected);
    assert!(files(&store.path().join("embedded")).is_empty());
}

#[test]
fn the_longest_unused_go_first_and_only_as_many_as_asked_for() {
    let (_folder, store, digests) = filled(|store| {
        let digests: Vec<Digest> = (0..5).map(|seed| write(store, &noise(seed, 1000))).collect();
        for (hours, digest) in [30, 50, 10, 40, 20].into_iter().zip(&digests) {
            age(&blob_path(store, digest), hours);
        }
        digests
    });
    let some = CollectOptions { max_size: Some(3500), ..CollectOptions::default() };
    let order: Vec<Digest> = run(&store, some).removed.iter().map(|(_, digest, _)| *digest).collect();
    assert_eq!(order, [digests[1], digests[3]]);
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 - 15 * 3600);
    let old = CollectOptions { unused_since: Some(since), ..CollectOptions::default() };
    assert_eq!(removed(&run(&store, old)), [digests[0], digests[4]].into());
    // A use counts, whatever the file system notes by itself.
    let user = Store::open(store.path()).unwrap();
    assert!(user.contains(&digests[2]));
    drop(user);
    let now = File::open(store.path().join("version")).unwrap().metadata().unwrap().modified().unwrap();
    let recent =
        CollectOptions { unused_since: Some(now - Duration::from_secs(60)), ..CollectOptions::default() };
    assert!(run(&store, recent).removed.is_empty());
}

#[test]
fn what_was_set_aside_goes_too_and_what_is_not_of_the_store_stays() {
    let (_folder, store, digest) = filled(|store| write(store, b"bytes"));
    flip(&blob_path(&store, &digest), 0, 1);
    assert!(store.read(&digest, 10).is_err());
    assert_eq!(store.set_aside().unwrap(), [digest].into());
    fs::write(store.path().join("blobs/sha256/note.txt"), "mine").unwrap();
    let done = run(&store, CollectOptions::default());
    assert_eq!((done.set_aside, done.removed_bytes), (1, 5));
    assert!(store.set_aside().unwrap().is_empty());
    assert!(store.path().join("blobs/sha256/note.txt").exists());
}

#[test]
fn a_chain_leads_from_the_root_to_what_it_keeps() {
    let [index, manifest, layer] = [&b"index"[..], b"manifest", b"layer"].map(Digest::of);
    let mut root = root("", index, &[]);
    root.kept = vec![kept_as(layer, Some(manifest)), kept_as(index, None), kept_as(manifest, Some(index))];
    let chain: Vec<Digest> = root.chain(&layer).iter().map(|kept| kept.digest).collect();
    assert_eq!(chain, [index, manifest, layer]);
    assert!(root.chain(&Digest::of(b"other")).is_empty());
    // A record that somebody made by hand ends, too.
    root.kept[1].through = Some(layer);
    assert!(!root.chain(&layer).is_empty());
}
