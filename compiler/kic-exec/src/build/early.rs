//! Small layers that are packed while the rest of what the image is made of is still found out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use kic_base::Digest;
use kic_graph::{Derivation, EarlyLimits, Inputs, Node, early_layers};
use kic_spec::Spec;
use tokio::sync::oneshot;

use super::earlier::{Earlier, MOST_BYTES};
use super::tree::{self, Packed};
use crate::context::Context;

/// What is more is packed in its turn, for layers that are packed and wait take memory, and each of them a file.
const MOST: EarlyLimits = EarlyLimits { layers: 16, files: 4096, bytes: MOST_BYTES };

/// A thread that packs layers early, and does what nobody waits for. It is at its end when this is dropped, and a layer that nobody
/// asked for leaves nothing.
///
/// It is there before the first layer is known: one that is only begun then may have to wait until another one lets it onto a
/// processor.
pub struct Early {
    /// `None` once this is dropped.
    thread: Option<(Sender<Work>, JoinHandle<()>)>,
    /// What comes out, by derivation.
    layers: Mutex<BTreeMap<Digest, oneshot::Receiver<Packed>>>,
}

/// With what some layer held before, where that is read already.
type Work = Box<dyn FnOnce(&mut Option<Earlier>) + Send>;

impl Early {
    /// Begins the thread; `None` where that does not work, and everything is done in its turn.
    pub fn begin(context: &Context) -> Option<Self> {
        let (work, receiver) = channel::<Work>();
        let context = context.clone();
        let run = move || {
            // Nothing is known to be packed yet.
            let mut ready = Earlier::likeliest(&context);
            receiver.iter().for_each(|work| work(&mut ready));
        };
        let thread = std::thread::Builder::new().spawn(run).ok()?;
        Some(Self { thread: Some((work, thread)), layers: Mutex::default() })
    }

    /// Has the layers of `spec` packed that are known by its local files, where these are in `inputs`. Nothing is wrong with one that
    /// cannot be packed, or is there already: whoever needs it finds out. Gives their derivations, by their places in the spec.
    pub(crate) fn pack(
        &self,
        spec: &Spec,
        inputs: &Inputs,
        context: &Context,
    ) -> BTreeMap<usize, (Derivation, Digest)> {
        let mut layers = BTreeMap::new();
        for (index, node) in early_layers(spec, inputs, MOST) {
            layers.insert(index, (node.derivation.clone(), node.digest));
            let (packed, receiver) = oneshot::channel();
            self.lock().insert(node.digest, receiver);
            let context = Context { early: None, ..context.clone() };
            self.send(move |ready| {
                if let Some(mut layer) = pack(&node, ready, &context) {
                    let spent = layer.spent();
                    // Nobody may want it any more.
                    let _ = packed.send(layer);
                    drop(spent);
                }
            });
        }
        // It is not held beside what takes memory later.
        self.send(|ready| *ready = None);
        layers
    }

    /// The layer of that derivation, where it was packed early.
    pub(super) async fn take(&self, derivation: &Digest) -> Option<Packed> {
        let packed = self.lock().remove(derivation)?;
        packed.await.ok()
    }

    /// Has something done that nobody waits for.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        self.send(|_| work());
    }

    fn send(&self, work: impl FnOnce(&mut Option<Earlier>) + Send + 'static) {
        if let Some((sender, _)) = &self.thread {
            // Where the thread is gone, nothing comes of it.
            let _ = sender.send(Box::new(work));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, oneshot::Receiver<Packed>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(node: &Node, ready: &mut Option<Earlier>, context: &Context) -> Option<Packed> {
    if context.store.output(&node.digest).ok()?.is_some() {
        return None;
    }
    tree::write_early(node, ready, context)
}

impl Drop for Early {
    fn drop(&mut self) {
        self.lock().clear();
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // Otherwise the process could end while a file of the thread stands in the store that nobody else would miss.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Early").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kic_base::Epoch;
    use kic_graph::{Bytes, ContentFacts, Kind, LayerSettings, TreeEntry, TreeEntryKind};
    use kic_spec::Compression;
    use kic_store::Store;
    use serde_json::json;

    use super::*;
    use crate::sources::Sources;

    #[test]
    fn what_is_there_or_cannot_be_packed_is_left_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let context = Context::for_tests(store.clone(), Sources::default());
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let content = ContentFacts { digest: Digest::of(b"one"), size: 3 };
        let kind = TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Local(path.clone()) };
        let settings = LayerSettings { epoch: Epoch::CURRENT, mtime: 0, compression: Compression::Zstd };
        let entries = [TreeEntry { path: "etc/a".to_owned(), kind }].into();
        let derivation = Derivation::Tree { settings, entries };
        let node = Node {
            digest: derivation.digest(&|_| Digest::of(b"")),
            derivation,
            kind: Kind::Files,
            name: "etc".to_owned(),
            span: None,
            origins: Vec::new(),
            is_document: false,
        };
        let temporary = || fs::read_dir(folder.path().join("store/tmp")).unwrap().count();

        let packed = pack(&node, &mut None, &context).unwrap();
        assert!(packed.took.is_some());
        assert!(!store.contains(&packed.output.digest), "it is not kept before it is asked for");
        assert_eq!(
            packed.keep(&context).unwrap().diff_id,
            pack(&node, &mut None, &context).unwrap().output.diff_id
        );
        assert_eq!(temporary(), 0, "one that nobody asks for leaves nothing");

        store.record(&node.digest, &json!({})).unwrap();
        assert!(pack(&node, &mut None, &context).is_none(), "it is there");
        fs::remove_dir_all(folder.path().join("store/outputs")).unwrap();
        fs::create_dir_all(folder.path().join("store/outputs/sha256")).unwrap();
        assert!(pack(&node, &mut None, &context).is_some());
        fs::write(&path, "two").unwrap();
        assert!(pack(&node, &mut None, &context).is_none(), "it changed");
        assert_eq!(temporary(), 0);
    }

    #[tokio::test]
    async fn layers_come_by_their_derivations_once_and_nobody_waits_for_one_that_does_not_come() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let early = Early::begin(&Context::for_tests(store, Sources::default())).unwrap();
        let derivation = Digest::of(b"a");
        assert!(early.take(&derivation).await.is_none());
        let (packed, receiver) = oneshot::channel();
        early.lock().insert(derivation, receiver);
        early.later(|| panic!("a layer that is a bug"));
        early.later(move || drop(packed));
        assert!(early.take(&derivation).await.is_none());
        assert!(early.take(&derivation).await.is_none());
    }
}
