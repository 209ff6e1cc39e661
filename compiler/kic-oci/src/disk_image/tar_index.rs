use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DiskImageError;
use crate::header_budget::HeaderBudget;
use crate::unpack::printable;

/// The most entries, and the most bytes of paths, that an archive may have. Real ones have some hundred.
const ENTRY_LIMIT: usize = 100_000;
const PATH_LIMIT: usize = 16 << 20;

/// How often a link may lead to a link.
const LINK_LIMIT: usize = 16;

/// Where the files of a tar are in it. Made in one pass over its headers; nothing is unpacked.
pub(super) struct TarIndex {
    path: PathBuf,
    file: Arc<File>,
    members: BTreeMap<String, Member>,
    /// Paths that came more than once: tools differ on which counts.
    twice: BTreeSet<String>,
}

enum Member {
    File(Range),
    /// The path that the link leads to, from the archive's root.
    Link(String),
    /// A link out of the archive, a sparse file or a device.
    Unusable(&'static str),
}

/// Whether a file begins as a tar does: with a header whose checksum is right.
fn begins_with_header(file: &File) -> bool {
    let mut block = [0; 512];
    if file.read_exact_at(&mut block, 0).is_err() {
        return false;
    }
    let header = tar::Header::from_byte_slice(&block);
    // It is taken with spaces in its own place.
    let rest = block[..148].iter().chain(&block[156..]);
    let sum = rest.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    header.cksum().is_ok_and(|said| said == sum)
}

/// Some bytes of a file that others may read at the same time.
#[derive(Clone)]
pub(super) struct Range {
    file: Arc<File>,
    offset: u64,
    pub size: u64,
}

impl TarIndex {
    pub fn open(path: &Path) -> Result<Self, DiskImageError> {
        let at = |error| DiskImageError::at(path, error);
        // A pipe has no length, and opening it may wait for ever.
        let metadata = std::fs::metadata(path).map_err(at)?;
        if !metadata.is_file() {
            return Err(at(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")));
        }
        let file = File::open(path).map_err(at)?;
        refuse_compressed(path, &file)?;
        let mut this = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            members: BTreeMap::new(),
            twice: BTreeSet::new(),
        };
        this.read_headers(metadata.len()).map_err(|error| {
            // The tar reader shows fields as they are: of what is no tar, the first bytes, which may be secret.
            let reason = if error.raw_os_error().is_some() || begins_with_header(&this.file) {
                printable(error.to_string().as_bytes())
            } else {
                "it does not begin with the header of a file".to_owned()
            };
            DiskImageError::NotATar { path: path.to_owned(), reason }
        })?;
        Ok(this)
    }

    /// The range of a file, links followed; nothing where there is no such file.
    pub fn find(&self, member: &str) -> Result<Option<Range>, DiskImageError> {
        let Some(normalised) = resolve("", member) else {
            return Err(DiskImageError::invalid(&self.path, member, "it leads out of the archive"));
        };
        let mut name = normalised.as_str();
        for _ in 0..LINK_LIMIT {
            match self.members.get(name) {
                None => return Ok(None),
                Some(Member::File(range)) => return Ok(Some(range.clone())),
                Some(Member::Link(target)) => name = target,
                Some(Member::Unusable(reason)) => {
                    return Err(DiskImageError::invalid(&self.path, member, *reason));
                }
            }
        }
        Err(DiskImageError::invalid(&self.path, member, "it is a link that leads to links only"))
    }

    /// The names right below a folder, which ends with `/` or is empty.
    pub fn names_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        let below = self.members.keys().filter_map(move |name| name.strip_prefix(folder));
        below.filter_map(|rest| rest.split('/').next()).filter(|name| !name.is_empty())
    }

    /// Whether the file came more than once.
    pub fn is_twice(&self, member: &str) -> bool {
        self.twice.contains(member)
    }

    fn read_headers(&mut self, length: u64) -> io::Result<()> {
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason);
        let (budget, reader) = HeaderBudget::around(&*self.file);
        let mut archive = tar::Archive::new(reader);
        let (mut count, mut path_bytes) = (0, 0);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            budget.headers();
            count += 1;
            let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
            path_bytes += name.len();
            if count > ENTRY_LIMIT || path_bytes > PATH_LIMIT {
                return Err(invalid("it has too many entries"));
            }
            // An entry outside is nothing that an image names.
            let Some(name) = resolve("", &name) else { continue };
            let kind = entry.header().entry_type();
            let link = || entry.link_name_bytes().and_then(|link| String::from_utf8(link.into_owned()).ok());
            let member = if kind.is_file() || kind.is_contiguous() {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(invalid(&format!("it ends in the middle of `{name}`")));
                }
                Member::File(Range { file: Arc::clone(&self.file), offset, size })
            } else if kind.is_dir() || kind.is_pax_global_extensions() {
                continue;
            } else if kind.is_symlink() || kind.is_hard_link() {
                let from =
                    if kind.is_symlink() { name.rsplit_once('/').map_or("", |(from, _)| from) } else { "" };
                let target = link();
                path_bytes += target.as_ref().map_or(0, String::len);
                match target.as_deref().and_then(|target| resolve(from, target)) {
                    Some(target) => Member::Link(target),
                    None => Member::Unusable("it is a link that leads out of the archive"),
                }
            } else {
                Member::Unusable("it is neither a file nor a link")
            };
            if self.members.insert(name.clone(), member).is_some() {
                self.twice.insert(name);
            }
        }
        if count == 0 {
            return Err(invalid("it has no entries"));
        }
        Ok(())
    }
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += count as u64;
        self.size -= count as u64;
        Ok(count)
    }
}

/// The normalised path of `path` as seen from the directory `from`; nothing where it is absolute, or leaves the
/// archive.
fn resolve(from: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

fn refuse_compressed(path: &Path, file: &File) -> Result<(), DiskImageError> {
    let mut start = [0; 6];
    let count = file.read_at(&mut start, 0).map_err(|error| DiskImageError::at(path, error))?;
    let (with, program) = match &start[..count] {
        [0x1f, 0x8b, ..] => ("gzip", "gzip -dk"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", "zstd -d"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => ("xz", "xz -dk"),
        [b'B', b'Z', b'h', ..] => ("bzip2", "bzip2 -dk"),
        _ => return Ok(()),
    };
    Err(DiskImageError::Compressed {
        path: path.to_owned(),
        with,
        command: format!("{program} {}", path.display()),
    })
}
