//! Stores that are full, damaged, read-only, somebody else's, or not there.

mod damage;
mod full_disk;
mod lost;
mod places;
mod power_failure;
mod snapshots;
mod taken_over;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::shown;
use crate::support::sharing_specs::{SharingSpecs, names};

/// A spec with every kind of layer, the registry of its images, and what comes out in peace.
struct Place {
    specs: SharingSpecs,
}

impl Place {
    fn new() -> Self {
        let specs = SharingSpecs::new(1, 1 << 20);
        // Another user may come here.
        fs::set_permissions(specs.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        Self { specs }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.specs.path(name)
    }

    /// The image that comes out in peace.
    fn alone(&self) -> PathBuf {
        self.specs.alone(0)
    }

    fn golden(&self) -> &str {
        &self.specs.golden[0]
    }

    /// The text of the spec.
    fn spec(&self) -> PathBuf {
        self.path("north/cluster.kdl")
    }

    fn command(&self, store: &Path, output: &Path) -> Command {
        self.specs.compile(0, store, output)
    }

    fn compile(&self, store: &Path, output: &Path) -> Output {
        self.command(store, output).output().unwrap()
    }

    /// A compile that must come to its end, with the right image.
    fn assert_compiles(&self, store: &Path, when: &str) {
        let output = self.path("checked.oci");
        drop(fs::remove_dir_all(&output));
        let done = self.compile(store, &output);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(root_digest(&output), self.golden(), "{when}");
        assert_valid(&output);
        assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
    }
}

/// What a store keeps, file by file. The rest of it only says that it is one.
fn kept(store: &Path) -> Vec<PathBuf> {
    let all = files(store).into_keys();
    all.filter(|path| path != Path::new("version") && path != Path::new("lock")).collect()
}

/// A run that ended with that exit status, and a diagnostic of that code with something to do.
fn assert_fails(output: &Output, code: &str, status: i32, when: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{when}: {}", shown(output));
    assert!(text.contains(code), "{when}: not `{code}`: {}", shown(output));
    assert!(text.contains("help: "), "{when}: nothing to do: {}", shown(output));
    assert!(output.stdout.is_empty(), "{when}: {}", shown(output));
}
