//! The names in a folder.

use std::ffi::CStr;
use std::ops::Range;

use rustix::fs::FileType;

/// All names in one folder, each with its kind: room that is used for one folder after the other.
#[derive(Default)]
pub(super) struct Names {
    /// Each with a zero behind it.
    text: String,
    /// Where each stands, and what it is of.
    places: Vec<(Range<usize>, FileType)>,
}

impl Names {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.places.clear();
    }

    /// Adds one; `false` where it is not UTF-8.
    pub fn push(&mut self, name: &CStr, kind: FileType) -> bool {
        let Ok(name) = name.to_str() else { return false };
        let begin = self.text.len();
        self.text.push_str(name);
        self.places.push((begin..self.text.len(), kind));
        self.text.push('\0');
        true
    }

    /// Puts them in order.
    pub fn sort(&mut self) {
        let text = &self.text;
        self.places.sort_unstable_by(|left, right| text[left.0.clone()].cmp(&text[right.0.clone()]));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The text in which they stand.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where each stands in the text, and what it is of, in their order.
    pub fn places(&self) -> &[(Range<usize>, FileType)] {
        &self.places
    }

    /// The name at a place, with the zero behind it.
    pub fn with_zero(&self, place: &Range<usize>) -> &CStr {
        // There is none without it.
        CStr::from_bytes_with_nul(&self.text.as_bytes()[place.start..=place.end]).unwrap_or_default()
    }

    /// How many bytes [`Self::write`] takes.
    pub fn size(&self) -> usize {
        self.places.len() + self.text.len()
    }

    /// Adds all kinds and then all names to `bytes`, in their order; `false` where the kind of one is not known.
    pub fn write(&self, bytes: &mut Vec<u8>) -> bool {
        for (_, kind) in &self.places {
            let Some(kind) = KINDS.iter().position(|known| known == kind) else { return false };
            bytes.extend(u8::try_from(kind));
        }
        for (place, _) in &self.places {
            bytes.extend_from_slice(&self.text.as_bytes()[place.start..=place.end]);
        }
        true
    }

    /// Takes those that were written so; `false` where they were not.
    pub fn read(&mut self, kinds: &[u8], names: &[u8]) -> bool {
        self.clear();
        let Ok(names) = std::str::from_utf8(names) else { return false };
        self.text.push_str(names);
        let mut begin = 0;
        let ends = names.bytes().enumerate().filter_map(|(at, byte)| (byte == 0).then_some(at));
        for (end, kind) in ends.zip(kinds) {
            let Some(kind) = KINDS.get(usize::from(*kind)) else { return false };
            self.places.push((begin..end, *kind));
            begin = end + 1;
        }
        self.places.len() == kinds.len() && begin == names.len()
    }
}

/// Their places say in bytes which one is meant.
const KINDS: [FileType; 7] = [
    FileType::RegularFile,
    FileType::Directory,
    FileType::Symlink,
    FileType::Fifo,
    FileType::Socket,
    FileType::CharacterDevice,
    FileType::BlockDevice,
];
