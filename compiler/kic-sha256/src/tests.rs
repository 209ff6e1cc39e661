use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;

/// A way to bring two states over blocks.
type Way = fn(&mut [State; 2], &[[u8; BLOCK]]);

const WAYS: [(&str, Way); 2] = [("what this processor has", compress_both), ("in turns", in_turns)];

const BEGIN: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The message with its padding (FIPS 180-4, 5.1.1), in blocks, as if `before` bytes came before it.
fn padded(message: &[u8], before: usize) -> Vec<[u8; BLOCK]> {
    let mut bytes = message.to_vec();
    bytes.push(0x80);
    bytes.resize((bytes.len() + 8).next_multiple_of(BLOCK) - 8, 0);
    bytes.extend((8 * (before + message.len()) as u64).to_be_bytes());
    let (blocks, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    blocks.to_vec()
}

fn hexadecimal(state: &State) -> String {
    state.iter().map(|word| format!("{word:08x}")).collect()
}

fn of_library(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Examples of NIST: "Secure Hashing, example values", SHA-256, and a million times `a`.
#[test]
fn published_digests_come_out() {
    let long = "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
    let examples = [
        (String::new(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc".to_owned(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_owned(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (long.to_owned(), "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"),
        ("a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    for (message, expected) in examples {
        for (name, way) in WAYS {
            let mut states = [BEGIN; 2];
            way(&mut states, &padded(message.as_bytes(), 0));
            assert_eq!(states.map(|state| hexadecimal(&state)), [expected; 2], "{name}");
        }
    }
}

/// So that a machine without the instructions does not pass for one that has them.
#[test]
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn the_instructions_are_used_where_they_are() {
    let has = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
    assert_eq!(x86::compress_both(&mut [BEGIN; 2], &[]), has);
}

#[test]
#[cfg(target_arch = "aarch64")]
fn the_instructions_are_used_where_they_are() {
    let has = std::arch::is_aarch64_feature_detected!("sha2");
    assert_eq!(aarch64::compress_both(&mut [BEGIN; 2], &[]), has);
}

proptest! {
    /// Both states at once, one of them after a header, in any pieces.
    #[test]
    fn both_states_are_those_of_the_library(
        header in prop::collection::vec(any::<u8>(), 0..4 * BLOCK),
        message in prop::collection::vec(any::<u8>(), 0..20 * BLOCK),
        pieces in prop::collection::vec(0..6_usize, 0..12),
    ) {
        let (header, _) = header.as_chunks::<BLOCK>();
        let flat = header.as_flattened();
        let expected = [of_library(&message), of_library(&[flat, &message].concat())];
        for (name, way) in WAYS {
            let mut before = [BEGIN; 2];
            way(&mut before, header);
            let mut states = [BEGIN, before[0]];
            let (blocks, rest) = message.as_chunks::<BLOCK>();
            let mut left = blocks;
            for piece in &pieces {
                let (now, later) = left.split_at(left.len().min(*piece));
                way(&mut states, now);
                left = later;
            }
            way(&mut states, left);
            // The paddings differ: each has its own length.
            let length = blocks.len() * BLOCK;
            let ends = [0, flat.len()].map(|before| padded(rest, before + length));
            let ended = [0, 1].map(|which| {
                let mut both = [states[which]; 2];
                way(&mut both, &ends[which]);
                assert_eq!(both[0], both[1]);
                hexadecimal(&both[0])
            });
            prop_assert_eq!(&ended, &expected, "{}", name);
        }
    }

    /// Whatever the states are, neither sees the other.
    #[test]
    fn the_states_are_independent(first: State, second: State, blocks in prop::collection::vec(any::<[u8; 32]>(), 0..8)) {
        let (blocks, _) = blocks.as_flattened().as_chunks::<BLOCK>();
        let mut expected = [first, second];
        for state in &mut expected {
            compress256(state, blocks);
        }
        for (name, way) in WAYS {
            let mut states = [first, second];
            way(&mut states, blocks);
            prop_assert_eq!(states, expected, "{}", name);
        }
    }
}
