//! By the SHA extensions of x86. A round instruction has a state in two registers, of which one is `ABEF`, the other `CDGH`, and
//! does two rounds at a time.

#[cfg(target_arch = "x86")]
use std::arch::x86::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::round_constants::ROUNDS;
use crate::{BLOCK, State};

/// Returns whether the processor has the instructions. If not, nothing happened.
#[expect(unsafe_code, reason = "the only way to call what needs instructions that not every processor has")]
pub(crate) fn compress_both(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) -> bool {
    let has_all = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("sse2")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    if has_all {
        // SAFETY: all that the function needs is that the processor has these features, which was just found out.
        unsafe {
            compress(states, blocks);
        }
    }
    has_all
}

/// A state as the instructions take it.
#[derive(Clone, Copy)]
struct Halves {
    abef: __m128i,
    cdgh: __m128i,
}

/// What the rounds of a block take, four at a time: its words with the constants added.
type Schedule = [__m128i; ROUNDS.len()];

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn compress(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) {
    let Some(block) = blocks.first() else { return };
    let [mut first, mut second] = [load(&states[0]), load(&states[1])];
    let mut schedule = [vector(&[0; 4]); ROUNDS.len()];
    // For the schedule of the first block alone.
    rounds(&mut first.clone(), &mut second.clone(), &mut schedule, block);
    for place in 1..=blocks.len() {
        let (before_first, before_second) = (first, second);
        // Behind the last block, the one that is made is for nobody.
        rounds(&mut first, &mut second, &mut schedule, blocks.get(place).unwrap_or(block));
        first = add(first, before_first);
        second = add(second, before_second);
    }
    *states = [store(first), store(second)];
}

/// The rounds of a block, and on the way the schedule of the next one. It waits for nothing that they do, so it costs no time of
/// its own; made for the same block, it would be in their way.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn rounds(first: &mut Halves, second: &mut Halves, schedule: &mut Schedule, next: &[u8; BLOCK]) {
    let mut words = [words(next, 0), words(next, 1), words(next, 2), words(next, 3)];
    let (of_block, others) = schedule.split_at_mut(4);
    let (constants_of_block, constants) = ROUNDS.split_at(4);
    for (four, place) in of_block.iter_mut().enumerate() {
        four_rounds(first, second, *place);
        *place = _mm_add_epi32(words[four], vector(&constants_of_block[four]));
    }
    for (place, constants) in others.iter_mut().zip(constants) {
        four_rounds(first, second, *place);
        let next = next_words(words[0], words[1], words[2], words[3]);
        words = [words[1], words[2], words[3], next];
        *place = _mm_add_epi32(next, vector(constants));
    }
}

/// Four rounds of both states in turns: a round of one fills the time that the other waits for its own.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn four_rounds(first: &mut Halves, second: &mut Halves, lower: __m128i) {
    let upper = _mm_shuffle_epi32::<0b00_00_11_10>(lower);
    first.cdgh = _mm_sha256rnds2_epu32(first.cdgh, first.abef, lower);
    second.cdgh = _mm_sha256rnds2_epu32(second.cdgh, second.abef, lower);
    first.abef = _mm_sha256rnds2_epu32(first.abef, first.cdgh, upper);
    second.abef = _mm_sha256rnds2_epu32(second.abef, second.cdgh, upper);
}

/// The four words that come sixteen after the first ones.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn next_words(one: __m128i, two: __m128i, three: __m128i, four: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(one, two), _mm_alignr_epi8::<4>(four, three));
    _mm_sha256msg2_epu32(sum, four)
}

#[inline]
#[target_feature(enable = "sse2")]
fn add(one: Halves, other: Halves) -> Halves {
    Halves { abef: _mm_add_epi32(one.abef, other.abef), cdgh: _mm_add_epi32(one.cdgh, other.cdgh) }
}

/// Four words, the first one lowest.
#[inline]
#[target_feature(enable = "sse2")]
fn vector(words: &[u32; 4]) -> __m128i {
    let &[one, two, three, four] = words;
    _mm_set_epi32(four.cast_signed(), three.cast_signed(), two.cast_signed(), one.cast_signed())
}

/// The words of a block, four at a time, from their big-endian bytes.
#[inline]
#[target_feature(enable = "sse2,ssse3")]
fn words(block: &[u8; BLOCK], which: usize) -> __m128i {
    let (eights, _) = block.as_chunks::<8>();
    let (low, high) = (i64::from_le_bytes(eights[2 * which]), i64::from_le_bytes(eights[2 * which + 1]));
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    _mm_shuffle_epi8(_mm_set_epi64x(high, low), swap)
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(&[a, b, c, d, e, f, g, h]: &State) -> Halves {
    Halves { abef: vector(&[f, e, b, a]), cdgh: vector(&[h, g, d, c]) }
}

#[inline]
#[target_feature(enable = "sse2,sse4.1")]
fn store(Halves { abef, cdgh }: Halves) -> State {
    let (a, b) = (_mm_extract_epi32::<3>(abef), _mm_extract_epi32::<2>(abef));
    let (e, f) = (_mm_extract_epi32::<1>(abef), _mm_extract_epi32::<0>(abef));
    let (c, d) = (_mm_extract_epi32::<3>(cdgh), _mm_extract_epi32::<2>(cdgh));
    let (g, h) = (_mm_extract_epi32::<1>(cdgh), _mm_extract_epi32::<0>(cdgh));
    [a, b, c, d, e, f, g, h].map(i32::cast_unsigned)
}
