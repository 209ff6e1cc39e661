//! What the run before found out, kept for the next one: parts that are known by a digest, each read when it is asked for.
//!
//! The bytes that are kept: the number of parts (4), and of each its digest (32) and, as one text, what is known.

use std::ops::Range;
use std::sync::Arc;

use kic_base::Digest;
use kic_base::packed::{Reader, put_bytes, put_digest, put_list};

use crate::context::Context;

/// Parts that the run before kept, and those that this one keeps.
#[derive(Debug, Default)]
pub(super) struct Known {
    key: Option<Digest>,
    bytes: Arc<Vec<u8>>,
    /// Where of the bytes each part stands, by its digest.
    places: Vec<(Digest, Range<usize>)>,
    /// What this run has asked for: all that the next one is likely to.
    used: Vec<(Digest, Used)>,
    is_changed: bool,
}

#[derive(Debug)]
enum Used {
    /// It stands there in the bytes.
    Before(Range<usize>),
    Now(Vec<u8>),
}

/// A part that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

impl Known {
    /// What the run before kept under that key. Without one, nothing is known and nothing kept.
    pub fn open(key: Option<Digest>, context: &Context) -> Self {
        let bytes = key.and_then(|key| context.store.recall(&key)).unwrap_or_default();
        let places = places(&bytes).unwrap_or_default();
        let used = Vec::with_capacity(places.len());
        Self { key, used, bytes: Arc::new(bytes), places, is_changed: false }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The part with that digest, and its bytes.
    pub fn find(&self, digest: &Digest) -> Option<(Place, &[u8])> {
        let place = self.places.binary_search_by(|(known, _)| known.cmp(digest)).ok()?;
        Some((Place(place), self.bytes.get(self.places[place].1.clone())?))
    }

    /// All bytes, and where of them a part stands.
    pub fn bytes_of(&self, Place(place): Place) -> (&Arc<Vec<u8>>, Range<usize>) {
        (&self.bytes, self.places[place].1.clone())
    }

    /// Keeps a part.
    pub fn keep(&mut self, Place(place): Place) {
        let (digest, range) = &self.places[place];
        self.used.push((*digest, Used::Before(range.clone())));
    }

    /// Keeps a part that was not known.
    pub fn note(&mut self, digest: Digest, bytes: Vec<u8>) {
        self.used.push((digest, Used::Now(bytes)));
        self.is_changed = true;
    }

    /// Keeps what the next run needs, beside what goes on. Where that does not work, it finds everything out again.
    pub fn save(self, context: &Context) {
        let (Some(key), true) = (self.key, self.is_changed) else { return };
        context.remember(key, move || self.into_bytes());
    }

    fn into_bytes(mut self) -> Vec<u8> {
        // Two may be the same.
        self.used.sort_by_key(|(digest, _)| *digest);
        self.used.dedup_by(|left, right| left.0 == right.0);
        let mut bytes = Vec::with_capacity(self.bytes.len() + 4096);
        put_list(&mut bytes, self.used.iter(), |bytes, (digest, used)| {
            put_digest(bytes, digest);
            match used {
                Used::Before(range) => put_bytes(bytes, self.bytes.get(range.clone()).unwrap_or_default()),
                Used::Now(now) => put_bytes(bytes, now),
            }
        });
        bytes
    }
}

/// Where each part stands, by its digest; nothing where these are other bytes.
fn places(bytes: &[u8]) -> Option<Vec<(Digest, Range<usize>)>> {
    let mut reader = Reader(bytes);
    reader.list(|reader| {
        let digest = reader.digest()?;
        let length = reader.bytes()?.len();
        let end = bytes.len() - reader.0.len();
        Some((digest, end - length..end))
    })
}

#[cfg(test)]
mod tests {
    use kic_store::Store;

    use super::*;
    use crate::sources::Sources;

    #[test]
    fn what_was_asked_for_is_known_to_the_next_run_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let context = Context::for_tests(Store::open(folder.path()).unwrap(), Sources::default());
        let (key, [a, b, c]) =
            (Some(Digest::of(b"key")), ["a", "b", "c"].map(|text| Digest::of(text.as_bytes())));
        let mut first = Known::open(key, &context);
        assert!(first.is_empty() && first.find(&a).is_none());
        first.note(a, b"of a".to_vec());
        first.note(b, Vec::new());
        first.note(a, b"of a".to_vec());
        first.save(&context);

        let mut second = Known::open(key, &context);
        assert_eq!(second.find(&a).map(|(_, bytes)| bytes), Some(&b"of a"[..]));
        assert_eq!(second.find(&b).map(|(_, bytes)| bytes), Some(&b""[..]));
        assert!(second.find(&c).is_none());
        let (place, _) = second.find(&a).unwrap();
        second.keep(place);
        second.note(c, b"of c".to_vec());
        second.save(&context);

        let third = Known::open(key, &context);
        assert_eq!(third.find(&a).map(|(_, bytes)| bytes), Some(&b"of a"[..]));
        assert_eq!(third.find(&c).map(|(_, bytes)| bytes), Some(&b"of c"[..]));
        assert!(third.find(&b).is_none());
        assert!(Known::open(None, &context).is_empty());
    }
}
