//! Bits that are flipped in the store, and files that are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use super::{Place, assert_fails, kept};
use crate::support::contents::{files, layer};
use crate::support::damage::{Damage, damage};
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{json, shown, stdout};
use crate::support::random::Random;
use crate::support::repeats::{chance, rounds};
use crate::support::sharing_specs::SharingSpecs;

/// The kinds of files that a store keeps, in the order in which they are damaged.
const KINDS: [&str; 6] = ["blobs", "embedded", "outputs", "blobs", "memos", "roots"];

#[test]
fn whatever_is_damaged_in_the_store_is_found_named_and_healed() {
    let place = Place::new();
    let store = place.path("store");
    let output = place.path("out.oci");
    let mut random = chance(37);
    let verify = |more: &[&str]| {
        let arguments = [&["verify", "--format", "json"][..], more].concat();
        place.specs.store(&store, &arguments).output().unwrap()
    };
    let damaged_blobs = |verified: &Output| -> Vec<String> {
        let damaged = json(verified)["damaged"].as_array().unwrap().clone();
        damaged.iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (mut tried, mut told, mut found) = (BTreeMap::new(), BTreeMap::new(), 0);
    for round in 0..rounds(20) as usize {
        let kind = KINDS[round % KINDS.len()];
        if round % (2 * KINDS.len()) == 0 {
            // What lies inside another blob does so only in a store that was filled at once.
            drop(fs::remove_dir_all(&store));
            stdout(&mut place.command(&store, &output));
            // What a run knows of files it writes down once they are settled.
            std::thread::sleep(Duration::from_millis(60));
            stdout(&mut place.command(&store, &output));
        }
        // What is spare says nothing, whatever it holds.
        let is_meant = |path: &PathBuf| path.starts_with(kind) && path.extension().is_none();
        let all: Vec<PathBuf> = kept(&store).into_iter().filter(is_meant).collect();
        if all.is_empty() {
            continue;
        }
        *tried.entry(kind).or_insert(0) += 1;
        let name = &all[usize::try_from(random.below(all.len() as u64)).unwrap()];
        let how = [Damage::Flip, Damage::Flip, Damage::Cut, Damage::Empty, Damage::Longer]
            [usize::try_from(random.below(5)).unwrap()];
        let when = format!("round {round}: {how:?} in {}", name.display());
        damage(&store.join(name), how, &mut random);
        let digest = format!("sha256:{}", name.file_name().unwrap().to_str().unwrap());
        // In turns: nothing looks at it before it is verified; a run with nothing to do; one that writes an image anew.
        let way = [0, 1, 2, 2][usize::try_from(random.below(4)).unwrap()];
        let mut is_told = false;
        if way > 0 {
            if way == 2 {
                fs::remove_dir_all(&output).unwrap();
            }
            let done = place.compile(&store, &output);
            assert!(done.status.success(), "{when}: {}", shown(&done));
            assert_eq!(root_digest(&output), place.golden(), "{when}");
            assert_valid(&output);
            let text = String::from_utf8_lossy(&done.stderr);
            is_told = text.contains("store-healed") && text.contains(&digest);
            assert!(text.is_empty() || is_told, "{when}: {text}");
        }
        *told.entry(way).or_insert(0) += usize::from(is_told);
        let first = verify(&[]);
        let blobs = damaged_blobs(&first);
        let records = json(&first)["damagedRecords"].as_u64().unwrap();
        let roots = json(&first)["damagedRoots"].as_u64().unwrap();
        assert_eq!(json(&first)["lost"].as_array().unwrap().len(), 0, "{when}: {}", shown(&first));
        if kind == "blobs" {
            // Once: by the run that needed it, or else now.
            let expected = if is_told { vec![] } else { vec![digest] };
            assert_eq!(blobs, expected, "{when}: {}", shown(&first));
            assert_eq!(first.status.code(), Some(if is_told { 0 } else { 2 }), "{when}: {}", shown(&first));
        } else if kind == "roots" {
            // A run that records the root has mended it.
            assert!(blobs.is_empty() && records == 0 && roots <= 1, "{when}: {}", shown(&first));
            assert!(roots == 1 || way > 0, "{when}: {}", shown(&first));
            assert_eq!(first.status.success(), roots == 0, "{when}: {}", shown(&first));
            found += roots;
        } else {
            assert!(blobs.is_empty() && first.status.success(), "{when}: {}", shown(&first));
            // A run that needs a record makes it anew without a word: it is only work.
            assert!(records == 1 || way > 0 && records == 0, "{when}: {}", shown(&first));
            assert_eq!(
                records == 1,
                String::from_utf8_lossy(&first.stderr).contains("store-healed"),
                "{when}"
            );
            found += records;
        }
        let repaired = verify(&["--repair"]);
        assert!(repaired.status.success(), "{when}: {}", shown(&repaired));
        let last = verify(&[]);
        assert!(last.status.success() && last.stderr.is_empty(), "{when}: {}", shown(&last));
        assert_eq!(json(&last)["damagedRecords"], 0, "{when}");
        assert_eq!(json(&last)["damagedRoots"], 0, "{when}");
        // Everything is there: also for a run that does not know what the last one gave.
        fs::remove_dir_all(&output).unwrap();
        if random.below(2) == 0 {
            for forgotten in ["memos", "outputs"] {
                fs::remove_dir_all(store.join(forgotten)).unwrap();
            }
        }
        let done = place.command(&store, &output).arg("--offline").output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{when}: {}", shown(&done));
        assert_eq!(root_digest(&output), place.golden(), "{when}");
        assert_valid(&output);
    }
    eprintln!("tried {tried:?}, told by compiles {told:?}, found records {found}");
    assert!(tried.len() == 5 && told[&2] > 0 && found > 0, "{tried:?} {told:?} {found}");
}

#[test]
fn damage_in_everything_at_once_is_healed_in_one_run() {
    let place = Place::new();
    let store = place.path("store");
    for how in [Damage::Flip, Damage::Empty] {
        place.assert_compiles(&store, "a whole store");
        let mut random = Random::new(41);
        for name in kept(&store) {
            damage(&store.join(name), how, &mut random);
        }
        place.assert_compiles(&store, &format!("{how:?} in everything"));
    }
}

#[test]
fn damage_that_cannot_be_healed_is_told_and_nothing_is_written() {
    let place = Place::new();
    let store = place.path("store");
    place.assert_compiles(&store, "a whole store");
    let base = files(&place.alone().join("blobs/sha256"));
    // The base's first layer: only the registry has it.
    let layer = layer(&place.alone(), "files", "root");
    let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    assert!(base.contains_key(Path::new(&hex)));
    damage(&store.join("blobs/sha256").join(&hex[..2]).join(&hex), Damage::Flip, &mut Random::new(47));
    let output = place.path("o.oci");
    let told = place.command(&store, &output).arg("--offline").output().unwrap();
    assert_fails(&told, "offline", 2, "no network");
    assert_fails(&told, "store-corrupt", 2, "no network");
    assert!(!output.exists(), "an image was written");
    place.assert_compiles(&store, "with the network again");
}

#[test]
fn a_damaged_blob_is_not_unpacked() {
    let place = Place::new();
    let store = place.path("store");
    let reference = format!("{}/e/tool:v1", place.specs.upstream.host());
    let unpack = |to: &str| {
        let unpack = ["unpack", "-q", "--platform", "linux/amd64", &reference];
        place.specs.kic("north", &store, &unpack).arg(place.path(to)).output().unwrap()
    };
    let done = unpack("one");
    assert!(done.status.success(), "{}", shown(&done));
    let largest = files(&store.join("blobs"))
        .into_keys()
        .max_by_key(|path| fs::metadata(store.join("blobs").join(path)).unwrap().len());
    damage(&store.join("blobs").join(largest.unwrap()), Damage::Flip, &mut Random::new(43));
    let damaged = unpack("two");
    assert_fails(&damaged, "store-corrupt", 2, "a flipped bit");
    assert!(!place.path("two").exists());
    let done = unpack("two");
    assert!(done.status.success(), "{}", shown(&done));
    assert_eq!(files(&place.path("two")), files(&place.path("one")));
}

#[test]
fn flipped_bits_are_found_named_and_healed() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    let mut random = Random::new(43);
    for round in 0..4 {
        // In turns: the output is there, and has it all; or the registry alone has its blobs.
        let has_output = round % 2 == 0;
        place.assert_compiles(0, &store, &[]);
        if !has_output {
            place.forget_outputs();
        }
        let blobs = store.join("blobs/sha256");
        let all: Vec<PathBuf> = files(&blobs).into_keys().collect();
        let mut flipped = BTreeSet::new();
        for path in &all {
            if random.below(3) > 0 {
                continue;
            }
            damage(&blobs.join(path), Damage::Flip, &mut random);
            flipped.insert(format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()));
        }
        let when = format!("round {round}: {flipped:?}");
        let found = place.store(&store, &["verify", "--format", "json"]).output().unwrap();
        assert_eq!(
            found.status.code(),
            Some(if flipped.is_empty() { 0 } else { 2 }),
            "{when}: {}",
            shown(&found)
        );
        let named = json(&found)["damaged"].as_array().unwrap().clone();
        let named: BTreeSet<String> =
            named.iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect();
        assert_eq!(named, flipped, "{when}");

        let repaired = place.store(&store, &["verify", "--repair", "--format", "json"]).output().unwrap();
        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        for one in json(&repaired)["repaired"].as_array().unwrap() {
            *outcomes.entry(one["outcome"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(outcomes.values().sum::<usize>(), flipped.len(), "{when}: {}", shown(&repaired));
        if has_output {
            // An output holds all but what is only in layers, which the registry has.
            assert_eq!(repaired.status.code(), Some(0), "{when}: {}", shown(&repaired));
            assert_eq!(
                outcomes.keys().collect::<Vec<_>>(),
                if flipped.is_empty() { vec![] } else { vec!["repaired"] }
            );
        } else {
            assert!(!outcomes.contains_key("failed"), "{when}: {}", shown(&repaired));
        }
        let again = place.store(&store, &["verify"]).output().unwrap();
        assert!(again.status.success(), "{when}: {}", shown(&again));
        place.assert_compiles(0, &store, &["--offline"]);
    }
}

#[test]
fn every_blob_of_a_registry_is_fetched_again() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    let mut random = Random::new(47);
    place.assert_compiles(0, &store, &[]);
    let blobs = store.join("blobs/sha256");
    let before = files(&blobs);
    place.forget_outputs();
    // Only what the lock pins is left, and all of that is damaged.
    stdout(&mut place.store(&store, &["gc"]));
    let pinned = files(&blobs);
    assert!(pinned.len() > 5 && pinned.len() < before.len());
    for path in pinned.keys() {
        let file = blobs.join(path);
        let length = fs::metadata(&file).unwrap().len();
        let mut bytes = fs::read(&file).unwrap();
        // In the body of layers, whose header is what they are made with again.
        bytes[usize::try_from((length - 1).min(600)).unwrap()] ^= 1 << random.below(8);
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    let repaired = place.store(&store, &["verify", "--repair", "--format", "json"]).output().unwrap();
    assert_eq!(repaired.status.code(), Some(0), "{}", shown(&repaired));
    let now = files(&blobs);
    assert!(pinned.keys().all(|path| now.contains_key(path)), "{}", shown(&repaired));
    place.assert_compiles(0, &store, &["--offline"]);
}
