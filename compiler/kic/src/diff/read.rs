//! What is kept of a layer to compare it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use kic_base::Digest;
use kic_oci::validate::{LayerContent, LayerEntry, LayerVisitor};

/// A text is shown line by line up to this size; of what kic reads itself, more is kept.
const TEXT: u64 = 1 << 20;
const MANIFEST: u64 = 16 << 20;
/// All that is kept of one layer.
const KEPT: u64 = 64 << 20;
/// More entries than any real layer has.
const ENTRIES: usize = 1 << 20;
const BUFFER: usize = 256 << 10;

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
}

/// The entries of a layer.
#[derive(Debug, Default)]
pub(super) struct LayerFiles {
    pub files: BTreeMap<String, File>,
    kept: u64,
}

/// The entries of some layers on top of each other.
pub(super) fn merged(layers: &[Arc<LayerFiles>]) -> BTreeMap<&str, &File> {
    layers.iter().flat_map(|layer| layer.files.iter().map(|(path, file)| (path.as_str(), file))).collect()
}

impl LayerVisitor for LayerFiles {
    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()> {
        let path = String::from_utf8_lossy(entry.path);
        let path = path.strip_prefix("./").unwrap_or(&path).trim_matches('/').to_owned();
        if self.files.len() >= ENTRIES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has too many entries to compare"));
        }
        let kind = match entry.kind {
            kind if kind.is_dir() => "folder",
            kind if kind.is_symlink() => "symbolic link",
            kind if kind.is_hard_link() => "hard link",
            kind if kind.is_file() || kind.is_contiguous() => "file",
            _ => "special file",
        };
        let (mut digest, mut text) = (None, None);
        if kind == "file" {
            let limit = if OBJECTS.iter().any(|folder| path.starts_with(folder)) || path.starts_with(CHECKS) {
                MANIFEST
            } else {
                TEXT
            };
            let keep = entry.size <= limit && self.kept + entry.size <= KEPT;
            let (found, bytes) = hash(content, keep)?;
            digest = Some(found);
            text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
            self.kept += text.as_ref().map_or(0, |text| text.len() as u64);
        }
        let link = entry.link.as_deref().map(|link| String::from_utf8_lossy(link).into_owned());
        self.files.insert(path, File { kind, mode: entry.mode, size: entry.size, digest, link, text });
        Ok(())
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
