//! Hashing: `cargo bench -p kic-base --bench hashing`. Two digests of the same bytes in one pass are to take much less than
//! twice the time of one.
#![allow(missing_docs, reason = "a benchmark")]

use divan::counter::BytesCount;
use kic_base::{Digest, NestedSha256, Sha256, StableHasher};

/// As much as comes from the network at a time.
const PIECE: usize = 256 << 10;

fn main() {
    divan::main();
}

fn piece() -> Vec<u8> {
    (0..PIECE).map(|number| (number * 31 % 251) as u8).collect()
}

#[divan::bench]
fn one_digest(bencher: divan::Bencher<'_, '_>) {
    let bytes = piece();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| Digest::of(&bytes));
}

#[divan::bench]
fn two_digests_one_after_the_other(bencher: divan::Bencher<'_, '_>) {
    let bytes = piece();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let (mut one, mut other) = (Sha256::new(), Sha256::new());
        other.update(&[0; 512]);
        one.update(&bytes);
        other.update(&bytes);
        (one.finish(), other.finish())
    });
}

#[divan::bench]
fn two_digests_in_one_pass(bencher: divan::Bencher<'_, '_>) {
    let bytes = piece();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let mut nested = NestedSha256::new();
        nested.update(&[0; 512]);
        nested.begin_part();
        nested.update(&bytes);
        (nested.end_part(), nested.finish())
    });
}

/// What decides a layer: 10,000 paths, each with the digest of its file.
#[divan::bench]
fn key_of_10_000_files(bencher: divan::Bencher<'_, '_>) {
    let paths: Vec<String> = (0..10_000).map(|number| format!("usr/share/part-{number}/file")).collect();
    let digest = Digest::of(b"");
    bencher.bench(|| {
        let mut hasher = StableHasher::new();
        for path in &paths {
            hasher.text(path);
            hasher.digest(&digest);
        }
        hasher.finish()
    });
}
