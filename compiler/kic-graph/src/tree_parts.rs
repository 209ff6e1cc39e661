//! Large layers of files become several, cut where the paths say so: a file that changes is packed, and pushed, with its
//! neighbours, and not with half a gigabyte.
//!
//! A part begins before an entry where
//!
//! 1. the part so far has at least half the target, and the number made of the first eight bytes of the SHA-256 of the
//!    entry's path, big-endian, leaves a rest below the entry's weight when divided by a quarter of the target; or
//! 2. the part with the entry would weigh more than twice the target.
//!
//! The weight of an entry is what it takes in a tar: 512 bytes, and its content in whole blocks of 512. The target is the
//! power of two that is not below a sixteenth of the whole, and 16 MiB at least. **Invariants:** the cuts follow from paths
//! and sizes alone; what changes in one place moves the cuts near it, and no others, unless the whole grows past a power of
//! two; there are at most 33 parts.

use std::ops::Range;

use kic_base::Digest;

use crate::derivation::{TreeEntry, TreeEntryKind};

/// A layer whose entries weigh no more than this is not cut, in bytes.
const WHOLE: u64 = 64 << 20;

/// The least target, in bytes.
const LEAST: u64 = 16 << 20;

const BLOCK: u64 = 512;

/// The entries of each part, in order; one part where the whole is small.
pub(crate) fn tree_parts(entries: &[TreeEntry]) -> Vec<Range<usize>> {
    let total: u64 = entries.iter().map(weight).fold(0, u64::saturating_add);
    if total <= WHOLE {
        return std::iter::once(0..entries.len()).collect();
    }
    let target = (total / 16).max(LEAST).checked_next_power_of_two().unwrap_or(1 << 63);
    let mut parts = Vec::new();
    let (mut begin, mut so_far) = (0, 0_u64);
    for (place, entry) in entries.iter().enumerate() {
        let weight = weight(entry);
        let is_full = so_far > 0 && so_far.saturating_add(weight) > target.saturating_mul(2);
        if is_full || (so_far >= target / 2 && number_of(&entry.path) % (target / 4) < weight) {
            parts.push(begin..place);
            (begin, so_far) = (place, 0);
        }
        so_far = so_far.saturating_add(weight);
    }
    parts.push(begin..entries.len());
    parts
}

fn weight(entry: &TreeEntry) -> u64 {
    match &entry.kind {
        TreeEntryKind::File { content, .. } => {
            content.size.checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX).saturating_add(BLOCK)
        }
        TreeEntryKind::Symlink(_) | TreeEntryKind::Folder { .. } => BLOCK,
    }
}

fn number_of(path: &str) -> u64 {
    Digest::of(path.as_bytes()).as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::derivation::Bytes;
    use crate::inputs::ContentFacts;

    fn file(path: String, size: u64) -> TreeEntry {
        let content = ContentFacts { digest: Digest::of(b""), size };
        TreeEntry {
            path,
            kind: TreeEntryKind::File { mode: 0o644, content, bytes: Bytes::Inline([].into()) },
        }
    }

    fn tree(files: u64, size: u64) -> Vec<TreeEntry> {
        (0..files).map(|number| file(format!("opt/{:03}/{number:06}", number / 100), size)).collect()
    }

    fn weights(entries: &[TreeEntry]) -> Vec<u64> {
        tree_parts(entries).into_iter().map(|part| entries[part].iter().map(weight).sum()).collect()
    }

    /// The parts, each by all that is in it.
    fn contents(entries: &[TreeEntry]) -> BTreeSet<Vec<(String, u64)>> {
        let entry = |entry: &TreeEntry| (entry.path.clone(), weight(entry));
        tree_parts(entries).into_iter().map(|part| entries[part].iter().map(entry).collect()).collect()
    }

    #[test]
    fn what_is_small_stays_whole_and_nothing_is_lost_of_what_is_not() {
        assert_eq!(tree_parts(&[]), vec![0..0; 1]);
        // 1,024 bytes each: exactly the bound, and one more.
        assert_eq!(tree_parts(&tree(65_536, 512)).len(), 1);
        for entries in [tree(65_537, 512), tree(20_000, 25_000), tree(7, 40 << 20), tree(300, 1 << 30)] {
            let parts = tree_parts(&entries);
            let places: Vec<usize> = parts.iter().cloned().flatten().collect();
            assert_eq!(places, (0..entries.len()).collect::<Vec<_>>());
            assert!((2..=33).contains(&parts.len()), "{}", parts.len());
        }
    }

    #[test]
    fn parts_have_the_sizes_that_are_promised() {
        let entries = tree(20_000, 25_000);
        let target = 32 << 20;
        let weights = weights(&entries);
        assert!((12..=28).contains(&weights.len()), "{}", weights.len());
        let (last, others) = weights.split_last().unwrap();
        assert!(others.iter().all(|weight| (target / 2..=2 * target).contains(weight)), "{weights:?}");
        assert!(*last <= 2 * target);
    }

    #[test]
    fn a_file_larger_than_a_part_stands_alone_or_with_few() {
        let mut entries = tree(4_000, 25_000);
        entries.insert(1_000, file("opt/009/zz".to_owned(), 400 << 20));
        let parts = tree_parts(&entries);
        let part = parts.iter().find(|part| part.contains(&1_000)).unwrap();
        assert_eq!(part.clone(), 1_000..1_001);
    }

    #[test]
    fn a_change_in_one_place_leaves_the_other_parts_as_they_are() {
        let before = tree(20_000, 25_000);
        let parts = contents(&before);
        for place in (0..20_000).step_by(613) {
            // Its content alone, no cut can see.
            let mut grown = before.clone();
            grown[place] = file(before[place].path.clone(), 40_000);
            let mut without = before.clone();
            without.remove(place);
            let mut with = before.clone();
            with.insert(place + 1, file(format!("{}-new", before[place].path), 3_000));
            for after in [grown, without, with] {
                let after = contents(&after);
                let other = after.difference(&parts).count();
                // That with the change; and where it moves a cut, those up to the next cut that both have.
                assert!((1..=4).contains(&other), "{place}: {other} of {}", after.len());
            }
        }
    }
}
