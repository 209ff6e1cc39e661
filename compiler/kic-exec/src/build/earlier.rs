//! The files of a layer as it was packed the last time: most of them are the same, and one layer is read sooner than many files
//! are opened.

use std::cell::{Cell, OnceCell};

use kic_base::Digest;
use kic_graph::{ContentFacts, Node, TreeEntry, TreeEntryKind};
use kic_oci::layer::{WholeLayer, Workspace};

use crate::context::Context;
use crate::sources::PackedLayer;

/// Layers with more bytes in their files, or more with headers and padding, are not held in memory for that.
pub(super) const MOST_BYTES: u64 = 4 << 20;
const MOST: u64 = 32 << 20;

/// The digests of more files take longer to read than they save where another layer is packed.
const MOST_FILES: usize = 4_000;

/// Whether a layer with so many bytes in its files, and so many around them, is held against the one before.
pub(super) fn is_worth_it(bytes: u64, around: u64) -> bool {
    bytes <= MOST_BYTES && bytes + around <= MOST
}

/// Its contents by digest.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    label: String,
    layer: WholeLayer,
    /// That of each file, in the order of the layer.
    digests: Vec<Digest>,
    /// The file after the one that was asked for last: the likeliest one to be asked for next.
    next: Cell<usize>,
    /// Where the next one is packed, which is likely to be about as large.
    workspace: Option<Workspace>,
    /// Every digest and the file that has it, sorted, where another one was asked for.
    sorted: OnceCell<Vec<(Digest, usize)>>,
}

impl Earlier {
    /// What the layer of that label held which was packed last for the spec; nothing where it cannot be read, or is too large.
    pub fn of(label: &str, context: &Context) -> Self {
        let read = || {
            let PackedLayer { digest, media_type, files } = context.sources.packed(label, &context.store)?;
            // Nothing needs it afterwards, and so nothing is to keep it from a collection.
            let layer = context.store.unleased_blob(&digest).ok()?;
            // It has that digest, or cannot be read: so it holds what was packed into it.
            Some((WholeLayer::read(layer, &media_type, MOST).ok()?, files))
        };
        let (layer, mut digests) = read().unwrap_or_default();
        if digests.len() != layer.files().len() {
            digests = layer.files().map(Digest::of).collect();
        }
        Self { label: label.to_owned(), layer, digests, ..Self::default() }
    }

    /// That of the layer that was packed last of all for the spec: the likeliest one to be packed next, for which memory is taken, too.
    pub fn likeliest(context: &Context) -> Option<Self> {
        let label = context.sources.packed_last(&context.store)?;
        let earlier = Self::of(&label, context);
        Some(Self { workspace: earlier.layer.workspace(), ..earlier })
    }

    /// Memory to pack the next one in, where there was the time to take it.
    pub fn workspace(&mut self) -> Option<Workspace> {
        self.workspace.take()
    }

    /// By what the layer is known from one run to the next.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The bytes with that digest.
    pub fn get(&self, content: &ContentFacts) -> Option<&[u8]> {
        let next = self.next.get();
        let number =
            if self.digests.get(next) == Some(&content.digest) { next } else { self.find(&content.digest)? };
        self.next.set(number + 1);
        let bytes = self.layer.file(number)?;
        (bytes.len() as u64 == content.size).then_some(bytes)
    }

    fn find(&self, digest: &Digest) -> Option<usize> {
        let sorted = self.sorted.get_or_init(|| {
            let mut sorted: Vec<_> = self.digests.iter().copied().zip(0..).collect();
            sorted.sort_unstable();
            sorted
        });
        let place = sorted.binary_search_by(|(known, _)| known.cmp(digest)).ok()?;
        sorted.get(place).map(|(_, number)| *number)
    }
}

/// The digests of the files of a layer, which the next run need not compute; none where they are so many that it is better off without.
pub(super) fn contents(entries: &[TreeEntry]) -> Vec<Digest> {
    let file = |entry: &TreeEntry| match &entry.kind {
        TreeEntryKind::File { content, .. } => Some(content.digest),
        _ => None,
    };
    let files: Vec<Digest> = entries.iter().filter_map(file).collect();
    if files.len() > MOST_FILES { Vec::new() } else { files }
}

