use std::fs;
use std::io::Read;
use std::time::SystemTime;

use kic_base::{Digest, Sha256};

use crate::items::entries;
use crate::layout::Layout;
use crate::temporary_file::TemporaryFile;
use crate::{StoreError, record};

/// The most files, and the most bytes of all of them, that are kept; the ones written longest ago go first.
const MOST_FILES: usize = 512;
const MOST_BYTES: u64 = 256 << 20;

/// The most bytes of one. What is larger is not worth its reading.
const LIMIT: u64 = 64 << 20;

const CHECKSUM: usize = 32;

/// Writes bytes under a key: their checksum, and then they. They are not synced, since what a power failure takes is
/// only found out again.
pub(crate) fn write(layout: &Layout, key: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.len() as u64 > LIMIT {
        return Ok(());
    }
    let path = layout.memo(key);
    let is_new = !path.exists();
    let mut file = TemporaryFile::new(layout)?;
    file.write_all(checksum(key, bytes).as_bytes())?;
    file.write_all(bytes)?;
    file.persist(&path)?;
    if is_new {
        prune(layout);
    }
    Ok(())
}

/// The bytes under a key; `None` where there are none, or damaged ones.
pub(crate) fn read(layout: &Layout, key: &Digest) -> Option<Vec<u8>> {
    let mut file = fs::File::open(layout.memo(key)).ok()?;
    let length = file.metadata().ok()?.len();
    if length > LIMIT + CHECKSUM as u64 {
        return None;
    }
    // As many bytes as there are in one piece: to read to an end that is not known takes a growing buffer.
    let mut expected = [0; CHECKSUM];
    file.read_exact(&mut expected).ok()?;
    let mut content = vec![0; usize::try_from(length).ok()?.checked_sub(CHECKSUM)?];
    file.read_exact(&mut content).ok()?;
    (checksum(key, &content).as_bytes() == &expected).then_some(content)
}

/// Removes what is damaged, and says how much that was. What is written meanwhile comes whole, under its name or another.
pub(crate) fn remove_damaged(layout: &Layout) -> Result<usize, StoreError> {
    let mut removed = 0;
    for path in entries(&layout.memos())? {
        let key = path.file_name().and_then(|name| name.to_str()).map(Digest::from_hex);
        let Some(Ok(key)) = key else { continue };
        if read(layout, &key).is_none() && path.is_file() {
            record::remove(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Keeps within the bounds. Failures do not matter: it only costs space.
fn prune(layout: &Layout) {
    let Ok(entries) = fs::read_dir(layout.memos()) else { return };
    let mut files: Vec<(SystemTime, u64, std::path::PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort_by(|left, right| right.cmp(left));
    let mut bytes = 0;
    for (index, (_, size, path)) in files.into_iter().enumerate() {
        bytes += size;
        if index >= MOST_FILES || bytes > MOST_BYTES {
            let _ = fs::remove_file(path);
        }
    }
}

/// It covers the key, so that bytes under a wrong name are none.
fn checksum(key: &Digest, bytes: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update(bytes);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn damaged_bytes_and_bytes_under_another_name_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (key, other) = (Digest::of(b"key"), Digest::of(b"other"));
        assert_eq!(store.recall(&key), None);
        store.remember(&key, b"known").unwrap();
        assert_eq!(store.recall(&key).as_deref(), Some(&b"known"[..]));
        store.remember(&key, b"known better").unwrap();
        assert_eq!(store.recall(&key).as_deref(), Some(&b"known better"[..]));
        let path = store.layout().memo(&key);
        fs::copy(&path, store.layout().memo(&other)).unwrap();
        assert_eq!(store.recall(&other), None);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(store.recall(&key), None, "{length}");
        }
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 4;
            fs::write(&path, flipped).unwrap();
            assert_eq!(store.recall(&key), None, "{place}");
        }
    }

    #[test]
    fn what_was_written_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..MOST_FILES + 40 {
            store.remember(&key(number), b"known").unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            let path = store.layout().memo(&key(number));
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        }
        let kept = (0..MOST_FILES + 40).filter(|number| store.recall(&key(*number)).is_some()).count();
        assert!((MOST_FILES - 1..=MOST_FILES + 1).contains(&kept), "{kept}");
        assert!(store.recall(&key(MOST_FILES + 39)).is_some() && store.recall(&key(0)).is_none());
    }
}
