//! Small layers that are packed while the rest of what the image is made of is still found out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use kic_base::Digest;
use kic_graph::{Derivation, EarlyLimits, Inputs, Node, early_layers};
use kic_spec::Spec;
use kic_threads::Elsewhere;
use tokio::sync::oneshot;

use super::earlier::{Earlier, MOST_BYTES};
use super::tree::{self, Packed};
use crate::context::Context;

/// What is more is packed in its turn, for layers that are packed and wait take memory, and each of them a file.
const MOST: EarlyLimits = EarlyLimits { layers: 16, files: 4096, bytes: MOST_BYTES };

/// A thread that packs layers early, and does what nobody waits for. It is at its end when this is dropped, and a layer that nobody
/// asked for leaves nothing.
pub struct Early {
    context: Context,
    /// `None` where it could not begin, and everything is done in its turn.
    thread: OnceLock<Option<Thread>>,
    /// What comes out, by derivation.
    layers: Mutex<BTreeMap<Digest, oneshot::Receiver<Packed>>>,
}

type Work = Box<dyn FnOnce(&mut Kept) + Send>;

struct Thread {
    work: Sender<Work>,
    /// How much it has to do, what is under way counted. A panic there leaves it at work for ever.
    waiting: Arc<AtomicUsize>,
    /// The same, and what still follows where nobody waits: all that has to be done before the process ends.
    unfinished: Arc<AtomicUsize>,
    /// Nothing comes from there but its end.
    end: Mutex<Receiver<()>>,
    handle: Elsewhere,
}

/// So long the end is waited for. A read that hangs must not hold the process.
const GRACE: Duration = Duration::from_secs(2);

/// What the thread keeps from one piece of work to the next.
struct Kept {
    waiting: Arc<AtomicUsize>,
    /// What some layer held before, where that is read already.
    ready: Option<Earlier>,
    /// To give memory back takes a while, and is done once nobody waits.
    spent: Option<Box<Earlier>>,
}