/// By what a layer is known from one run to the next. Those of two platforms may share it: it only says where to look.
pub(super) fn label(node: &Node) -> String {
    format!("{} {}", node.kind.name(), node.name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use kic_base::Epoch;
    use kic_graph::{Derivation, Kind};
    use kic_oci::layer::{Compression, LayerWriter};
    use kic_store::Store;

    use super::*;
    use crate::realised::LayerOutput;
    use crate::sources::Sources;

    fn content(bytes: &[u8]) -> ContentFacts {
        ContentFacts { digest: Digest::of(bytes), size: bytes.len() as u64 }
    }

    fn node() -> Node {
        Node {
            derivation: Derivation::Blob(content(b"")),
            digest: Digest::of(b""),
            kind: Kind::Files,
            name: "etc".to_owned(),
            span: None,
            origins: Vec::new(),
            is_document: false,
        }
    }

    /// Folders, links, one content twice, and one of two frames.
    fn layer(compression: Compression, large: &[u8]) -> (Vec<u8>, LayerOutput) {
        let mut layer = LayerWriter::new(Vec::new(), Epoch::CURRENT, compression, 0).unwrap();
        layer.directory("a", 0o755).unwrap();
        for (path, bytes) in [("a/1", &b"one"[..]), ("a/2", b"two"), ("a/3", b"one"), ("b", large)] {
            layer.file(path, 0o644, bytes.len() as u64, &mut &*bytes).unwrap();
        }
        layer.symlink("c", "a/1").unwrap();
        layer.file("d", 0o644, 0, &mut &b""[..]).unwrap();
        layer.file(&"e".repeat(200), 0o600, 4, &mut &b"last"[..]).unwrap();
        let (bytes, digests) = layer.finish().unwrap();
        let media_type = compression.media_type().to_owned();
        let output =
            LayerOutput { media_type, digest: digests.digest, size: digests.size, diff_id: digests.diff_id };
        (bytes, output)
    }

    fn packed(output: &LayerOutput, files: &[Digest]) -> PackedLayer {
        PackedLayer { digest: output.digest, media_type: output.media_type.clone(), files: files.to_vec() }
    }

    #[test]
    fn what_the_layer_before_held_is_known_unless_it_is_damaged_or_gone_or_too_large() {
        for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("store")).unwrap();
            let sources = Sources::open(Path::new("/specs/cluster.kdl"), &store);
            let context = Context::for_tests(store.clone(), sources);
            let earlier = || Earlier::of(&label(&node()), &context);
            assert!(earlier().get(&content(b"one")).is_none(), "nothing was packed yet");

            let large = vec![b'x'; 5 << 20];
            let (bytes, output) = layer(compression, &large);
            store.put(&bytes).unwrap();
            let bodies = [&b"one"[..], b"two", b"one", &large, b"", b"last"];
            let digests: Vec<Digest> = bodies.into_iter().map(Digest::of).collect();
            // As they were noted, or computed where they were not, or those of another layer.
            for files in [&digests[..], &[], &digests[1..]] {
                context.sources.note_packed(&label(&node()), packed(&output, files), &store);
                let found = earlier();
                for known in bodies {
                    assert!(found.get(&content(known)) == Some(known), "{compression:?}");
                }
                assert!(found.get(&content(b"three")).is_none());
                assert!(found.get(&ContentFacts { size: 4, ..content(b"one") }).is_none());
            }

            let hex = output.digest.to_string().replace("sha256:", "");
            let path = folder.path().join("store/blobs/sha256").join(&hex[..2]).join(hex);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let mut damaged = bytes.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            fs::File::create(&path).unwrap().write_all(&damaged).unwrap();
            assert!(earlier().get(&content(b"one")).is_none(), "damaged");
            assert!(!path.exists(), "it is set aside");
            assert!(earlier().get(&content(b"one")).is_none(), "gone");

            let (bytes, output) = layer(compression, &vec![b'x'; MOST as usize]);
            store.put(&bytes).unwrap();
            context.sources.note_packed(&label(&node()), packed(&output, &[]), &store);
            assert!(earlier().get(&content(b"one")).is_none(), "too large");
        }
    }
}
