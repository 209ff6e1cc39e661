//! Layers that were packed for a spec and their frames, so that a layer that is packed again takes what is the same.
//!
//! The bytes that are kept (see [`kic_base::packed`]): the layers, the one noted last at the end, of each its digest and its frames; the
//! layers that were packed last, of each its name, its digest and its media type; and of the one that was packed last of all its name and
//! the digests of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kic_base::packed::{Reader, put_digest, put_list, put_number, put_option, put_text};
use kic_base::{Digest, StableHasher};
use kic_oci::layer::{KnownFrames, PackedFrame, States};
use kic_store::{Memo, Store};

/// Of so many layers at most; those noted longest ago go first.
const MOST_LAYERS: usize = 200;

/// The frames of a layer: key, digest, offset, size and states of each, and the digest of the layer up to its end.
type Frames = Vec<(Digest, Digest, u64, u64, States, Digest)>;

/// A layer of files as it was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackedLayer {
    /// That of its bytes.
    pub digest: Digest,
    pub media_type: String,
    /// Those of its files in their order; of other layers than the one that was packed last they are not kept.
    pub files: Vec<Digest>,
}

/// What is known of frames, read when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct SpecFrames {
    key: Option<Digest>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the digest of the layer, the one noted last at the end.
    layers: Vec<(Digest, Frames)>,
    /// The layers that were packed last, by name, and their media types.
    packed: BTreeMap<String, (Digest, String)>,
    /// Of the one that was noted last its name, and the digests of its files in their order.
    last: Option<(String, Vec<Digest>)>,
    is_read: bool,
    is_changed: bool,
}

impl State {
    fn write(&self) -> Vec<u8> {
        let Self { layers, packed, last, is_read: _, is_changed: _ } = self;
        let mut bytes = Vec::with_capacity(64 << 10);
        put_list(&mut bytes, layers.iter(), |bytes, (layer, frames)| {
            put_digest(bytes, layer);
            put_list(bytes, frames.iter(), |bytes, (key, digest, offset, size, states, so_far)| {
                put_digest(bytes, key);
                put_digest(bytes, digest);
                put_number(bytes, *offset);
                put_number(bytes, *size);
                bytes.extend(states.as_flattened().iter().flat_map(|word| word.to_le_bytes()));
                put_digest(bytes, so_far);
            });
        });
        put_list(&mut bytes, packed.iter(), |bytes, (name, (layer, media_type))| {
            put_text(bytes, name);
            put_digest(bytes, layer);
            put_text(bytes, media_type);
        });
        put_option(&mut bytes, last.as_ref(), |bytes, (name, files)| {
            put_text(bytes, name);
            put_list(bytes, files.iter(), put_digest);
        });
        bytes
    }

