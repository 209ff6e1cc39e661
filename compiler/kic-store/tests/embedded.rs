//! Blobs inside other blobs.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Write;

use common::*;

fn embed(store: &Store, body: &[u8]) -> (Digest, u64) {
    let mut writer = store.embedding_writer(&[7; 512], 1024).unwrap();
    for chunk in body.chunks(333) {
        writer.write_all(chunk).unwrap();
    }
    writer.commit(&Digest::of(body), body.len() as u64).unwrap()
}

#[test]
fn container_and_body_are_both_there_and_the_bytes_only_once() {
    let (_folder, store) = new_store();
    for length in [0, 1, 70_000] {
        let body = noise(8, length);
        let (container, size) = embed(&store, &body);
        let whole = [&[7; 512][..], &body, &[0; 1024]].concat();
        assert_eq!((container, size), (Digest::of(&whole), whole.len() as u64));
        assert_eq!(store.read(&container, 1 << 20).unwrap(), whole);
        let digest = Digest::of(&body);
        assert!(store.contains(&digest));
        assert_eq!(store.size(&digest).unwrap(), Some(length as u64));
        assert_eq!(read_all(store.blob(&digest).unwrap()).unwrap(), body);
        assert!(!blob_path(&store, &digest).exists());
    }
    assert_eq!(files(&store.path().join("blobs")).len(), 3);
}

#[test]
fn a_body_that_is_not_the_announced_one_leaves_nothing() {
    let (_folder, store) = new_store();
    let writer = || {
        let mut writer = store.embedding_writer(b"header", 10).unwrap();
        writer.write_all(b"body").unwrap();
        writer
    };
    let error = writer().commit(&Digest::of(b"other"), 4).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { size: 4, .. }));
    let error = writer().commit(&Digest::of(b"body"), 5).unwrap_err();
    assert!(matches!(error, StoreError::WrongSize { expected: 5, actual: 4, .. }));
    for folder in ["blobs", "embedded", "tmp"] {
        assert!(files(&store.path().join(folder)).is_empty(), "{folder}");
    }
}

#[test]
fn without_its_container_the_record_is_ignored_and_removed() {
    let (_folder, store) = new_store();
    let body = noise(9, 5000);
    let digest = Digest::of(&body);
    let (container, _) = embed(&store, &body);
    fs::remove_file(blob_path(&store, &container)).unwrap();
    assert!(embedded_path(&store, &digest).exists());
    assert!(!store.contains(&digest));
    assert!(!embedded_path(&store, &digest).exists());
    // A container that was cut off before the body's end holds it no more.
    let (container, _) = embed(&store, &body);
    overwrite(&blob_path(&store, &container), &[7; 5000]);
    assert_eq!(store.size(&digest).unwrap(), None);
}

#[test]
fn a_damaged_body_moves_its_container_aside() {
    let (_folder, store) = new_store();
    let body = noise(10, 5000);
    let (container, _) = embed(&store, &body);
    flip(&blob_path(&store, &container), 512 + 4999, 7);
    assert!(matches!(store.read(&Digest::of(&body), 5000),
        Err(StoreError::Corrupt { digest }) if digest == Digest::of(&body)));
    assert!(!store.contains(&Digest::of(&body)) && !store.contains(&container));
    assert!(store.path().join("corrupt").join(container.hex()).exists());
}

#[test]
fn every_flipped_bit_of_the_record_is_found() {
    let (_folder, store) = new_store();
    let body = noise(11, 100);
    let digest = Digest::of(&body);
    embed(&store, &body);
    let path = embedded_path(&store, &digest);
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        fs::remove_file(&path).ok();
        fs::write(&path, &bad).unwrap();
        assert!(!store.contains(&digest), "byte {position}");
        assert!(!path.exists());
    }
    fs::write(&path, &good).unwrap();
    assert!(store.contains(&digest));
}
