use std::fmt;

use sha2::block_api::compress256;

use crate::{Digest, Sha256};

/// The bytes that the hash function takes at a time.
const BLOCK: usize = 64;

/// The state before the first block (FIPS 180-4, 5.3.3).
const BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Two digests of the same bytes in one pass: of the bytes alone, and of the bytes between a header and zeros.
///
/// SHA-256 is a chain in which every step waits for the one before, so that a processor stands idle for half of the
/// time. Two chains, a block of one and then a block of the other, take two thirds of the time that they take one after the other.
pub struct TwinSha256 {
    chains: Chains,
}

enum Chains {
    Aligned(Aligned),
    /// The header is no whole number of blocks: alone, and between.
    Apart(Sha256, Sha256),
}

/// Both chains see the same blocks.
struct Aligned {
    alone: [u32; 8],
    between: [u32; 8],
    /// What does not fill a block yet.
    rest: [u8; BLOCK],
    filled: usize,
    header: u64,
    length: u64,
}

impl TwinSha256 {
    /// Digests of no bytes yet, the second one after a header.
    pub fn new(header: &[u8]) -> Self {
        let (blocks, odd) = header.as_chunks::<BLOCK>();
        let chains = if odd.is_empty() {
            let mut between = BEGIN;
            compress256(&mut between, blocks);
            let header = header.len() as u64;
            Chains::Aligned(Aligned { alone: BEGIN, between, rest: [0; BLOCK], filled: 0, header, length: 0 })
        } else {
            let mut between = Sha256::new();
            between.update(header);
            Chains::Apart(Sha256::new(), between)
        };
        Self { chains }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.chains {
            Chains::Aligned(aligned) => aligned.update(bytes),
            Chains::Apart(alone, between) => {
                alone.update(bytes);
                between.update(bytes);
            }
        }
    }

    /// The digest of all bytes given, and that of the header, the bytes, and so many zeros.
    pub fn finish(self, zeros: u64) -> (Digest, Digest) {
        match self.chains {
            Chains::Aligned(Aligned { alone, between, rest, filled, header, length }) => {
                let rest = &rest[..filled];
                (end(alone, rest, 0, length), end(between, rest, zeros, header + length + zeros))
            }
            Chains::Apart(alone, mut between) => {
                let mut left = zeros;
                while left > 0 {
                    let count = left.min(BLOCK as u64);
                    between.update(&[0; BLOCK][..count as usize]);
                    left -= count;
                }
                (alone.finish(), between.finish())
            }
        }
    }
}

impl Aligned {
    fn update(&mut self, mut bytes: &[u8]) {
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

    fn compress(&mut self, blocks: &[[u8; BLOCK]]) {
        for block in blocks {
            compress256(&mut self.alone, std::slice::from_ref(block));
            compress256(&mut self.between, std::slice::from_ref(block));
        }
    }
}

/// The digest after the last, unfilled block and zeros, `length` bytes in all (FIPS 180-4, 5.1.1).
fn end(mut state: [u32; 8], rest: &[u8], mut zeros: u64, length: u64) -> Digest {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    let mut filled = rest.len();
    while filled as u64 + zeros >= BLOCK as u64 {
        zeros -= (BLOCK - filled) as u64;
        compress256(&mut state, &[block]);
        (block, filled) = ([0; BLOCK], 0);
    }
    filled += zeros as usize;
    block[filled] = 0x80;
    if filled >= BLOCK - 8 {
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

impl fmt::Debug for TwinSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TwinSha256(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_those_of_sha256() {
        let bytes: Vec<u8> = (0..1_500_u32).map(|number| (number * 7 % 251) as u8).collect();
        for header in [0, 1, 64, 512, 1000, 1024] {
            for length in (0..200).chain([511, 512, 513, 1_499]) {
                for zeros in [0, 1, 7, 8, 63, 64, 65, 512, 1_024 + 511] {
                    let mut twin = TwinSha256::new(&bytes[..header]);
                    // In pieces that fill blocks in every way.
                    for piece in bytes[..length].chunks(1 + length % 130) {
                        twin.update(piece);
                    }
                    let all = [&bytes[..header], &bytes[..length], &vec![0; zeros]].concat();
                    let expected = (Digest::of(&bytes[..length]), Digest::of(&all));
                    assert_eq!(twin.finish(zeros as u64), expected, "{header} {length} {zeros}");
                }
            }
        }
    }
}
