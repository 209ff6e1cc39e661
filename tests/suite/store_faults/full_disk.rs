//! Disks with no room for a store, an image, or what is unpacked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Place, assert_fails};
use crate::support::contents::files;
use crate::support::copy_tree;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{json, shown, stdout};
use crate::support::repeats::{chance, rounds};
use crate::support::sharing_specs::{SharingSpecs, VARIANTS, names};
use crate::support::small_disk::{SmallDisk, is_root, room};

#[test]
fn a_full_store_is_told_and_not_broken() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no store was full");
        return;
    }
    let place = Place::new();
    let alone = place.path("alone-store");
    place.assert_compiles(&alone, "alone");
    let needed = room(&alone);
    for (part, inodes) in [(1, 0), (5, 0), (20, 0), (45, 0), (70, 0), (90, 0), (99, 0), (300, 12), (300, 40)]
    {
        let when = format!("{part} % of the room, {inodes} inodes");
        let size = needed * part / 100;
        let Some(memory) = SmallDisk::mount(place.path("small"), &format!("size={size},nr_inodes={inodes}"))
        else {
            return;
        };
        let store = memory.path.join("store");
        let output = place.path("full.oci");
        let full = place.compile(&store, &output);
        assert_fails(&full, "store-full", 2, &when);
        assert!(!output.exists(), "{when}: an image was written");
        if store.join("tmp").exists() {
            assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
        }
        memory.remount(&format!("size={},nr_inodes=0", needed * 4));
        place.assert_compiles(&store, &when);
    }
}

#[test]
fn a_full_disk_for_the_output_is_told_and_leaves_the_old_image() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no output was on a full disk");
        return;
    }
    let place = Place::new();
    let store = place.path("store");
    let needed = room(&place.alone());
    for (name, part) in
        [("o.oci", 1), ("o.oci", 60), ("o.oci", 98), ("o.tar", 1), ("o.tar", 60), ("o.tar", 90)]
    {
        let when = format!("{part} % of the room for {name}");
        let Some(memory) = SmallDisk::mount(place.path("small"), &format!("size={}", needed * part / 100))
        else {
            return;
        };
        let output = memory.path.join(name);
        let full = place.compile(&store, &output);
        assert_fails(&full, "store-full", 2, &when);
        assert_eq!(names(&memory.path), [""; 0], "{when}: a part was left");
        memory.remount(&format!("size={}", needed * 2));
        let done = place.compile(&store, &output);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(root_digest(&output), place.golden(), "{when}");
    }
    // An image that stands there stays when the next one does not fit beside it.
    let Some(memory) = SmallDisk::mount(place.path("small"), &format!("size={}", needed + needed / 3)) else {
        return;
    };
    for name in ["o.oci", "o.tar"] {
        let output = memory.path.join(name);
        let done = place.compile(&store, &output);
        assert!(done.status.success(), "{}", shown(&done));
        let before = if output.is_dir() { files(&output) } else { BTreeMap::new() };
        let text = fs::read_to_string(place.spec()).unwrap();
        place.specs.write("north/cluster.kdl", text.replace("\"zstd\"", "\"none\"").as_bytes());
        let full = place.compile(&store, &output);
        place.specs.write("north/cluster.kdl", text.as_bytes());
        assert_fails(&full, "store-full", 2, name);
        assert_eq!(root_digest(&output), place.golden(), "{name}: the old image is gone");
        if output.is_dir() {
            assert_eq!(files(&output), before, "{name}");
            fs::remove_dir_all(&output).unwrap();
        }
        assert!(names(&memory.path).iter().all(|left| left == name), "{name}: a part was left");
    }
}

#[test]
fn a_full_disk_for_an_unpacked_image_is_told_and_leaves_nothing() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so nothing was unpacked to a full disk");
        return;
    }
    let place = Place::new();
    let unpack = |to: &Path| {
        let mut command = place.specs.kic("north", &place.path("store"), &["unpack", "-q"]);
        command.arg(place.alone()).arg(to).output().unwrap()
    };
    let whole = unpack(&place.path("whole"));
    assert!(whole.status.success(), "{}", shown(&whole));
    let needed = room(&place.path("whole"));
    for (part, inodes) in [(1, 0), (50, 0), (95, 0), (300, 15)] {
        let when = format!("{part} % of the room, {inodes} inodes");
        let options = format!("size={},nr_inodes={inodes}", needed * part / 100);
        let Some(memory) = SmallDisk::mount(place.path("small"), &options) else { return };
        let destination = memory.path.join("root");
        assert_fails(&unpack(&destination), "store-full", 2, &when);
        assert_eq!(names(&memory.path), [""; 0], "{when}: a part was left");
        memory.remount(&format!("size={},nr_inodes=0", needed * 4));
        let done = unpack(&destination);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(files(&destination), files(&place.path("whole")), "{when}");
    }
}

/// What is done on a disk that is full at some moment.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A compile with everything to do.
    Cold,
    /// A compile after a change.
    Changed,
    Lock,
    Unpack,
    Collect,
}

