//! Disks that are full.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::contents::files;
use super::kic::shown;

/// A small file system in memory. It goes with the value.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    /// `None`, with a loud word, where none can be mounted. Where peers are required, mounting is, too.
    pub fn mount(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path }),
            failed => {
                assert!(std::env::var("KIC_REQUIRE_PEERS").as_deref() != Ok("1") || !is_root(), "{failed:?}");
                eprintln!(
                    "SKIPPED: no file system of a small size can be mounted here, so none was full: {failed:?}"
                );
                None
            }
        }
    }

    /// Gives it another size or mode.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mounted = Command::new("mount").args(["-o", &options]).arg(&self.path).output().unwrap();
        assert!(mounted.status.success(), "{}", shown(&mounted));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The bytes of all files below a folder, each in whole pages as a file system in memory has them. Memos of a store are left
/// out: a compile does without them where there is no room.
pub fn room(folder: &Path) -> u64 {
    let pages =
        |path: &PathBuf| fs::symlink_metadata(folder.join(path)).unwrap().len().next_multiple_of(4096);
    files(folder).keys().filter(|path| !path.starts_with("memos")).map(pages).sum()
}
