//! By the SHA-2 extension of Armv8. A round instruction has a state in two registers, `ABCD` and `EFGH`, and does four rounds at
//! a time.

use std::arch::aarch64::*;
use std::arch::is_aarch64_feature_detected;

use crate::round_constants::ROUNDS;
use crate::{BLOCK, State};

/// Returns whether the processor has the instructions. If not, nothing happened.
#[expect(unsafe_code, reason = "the only way to call what needs instructions that not every processor has")]
pub(crate) fn compress_both(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) -> bool {
    let has_all = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("sha2");
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
    abcd: uint32x4_t,
    efgh: uint32x4_t,
}

#[target_feature(enable = "neon,sha2")]
fn compress(states: &mut [State; 2], blocks: &[[u8; BLOCK]]) {
    let [mut first, mut second] = [load(&states[0]), load(&states[1])];
    for block in blocks {
        let (before_first, before_second) = (first, second);
        // Written out, without arrays and closures: what is not inlined for lack of the instructions goes through memory.
        let (mut one, mut two) = (words(block, 0), words(block, 1));
        let (mut three, mut four) = (words(block, 2), words(block, 3));
        let (with_next, last) = ROUNDS.split_at(12);
        for constants in with_next.as_chunks::<4>().0 {
            four_rounds(&mut first, &mut second, one, &constants[0]);
            one = next_words(one, two, three, four);
            four_rounds(&mut first, &mut second, two, &constants[1]);
            two = next_words(two, three, four, one);
            four_rounds(&mut first, &mut second, three, &constants[2]);
            three = next_words(three, four, one, two);
            four_rounds(&mut first, &mut second, four, &constants[3]);
            four = next_words(four, one, two, three);
        }
        four_rounds(&mut first, &mut second, one, &last[0]);
        four_rounds(&mut first, &mut second, two, &last[1]);
        four_rounds(&mut first, &mut second, three, &last[2]);
        four_rounds(&mut first, &mut second, four, &last[3]);
        first = add(first, before_first);
        second = add(second, before_second);
    }
    *states = [store(first), store(second)];
}

/// Four rounds of both states in turns: a round of one fills the time that the other waits for its own.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn four_rounds(first: &mut Halves, second: &mut Halves, words: uint32x4_t, constants: &[u32; 4]) {
    let words = vaddq_u32(words, vector(constants));
    let before = [*first, *second];
    first.abcd = vsha256hq_u32(before[0].abcd, before[0].efgh, words);
    second.abcd = vsha256hq_u32(before[1].abcd, before[1].efgh, words);
    first.efgh = vsha256h2q_u32(before[0].efgh, before[0].abcd, words);
    second.efgh = vsha256h2q_u32(before[1].efgh, before[1].abcd, words);
}

/// The four words that come sixteen after the first ones.
#[inline]
#[target_feature(enable = "neon,sha2")]
fn next_words(one: uint32x4_t, two: uint32x4_t, three: uint32x4_t, four: uint32x4_t) -> uint32x4_t {
    vsha256su1q_u32(vsha256su0q_u32(one, two), three, four)
}

#[inline]
#[target_feature(enable = "neon")]
fn add(one: Halves, other: Halves) -> Halves {
    Halves { abcd: vaddq_u32(one.abcd, other.abcd), efgh: vaddq_u32(one.efgh, other.efgh) }
}

/// Four words, the first one lowest.
#[inline]
#[target_feature(enable = "neon")]
fn vector(&[one, two, three, four]: &[u32; 4]) -> uint32x4_t {
    let low = u64::from(one) | u64::from(two) << 32;
    let high = u64::from(three) | u64::from(four) << 32;
    vreinterpretq_u32_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)))
}

/// The words of a block, four at a time, from their big-endian bytes.
#[inline]
#[target_feature(enable = "neon")]
fn words(block: &[u8; BLOCK], which: usize) -> uint32x4_t {
    let (all, _) = block.as_chunks::<4>();
    vector(&[
        u32::from_be_bytes(all[4 * which]),
        u32::from_be_bytes(all[4 * which + 1]),
        u32::from_be_bytes(all[4 * which + 2]),
        u32::from_be_bytes(all[4 * which + 3]),
    ])
}

#[inline]
#[target_feature(enable = "neon")]
fn load(&[a, b, c, d, e, f, g, h]: &State) -> Halves {
    Halves { abcd: vector(&[a, b, c, d]), efgh: vector(&[e, f, g, h]) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(Halves { abcd, efgh }: Halves) -> State {
    let (a, b) = (vgetq_lane_u32::<0>(abcd), vgetq_lane_u32::<1>(abcd));
    let (c, d) = (vgetq_lane_u32::<2>(abcd), vgetq_lane_u32::<3>(abcd));
    let (e, f) = (vgetq_lane_u32::<0>(efgh), vgetq_lane_u32::<1>(efgh));
    let (g, h) = (vgetq_lane_u32::<2>(efgh), vgetq_lane_u32::<3>(efgh));
    [a, b, c, d, e, f, g, h]
}
