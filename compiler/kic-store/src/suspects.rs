use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use kic_base::Digest;
use rustix::fs::Stat;

use crate::Store;

/// The blobs that were set aside as damaged. A file elsewhere that holds one of them may be the same file, or a copy of what was damaged
/// already.
#[derive(Debug, Clone, Default)]
pub struct Suspects(BTreeMap<Digest, SetAside>);

/// The file of a blob that was set aside.
#[derive(Debug, Clone, Copy)]
struct SetAside {
    device: u64,
    inode: u64,
    /// No earlier than it was set aside, in seconds and nanoseconds since 1970: to rename a file changes it.
    moment: (i64, i64),
}

impl Suspects {
    /// Whether a file elsewhere that is to hold this blob is to be hashed before it is believed. One whose bytes were written since the damage
    /// was found is not.
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        reason = "the types of these fields differ between systems"
    )]
    pub fn contain(&self, digest: &Digest, status: &Stat) -> bool {
        self.0.get(digest).is_some_and(|set_aside| {
            let is_same = (status.st_dev as u64, status.st_ino as u64) == (set_aside.device, set_aside.inode);
            is_same || (status.st_mtime as i64, status.st_mtime_nsec as i64) <= set_aside.moment
        })
    }
}

/// Whether an output shares the file of a blob that was set aside. Nothing is won by its removal then, and it tells which output is to be
/// mended.
pub(crate) fn is_shared(metadata: &fs::Metadata) -> bool {
    metadata.nlink() > 1
}

impl Store {
    /// The blobs that were set aside as damaged. What cannot be looked at is none.
    pub fn suspects(&self) -> Suspects {
        let one = |digest: Digest| {
            let metadata = fs::symlink_metadata(self.layout().corrupt(&digest)).ok()?;
            let moment = (metadata.ctime(), metadata.ctime_nsec());
            Some((digest, SetAside { device: metadata.dev(), inode: metadata.ino(), moment }))
        };
        Suspects(self.set_aside().unwrap_or_default().into_iter().filter_map(one).collect())
    }
}