/// The bytes that are used of a file system.
fn used(path: &Path) -> u64 {
    let text = stdout(Command::new("df").args(["--block-size=1", "--output=used"]).arg(path));
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn a_disk_that_is_full_at_any_moment_is_told_and_leaves_a_good_store() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no disk was full");
        return;
    }
    let place = SharingSpecs::new(2, 1 << 20);
    let mut random = chance(53);
    let (mut full, mut done) = (BTreeMap::new(), BTreeMap::new());
    let works = [Work::Cold, Work::Changed, Work::Lock, Work::Unpack, Work::Collect];
    // What each needs, found out on a disk with room for all.
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..works.len() + rounds(15) as usize {
        let work = works[round % works.len()];
        let Some(disk) = SmallDisk::mount(place.path("small"), "size=64m") else { return };
        // Everything lies on it: the store, the spec with its lock, and the output.
        for name in ["tree", VARIANTS[0]] {
            copy_tree(&place.path(name), &disk.path.join(name), 0o644);
        }
        let (spec, store) = (disk.path.join(VARIANTS[0]), disk.path.join("store"));
        let (output, root) = (disk.path.join("output.oci"), disk.path.join("root"));
        let run = |words: &[&str]| {
            let mut command = place.kic("", &store, words);
            command.current_dir(&spec);
            if !["unpack", "store"].contains(&words[0]) {
                command.args(["--registry-mirror", &place.mirror(), "cluster.kdl"]);
            }
            if words[0] == "compile" {
                command.arg("-o").arg(&output);
            }
            command
        };
        let change = |text: &str| fs::write(spec.join("own/changing"), text).unwrap();
        match work {
            Work::Cold | Work::Lock | Work::Unpack => {}
            Work::Changed => {
                change("one");
                stdout(&mut run(&["compile", "-q"]));
                std::thread::sleep(Duration::from_millis(60));
                change("two");
            }
            Work::Collect => {
                stdout(&mut run(&["compile", "-q"]));
                fs::remove_dir_all(&output).unwrap();
            }
        }
        let before = used(&disk.path);
        let most = needed.get(&format!("{work:?}")).copied();
        let room = most.map_or(32 << 20, |most| random.below(most + most / 20 + 4096));
        disk.remount(&format!("size={}", before + room));
        let mut command = match work {
            Work::Cold | Work::Changed => run(&["compile", "-q"]),
            Work::Lock => run(&["lock", "-q"]),
            Work::Unpack => run(&["unpack", "-q"]),
            Work::Collect => run(&["store", "gc", "-q"]),
        };
        if let Work::Unpack = work {
            command.arg(place.alone(0)).arg(&root);
        }
        let outcome = command.output().unwrap();
        let when = format!("round {round}: {work:?} with room for {room} of {most:?} bytes");
        let now = used(&disk.path);
        if outcome.status.success() {
            assert!(outcome.stderr.is_empty(), "{when}: {}", shown(&outcome));
            *done.entry(format!("{work:?}")).or_insert(0) += 1;
        } else {
            assert_fails(&outcome, "store-full", 2, &when);
            *full.entry(format!("{work:?}")).or_insert(0) += 1;
            assert!(
                !matches!(work, Work::Collect),
                "{when}: a collection needs no room: {}",
                shown(&outcome)
            );
        }
        if most.is_none() {
            assert!(outcome.status.success(), "{when}: {}", shown(&outcome));
            needed.insert(format!("{work:?}"), now.saturating_sub(before));
        }
        let known = ["north", "output.oci", "root", "store", "tree"];
        let left = names(&disk.path);
        assert!(left.iter().all(|name| known.contains(&name.as_str())), "{when}: {left:?}");
        assert_eq!(outcome.status.success() && matches!(work, Work::Unpack), root.exists(), "{when}");
        if store.exists() {
            assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
        }
        // With room again everything comes right.
        disk.remount("size=64m");
        change("two");
        stdout(&mut run(&["compile", "-q"]));
        let digest = root_digest(&output);
        assert_valid(&output);
        stdout(&mut run(&["store", "verify", "-q"]));
        drop(fs::remove_file(spec.join("own/changing")));
        let plain = run(&["compile", "-q"]).output().unwrap();
        assert!(plain.status.success() && plain.stderr.is_empty(), "{when}: {}", shown(&plain));
        assert_eq!(root_digest(&output), place.golden[0], "{when}");
        assert_valid(&output);
        needed.entry(digest).or_default();
    }
    // The image of the change was always the same.
    assert_eq!(needed.keys().filter(|key| key.starts_with("sha256:")).count(), 1, "{needed:?}");
    eprintln!("full: {full:?}, done: {done:?}, needed: {needed:?}");
    for work in ["Cold", "Changed", "Lock", "Unpack"] {
        assert!(full.contains_key(work), "{work} never met a full disk");
    }
}

#[test]
fn a_collection_makes_room_on_a_full_disk() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no disk was full");
        return;
    }
    let place = SharingSpecs::new(2, 1 << 20);
    let Some(disk) = SmallDisk::mount(place.path("memory"), "size=6m") else { return };
    let path = &disk.path;
    let store = path.join("store");
    place.assert_compiles(0, &store, &[]);
    place.forget_outputs();
    drop(fs::remove_file(place.path(VARIANTS[0]).join("kic.lock")));
    // Full to the last byte.
    let mut size = 8 << 20;
    let mut bytes = Vec::new();
    while size > 0 {
        bytes.resize(size, 1);
        drop(fs::write(path.join(format!("filler-{size}")), &bytes));
        size /= 2;
    }
    drop(fs::write(path.join("filler"), [1]));
    let full = place.compile(1, &store, &place.output(1)).output().unwrap();
    assert_fails(&full, "store-full", 2, "full to the last byte");
    let status = place.store(&store, &["status", "--format", "json"]).output().unwrap();
    assert!(json(&status)["removable"]["bytes"].as_u64().unwrap() > 1 << 20, "{}", shown(&status));
    stdout(&mut place.store(&store, &["verify"]));
    stdout(&mut place.store(&store, &["gc"]));
    // The room that the collection made is enough for the other image, not for both.
    place.assert_compiles(1, &store, &[]);
}
