//! A compile takes no more room on a disk than what it makes: nothing is held twice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
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
            // Not what a file system has put by for a file that grows; and less than its length, where it has holes.
            bytes += (metadata.blocks() * 512).min(metadata.len().next_multiple_of(4096));
        }
    }
    bytes
}

/// Whether files in a folder can share their bytes by reference: each then counts them as its own.
fn has_references(folder: &Path) -> bool {
    let (one, other) = (folder.join("one"), folder.join("other"));
    fs::write(&one, [1; 4096]).unwrap();
    let copied =
        Command::new("cp").arg("--reflink=always").args([&one, &other]).stderr(Stdio::null()).status();
    for file in [one, other] {
        drop(fs::remove_file(file));
    }
    copied.is_ok_and(|status| status.success())
}

/// Whether all blobs of some size in a layout share their bytes with another file; nothing where that cannot be told.
fn are_references(layout: &Path) -> Option<bool> {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap());
    let large: Vec<_> = blobs.filter(|blob| blob.metadata().unwrap().len() > 1 << 20).collect();
    assert!(large.len() > 3, "{}", large.len());
    let mut are_shared = true;
    for blob in large {
        let told = Command::new("filefrag").args(["-s", "-v"]).arg(blob.path()).output().ok()?;
        are_shared &= String::from_utf8_lossy(&told.stdout).contains("shared");
    }
    Some(are_shared)
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
        if is_shared && has_references(folder) {
            match are_references(&output) {
                Some(are_shared) => assert!(are_shared, "the output shares nothing with the store"),
                None => {
                    eprintln!("SKIPPED: no filefrag, so whether the output shares bytes was not looked at")
                }
            }
        } else if is_shared {
            assert!(most <= allowed, "{most} in all: the output shares nothing with the store");
        }
        if output.is_dir() {
            assert_valid(&output);
        }
    }
}
