//! Blobs as files of their own.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;

use common::*;

#[test]
fn a_written_blob_is_read_back_under_its_digest() {
    let (_folder, store) = new_store();
    for length in [0, 1, 511, 128 << 10, (1 << 20) + 7] {
        let bytes = noise(length as u64, length);
        let mut writer = store.writer().unwrap();
        for chunk in bytes.chunks(1000) {
            writer.write_all(chunk).unwrap();
        }
        assert_eq!(writer.written(), length as u64);
        let (digest, size) = writer.commit(Some(&Digest::of(&bytes))).unwrap();
        assert_eq!((digest, size), (Digest::of(&bytes), length as u64));
        assert!(store.contains(&digest));
        assert_eq!(store.size(&digest).unwrap(), Some(length as u64));
        assert_eq!(store.blob(&digest).unwrap().len(), length as u64);
        assert_eq!(read_all(store.blob(&digest).unwrap()).unwrap(), bytes);
        assert_eq!(store.read(&digest, length as u64).unwrap(), bytes);
        let mode = fs::metadata(blob_path(&store, &digest)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o444);
    }
    assert_eq!(files(&store.path().join("tmp")), [] as [std::path::PathBuf; 0]);
}

#[test]
fn an_unexpected_digest_is_told_and_nothing_is_kept() {
    let (_folder, store) = new_store();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"other").unwrap();
    let expected = Digest::of(b"announced");
    let error = writer.commit(Some(&expected)).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { expected: e, actual, size: 5 }
        if e == expected && actual == Digest::of(b"other")));
    assert!(!store.contains(&expected) && !store.contains(&Digest::of(b"other")));
    let mut dropped = store.writer().unwrap();
    dropped.write_all(&noise(1, 300_000)).unwrap();
    drop(dropped);
    assert!(files(&store.path().join("tmp")).is_empty());
    assert!(files(&store.path().join("blobs")).is_empty());
}

#[test]
fn a_missing_blob_and_a_too_large_one_are_told() {
    let (_folder, store) = new_store();
    let digest = Digest::of(b"never");
    assert!(!store.contains(&digest));
    assert_eq!(store.size(&digest).unwrap(), None);
    assert!(matches!(store.blob(&digest), Err(StoreError::Missing { digest: d }) if d == digest));
    assert!(matches!(store.read(&digest, 9), Err(StoreError::Missing { .. })));
    let digest = store.put(b"1234567890").unwrap();
    assert!(matches!(store.read(&digest, 9), Err(StoreError::TooLarge { size: 10, limit: 9, .. })));
}

#[test]
fn every_flipped_bit_is_found_and_the_blob_counts_as_missing_then() {
    let (_folder, store) = new_store();
    let bytes = noise(3, 40);
    for position in 0..bytes.len() {
        let digest = write(&store, &bytes);
        flip(&blob_path(&store, &digest), position, (position % 8) as u8);
        let error = read_all(store.blob(&digest).unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = error.downcast::<StoreError>().unwrap();
        assert!(matches!(error, StoreError::Corrupt { digest: d } if d == digest));
        assert!(!store.contains(&digest));
        assert!(store.path().join("corrupt").join(digest.hex()).exists());
    }
    // The next one to write it heals the store.
    let digest = store.put(&bytes).unwrap();
    assert_eq!(store.read(&digest, 100).unwrap(), bytes);
}

#[test]
fn truncated_and_extended_files_are_found() {
    let (_folder, store) = new_store();
    let bytes = noise(4, 10_000);
    for damaged in [&bytes[..9_999], &bytes[..0], &[&bytes[..], b"x"].concat()] {
        let digest = write(&store, &bytes);
        overwrite(&blob_path(&store, &digest), damaged);
        assert!(matches!(store.read(&digest, 1 << 20), Err(StoreError::Corrupt { .. })));
        assert!(!store.contains(&digest));
    }
}

#[test]
fn who_reads_exactly_the_length_meets_the_error_and_meets_it_again() {
    let (_folder, store) = new_store();
    let digest = write(&store, &noise(5, 1000));
    flip(&blob_path(&store, &digest), 0, 0);
    let mut reader = store.blob(&digest).unwrap();
    let mut bytes = vec![0; 1000];
    assert!(reader.read_exact(&mut bytes).is_err());
    assert!(reader.read(&mut bytes).is_err());
}

#[test]
fn put_of_a_damaged_blob_writes_it_anew() {
    let (folder, store) = new_store();
    let digest = store.put(b"some bytes").unwrap();
    flip(&blob_path(&store, &digest), 2, 2);
    let other = Store::open(&folder.path().join("store")).unwrap();
    assert_eq!(other.put(b"some bytes").unwrap(), digest);
    assert_eq!(store.read(&digest, 100).unwrap(), b"some bytes");
}

#[test]
fn threads_with_their_own_handles_write_the_same_blobs_at_once() {
    let (_folder, store) = new_store();
    let path = store.path().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(&path).unwrap();
                for seed in 0..20 {
                    let bytes = noise(seed, 30_000);
                    assert_eq!(write(&store, &bytes), Digest::of(&bytes));
                    assert_eq!(store.read(&Digest::of(&bytes), 30_000).unwrap(), bytes);
                }
            });
        }
    });
    assert_eq!(files(&path.join("blobs")).len(), 20);
    assert!(files(&path.join("tmp")).is_empty());
    assert!(files(&path.join("corrupt")).is_empty());
}
