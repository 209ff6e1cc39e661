//! Layers that were packed for a spec and their frames, so that a layer that is packed again takes what is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kic_base::{Digest, StableHasher};
use kic_oci::layer::{KnownFrames, PackedFrame, States};
use kic_store::{Memo, Store};
use serde::{Deserialize, Serialize};

/// Of so many layers at most; those noted longest ago go first.
const MOST_LAYERS: usize = 200;

/// The frames of a layer: key, digest, offset, size and states of each, and the digest of the layer up to its end.
type Frames = Vec<(Digest, Digest, u64, u64, States, Digest)>;

/// What is known of frames, read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct SpecFrames {
    key: Option<Digest>,
    state: Mutex<State>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// By the digest of the layer, the one noted last at the end.
    layers: Vec<(Digest, Frames)>,
    /// The layers that were packed last, by name, and their media types.
    packed: BTreeMap<String, (Digest, String)>,
    /// The name of the one that was noted last.
    last: Option<String>,
    #[serde(skip)]
    is_read: bool,
    #[serde(skip)]
    is_changed: bool,
}

impl SpecFrames {
    /// Those of the spec whose sources have that key.
    pub fn of(sources: &Digest) -> Self {
        let mut hasher = StableHasher::new();
        hasher.text("kic frames").digest(sources);
        Self { key: Some(hasher.finish()), state: Mutex::default() }
    }

    /// Where the frames are of the layers that the store still has; nothing where none are kept.
    pub fn known(&self, store: &Store) -> Option<Arc<dyn KnownFrames>> {
        let state = self.read(store)?;
        let mut places = BTreeMap::new();
        for (layer, frames) in state.layers.iter().filter(|(layer, _)| store.has_unleased(layer)) {
            places.extend(frames.iter().map(|&(key, digest, offset, size, states, so_far)| {
                (key, (*layer, PackedFrame { key, digest, offset, size, states, so_far }))
            }));
        }
        Some(Arc::new(StoredFrames { places, store: store.clone() }))
    }

    /// Notes the frames of a layer that is in the store. Others that have the same ones are forgotten for those.
    pub fn note(&self, layer: &Digest, frames: &[PackedFrame], store: &Store) {
        let Some(mut state) = self.read(store) else { return };
        let frames: Frames = frames
            .iter()
            .map(|&PackedFrame { key, digest, offset, size, states, so_far }| {
                (key, digest, offset, size, states, so_far)
            })
            .collect();
        let keys: BTreeSet<Digest> = frames.iter().map(|(key, ..)| *key).collect();
        state.layers.iter_mut().for_each(|(_, frames)| frames.retain(|(key, ..)| !keys.contains(key)));
        state.layers.retain(|(known, frames)| known != layer && !frames.is_empty());
        state.layers.push((*layer, frames));
        let too_many = state.layers.len().saturating_sub(MOST_LAYERS);
        state.layers.drain(..too_many);
        state.is_changed = true;
    }

    /// The layer that was packed last under that name, and its media type.
    pub fn packed(&self, name: &str, store: &Store) -> Option<(Digest, String)> {
        self.read(store)?.packed.get(name).cloned()
    }

    /// The name of the layer that was packed last of all.
    pub fn packed_last(&self, store: &Store) -> Option<String> {
        self.read(store)?.last.clone()
    }

    /// Notes a layer that is in the store.
    pub fn note_packed(&self, name: &str, layer: &Digest, media_type: &str, store: &Store) {
        let Some(mut state) = self.read(store) else { return };
        if state.packed.len() >= MOST_LAYERS && !state.packed.contains_key(name) {
            state.packed.clear();
        }
        state.packed.insert(name.to_owned(), (*layer, media_type.to_owned()));
        state.last = Some(name.to_owned());
        state.is_changed = true;
    }

    /// Writes down what is new. Where that does not work, the next run compresses everything.
    pub fn save(&self, store: &Store) {
        let mut state = self.lock();
        if let (Some(key), true) = (self.key, state.is_changed)
            && let Ok(bytes) = serde_json::to_vec(&*state)
            && store.remember(&Memo::new(key, bytes)).is_ok()
        {
            state.is_changed = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, store: &Store) -> Option<MutexGuard<'_, State>> {
        let key = self.key?;
        let mut state = self.lock();
        if !state.is_read {
            let bytes = store.recall(&key);
            *state = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            state.is_read = true;
        }
        Some(state)
    }
}

struct StoredFrames {
    /// The layer that has each, and where.
    places: BTreeMap<Digest, (Digest, PackedFrame)>,
    store: Store,
}

impl KnownFrames for StoredFrames {
    fn known(&self, key: &Digest) -> Option<PackedFrame> {
        Some(self.places.get(key)?.1)
    }

    fn read(&self, key: &Digest, bytes: &mut Vec<u8>) -> Option<()> {
        let (layer, PackedFrame { offset, size, .. }) = self.places.get(key)?;
        self.store.read_part(layer, *offset, *size, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_known_while_the_store_has_their_layer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let kept = store.put(b"a layer").unwrap();
        let frames = SpecFrames::of(&Digest::of(b"sources"));
        let frame = |name: &[u8], offset, size| PackedFrame {
            key: Digest::of(name),
            digest: Digest::of(b""),
            offset,
            size,
            states: [[1; 8], [2; 8]],
            so_far: Digest::of(b"so far"),
        };
        frames.note(&kept, &[frame(b"a", 2, 5), frame(b"too long", 2, 6)], &store);
        frames.note(&Digest::of(b"gone"), &[frame(b"b", 0, 4)], &store);
        frames.save(&store);
        let again = SpecFrames::of(&Digest::of(b"sources"));
        let known = again.known(&store).unwrap();
        let mut bytes = b"other".to_vec();
        assert_eq!(known.known(&Digest::of(b"a")), Some(frame(b"a", 2, 5)));
        assert_eq!(known.read(&Digest::of(b"a"), &mut bytes), Some(()));
        assert_eq!(bytes, b"layer");
        assert_eq!(known.read(&Digest::of(b"too long"), &mut bytes), None);
        assert_eq!(known.known(&Digest::of(b"b")), None);
        assert_eq!(known.read(&Digest::of(b"b"), &mut bytes), None);
    }
}
