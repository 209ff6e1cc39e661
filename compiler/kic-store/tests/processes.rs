//! Several processes, and processes that are killed. The children are this test binary, run with one test only.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::*;
use serde_json::json;

const STORE: &str = "KIC_TEST_STORE";
const SEED: &str = "KIC_TEST_SEED";

#[allow(clippy::disallowed_methods)]
fn child_store() -> Option<(Store, u64)> {
    let path = std::env::var_os(STORE)?;
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    Some((Store::open(Path::new(&path)).unwrap(), seed))
}

fn spawn(role: &str, store: &Path, seed: u64, umask: Option<&str>) -> Child {
    let binary = std::env::current_exe().unwrap();
    let mut command = match umask {
        None => Command::new(&binary),
        Some(umask) => {
            let mut command = Command::new("sh");
            command.arg("-c").arg(format!("umask {umask}; exec \"$@\"")).arg("sh").arg(&binary);
            command
        }
    };
    command.args(["--exact", role, "--ignored", "--nocapture"]);
    command.env(STORE, store).env(SEED, seed.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Writes without end, until it is killed.
#[test]
#[ignore = "the child of another test"]
fn child_that_writes_until_killed() {
    let Some((store, seed)) = child_store() else { return };
    for round in 0u64.. {
        let bytes = noise(seed * 1000 + round, 1 + (round as usize * 7919) % 300_000);
        let digest = write(&store, &bytes);
        let mut writer = store.embedding_writer(&[1; 512], 512).unwrap();
        std::io::Write::write_all(&mut writer, &bytes).unwrap();
        writer.commit(&digest, bytes.len() as u64).unwrap();
        store.record(&digest, &json!({ "size": bytes.len() })).unwrap();
    }
}

#[test]
#[ignore = "the child of another test"]
fn child_that_writes_the_same_blobs() {
    let Some((store, _)) = child_store() else { return };
    for seed in 0..30 {
        let bytes = noise(seed, 100_000);
        let digest = write(&store, &bytes);
        store.record(&digest, &json!({ "size": bytes.len() })).unwrap();
        assert_eq!(store.read(&digest, 100_000).unwrap(), bytes);
    }
}

/// Reads everything that a store holds, and asserts that it is as its names say.
fn assert_sound(store: &Store) -> usize {
    let digest = |path: &Path| Digest::from_hex(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let blobs = files(&store.path().join("blobs"));
    for path in &blobs {
        read_all(store.blob(&digest(path)).unwrap()).unwrap();
    }
    for path in files(&store.path().join("embedded")) {
        read_all(store.blob(&digest(&path)).unwrap()).unwrap();
    }
    for path in files(&store.path().join("outputs")) {
        let output = store.output(&digest(&path)).unwrap().unwrap();
        assert_eq!(output["size"].as_u64(), store.size(&digest(&path)).unwrap());
    }
    assert!(files(&store.path().join("corrupt")).is_empty());
    blobs.len()
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_sound_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut most_left = 0;
    for round in 0..40 {
        let mut child = spawn("child_that_writes_until_killed", &path, round, None);
        std::thread::sleep(Duration::from_millis(5 + round * 7 % 120));
        child.kill().unwrap();
        child.wait().unwrap();
        if path.join("tmp").is_dir() {
            most_left = most_left.max(files(&path.join("tmp")).len());
        }
        let store = Store::open(&path).unwrap();
        assert!(files(&path.join("tmp")).is_empty());
        assert_sound(&store);
    }
    let store = Store::open(&path).unwrap();
    assert!(assert_sound(&store) > 0, "no child lived long enough to write");
    assert!(most_left > 0, "no child was killed while it wrote");
}

#[test]
fn two_processes_write_the_same_blobs_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let children: Vec<_> =
        (0..3).map(|seed| spawn("child_that_writes_the_same_blobs", &path, seed, None)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(assert_sound(&Store::open(&path).unwrap()), 30);
}

#[test]
fn the_umask_does_not_show() {
    use std::os::unix::fs::PermissionsExt;
    let modes = |umask| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut child = spawn("child_that_writes_the_same_blobs", &path, 0, Some(umask));
        assert!(child.wait().unwrap().success());
        let mut modes = std::collections::BTreeMap::new();
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                let name = entry.path().strip_prefix(&path).unwrap().to_owned();
                modes.insert(name, metadata.permissions().mode());
            }
        }
        modes
    };
    let open = modes("0000");
    assert!(open.len() > 60);
    assert_eq!(open, modes("0777"));
}
