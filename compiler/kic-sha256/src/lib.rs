//! Two SHA-256 states over the same blocks.
//!
//! A blob that is kept inside a layer has two digests: its own, and that of the layer, which is a header of whole blocks, the blob,
//! and zeros. Both are computed over the very same blocks, from different states. So the schedule of a block, which depends on
//! nothing but its bytes, is computed once; and the rounds of the two states, each of which waits for the round before, fill the
//! gaps of each other.

mod round_constants;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod x86;

use sha2::block_api::compress256;

/// The bytes that the hash function takes at a time.
pub const BLOCK: usize = 64;

/// What a hash function carries from block to block.
pub type State = [u32; 8];

/// Brings both states over all blocks.
pub fn compress_both(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if x86::compress_both(states, blocks) {
        return;
    }
    #[cfg(target_arch = "aarch64")]
    if aarch64::compress_both(states, blocks) {
        return;
    }
    in_turns(states, blocks);
}

/// Without instructions for it: a block of one, then a block of the other, so that they overlap as far as the processor sees
/// ahead.
fn in_turns(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) {
    for block in blocks {
        for state in &mut *states {
            compress256(state, std::slice::from_ref(block));
        }
    }
}

#[cfg(test)]
mod tests;
