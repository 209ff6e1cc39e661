use serde::{Deserialize, Serialize};

/// The encoder epoch: one number for everything that decides the bytes of a layer, and that may change
/// between releases of kic.
///
/// | epoch | tar | compression | JSON |
/// |---|---|---|---|
/// | 1 | ustar with its prefix, and PAX records `path`, `linkpath` and `size` for what does not fit it; sorted by path bytes; implied parents not written; ends with two blocks of zeros | zstd 1.5.7 level 3 with checksum and pledged size, independent frames of 4 MiB, each in one call without zstd's own workers; or gzip (miniz_oxide level 6, time 0, system 255) | sorted keys, no spaces |
/// | 2 | as 1 | as 1, but frames that grow: an eighth of the tar before them, down to a power of two, from 128 KiB to 1 MiB | as 1 |
///
/// It stands in the lock and in every derivation, and old epochs stay buildable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(u32);

impl Epoch {
    /// The first one.
    pub const FIRST: Self = Self(1);

    /// The epoch that new locks get.
    pub const CURRENT: Self = Self(2);

    /// The epoch of that number, where this kic can still build it.
    pub fn from_number(number: u32) -> Option<Self> {
        (1..=Self::CURRENT.0).contains(&number).then_some(Self(number))
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}
