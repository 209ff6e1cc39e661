//! Opening a store, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};

use common::*;
use kic_store::CollectOptions;

#[test]
fn a_new_store_has_every_folder_and_only_its_owner_enters() {
    let (_folder, store) = new_store();
    assert_eq!(fs::read_to_string(store.path().join("version")).unwrap(), "1\n");
    for folder in ["tmp", "blobs/sha256", "embedded/sha256", "outputs", "corrupt", "roots", "leases"] {
        assert!(store.path().join(folder).is_dir(), "{folder}");
    }
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    assert!(store.path().is_absolute());
}

#[test]
fn a_store_that_is_nowhere_holds_nothing_and_makes_nothing() {
    let store = Store::nowhere().unwrap();
    let digest = store.put(b"hello").unwrap();
    assert_eq!(digest, Digest::of(b"hello"));
    assert!(!store.contains(&digest) && store.size(&digest).unwrap().is_none());
    assert!(matches!(store.read(&digest, 100), Err(StoreError::Missing { .. })));
    assert!(store.writer().is_err() && store.record(&digest, &serde_json::json!(1)).is_err());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("version"), "2\n").unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 2, supported: 1, .. }));
    assert!(error.to_string().contains("has format 2; this kic knows formats up to 1"));
    assert_eq!(files(folder.path()).len(), 1);
    for text in ["", "0", "two", "\u{fffd}"] {
        fs::write(folder.path().join("version"), text).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::NotAStore { .. })), "{text}");
    }
    fs::write(folder.path().join("version"), b"\xff").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn a_folder_with_other_content_does_not_become_a_store() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "…").unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::NotAStore { reason, .. } if reason.contains("thesis.txt")));
    assert_eq!(files(folder.path()).len(), 1);
    let error = Store::open(&folder.path().join("thesis.txt")).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
}

#[test]
fn a_first_run_killed_before_it_wrote_the_version_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tmp")).unwrap();
    fs::write(folder.path().join("lock"), "").unwrap();
    fs::write(folder.path().join("tmp/abc"), "1").unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert!(files(&store.path().join("tmp")).is_empty());
    store.put(b"works").unwrap();
}

#[test]
fn temporary_files_of_the_dead_go_and_those_of_the_living_stay() {
    let (_folder, store) = new_store();
    fs::write(store.path().join("tmp/dead"), "half").unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"alive").unwrap();
    let again = Store::open(store.path()).unwrap();
    assert_eq!(files(&store.path().join("tmp")).len(), 1);
    let (digest, _) = writer.commit(None).unwrap();
    assert_eq!(again.read(&digest, 10).unwrap(), b"alive");
}

#[test]
fn files_that_were_made_ready_are_used_and_those_that_are_not_go_with_the_store() {
    let (_folder, store) = new_store();
    let (temporary, leases) = (store.path().join("tmp"), store.path().join("leases"));
    store.make_ready(4);
    assert_eq!((files(&temporary).len(), files(&leases).len()), (4, 1));
    // Another process takes them for those of the living, which they are.
    let again = Store::open(store.path()).unwrap();
    kic_store::collect(&again, &CollectOptions::default(), &|_| true, &|| false).unwrap();
    assert_eq!((files(&temporary).len(), files(&leases).len()), (4, 1));
    let (one, other) = (store.put(b"one").unwrap(), write(&store, b"another"));
    store.record(&one, &serde_json::json!({ "is": "recorded" })).unwrap();
    assert_eq!((files(&temporary).len(), files(&leases).len()), (1, 1));
    assert_eq!(again.read(&other, 10).unwrap(), b"another");
    assert_eq!(again.output(&one).unwrap().unwrap()["is"], "recorded");
    for blob in files(&store.path().join("blobs")) {
        assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o7777, 0o444);
    }
    drop(store);
    assert!(files(&temporary).is_empty());
}

