//! Damage is found, named and set aside.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use kic_store::{CheckEvent, ItemKind, Root, StoreCheck, check};
use serde_json::json;

fn run(store: &Store, jobs: usize) -> StoreCheck {
    let (told, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let watch = |event| match event {
        CheckEvent::Begun(bytes) => assert_eq!(told.swap(bytes, Ordering::Relaxed), 0),
        CheckEvent::Read(bytes) => drop(read.fetch_add(bytes, Ordering::Relaxed)),
    };
    let found = check(store, jobs, &watch, &|| false).unwrap();
    assert!(found.complete);
    assert_eq!(told.into_inner(), found.bytes);
    assert_eq!(read.into_inner(), found.bytes - lost(&found), "every byte is read once");
    found
}

/// Bytes of the last pieces of damaged blobs, whose read fails.
fn lost(found: &StoreCheck) -> u64 {
    const PIECE: u64 = 256 << 10;
    found
        .damaged
        .iter()
        .map(|damaged| match damaged.size % PIECE {
            0 => PIECE,
            rest => rest,
        })
        .sum()
}

#[test]
fn a_good_store_is_told_to_be_good() {
    let (_folder, store) = new_store();
    for seed in 0..20 {
        write(&store, &noise(seed, seed as usize * 40_000 + 1));
    }
    let found = run(&store, 3);
    assert_eq!((found.blobs, found.damaged.len(), found.records.len(), found.roots), (20, 0, 0, 0));
}

#[test]
fn every_flipped_bit_is_found_named_and_set_aside() {
    let (_folder, store) = new_store();
    let digests: Vec<Digest> = (0..20).map(|seed| write(&store, &noise(seed, 300_000))).collect();
    let mut writer = store.embedding_writer(&[7; 512], 512).unwrap();
    writer.write_all(b"body").unwrap();
    let (container, _) = writer.commit(&Digest::of(b"body"), 4).unwrap();
    flip(&blob_path(&store, &digests[3]), 299_999, 0);
    flip(&blob_path(&store, &digests[7]), 0, 7);
    flip(&blob_path(&store, &container), 100, 3);
    let found = run(&store, 2);
    let mut expected = [digests[3], digests[7], container];
    expected.sort();
    assert_eq!(found.damaged.iter().map(|damaged| damaged.digest).collect::<Vec<_>>(), expected);
    let inside = found.damaged.iter().find(|damaged| damaged.digest == container).unwrap();
    assert_eq!(inside.inside, [(Digest::of(b"body"), 512, 4)]);
    assert_eq!(store.set_aside().unwrap(), expected.into());
    for digest in expected.iter().chain([&Digest::of(b"body")]) {
        assert!(!store.contains(digest));
    }
    assert!(run(&store, 2).damaged.is_empty());
    assert_eq!(files(&store.path().join("blobs")).len(), 18);
}

#[test]
fn damaged_records_are_removed_and_named() {
    let (_folder, store) = new_store();
    let key = Digest::of(b"derivation");
    store.record(&key, &json!({ "a": 1 })).unwrap();
    store.record(&Digest::of(b"good"), &json!({ "a": 2 })).unwrap();
    store.add_root(&Root::new("output", Path::new("/x"), "", key, Path::new("/s"))).unwrap();
    let mut writer = store.embedding_writer(&[7; 512], 512).unwrap();
    writer.write_all(b"body").unwrap();
    writer.commit(&Digest::of(b"body"), 4).unwrap();
    let hex = key.hex();
    flip(&store.path().join("outputs").join(&hex[..2]).join(&hex), 75, 2);
    flip(&embedded_path(&store, &Digest::of(b"body")), 90, 2);
    flip(&files(&store.path().join("roots"))[0], 70, 2);
    let found = run(&store, 1);
    assert_eq!(found.records, [(ItemKind::Embedded, Digest::of(b"body")), (ItemKind::Output, key)]);
    assert_eq!(found.roots, 1);
    let again = run(&store, 1);
    assert_eq!((again.records.len(), again.roots), (0, 1), "that of a root stays until somebody gives it up");
    assert_eq!(store.remove_damaged_roots().unwrap(), 1);
    assert_eq!((run(&store, 1).roots, store.remove_damaged_roots().unwrap()), (0, 0));
    assert!(store.output(&Digest::of(b"good")).unwrap().is_some());
}

#[test]
fn a_check_that_is_stopped_says_so() {
    let (_folder, store) = new_store();
    write(&store, &noise(1, 1_000_000));
    let found = check(&store, 1, &|_| {}, &|| true).unwrap();
    assert!(!found.complete && found.blobs == 0);

    // Once everything is looked at, it is too late to stop.
    let asked = AtomicU64::new(0);
    let stop_after = |times: u64| {
        asked.store(0, Ordering::Relaxed);
        check(&store, 1, &|_| {}, &|| asked.fetch_add(1, Ordering::Relaxed) >= times).unwrap()
    };
    assert!(stop_after(u64::MAX).complete);
    let times = asked.load(Ordering::Relaxed);
    assert!(!stop_after(times - 1).complete && stop_after(times).complete, "{times}");
}