    /// Nothing where these are other bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let take_states = |reader: &mut Reader<'_>| {
            let mut states = States::default();
            for word in states.as_flattened_mut() {
                *word = u32::from_le_bytes(reader.take(4)?.try_into().ok()?);
            }
            Some(states)
        };
        let take_frame = |reader: &mut Reader<'_>| {
            let (key, digest) = (reader.digest()?, reader.digest()?);
            let (offset, size, states) = (reader.number()?, reader.number()?, take_states(reader)?);
            Some((key, digest, offset, size, states, reader.digest()?))
        };
        let layers = reader.list(|reader| Some((reader.digest()?, reader.list(take_frame)?)))?;
        let packed = reader.list(|reader| {
            let (name, layer) = (reader.text()?.to_owned(), reader.digest()?);
            Some((name, (layer, reader.text()?.to_owned())))
        })?;
        let last = reader.option(|reader| Some((reader.text()?.to_owned(), reader.list(Reader::digest)?)))?;
        let packed = packed.into_iter().collect();
        reader.0.is_empty().then_some(Self { layers, packed, last, ..Self::default() })
    }
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
        for (layer, frames) in &state.layers {
            places.extend(frames.iter().map(|&(key, digest, offset, size, states, so_far)| {
                (key, (*layer, PackedFrame { key, digest, offset, size, states, so_far }))
            }));
        }
        Some(Arc::new(StoredFrames { places, are_there: Mutex::default(), store: store.clone() }))
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

    /// The layer that was packed last under that name.
    pub fn packed(&self, name: &str, store: &Store) -> Option<PackedLayer> {
        let state = self.read(store)?;
        let (digest, media_type) = state.packed.get(name)?.clone();
        let last = state.last.as_ref().filter(|(last, _)| last == name);
        Some(PackedLayer {
            digest,
            media_type,
            files: last.map_or_else(Vec::new, |(_, files)| files.clone()),
        })
    }

    /// The name of the layer that was packed last of all.
    pub fn packed_last(&self, store: &Store) -> Option<String> {
        Some(self.read(store)?.last.as_ref()?.0.clone())
    }

    /// Notes a layer that is in the store.
    pub fn note_packed(&self, name: &str, layer: PackedLayer, store: &Store) {
        let Some(mut state) = self.read(store) else { return };
        if state.packed.len() >= MOST_LAYERS && !state.packed.contains_key(name) {
            state.packed.clear();
        }
        let PackedLayer { digest, media_type, files } = layer;
        state.packed.insert(name.to_owned(), (digest, media_type));
        state.last = Some((name.to_owned(), files));
        state.is_changed = true;
    }

    /// Writes down what is new. Where that does not work, the next run compresses everything.
    pub fn save(&self, store: &Store) {
        let mut state = self.lock();
        if let (Some(key), true) = (self.key, state.is_changed)
            && store.remember(&Memo::new(key, state.write())).is_ok()
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
            *state = bytes.and_then(|bytes| State::read(&bytes)).unwrap_or_default();
            state.is_read = true;
        }
        Some(state)
    }
}

struct StoredFrames {
    /// The layer that has each, and where.
    places: BTreeMap<Digest, (Digest, PackedFrame)>,
    /// Whether the store has the layers that were asked for.
    are_there: Mutex<BTreeMap<Digest, bool>>,
    store: Store,
}

impl KnownFrames for StoredFrames {
    fn known(&self, key: &Digest) -> Option<PackedFrame> {
        let (layer, frame) = self.places.get(key)?;
        let mut are_there = self.are_there.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = are_there.entry(*layer).or_insert_with(|| self.store.has_unleased(layer));
        is_there.then_some(*frame)
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
        assert_eq!(known.known(&Digest::of(b"b")), None, "asked for again");
        assert_eq!(known.read(&Digest::of(b"b"), &mut bytes), None);
    }

    #[test]
    fn the_files_of_the_layer_that_was_packed_last_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let layer = |name: &[u8]| PackedLayer {
            digest: Digest::of(name),
            media_type: "a/b".to_owned(),
            files: vec![Digest::of(b"one"), Digest::of(name)],
        };
        let frames = SpecFrames::of(&Digest::of(b"sources"));
        for name in ["a", "b"] {
            frames.note_packed(name, layer(name.as_bytes()), &store);
        }
        frames.save(&store);
        let again = SpecFrames::of(&Digest::of(b"sources"));
        assert_eq!(again.packed_last(&store).as_deref(), Some("b"));
        assert_eq!(again.packed("b", &store), Some(layer(b"b")));
        assert_eq!(again.packed("a", &store), Some(PackedLayer { files: Vec::new(), ..layer(b"a") }));
    }

    #[test]
    fn what_is_kept_reads_back_and_cut_bytes_are_nothing() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let states: States = std::array::from_fn(|state| [u32::try_from(state).unwrap() << 30; 8]);
        let frame = (digest("key"), digest("frame"), u64::MAX, 7, states, digest("so far"));
        let state = State {
            layers: vec![(digest("a"), vec![frame, frame]), (digest("b"), Vec::new())],
            packed: [("files etc".to_owned(), (digest("a"), "a/b".to_owned()))].into(),
            last: Some(("files etc".to_owned(), vec![digest("one"), digest("two")])),
            ..State::default()
        };
        for state in [state, State::default()] {
            let bytes = state.write();
            assert_eq!(format!("{:?}", State::read(&bytes).unwrap()), format!("{state:?}"));
            assert!((0..bytes.len()).all(|length| State::read(&bytes[..length]).is_none()));
            assert!(State::read(&[&bytes[..], b"x"].concat()).is_none());
        }
    }
}
