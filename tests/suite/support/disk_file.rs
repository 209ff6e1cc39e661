//! Disks that are files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kic::shown;
use super::peers::peer;

/// A disk that is a file, mounted. It goes with the value.
pub struct DiskFile {
    pub path: PathBuf,
}

impl DiskFile {
    /// One in `folder` that has so many bytes; `None`, with a loud word, where there can be none.
    pub fn mount(folder: &Path, kind: &str, size: u64) -> Option<Self> {
        let (disk, path) = (folder.join("disk.img"), folder.join("disk"));
        fs::create_dir(&path).unwrap();
        make(&disk, kind, size)?;
        if !mount(&disk, &path, "loop") {
            eprintln!("SKIPPED: no disk of {kind}: it takes root and loop devices");
            return None;
        }
        Some(Self { path })
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

/// An empty disk with a file system of that kind; `None`, with a loud word, where nothing makes one.
pub fn make(path: &Path, kind: &str, size: u64) -> Option<()> {
    let make = peer(&format!("mkfs.{kind}"))?;
    fs::File::create_new(path).unwrap().set_len(size).unwrap();
    let made = Command::new(make).arg("-q").arg(path).output().unwrap();
    assert!(made.status.success(), "{}", shown(&made));
    Some(())
}

/// Whether a disk could be mounted.
pub fn mount(disk: &Path, path: &Path, options: &str) -> bool {
    Command::new("mount").args(["-o", options]).arg(disk).arg(path).status().is_ok_and(|done| done.success())
}
