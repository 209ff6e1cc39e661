use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use kic_base::{Digest, Sha256};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;
use crate::layout::{Layout, make_parent};
use crate::temporary_file::TemporaryFile;

/// Records are small: the largest names a few thousand blobs. What is larger is not one of ours.
const LIMIT: u64 = 64 << 20;

/// Most records are smaller: so much room for one that it is read in one piece.
const USUAL: usize = 1024;

/// The length of a checksum, as a text.
const CHECKSUM: usize = "sha256:".len() + 64;

/// Writes a record: one line with its checksum, one with its JSON.
///
/// The checksum covers the key and the JSON text, so a torn or flipped record is noticed, and one under a wrong
/// name. That is why it is not synced: what a power failure takes is only built again.
pub(crate) fn write<T: Serialize>(
    layout: &Layout,
    path: &Path,
    key: &Digest,
    value: &T,
) -> Result<(), StoreError> {
    let (_, bytes) = encode(key, value, USUAL).map_err(|error| StoreError::at(path, error))?;
    let mut file = TemporaryFile::new(layout)?;
    file.write_all(&bytes)?;
    make_parent(path)?;
    file.persist(path)?;
    Ok(())
}

/// Writes the bytes of a record that is to stand at `path`, without a name, where it can into the file at `spare`; `None` where they stand
/// there.
pub(crate) fn prepare_changed(
    layout: &Layout,
    path: &Path,
    spare: &Path,
    bytes: &[u8],
) -> Result<Option<TemporaryFile>, StoreError> {
    if has(path, bytes) {
        return Ok(None);
    }
    make_parent(path)?;
    if let Some(mut file) = TemporaryFile::at(spare) {
        file.write_all(bytes)?;
        // Not before: to free its bytes and to find room for others takes longer than to write.
        file.truncate(bytes.len() as u64)?;
        return Ok(Some(file));
    }
    let mut file = TemporaryFile::new_changeable(layout)?;
    file.write_all(bytes)?;
    // Some file systems do this when another file loses its name to it, and let the caller wait.
    file.begin_sync(0, bytes.len() as u64);
    Ok(Some(file))
}

/// Whether a file has just these bytes. Of another record, no more than the checksum is read.
fn has(path: &Path, bytes: &[u8]) -> bool {
    let Ok(mut file) = fs::File::open(path) else { return false };
    let mut found = vec![0; CHECKSUM.min(bytes.len())];
    if file.read_exact(&mut found).is_err() || !bytes.starts_with(&found) {
        return false;
    }
    file.read_to_end(&mut found).is_ok() && found == bytes
}

/// The checksum of a record, and its bytes, of which there are likely to be so many.
pub(crate) fn encode<T: Serialize>(key: &Digest, value: &T, likely: usize) -> io::Result<(Digest, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(likely);
    // Room for the checksum, which comes first: so nothing is copied.
    bytes.resize(CHECKSUM + 1, b'\n');
    serde_json::to_writer(&mut bytes, value)?;
    let checksum = checksum(key, &bytes[CHECKSUM + 1..]);
    write!(&mut bytes[..CHECKSUM], "{checksum}")?;
    bytes.push(b'\n');
    Ok((checksum, bytes))
}

/// Reads a record. A damaged one is removed, and is then as if it had never been.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, key: &Digest) -> Result<Option<T>, StoreError> {
    match look(path, key)? {
        Look::Missing => Ok(None),
        Look::Good(value) => Ok(Some(value)),
        Look::Damaged => {
            remove(path)?;
            Ok(None)
        }
    }
}

/// What stands where a record may stand.
pub(crate) enum Look<T> {
    Missing,
    Good(T),
    Damaged,
}

/// Reads a record, and leaves a damaged one.
pub(crate) fn look<T: DeserializeOwned>(path: &Path, key: &Digest) -> Result<Look<T>, StoreError> {
    let mut bytes = Vec::with_capacity(USUAL);
    let read = fs::File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Missing),
        Err(error) => return Err(StoreError::at(path, error)),
    }
    Ok(parse(&bytes, key).map_or(Look::Damaged, Look::Good))
}

/// Removes a record, if it is still there.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::at(path, error)),
        _ => Ok(()),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8], key: &Digest) -> Option<T> {
    serde_json::from_slice(checked(bytes, key)?.1).ok()
}

/// The checksum of a record and its JSON; nothing where it is damaged.
pub(crate) fn checked<'a>(bytes: &'a [u8], key: &Digest) -> Option<(Digest, &'a [u8])> {
    if bytes.len() as u64 > LIMIT {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (expected, rest) = bytes.split_at(end);
    let json = rest.strip_prefix(b"\n")?.strip_suffix(b"\n")?;
    let expected: Digest = std::str::from_utf8(expected).ok()?.parse().ok()?;
    (checksum(key, json) == expected).then_some((expected, json))
}

fn checksum(key: &Digest, json: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update(json);
    hash.finish()
}
