//! Numbers in the bytes that are kept of sources, all little-endian.

use super::fingerprint::Moment;

/// Lengths are bounded by that of the whole, which is under 4 GiB; a longer one makes bytes that are no index.
pub(super) fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

pub(super) fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?);
    usize::try_from(number).ok()
}

pub(super) fn put_moment(bytes: &mut Vec<u8>, (seconds, nanoseconds): Moment) {
    bytes.extend_from_slice(&seconds.to_le_bytes());
    bytes.extend_from_slice(&nanoseconds.to_le_bytes());
}

pub(super) fn moment_at(bytes: &[u8], at: usize) -> Option<Moment> {
    let seconds = i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
    Some((seconds, u32::from_le_bytes(bytes.get(at + 8..at + 12)?.try_into().ok()?)))
}
