use crate::{Digest, Sha256};

/// A digest over typed values that is the same on every machine and in every release: every value is
/// preceded by a one-byte tag of its type, every text and list by its length as eight little-endian bytes,
/// so no two different sequences of values give the same bytes.
///
/// | value | bytes |
/// |---|---|
/// | text, bytes | `b`, length, the bytes |
/// | number | `n`, eight bytes, little-endian |
/// | boolean | `t` or `f` |
/// | digest | `d`, 32 bytes |
/// | nothing, something | `-`; `+` and then the value |
/// | list | `l`, count, and then the values |
/// | variant of an enum | `v`, length, its name |
#[derive(Debug, Clone)]
pub struct StableHasher {
    hash: Sha256,
    /// Bytes that wait: many values are short, and to hash each by itself takes longer than its bytes do.
    waiting: Vec<u8>,
}

/// As many bytes may wait.
const ROOM: usize = 1024;

impl Default for StableHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl StableHasher {
    /// A hash of nothing yet.
    pub fn new() -> Self {
        Self { hash: Sha256::new(), waiting: Vec::with_capacity(ROOM) }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > ROOM {
            self.hash.update(&self.waiting);
            self.waiting.clear();
        }
        if bytes.len() > ROOM {
            self.hash.update(bytes);
        } else {
            self.waiting.extend_from_slice(bytes);
        }
    }

    fn counted(&mut self, tag: u8, bytes: &[u8]) {
        self.add(&[tag]);
        self.add(&(bytes.len() as u64).to_le_bytes());
        self.add(bytes);
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.counted(b'b', bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a text that is in pieces, as if it were in one.
    pub fn text_of(&mut self, pieces: &[&str]) -> &mut Self {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.add(b"b");
        self.add(&(length as u64).to_le_bytes());
        pieces.iter().for_each(|piece| self.add(piece.as_bytes()));
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.add(b"n");
        self.add(&number.to_le_bytes());
        self
    }

    /// Adds a boolean.
    pub fn boolean(&mut self, boolean: bool) -> &mut Self {
        self.add(if boolean { b"t" } else { b"f" });
        self
    }

    /// Adds a digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.add(b"d");
        self.add(digest.as_bytes());
        self
    }

    /// Adds a value that may be missing.
    pub fn option<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => self.add(b"-"),
            Some(value) => {
                self.add(b"+");
                add(self, value);
            }
        }
        self
    }

    /// Adds a list: its length, then each value.
    pub fn list<T>(
        &mut self,
        values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut add: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        let values = values.into_iter();
        self.add(b"l");
        self.add(&(values.len() as u64).to_le_bytes());
        for value in values {
            add(self, value);
        }
        self
    }

    /// Adds the name of an enum's variant; its fields follow.
    pub fn variant(&mut self, name: &str) -> &mut Self {
        self.counted(b'v', name.as_bytes());
        self
    }

    /// The digest of everything added.
    pub fn finish(mut self) -> Digest {
        self.hash.update(&self.waiting);
        self.hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_pieces_is_that_text() {
        let long = "x".repeat(3 * ROOM);
        for pieces in [&["a", "/", "bc"][..], &["", "", ""], &[], &["ü", &long, "b"], &[&long]] {
            let (mut one, mut other) = (StableHasher::new(), StableHasher::new());
            one.text_of(pieces).text("end");
            other.text(&pieces.concat()).text("end");
            assert_eq!(one.finish(), other.finish(), "{}", pieces.len());
        }
    }

    #[test]
    fn different_sequences_never_share_a_digest() {
        let hash = |add: &dyn Fn(&mut StableHasher)| {
            let mut hasher = StableHasher::new();
            add(&mut hasher);
            hasher.finish()
        };
        let all = [
            hash(&|_| {}),
            hash(&|h| {
                let _ = h.text("ab").text("c");
            }),
            hash(&|h| {
                let _ = h.text("a").text("bc");
            }),
            hash(&|h| {
                let _ = h.list(["a", "bc"], |h, t| {
                    h.text(t);
                });
            }),
            hash(&|h| {
                let _ = h
                    .list(["a"], |h, t| {
                        h.text(t);
                    })
                    .text("bc");
            }),
            hash(&|h| {
                let _ = h.option(None::<&str>, |h, t| {
                    h.text(t);
                });
            }),
            hash(&|h| {
                let _ = h.option(Some(""), |h, t| {
                    h.text(t);
                });
            }),
            hash(&|h| {
                let _ = h.variant("a");
            }),
            hash(&|h| {
                let _ = h.number(1);
            }),
            hash(&|h| {
                let _ = h.boolean(true);
            }),
        ];
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn the_bytes_never_change_between_releases() {
        let mut hasher = StableHasher::new();
        hasher.text("kic").number(1).boolean(false).digest(&Digest::of(b"")).variant("Tree");
        assert_eq!(
            hasher.finish().to_string(),
            "sha256:41cce260daece1018162e08b6c849113b3ed46e3c0b62393e014f844469e96b1"
        );
    }

    #[test]
    fn values_of_any_length_are_hashed_as_their_bytes() {
        for length in [0, 1, 500, ROOM - 9, ROOM - 8, ROOM, ROOM + 1, 5 * ROOM] {
            let bytes = vec![7; length];
            let mut hasher = StableHasher::new();
            let mut expected = Vec::new();
            for _ in 0..5 {
                hasher.bytes(&bytes).boolean(true);
                expected.push(b'b');
                expected.extend_from_slice(&(length as u64).to_le_bytes());
                expected.extend_from_slice(&bytes);
                expected.push(b't');
            }
            assert_eq!(hasher.finish(), Digest::of(&expected), "{length}");
        }
    }
}
