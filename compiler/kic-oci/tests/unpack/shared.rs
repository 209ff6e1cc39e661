//! Hostile tar streams, and what came of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kic_oci::model::media_types::OCI_LAYER;
use kic_oci::unpack::{
    LayerPaths, Refusal, TreePaths, UnpackError, UnpackLayer, UnpackOptions, UnpackReport, unpack,
};
use kic_oci::validate::visit_layer;
use tar::{EntryType, Header};

/// A tar stream written entry by entry, hostile names and all.
#[derive(Default, Clone)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn entry(mut self, kind: EntryType, name: &[u8], target: &[u8], mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        header.set_uid(1234);
        header.set_gid(5678);
        if name.len() > 100 || target.len() > 100 {
            self = self.pax(&[("path", name), ("linkpath", target)]);
        } else {
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        }
        self.raw(header, content)
    }

    pub fn raw(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records.iter().filter(|(_, value)| !value.is_empty()) {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.pax_bytes(&content)
    }

    pub fn pax_bytes(self, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.raw(header, content)
    }

    pub fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", 0o644, content)
    }

    pub fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
    }

    pub fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    pub fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

pub fn layer(media_type: &str, bytes: impl Read + Send + 'static) -> UnpackLayer {
    UnpackLayer { media_type: media_type.to_owned(), reader: Box::new(bytes), name: "test".to_owned() }
}

pub fn run(
    layers: Vec<Tar>,
    options: &UnpackOptions,
) -> (tempfile::TempDir, PathBuf, Result<UnpackReport, UnpackError>) {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("root");
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
    let read = layers.clone();
    let layers = layers.into_iter().map(|tar| layer(OCI_LAYER, io::Cursor::new(tar)));
    let result = unpack(layers, &destination, options);
    if !options.strip_leading_slashes {
        same_verdict(&read, &result);
    }
    if result.is_err() {
        assert!(!destination.exists(), "an error leaves no destination");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "and nothing beside it");
    }
    (folder, destination, result)
}

/// What only reads the layers says of their paths what unpacking said.
pub fn same_verdict(layers: &[Vec<u8>], unpacked: &Result<UnpackReport, UnpackError>) {
    let mut tree = TreePaths::default();
    let found = layers.iter().try_for_each(|bytes| {
        let mut paths = LayerPaths::default();
        // Layers that are no tar have no paths after that.
        drop(visit_layer(
            Box::new(io::Cursor::new(bytes.clone())),
            OCI_LAYER,
            &Default::default(),
            &mut paths,
        ));
        tree.apply(&paths)
    });
    let found = found.err().map(|refused| refused.reason);
    let is_of_paths = |reason: &Refusal| {
        let of_others = matches!(
            reason,
            Refusal::SpecialFile(_)
                | Refusal::Sparse
                | Refusal::Kind(_)
                | Refusal::Header(_)
                | Refusal::Truncated
        );
        // It takes all files of all layers to know those.
        let of_files = matches!(
            reason,
            Refusal::ParentNotFolder { .. }
                | Refusal::HardLinkMissing { .. }
                | Refusal::HardLinkFolder { .. }
        );
        !of_others && !of_files
    };
    match unpacked {
        Ok(_) => assert_eq!(found, None),
        // Of a link in a layer below it is not known that a hard link would have gone through it.
        Err(UnpackError::Refused { reason: Refusal::HardLinkTarget { reason: inner, .. }, .. })
            if found.as_ref() == Some(&**inner) => {}
        Err(UnpackError::Refused { reason, .. }) if is_of_paths(reason) => {
            assert_eq!(found.as_ref(), Some(reason));
        }
        // It went on where unpacking stopped.
        Err(_) => {}
    }
}

pub fn good(layers: Vec<Tar>) -> (tempfile::TempDir, PathBuf, UnpackReport) {
    let (folder, root, result) = run(layers, &UnpackOptions::default());
    (folder, root, result.unwrap())
}

pub fn refused(layers: Vec<Tar>) -> Refusal {
    refused_with(layers, &UnpackOptions::default())
}

pub fn refused_with(layers: Vec<Tar>, options: &UnpackOptions) -> Refusal {
    match run(layers, options).2 {
        Err(UnpackError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Every path with what it is: `d`, the file's content, or `-> target`.
pub fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, out: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let what = if metadata.is_dir() {
                walk(root, &path, out);
                "d".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                String::from_utf8(fs::read(&path).unwrap()).unwrap()
            };
            out.insert(name, what);
        }
    }
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}

pub fn names(root: &Path) -> Vec<String> {
    tree(root).into_keys().collect()
}

pub fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub fn mtime(path: PathBuf) -> (i64, i64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.mtime(), metadata.mtime_nsec())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[allow(clippy::disallowed_methods)]
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    let required = std::env::var("KIC_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "KIC_REQUIRE_PEERS=1, and a test was skipped: {why}");
}
