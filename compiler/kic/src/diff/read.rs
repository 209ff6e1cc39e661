//! What is kept of a layer to compare it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use kic_base::Digest;
use kic_oci::unpack::{Whiteout, split_name, whiteout};
use kic_oci::validate::{LayerContent, LayerEntry, LayerVisitor};

/// A text is shown line by line up to this size; of what kic reads itself, more is kept.
const TEXT: u64 = 1 << 20;
const MANIFEST: u64 = 16 << 20;
/// All that is kept of one layer.
const KEPT: u64 = 64 << 20;
/// More entries than any real layer has.
const ENTRIES: usize = 1 << 20;
/// The bytes of their names and extended headers.
const NAMES: usize = 128 << 20;
const BUFFER: usize = 256 << 10;

/// Stands for a number of a header that is none.
pub(super) const UNREADABLE: &str = "unreadable";

/// The folders whose files are read as what they are.
pub(super) const OBJECTS: [&str; 2] = ["manifests/", "policies/"];
pub(super) const CHECKS: &str = "readiness/";

/// An entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub kind: &'static str,
    pub mode: Option<u32>,
    pub size: u64,
    pub digest: Option<Digest>,
    pub link: Option<String>,
    /// The content, where it is small enough and text.
    pub text: Option<String>,
    pub user: Option<u64>,
    pub group: Option<u64>,
    pub user_name: String,
    pub group_name: String,
    pub device: Option<(u32, u32)>,
    /// In seconds since 1970; those of an extended header may have a fraction.
    pub time: String,
    /// Records of the extended header that are not told as the entry's own.
    pub records: BTreeMap<String, String>,
}

/// The entries of a layer.
#[derive(Debug, Default)]
pub(super) struct LayerFiles {
    pub files: BTreeMap<String, File>,
    /// What the layer deletes of those below it.
    pub hidden: BTreeSet<String>,
    /// Folders that the layer empties of what those below it have there.
    pub emptied: BTreeSet<String>,
    /// The digest of the tar.
    pub tar: Option<Digest>,
    /// A digest of the paths in their order.
    pub order: Option<Digest>,
    kept: u64,
    /// The bytes of names and records.
    named: usize,
}

/// Records of extended headers that say the same as members of an entry.
const OWN: [&str; 8] = ["path", "linkpath", "size", "mtime", "uid", "gid", "uname", "gname"];

impl LayerVisitor for LayerFiles {
    const RECORDS: bool = true;

    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.named += entry.path.len()
            + entry.records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let count = self.files.len() + self.hidden.len() + self.emptied.len();
        if count >= ENTRIES || self.named > NAMES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has too many entries to compare"));
        }
        let before = self.order.map(|order| order.hex()).unwrap_or_default();
        self.order = Some(Digest::of(&[before.as_bytes(), entry.path].concat()));
        let path = match split_name(entry.path, true) {
            Ok(names) => {
                let path = |names: &[&[u8]]| text(&names.join(&b'/'));
                let parents = &names[..names.len().saturating_sub(1)];
                match whiteout(&names) {
                    Ok(Whiteout::Hide(name)) => {
                        self.hidden.insert(path(&[parents, &[name]].concat()));
                        return Ok(());
                    }
                    Ok(Whiteout::Opaque) => {
                        self.emptied.insert(path(parents));
                        return Ok(());
                    }
                    _ => path(&names),
                }
            }
            // A layer that could not be unpacked is compared all the same.
            Err(_) => text(entry.path),
        };
        let kind = kind(entry);
        let (mut digest, mut kept) = (None, None);
        if kind == "file" {
            let limit = if OBJECTS.iter().any(|folder| path.starts_with(folder)) || path.starts_with(CHECKS) {
                MANIFEST
            } else {
                TEXT
            };
            let keep = entry.size <= limit && self.kept + entry.size <= KEPT;
            let (found, bytes) = hash(content, keep)?;
            digest = Some(found);
            kept = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
            self.kept += kept.as_ref().map_or(0, |text| text.len() as u64);
        }
        let record = |key: &str| entry.records.get(key.as_bytes()).map(|value| text(value));
        let number = |key: &str, own: Option<u64>| record(key).map_or(own, |value| value.parse().ok());
        let is_device = kind.ends_with("device");
        let header = entry.header;
        let device = || header.device_major().ok().flatten().zip(header.device_minor().ok().flatten());
        let file = File {
            kind,
            mode: entry.mode,
            size: entry.size,
            digest,
            link: entry.link.as_deref().map(text),
            text: kept,
            user: number("uid", header.uid().ok()),
            group: number("gid", header.gid().ok()),
            user_name: record("uname").unwrap_or_else(|| text(header.username_bytes().unwrap_or_default())),
            group_name: record("gname").unwrap_or_else(|| text(header.groupname_bytes().unwrap_or_default())),
            device: device().filter(|_| is_device),
            time: record("mtime")
                .or_else(|| header.mtime().ok().map(|time| time.to_string()))
                .unwrap_or_else(|| UNREADABLE.to_owned()),
            records: entry
                .records
                .iter()
                .map(|(key, value)| (text(key), text(value)))
                .filter(|(key, _)| !OWN.contains(&key.as_str()))
                .collect(),
        };
        self.files.insert(path, file);
        Ok(())
    }
}

fn kind(entry: &LayerEntry<'_>) -> &'static str {
    match entry.kind {
        kind if kind.is_dir() => "folder",
        // Archives older than POSIX mark folders by the slash alone.
        kind if kind.is_file() && entry.path.ends_with(b"/") => "folder",
        kind if kind.is_symlink() => "symbolic link",
        kind if kind.is_hard_link() => "hard link",
        kind if kind.is_file() || kind.is_contiguous() => "file",
        kind if kind.is_character_special() => "character device",
        kind if kind.is_block_special() => "block device",
        kind if kind.is_fifo() => "pipe",
        _ => "special file",
    }
}

fn hash(content: &mut dyn LayerContent, keep: bool) -> io::Result<(Digest, Option<Vec<u8>>)> {
    content.begin_digest();
    let mut kept = keep.then(Vec::new);
    let mut buffer = vec![0; BUFFER];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok((content.end_digest(), kept)),
            Ok(count) => {
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(&buffer[..count]);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file that holds a text.
    pub(in crate::diff) fn file(text: &str) -> File {
        File {
            kind: "file",
            mode: Some(0o644),
            size: text.len() as u64,
            digest: Some(Digest::of(text.as_bytes())),
            link: None,
            text: Some(text.to_owned()),
            user: Some(0),
            group: Some(0),
            user_name: String::new(),
            group_name: String::new(),
            device: None,
            time: "0".to_owned(),
            records: BTreeMap::new(),
        }
    }
}
