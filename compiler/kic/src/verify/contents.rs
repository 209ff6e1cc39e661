//! What verification keeps of a layer while it is read: the registry tree, and the files of kic.

use std::collections::BTreeMap;
use std::io;

use kic_base::Digest;
use kic_graph::REGISTRY_ROOT;
use kic_oci::model::{DOCUMENT_LIMIT, Document};
use kic_oci::validate::{LayerContent, LayerEntry, LayerVisitor};

/// The plan of an image, and the folders below which every file is kept by name.
pub(crate) const PLAN: &str = "kic/plan.json";
const FOLDERS: [&str; 5] = ["manifests/", "policies/", "readiness/", "scripts/", "kic/"];

/// A link of the registry tree is a digest; a little more may stand there by mistake.
const LINK_LIMIT: u64 = 1024;
/// A plan of an image with thousands of images is smaller.
const PLAN_LIMIT: u64 = 64 << 20;
const BUFFER: usize = 128 << 10;

/// What is known of a file of a layer.
#[derive(Debug, Clone)]
pub(crate) enum File {
    /// A link of the registry tree: its text.
    Link(String),
    /// A blob of the registry tree.
    Blob(Box<Blob>),
    /// The plan.
    Plan(Vec<u8>),
    /// Another one of kic's, or something that is no file.
    Other,
}

/// A blob of the registry tree.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    /// What its bytes give.
    pub digest: Digest,
    pub size: u64,
    /// What it refers to, where it is an index or a manifest.
    pub document: Option<Document>,
}

/// What is kept of a layer.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// By path.
    pub files: BTreeMap<String, File>,
    /// Paths that the layer removes from those below it; a folder's content where it ends with `/`.
    pub removed: Vec<String>,
    /// How many entries it has in all.
    pub entries: u64,
}

impl LayerVisitor for Contents {
    fn entry(&mut self, entry: &LayerEntry<'_>, content: &mut dyn LayerContent) -> io::Result<()> {
        self.entries += 1;
        // Nothing of kic's has another name.
        let Ok(path) = std::str::from_utf8(entry.path) else { return Ok(()) };
        let path = path.strip_prefix("./").unwrap_or(path).trim_start_matches('/');
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            self.removed.push(if hidden == ".wh..opq" { folder } else { format!("{folder}{hidden}") });
            return Ok(());
        }
        let in_registry = path.strip_prefix(REGISTRY_ROOT).and_then(|rest| rest.strip_prefix('/'));
        if in_registry.is_none() && !FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            return Ok(());
        }
        if entry.kind.is_dir() {
            return Ok(());
        }
        let is_file = entry.kind.is_file() || entry.kind.is_contiguous();
        let file = match in_registry {
            _ if !is_file => File::Other,
            Some(rest) if rest.starts_with("blobs/") && name == "data" => {
                File::Blob(Box::new(blob(entry.size, content)?))
            }
            Some(_) if name == "link" && entry.size <= LINK_LIMIT => {
                let mut text = Vec::new();
                content.read_to_end(&mut text)?;
                File::Link(String::from_utf8_lossy(&text).into_owned())
            }
            None if path == PLAN && entry.size <= PLAN_LIMIT => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                File::Plan(bytes)
            }
            _ => File::Other,
        };
        self.files.insert(path.to_owned(), file);
        Ok(())
    }
}

fn blob(size: u64, content: &mut dyn LayerContent) -> io::Result<Blob> {
    content.begin_digest();
    let mut read = 0_u64;
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER)];
    let mut text = Vec::new();
    // Layers do not begin so; nor do they end as JSON. Only small blobs can be documents.
    let mut may_be_document = size <= DOCUMENT_LIMIT as u64;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if read == 0 {
            may_be_document &= buffer.first() == Some(&b'{');
        }
        if may_be_document {
            text.extend_from_slice(&buffer[..count]);
        }
        read += count as u64;
    }
    // A configuration is none, though it has a member of that name too.
    let document = if may_be_document { Document::parse("", &text).ok() } else { None };
    Ok(Blob { digest: content.end_digest(), size: read, document })
}
