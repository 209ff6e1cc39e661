//! Golden digests: one file an encoder epoch, `tests/reproducible/epoch-N.txt`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kic_base::Epoch;

use crate::support::{root, updates_expectations};

/// Holds a digest against the golden one of that name, in the current epoch.
pub fn assert_golden(name: &str, digest: &str) {
    assert_golden_of(Epoch::CURRENT.number(), name, digest);
}

/// Holds a digest against the golden one of that name, in that epoch.
pub fn assert_golden_of(epoch: u32, name: &str, digest: &str) {
    // Tests run at the same time, and may all write.
    static FILE: Mutex<()> = Mutex::new(());
    let _held = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path(epoch);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut digests: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(": "))
        .collect();
    if updates_expectations() {
        digests.insert(name, digest);
        let lines: String = digests.iter().map(|(name, digest)| format!("{name}: {digest}\n")).collect();
        let head = format!(
            "# What tests/reproducible/spec gives in encoder epoch {epoch}. A change here is a new epoch, or a new spec.\n"
        );
        fs::write(path, head + &lines).unwrap();
        return;
    }
    let golden = digests.get(name).copied();
    assert_eq!(
        golden,
        Some(digest),
        "{name} in {}. Run with UPDATE_EXPECT=1 only if the spec, or what kic makes of it, was changed on purpose.",
        path.display()
    );
}

fn path(epoch: u32) -> PathBuf {
    root().join(format!("tests/reproducible/epoch-{epoch}.txt"))
}