impl Kept {
    /// Nobody has to wait any more for what is under way.
    fn done(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Early {
    /// One whose thread has not begun.
    pub fn new(context: &Context) -> Self {
        let context = Context { early: None, ..context.clone() };
        Self { context, thread: OnceLock::new(), layers: Mutex::default() }
    }

    /// Begins the thread, where it has not begun: as soon as it is known that something has to be built. It has something to do before the
    /// first layer is known.
    pub fn begin(&self) {
        self.thread.get_or_init(|| Thread::begin(&self.context).ok());
    }

    /// Whether the thread is there.
    pub(crate) fn has_begun(&self) -> bool {
        self.thread().is_some()
    }

    /// Has the layers of `spec` packed that are known by its local files, where these are in `inputs`. Nothing is wrong with one that
    /// cannot be packed, or is there already: whoever needs it finds out. Gives their derivations, by their places in the spec.
    pub(crate) fn pack(&self, spec: &Spec, inputs: &Inputs) -> BTreeMap<usize, (Derivation, Digest)> {
        if !self.has_begun() {
            return BTreeMap::new();
        }
        let early = early_layers(spec, inputs, MOST);
        let layers = early.iter().map(|(index, node)| (*index, (node.derivation.clone(), node.digest)));
        let layers = layers.collect();
        early.into_iter().for_each(|(_, node)| self.pack_node(node));
        self.no_more();
        layers
    }

    /// Has trees packed as [`Self::pack`] does, one after the other as they are given.
    pub fn packer(&self) -> impl FnMut(&Node) {
        let mut left = MOST;
        move |node| {
            let Derivation::Tree { entries, .. } = &node.derivation else { return };
            // What comes from elsewhere may have to be fetched first.
            if node.derivation.inputs().is_empty()
                && let Some(less) = left.without(entries.len(), tree::bytes(entries))
            {
                left = less;
                self.pack_node(node.clone());
            }
        }
    }

    fn pack_node(&self, node: Node) {
        let Some(thread) = self.thread() else { return };
        let (packed, receiver) = oneshot::channel();
        match self.lock().entry(node.digest) {
            // It is on its way already.
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(receiver),
        };
        let context = self.context.clone();
        thread.send(move |kept| {
            let layer = pack(&node, &mut kept.ready, &context);
            kept.done();
            if let Some(mut layer) = layer {
                kept.spent = layer.spent();
                // Nobody may want it any more.
                let _ = packed.send(layer);
            }
        });
    }

    /// No more layers come: what is held for them is not held beside what takes memory later.
    pub fn no_more(&self) {
        let Some(thread) = self.thread() else { return };
        thread.send(|kept| {
            kept.ready = None;
            kept.done();
        });
    }

    /// The layer of that derivation, where it was packed early.
    pub(super) async fn take(&self, derivation: &Digest) -> Option<Packed> {
        let packed = self.lock().remove(derivation)?;
        packed.await.ok()
    }

    /// Has something done now; gives it back where there is something else to do.
    pub(crate) fn run<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        work: W,
    ) -> Result<oneshot::Receiver<T>, W> {
        let Some(thread) = self.thread().filter(|thread| thread.waiting.load(Ordering::Acquire) == 0) else {
            return Err(work);
        };
        let (done, receiver) = oneshot::channel();
        thread.later(move || drop(done.send(work())));
        Ok(receiver)
    }

    /// Has something done that nobody waits for; now, where there is no thread.
    pub(crate) fn later(&self, work: impl FnOnce() + Send + 'static) {
        match self.thread() {
            Some(thread) => thread.later(work),
            None => work(),
        }
    }

    fn thread(&self) -> Option<&Thread> {
        self.thread.get()?.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, oneshot::Receiver<Packed>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    fn begin(context: &Context) -> io::Result<Self> {
        let (work, receiver) = channel::<Work>();
        let (ended, end) = channel();
        let [waiting, unfinished] = [0; 2].map(|_| Arc::new(AtomicUsize::new(0)));
        let mut kept = Kept { waiting: Arc::clone(&waiting), ready: None, spent: None };
        let run = move || {
            let _ended: Sender<()> = ended;
            for work in receiver {
                work(&mut kept);
                kept.spent = None;
            }
        };
        let thread =
            Self { work, waiting, unfinished, end: Mutex::new(end), handle: Elsewhere::begin("early", run)? };
        // Nothing is known to be packed yet.
        let context = context.clone();
        thread.send(move |kept| {
            kept.ready = Earlier::likeliest(&context);
            if kept.ready.is_some() {
                // For that layer.
                context.store.make_ready(1);
            }
            kept.done();
        });
        Ok(thread)
    }

    fn later(&self, work: impl FnOnce() + Send + 'static) {
        self.send(|kept| {
            work();
            kept.done();
        });
    }

    fn send(&self, work: impl FnOnce(&mut Kept) + Send + 'static) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.unfinished.fetch_add(1, Ordering::AcqRel);
        let unfinished = Arc::clone(&self.unfinished);
        let work = move |kept: &mut Kept| {
            work(kept);
            unfinished.fetch_sub(1, Ordering::AcqRel);
        };
        self.handle.keep_off();
        // Where the thread is gone, nothing comes of it.
        let _ = self.work.send(Box::new(work));
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
        let Some(Thread { work, unfinished, end, handle, .. }) = self.thread.take().flatten() else { return };
        drop(work);
        // With nothing left to do, it is at its end soon, or with the process.
        if unfinished.load(Ordering::Acquire) == 0 {
            return;
        }
        // Otherwise the process could end while a file of the thread stands in the store that nobody else would miss. What was done
        // there may be the last to know of it.
        let is_there = handle.id() == std::thread::current().id();
        let end = end.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !is_there && end.recv_timeout(GRACE) == Err(RecvTimeoutError::Disconnected) {
            handle.join();
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
    use crate::sources::{PackedLayer, Sources};

    fn begun(context: &Context) -> Early {
        let early = Early::new(context);
        early.begin();
        early
    }

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
        let early = begun(&Context::for_tests(store, Sources::default()));
        let derivation = Digest::of(b"a");
        assert!(early.take(&derivation).await.is_none());
        let (packed, receiver) = oneshot::channel();
        early.lock().insert(derivation, receiver);
        early.later(|| panic!("a layer that is a bug"));
        early.later(move || drop(packed));
        assert!(early.take(&derivation).await.is_none());
        assert!(early.take(&derivation).await.is_none());
    }

    #[tokio::test]
    async fn it_takes_work_when_it_has_nothing_else_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let context = Context::for_tests(store, Sources::default());
        let early = Early::new(&context);
        assert!(early.run(|| ()).is_err(), "it has not begun");
        early.begin();
        let early = Arc::new(early);
        let idle = |early: &Early| {
            while early.thread().unwrap().waiting.load(Ordering::Acquire) > 0 {
                std::thread::yield_now();
            }
        };
        idle(&early);
        let own = std::thread::current().id();
        let there = early.run(move || std::thread::current().id()).ok().unwrap();
        assert_ne!(there.await.unwrap(), own);
        idle(&early);

        let (go_on, wait) = channel::<()>();
        early.later(move || {
            let _ = wait.recv();
        });
        assert!(early.run(|| ()).is_err(), "it is at work");
        go_on.send(()).unwrap();
        idle(&early);

        // What is done there may be the last to know of the thread, which then cannot wait for itself.
        let (go_on, wait) = channel::<()>();
        let inner = Arc::clone(&early);
        let done = early.run(move || {
            let _ = wait.recv();
            inner.later(|| ());
        });
        drop(early);
        go_on.send(()).unwrap();
        done.ok().unwrap().await.unwrap();

        let early = begun(&context);
        idle(&early);
        let lost = early.run(|| panic!("a bug")).ok().unwrap();
        assert!(lost.await.is_err());
        assert!(early.run(|| ()).is_err(), "the thread is gone");
    }

    #[test]
    fn what_the_likeliest_layer_held_is_ready_for_that_layer_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let sources = Sources::open(std::path::Path::new("/specs/cluster.kdl"), &store);
        let context = Context::for_tests(store.clone(), sources);
        assert!(Earlier::likeliest(&context).is_none());
        for name in ["files a", "files b"] {
            let digest = Digest::of(name.as_bytes());
            let layer = PackedLayer { digest, media_type: "a/b".to_owned(), files: Vec::new() };
            context.sources.note_packed(name, layer, &store);
        }
        assert_eq!(Earlier::likeliest(&context).unwrap().label(), "files b");
    }
}
