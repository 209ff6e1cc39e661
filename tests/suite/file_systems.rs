//! What depends on the file system, on others than the one that this machine has: they copy by reference, refuse with other errors,
//! and count what a file takes in another way.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::disk_file::DiskFile;
use crate::support::kic::shown;

/// Tests that make outputs beside a store, let several processes write to one place, damage files, or look at how much room they take.
const TESTS: [&str; 6] = [
    "cli::every_case",
    "concurrency::processes",
    "disk::",
    "reproducible::outputs",
    "store_faults::damage",
    "unfinished::the_next_run",
];

#[test]
fn tests_pass_on_file_systems_that_copy_by_reference() {
    for kind in ["xfs", "btrfs"] {
        let folder = tempfile::tempdir().unwrap();
        let Some(disk) = DiskFile::mount(folder.path(), kind, 4 << 30) else { return };
        // As the system's own is: some tests are run by another user.
        std::fs::set_permissions(&disk.path, std::fs::Permissions::from_mode(0o1777)).unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        let output = again.args(TESTS).env("TMPDIR", &disk.path).output().unwrap();
        assert!(output.status.success(), "{kind}: {}", shown(&output));
        let said = String::from_utf8_lossy(&output.stdout);
        for test in TESTS {
            assert!(said.contains(&format!("test {test}")), "{kind}: no {test}: {said}");
        }
    }
}
