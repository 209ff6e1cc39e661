use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
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

/// Stands for the checksum while the bytes are written.
const UNFINISHED: [u8; CHECKSUM] = [0; CHECKSUM];

/// Bytes that are to be written under a key, with their checksum.
#[derive(Debug)]
pub struct Memo {
    key: Digest,
    checksum: Digest,
    bytes: Vec<u8>,
}

impl Memo {
    /// To know the checksum takes a while, and can be done anywhere.
    pub fn new(key: Digest, bytes: Vec<u8>) -> Self {
        Self { key, checksum: checksum(&key, &bytes), bytes }
    }

    /// The checksum, by which these bytes are told from others that are kept under the same key.
    pub fn checksum(&self) -> Digest {
        self.checksum
    }

    /// What is to be written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, for keeps.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Bytes that are written under a key, and do not count yet.
#[derive(Debug)]
pub struct Remembering {
    path: PathBuf,
    checksum: Digest,
    file: Begun,
}

#[derive(Debug)]
enum Begun {
    /// The file that is there, locked: it is unfinished.
    InPlace(File),
    /// A new one, which has no name yet.
    New(TemporaryFile),
    /// It is too large to be kept.
    None,
}

/// Begins to write bytes under a key: their checksum, and then they. They are not synced, since what a power failure takes is
/// only found out again.
///
/// Where a file is there, it is written to in its place, for a new one costs many times as much. It is locked meanwhile: who
/// reads, waits, and who writes, makes a new file after all. A process that is killed in the midst of it leaves an unfinished file,
/// and not one that looks damaged.
pub(crate) fn begin(layout: &Layout, memo: &Memo) -> Result<Remembering, StoreError> {
    let Memo { key, checksum, bytes } = memo;
    let (path, checksum) = (layout.memo(key), *checksum);
    if bytes.len() as u64 > LIMIT {
        return Ok(Remembering { path, checksum, file: Begun::None });
    }
    if let Some(file) = open_alone(&path) {
        begin_in_place(&file, bytes).map_err(|error| StoreError::at(&path, error))?;
        return Ok(Remembering { path, checksum, file: Begun::InPlace(file) });
    }
    let mut file = TemporaryFile::new(layout)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(checksum.as_bytes())?;
    file.write_all(bytes)?;
    Ok(Remembering { path, checksum, file: Begun::New(file) })
}

impl Remembering {
    /// From now on they count.
    pub(crate) fn finish(self, layout: &Layout) -> Result<(), StoreError> {
        let Self { path, checksum, file } = self;
        match file {
            Begun::InPlace(file) => {
                file.write_all_at(checksum.as_bytes(), 0).map_err(|error| StoreError::at(&path, error))?;
            }
            Begun::New(file) => {
                let is_new = !path.exists();
                file.persist(&path)?;
                if is_new {
                    prune(layout);
                }
            }
            Begun::None => {}
        }
        Ok(())
    }
}

/// The file at the path, locked, where there is one that nobody uses.
fn open_alone(path: &Path) -> Option<File> {
    let file = File::options().write(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

fn begin_in_place(file: &File, bytes: &[u8]) -> io::Result<()> {
    let length = (CHECKSUM + bytes.len()) as u64;
    file.write_all_at(&UNFINISHED, 0)?;
    file.write_all_at(bytes, CHECKSUM as u64)?;
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    Ok(())
}

/// The bytes under a key; `None` where there are none, or unfinished or damaged ones.
pub(crate) fn read(layout: &Layout, key: &Digest) -> Option<Memo> {
    let Look::Good(memo) = look(&layout.memo(key), key).ok()? else { return None };
    Some(memo)
}

enum Look {
    Good(Memo),
    Unfinished,
    Damaged,
}

fn look(path: &Path, key: &Digest) -> io::Result<Look> {
    let mut file = File::open(path)?;
    file.lock_shared()?;
    let length = file.metadata()?.len();
    if !(CHECKSUM as u64..=LIMIT + CHECKSUM as u64).contains(&length) {
        return Ok(Look::Damaged);
    }
    // As many bytes as there are in one piece: to read to an end that is not known takes a growing buffer.
    let mut expected = [0; CHECKSUM];
    file.read_exact(&mut expected)?;
    if expected == UNFINISHED {
        return Ok(Look::Unfinished);
    }
    let mut content = vec![0; usize::try_from(length).unwrap_or(usize::MAX) - CHECKSUM];
    file.read_exact(&mut content)?;
    let memo = Memo::new(*key, content);
    let is_good = memo.checksum.as_bytes() == &expected;
    Ok(if is_good { Look::Good(memo) } else { Look::Damaged })
}

/// Removes what is damaged, and says how much that was. What is written meanwhile comes whole, under its name or another.
pub(crate) fn remove_damaged(layout: &Layout) -> Result<usize, StoreError> {
    let mut removed = 0;
    for path in entries(&layout.memos())? {
        let key = path.file_name().and_then(|name| name.to_str()).map(Digest::from_hex);
        let Some(Ok(key)) = key else { continue };
        let found = look(&path, &key);
        if !matches!(found, Ok(Look::Good(_))) && path.is_file() {
            record::remove(&path)?;
            // What a killed process left is no damage.
            removed += usize::from(!matches!(found, Ok(Look::Unfinished)));
        }
    }
    Ok(removed)
}

/// Keeps within the bounds. Failures do not matter: it only costs space.
fn prune(layout: &Layout) {
    let Ok(entries) = fs::read_dir(layout.memos()) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
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
        store.remember(&Memo::new(key, b"known".to_vec())).unwrap();
        assert_eq!(store.recall(&key).as_deref(), Some(&b"known"[..]));
        store.remember(&Memo::new(key, b"known better".to_vec())).unwrap();
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
    fn a_file_that_is_there_is_written_to_in_its_place_unless_somebody_uses_it() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        let path = store.layout().memo(&key);
        store.remember(&Memo::new(key, b"known".to_vec())).unwrap();
        let first = fs::metadata(&path).unwrap().ino();
        for bytes in ["known better", "less", ""] {
            store.remember(&Memo::new(key, bytes.as_bytes().to_vec())).unwrap();
            assert_eq!(store.recall(&key).as_deref(), Some(bytes.as_bytes()));
            assert_eq!(fs::metadata(&path).unwrap().ino(), first);
        }
        let used = File::open(&path).unwrap();
        used.lock_shared().unwrap();
        store.remember(&Memo::new(key, b"another".to_vec())).unwrap();
        assert_eq!(store.recall(&key).as_deref(), Some(&b"another"[..]));
        assert_ne!(fs::metadata(&path).unwrap().ino(), first);
    }

    #[test]
    fn what_a_killed_process_left_is_none_and_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (unfinished, damaged) = (Digest::of(b"unfinished"), Digest::of(b"damaged"));
        for (key, first) in [(&unfinished, &UNFINISHED), (&damaged, &[7; CHECKSUM])] {
            store.remember(&Memo::new(*key, b"known".to_vec())).unwrap();
            let file = File::options().write(true).open(store.layout().memo(key)).unwrap();
            file.write_all_at(first, 0).unwrap();
            assert_eq!(store.recall(key), None);
        }
        assert_eq!(remove_damaged(store.layout()).unwrap(), 1);
        assert_eq!(entries(&store.layout().memos()).unwrap().len(), 0);
    }

    #[test]
    fn what_was_written_longest_ago_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = |number: usize| Digest::of(&number.to_le_bytes());
        for number in 0..MOST_FILES + 40 {
            store.remember(&Memo::new(key(number), b"known".to_vec())).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            let path = store.layout().memo(&key(number));
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(at).unwrap();
        }
        let kept = (0..MOST_FILES + 40).filter(|number| store.recall(&key(*number)).is_some()).count();
        assert!((MOST_FILES - 1..=MOST_FILES + 1).contains(&kept), "{kept}");
        assert!(store.recall(&key(MOST_FILES + 39)).is_some() && store.recall(&key(0)).is_none());
    }
}
