//! Blobs put at a path outside the store.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use common::*;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn share_gives_the_bytes_and_copy_gives_a_file_of_its_own() {
    let (folder, store) = new_store();
    let bytes = noise(1, 600_000);
    let digest = write(&store, &bytes);
    let shared = folder.path().join("shared");
    let copied = folder.path().join("copied");
    let placed = store.place(&digest, &shared, PlaceMode::Share).unwrap();
    assert_ne!(placed, Placed::Copy, "a link is possible inside one file system");
    store.place(&digest, &copied, PlaceMode::Copy).unwrap();
    assert_eq!((mode(&shared), mode(&copied)), (0o444, 0o644));
    assert_ne!(fs::metadata(&copied).unwrap().ino(), fs::metadata(blob_path(&store, &digest)).unwrap().ino());
    assert_eq!(fs::read(&shared).unwrap(), bytes);
    fs::write(&copied, b"changed").unwrap();
    assert_eq!(store.read(&digest, 1 << 20).unwrap(), bytes);
}

#[test]
fn an_existing_destination_stays_as_it_is() {
    let (folder, store) = new_store();
    let digest = store.put(b"bytes").unwrap();
    let mut writer = store.embedding_writer(b"h", 0).unwrap();
    writer.write_all(b"body").unwrap();
    writer.commit(&Digest::of(b"body"), 4).unwrap();
    let destination = folder.path().join("there");
    fs::write(&destination, b"mine").unwrap();
    for (digest, mode) in
        [(digest, PlaceMode::Share), (digest, PlaceMode::Copy), (Digest::of(b"body"), PlaceMode::Share)]
    {
        let error = store.place(&digest, &destination, mode).unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }), "{error:?}");
        assert_eq!(fs::read(&destination).unwrap(), b"mine");
    }
    let error = store.place(&digest, &folder.path().join("no/such/folder"), PlaceMode::Share).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }));
}

#[test]
fn an_embedded_blob_is_copied_without_its_container() {
    let (folder, store) = new_store();
    let body = noise(2, 300_000);
    let mut writer = store.embedding_writer(&[1; 512], 512).unwrap();
    writer.write_all(&body).unwrap();
    writer.commit(&Digest::of(&body), body.len() as u64).unwrap();
    let destination = folder.path().join("body");
    let placed = store.place(&Digest::of(&body), &destination, PlaceMode::Share).unwrap();
    assert_eq!(placed, Placed::Copy);
    assert_eq!(fs::read(&destination).unwrap(), body);
}

#[test]
fn a_damaged_blob_is_never_placed() {
    let (folder, store) = new_store();
    for place in [PlaceMode::Share, PlaceMode::Copy] {
        let digest = write(&store, &noise(3, 5000));
        // Written by this process, hence known as verified, until it changes.
        flip(&blob_path(&store, &digest), 2500, 1);
        let destination = folder.path().join("damaged");
        let error = store.place(&digest, &destination, place).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(!destination.exists());
    }
    let body = noise(4, 5000);
    let mut writer = store.embedding_writer(&[1; 512], 512).unwrap();
    writer.write_all(&body).unwrap();
    let (container, _) = writer.commit(&Digest::of(&body), 5000).unwrap();
    flip(&blob_path(&store, &container), 5000, 1);
    let destination = folder.path().join("damaged");
    let error = store.place(&Digest::of(&body), &destination, PlaceMode::Share).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(!destination.exists());
}

#[test]
fn another_file_system_gets_a_copy() {
    let (_folder, store) = new_store();
    let Some(tmpfs) = Tmpfs::mount("size=4m") else {
        return skip("placing on another file system needs the right to mount a tmpfs");
    };
    let bytes = noise(5, 100_000);
    let digest = write(&store, &bytes);
    let destination = tmpfs.path().join("blob");
    assert_eq!(store.place(&digest, &destination, PlaceMode::Share).unwrap(), Placed::Copy);
    assert_eq!((fs::read(&destination).unwrap(), mode(&destination)), (bytes, 0o444));
    // And a full one gets nothing.
    let digest = write(&store, &noise(6, 5 << 20));
    let error = store.place(&digest, &tmpfs.path().join("large"), PlaceMode::Share).unwrap_err();
    assert!(matches!(error, StoreError::StorageFull { .. }), "{error:?}");
    assert!(!tmpfs.path().join("large").exists());
}