#[test]
fn a_lease_is_held_until_the_last_clone_is_gone() {
    let (_folder, store) = new_store();
    let leases = store.path().join("leases");
    let clone = store.clone();
    assert!(files(&leases).is_empty(), "nothing was asked for yet");
    store.put(b"one").unwrap();
    store.put(b"two").unwrap();
    let second = Store::open(store.path()).unwrap();
    drop(store);
    let [lease] = &files(&leases)[..] else { panic!("one lease for all that a process needs") };
    assert!(File::open(lease).unwrap().try_lock().is_err());
    drop(clone);
    assert!(files(&leases).is_empty());
    // What a dead process leaves, the next one takes away.
    fs::write(leases.join("dead"), [0; 32]).unwrap();
    drop(second);
    drop(Store::open(leases.parent().unwrap()).unwrap());
    assert!(files(&leases).is_empty());
}

#[test]
fn another_users_store_is_refused() {
    if !is_root() {
        return skip("a store of another user needs root");
    }
    let (_folder, store) = new_store();
    chown(store.path().join("version"), Some(12345), None).unwrap();
    let error = Store::open(store.path()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { owner: 12345, user: 0, .. }), "{error:?}");
}

#[test]
fn a_store_that_everybody_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set_mode = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
    for is_new in [true, false] {
        set_mode(0o777);
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Writable { .. }), "{error:?}");
        assert_eq!(files(folder.path()).is_empty(), is_new);
        set_mode(0o775);
        Store::open(folder.path()).unwrap();
    }
    set_mode(0o777);
    Store::open(&folder.path().join("own")).unwrap();
}

#[test]
fn a_read_only_store_is_told_apart() {
    let Some(tmpfs) = Tmpfs::mount("size=4m") else {
        return skip("a read-only store needs the right to mount a tmpfs");
    };
    let path = tmpfs.path().join("store");
    drop(Store::open(&path).unwrap());
    tmpfs.remount("ro");
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Permission { .. }), "{error:?}");
    let error = Store::open(&tmpfs.path().join("new")).unwrap_err();
    assert!(matches!(error, StoreError::Permission { .. }), "{error:?}");
}

#[test]
fn a_full_disk_is_told_apart_and_the_store_goes_on_when_there_is_room() {
    let Some(tmpfs) = Tmpfs::mount("size=2m") else {
        return skip("a full disk needs the right to mount a tmpfs");
    };
    let store = Store::open(&tmpfs.path().join("store")).unwrap();
    let small = store.put(b"small").unwrap();
    let bytes = noise(1, 3 << 20);
    let mut writer = store.writer().unwrap();
    let error = writer.write_all(&bytes).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let error = error.downcast::<StoreError>().unwrap();
    assert!(matches!(&error, StoreError::StorageFull { path, .. } if path.starts_with(store.path())));
    assert!(matches!(store.record(&small, &serde_json::json!({})), Err(StoreError::StorageFull { .. })));
    assert!(matches!(store.put(&noise(2, 10_000)), Err(StoreError::StorageFull { .. })));
    drop(writer);
    assert!(files(&store.path().join("tmp")).is_empty());
    assert_eq!(store.read(&small, 10).unwrap(), b"small");
    // Where no lease can be written, a collection waits for the process.
    let second = Store::open(store.path()).unwrap();
    let filler = tmpfs.path().join("filler");
    let _ = fs::write(&filler, &bytes);
    assert!(second.contains(&small), "a full disk does not stand in the way of reading");
    let lock = File::open(store.path().join("lock")).unwrap();
    assert!(lock.try_lock().is_err());
    drop(second);
    lock.try_lock().unwrap();
    drop(lock);
    fs::remove_file(filler).unwrap();
    // The last bytes may meet the full disk only in `commit`.
    let mut writer = store.writer().unwrap();
    writer.write_all(&bytes[..1 << 20]).unwrap();
    let filler = tmpfs.path().join("filler");
    let _ = fs::write(&filler, &bytes);
    let error = writer.write_all(&[1; 1000]).map_err(|error| error.downcast::<StoreError>().unwrap());
    let error = error.and_then(|()| writer.commit(None)).unwrap_err();
    assert!(matches!(error, StoreError::StorageFull { .. }), "{error:?}");
    fs::remove_file(filler).unwrap();
    let digest = write(&store, &bytes[..1 << 20]);
    assert_eq!(store.read(&digest, 1 << 20).unwrap(), &bytes[..1 << 20]);
    assert_eq!(files(&store.path().join("blobs")).len(), 2);
}
