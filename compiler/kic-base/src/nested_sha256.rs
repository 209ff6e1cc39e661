use std::fmt;

use kic_sha256::{BLOCK, State, compress_both};
use sha2::block_api::compress256;

use crate::{Digest, Sha256};

/// The state before the first block (FIPS 180-4, 5.3.3).
const BEGIN: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// What a SHA-256 over whole blocks of 64 bytes comes to before its end.
pub type Sha256State = State;

/// A running SHA-256 that also gives the digests of parts, one after the other: of a layer, and of files in it.
///
/// A part that begins where a block begins, as every file of a tar does, goes over the same blocks as the whole. Both together
/// then cost little more than one: see [`kic_sha256`].
pub struct NestedSha256 {
    /// Of the whole, and of an aligned part.
    states: [State; 2],
    /// What does not fill a block yet.
    rest: [u8; BLOCK],
    filled: usize,
    /// Bytes of the whole.
    length: u64,
    part: Part,
}

/// The part that was begun.
enum Part {
    None,
    /// After so many bytes of the whole, a multiple of a block.
    Aligned(u64),
    /// Within a block: apart from the whole.
    Apart(Sha256),
}

impl NestedSha256 {
    /// A digest of nothing yet, and no part.
    pub fn new() -> Self {
        Self { states: [BEGIN; 2], rest: [0; BLOCK], filled: 0, length: 0, part: Part::None }
    }

    /// What went on so far in 32 bytes, where whole blocks were given: see [`Self::go_on_from`].
    pub fn state(&self) -> Option<Sha256State> {
        (self.filled == 0).then_some(self.states[0])
    }

    /// As if so many bytes were given, whole blocks, after which the state was this one. A part that was begun is forgotten.
    pub fn go_on_from(&mut self, state: Sha256State, length: u64) {
        self.states[0] = state;
        self.length += length;
        self.part = Part::None;
    }

    /// Begins a part here. One that was begun before is forgotten.
    pub fn begin_part(&mut self) {
        if self.filled == 0 {
            self.states[1] = BEGIN;
            self.part = Part::Aligned(self.length);
        } else {
            self.part = Part::Apart(Sha256::new());
        }
    }

    /// Ends the part here, and returns the digest of its bytes. Without a part, it is that of no bytes.
    pub fn end_part(&mut self) -> Digest {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::None => Digest::of(b""),
            Part::Aligned(begin) => end(self.states[1], &self.rest[..self.filled], self.length - begin),
            Part::Apart(part) => part.finish(),
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if let Part::Apart(part) = &mut self.part {
            part.update(bytes);
        }
        self.length += bytes.len() as u64;
        if self.filled > 0 {
            let (more, later) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
            self.rest[self.filled..][..more.len()].copy_from_slice(more);
            self.filled += more.len();
            bytes = later;
            if self.filled < BLOCK {
                return;
            }
            let block = self.rest;
            self.compress(&[block]);
        }
        let (blocks, rest) = bytes.as_chunks();
        self.compress(blocks);
        self.rest[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
    }

    /// The digest of all bytes given.
    pub fn finish(self) -> Digest {
        end(self.states[0], &self.rest[..self.filled], self.length)
    }

    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        match self.part {
            Part::Aligned(_) => compress_both(&mut self.states, blocks),
            Part::None | Part::Apart(_) => compress256(&mut self.states[0], blocks),
        }
    }
}

/// The digest after the last, unfilled block, `length` bytes in all (FIPS 180-4, 5.1.1).
fn end(mut state: State, rest: &[u8], length: u64) -> Digest {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block[rest.len()] = 0x80;
    if rest.len() >= BLOCK - 8 {
        compress256(&mut state, &[block]);
        block = [0; BLOCK];
    }
    block[BLOCK - 8..].copy_from_slice(&(length * 8).to_be_bytes());
    compress256(&mut state, &[block]);
    let mut digest = [0; 32];
    for (four, word) in digest.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    Digest::from_bytes(digest)
}

impl Default for NestedSha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NestedSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NestedSha256(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_part_are_those_of_sha256() {
        let bytes: Vec<u8> = (0..3_100_u32).map(|number| (number * 7 % 251) as u8).collect();
        for before in [0, 1, 63, 64, 512, 1000, 1024] {
            for length in (0..200).chain([511, 512, 513, 1_499]) {
                for after in [0, 1, 7, 8, 55, 56, 63, 64, 65, 512, 575] {
                    let mut nested = NestedSha256::new();
                    nested.update(&bytes[..before]);
                    nested.begin_part();
                    let part = &bytes[before..before + length];
                    // In pieces that fill blocks in every way.
                    for piece in part.chunks(1 + length % 130) {
                        nested.update(piece);
                    }
                    assert_eq!(nested.end_part(), Digest::of(part), "{before} {length}");
                    let all = &bytes[..before + length + after];
                    nested.update(&all[before + length..]);
                    assert_eq!(nested.finish(), Digest::of(all), "{before} {length} {after}");
                }
            }
        }
    }

    #[test]
    fn what_is_known_to_come_to_a_state_need_not_be_given() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        let mut whole = NestedSha256::new();
        whole.update(&bytes[..640]);
        let state = whole.state().unwrap();
        let mut rest = NestedSha256::new();
        rest.go_on_from(state, 640);
        rest.update(&bytes[640..]);
        assert_eq!(rest.state(), None);
        assert_eq!(rest.finish(), Digest::of(&bytes));
    }

    #[test]
    fn parts_follow_each_other_and_one_may_be_left() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|number| (number * 11 % 253) as u8).collect();
        let mut nested = NestedSha256::new();
        assert_eq!(nested.end_part(), Digest::of(b""));
        nested.begin_part();
        nested.update(&bytes[..100]);
        assert_eq!(nested.end_part(), Digest::of(&bytes[..100]));
        nested.begin_part();
        nested.update(&bytes[100..640]);
        nested.begin_part();
        nested.update(&bytes[640..900]);
        assert_eq!(nested.end_part(), Digest::of(&bytes[640..900]));
        nested.update(&bytes[900..]);
        assert_eq!(nested.end_part(), Digest::of(b""));
        assert_eq!(nested.finish(), Digest::of(&bytes));
    }
}
