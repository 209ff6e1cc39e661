use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::unpack::split_name;

/// What a small archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct PackedLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files.
    pub files: usize,
}

/// Why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub enum PackedFilesError {
    /// It is no gzip, or no tar, or ends early.
    #[error("it is no gzip-compressed tar: {0}")]
    Damaged(#[from] io::Error),
    /// It unpacks to more than it may.
    #[error("it unpacks to more than {0} MiB")]
    TooLarge(u64),
    /// It holds more files than it may.
    #[error("it holds more than {0} files")]
    TooMany(usize),
    /// An entry's name leads out of it, or is none.
    #[error("its entry `{name}` is refused: {reason}")]
    Name {
        /// The name, as far as it can be shown.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry that is neither file nor folder.
    #[error("its entry `{0}` is a link or a device")]
    NoFile(String),
}

/// The files of a small gzip-compressed tar, such as a Helm chart, by path; all of it is held in memory, so there are
/// limits. Nothing is written anywhere.
///
/// # Errors
/// An archive that is damaged, too large, or hostile.
pub fn packed_files(
    archive: impl Read,
    limits: PackedLimits,
) -> Result<BTreeMap<String, Vec<u8>>, PackedFilesError> {
    // Headers and padding are bytes, too: without them, a million empty entries would cost nothing.
    let most = limits.bytes + 2048 * limits.files as u64;
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(archive).take(most + 1));
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in archive.entries()? {
        let entry = entry?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() && !kind.is_contiguous() {
            return Err(PackedFilesError::NoFile(shown(&name)));
        }
        let refused = |reason: String| PackedFilesError::Name { name: shown(&name), reason };
        if name.contains(['\\', '\u{fffd}']) {
            return Err(refused("it is no plain path in UTF-8".to_owned()));
        }
        let parts = split_name(name.as_bytes(), false).map_err(|refusal| refused(refusal.to_string()))?;
        let parts: Vec<_> = parts.into_iter().map(String::from_utf8_lossy).collect();
        let path = parts.join("/");
        let size = entry.size();
        bytes += size;
        if bytes > limits.bytes {
            return Err(PackedFilesError::TooLarge(limits.bytes >> 20));
        }
        if files.len() == limits.files {
            return Err(PackedFilesError::TooMany(limits.files));
        }
        let mut content = Vec::new();
        entry.take(size).read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        files.insert(path, content);
    }
    // Behind the tar's end stands the checksum of all of it.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    if rest.limit() == 0 {
        return Err(PackedFilesError::TooLarge(limits.bytes >> 20));
    }
    Ok(files)
}

fn shown(name: &str) -> String {
    name.chars().filter(|character| !character.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LIMITS: PackedLimits = PackedLimits { bytes: 1 << 20, files: 10 };

    fn packed(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&builder.into_inner().unwrap()).unwrap();
        gzip.finish().unwrap()
    }

    fn read(entries: &[(&str, tar::EntryType, &[u8])]) -> Result<BTreeMap<String, Vec<u8>>, String> {
        packed_files(packed(entries).as_slice(), LIMITS).map_err(|error| error.to_string())
    }

    #[test]
    fn files_come_by_their_paths() {
        use tar::EntryType::{Directory, Regular};
        let files = read(&[("a/", Directory, b""), ("a/./b", Regular, b"x"), ("./c", Regular, b"")]).unwrap();
        assert_eq!(files, BTreeMap::from([("a/b".into(), b"x".to_vec()), ("c".into(), Vec::new())]));
    }

    #[test]
    fn what_is_hostile_or_damaged_is_refused() {
        use tar::EntryType::{Link, Regular, Symlink};
        for (entries, says) in [
            (vec![("../a", Regular, b"x".as_slice())], "`../a` is refused"),
            (vec![("/a", Regular, b"x")], "`/a` is refused"),
            (vec![("a\\b", Regular, b"x")], "no plain path"),
            (vec![("a", Symlink, b"")], "link or a device"),
            (vec![("a", Link, b"")], "link or a device"),
            (vec![("a", Regular, &[0; (1 << 20) + 1])], "more than 1 MiB"),
        ] {
            let error = read(&entries).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let names: Vec<String> = (0..11).map(|number| format!("f{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), Regular, b"".as_slice())).collect();
        assert!(read(&many).unwrap_err().contains("more than 10 files"));
        let whole = packed(&[("a", Regular, &[7; 5000])]);
        for bytes in [&b"not gzip"[..], &whole[..whole.len() - 9], &whole[..20]] {
            assert!(packed_files(bytes, LIMITS).is_err());
        }
    }
}
