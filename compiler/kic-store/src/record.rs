use std::fs;
use std::io::{self, Read};
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
    let bytes = encode(key, value).map_err(|error| StoreError::at(path, error))?;
    write_bytes(layout, path, &bytes)
}

/// Writes the bytes of a record that is to stand at `path`, without a name; `None` where they stand there.
pub(crate) fn prepare_changed(
    layout: &Layout,
    path: &Path,
    bytes: &[u8],
) -> Result<Option<TemporaryFile>, StoreError> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(None);
    }
    make_parent(path)?;
    let mut file = TemporaryFile::new(layout)?;
    file.write_all(bytes)?;
    // Some file systems do this when another file loses its name to it, and let the caller wait.
    file.begin_sync(0, bytes.len() as u64);
    Ok(Some(file))
}

/// The bytes of a record.
pub(crate) fn encode<T: Serialize>(key: &Digest, value: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut bytes = checksum(key, &json).to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(&json);
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes the bytes of a record.
pub(crate) fn write_bytes(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = TemporaryFile::new(layout)?;
    file.write_all(bytes)?;
    make_parent(path)?;
    file.persist(path)?;
    Ok(())
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
    if bytes.len() as u64 > LIMIT {
        return None;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (expected, rest) = bytes.split_at(end);
    let json = rest.strip_prefix(b"\n")?.strip_suffix(b"\n")?;
    let expected: Digest = std::str::from_utf8(expected).ok()?.parse().ok()?;
    if checksum(key, json) != expected {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn checksum(key: &Digest, json: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key.as_bytes());
    hash.update(json);
    hash.finish()
}
