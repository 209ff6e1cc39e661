//! Which derivation gave which output.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;

use common::*;
use serde_json::json;

#[test]
fn a_record_is_read_back_and_a_later_one_replaces_it() {
    let (folder, store) = new_store();
    let derivation = Digest::of(b"derivation");
    assert_eq!(store.output(&derivation).unwrap(), None);
    store.record(&derivation, &json!({ "layer": "sha256:12", "size": 5 })).unwrap();
    store.record(&derivation, &json!({ "layers": [1, null, "text\nwith lines"] })).unwrap();
    let again = Store::open(&folder.path().join("store")).unwrap();
    assert_eq!(again.output(&derivation).unwrap(), Some(json!({ "layers": [1, null, "text\nwith lines"] })));
}

#[test]
fn every_flipped_bit_and_every_torn_write_counts_as_no_record() {
    let (_folder, store) = new_store();
    let derivation = Digest::of(b"derivation");
    store.record(&derivation, &json!({ "layer": "sha256:12", "size": 5 })).unwrap();
    let path = output_path(&store, &derivation);
    let good = fs::read(&path).unwrap();
    let flips = (0..good.len() * 8).map(|place| {
        let mut bytes = good.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        bytes
    });
    let torn = (0..good.len()).map(|length| good[..length].to_vec());
    for bad in flips.chain(torn) {
        fs::remove_file(&path).ok();
        fs::write(&path, &bad).unwrap();
        assert_eq!(store.output(&derivation).unwrap(), None, "{}", String::from_utf8_lossy(&bad));
        assert!(!path.exists());
    }
}

#[test]
fn a_record_under_another_derivations_name_counts_as_none() {
    let (_folder, store) = new_store();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    store.record(&one, &json!(1)).unwrap();
    store.record(&two, &json!(2)).unwrap();
    fs::remove_file(output_path(&store, &two)).unwrap();
    fs::copy(output_path(&store, &one), output_path(&store, &two)).unwrap();
    assert_eq!(store.output(&two).unwrap(), None);
    assert_eq!(store.output(&one).unwrap(), Some(json!(1)));
}
