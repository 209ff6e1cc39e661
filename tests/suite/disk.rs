//! A compile takes no more room on a disk than what it makes: nothing is held twice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::image_layout::assert_valid;
use crate::support::kic::{kic, shown};
use crate::support::registry_data::{RegistryData, write_large};
use crate::support::stock_registry::StockRegistry;

/// The bytes that everything below some folders takes, each file once whatever names it has.
fn taken(folders: &[&Path]) -> u64 {
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    let mut waiting: Vec<_> = folders.iter().map(|folder| folder.to_path_buf()).collect();
    while let Some(path) = waiting.pop() {
        // What is gone meanwhile takes nothing.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten();
            waiting.extend(entries.flatten().map(|entry| entry.path()));
        } else if seen.insert((metadata.dev(), metadata.ino())) {
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}

#[test]
fn a_cold_compile_takes_at_most_a_tenth_more_than_its_output() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let data = RegistryData::new(&folder.join("upstream"));
    for (repository, seeds) in [("one", [1, 2]), ("two", [2, 3])] {
        let layers = seeds.map(|seed| data.large_layer(repository, seed, 30));
        data.image(repository, &layers);
    }
    let Some(registry) = StockRegistry::start(&folder.join("upstream"), true) else { return };
    fs::create_dir(folder.join("tree")).unwrap();
    write_large(&folder.join("tree/file"), 4, 30);
    let image = |name: &str| format!("image \"{}/{name}:v1\"; ", registry.host);
    let text = format!(
        "cluster \"large\" version=\"v1\" {{\n    base scratch\n    files \"tree\" {{ copy \"tree\"; }}\n    \
         registry \"r.local\" {{ {}{} }}\n}}\n",
        image("one"),
        image("two")
    );
    fs::write(folder.join("cluster.kdl"), text).unwrap();
    // On the store's own file system, which can share bytes by links; on another one, which cannot; as an archive.
    let memory = tempfile::tempdir_in("/dev/shm");
    let mut cases = vec![(folder.join("same/large.oci"), true), (folder.join("archive/large.tar"), false)];
    match &memory {
        Ok(memory) => cases.push((memory.path().join("other/large.oci"), false)),
        Err(_) => eprintln!("SKIPPED: no /dev/shm, so no output was on another file system"),
    }
    for (output, is_shared) in cases {
        let (store, temporary) = (folder.join("store"), folder.join("temporary"));
        let beside = output.parent().unwrap();
        for made in [&store, &temporary, beside] {
            drop(fs::remove_dir_all(made));
        }
        fs::create_dir_all(beside).unwrap();
        fs::create_dir(&temporary).unwrap();
        let mut command = kic(folder, &store);
        command.args(["compile", "--quiet", "-o"]).arg(&output).env("TMPDIR", &temporary);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut most, mut most_stored, mut looks) = (0, 0, 0);
        let mut look = || {
            most = taken(&[&store, &temporary, beside]).max(most);
            most_stored = taken(&[&store, &temporary]).max(most_stored);
            looks += 1;
        };
        while child.try_wait().unwrap().is_none() {
            look();
            std::thread::sleep(Duration::from_millis(3));
        }
        look();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "{}", shown(&done));
        let (made, stored) = (taken(&[beside]), taken(&[&store]));
        eprintln!(
            "{}: {made} bytes made, {stored} stored; at most {most} in all, {most_stored} of them in the store; {looks} looks",
            output.display()
        );
        assert!(made > 119 << 20 && looks > 5, "{made} {looks}");
        let allowed = made * 11 / 10;
        assert!(most - stored.min(most) <= allowed, "{most} in all is {allowed} more than {stored}");
        assert!(most_stored <= allowed, "the store has {most_stored}");
        if is_shared {
            assert!(most <= allowed, "{most} in all: the output shares nothing with the store");
        }
        if output.is_dir() {
            assert_valid(&output);
        }
    }
}
