//! What the tests of the store share.
#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use kic_base::Digest;
pub use kic_store::{PlaceMode, Placed, Store, StoreError};

/// A new store in a new folder, which is removed with the first of the two.
pub fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

pub fn write(store: &Store, bytes: &[u8]) -> Digest {
    let mut writer = store.writer().unwrap();
    writer.write_all(bytes).unwrap();
    writer.commit(None).unwrap().0
}

/// Bytes that look random and are the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length).map(|_| (next() >> 24) as u8).collect()
}

/// All regular files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub fn blob_path(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    store.path().join("blobs/sha256").join(&hex[..2]).join(hex)
}

pub fn embedded_path(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    store.path().join("embedded/sha256").join(&hex[..2]).join(hex)
}

pub fn output_path(store: &Store, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    store.path().join("outputs").join(&hex[..2]).join(hex)
}

/// Changes one bit of a file in place.
pub fn flip(path: &Path, byte: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1 << bit;
    overwrite(path, &bytes);
}

pub fn overwrite(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says loudly that a test did not run; under `KIC_REQUIRE_PEERS=1` that is a failure.
#[allow(clippy::disallowed_methods)]
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    let required = std::env::var("KIC_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "KIC_REQUIRE_PEERS=1, and a test was skipped: {why}");
}

/// A mounted tmpfs, unmounted when dropped: one at a time. A process that another test begins has what is open here, too, until it is
/// the program that it becomes: so long a lock is held, and a file that is removed takes room.
pub struct Tmpfs(tempfile::TempDir, MutexGuard<'static, ()>);

static MOUNTED: Mutex<()> = Mutex::new(());

impl Tmpfs {
    /// `None` where this process may not mount.
    pub fn mount(options: &str) -> Option<Self> {
        let alone = MOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(folder.path())
            .status();
        done.is_ok_and(|status| status.success()).then(|| Self(folder, alone))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn remount(&self, options: &str) {
        let status = std::process::Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(self.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

pub fn read_all(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    Ok(bytes)
}
