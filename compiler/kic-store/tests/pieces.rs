//! Blobs whose bytes come in any order.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::ops::Range;

use common::*;

/// A body cut into pieces, in an order that depends on `seed`, some of them twice and overlapping.
fn shuffled(length: usize, piece: usize, seed: usize) -> Vec<Range<usize>> {
    let mut pieces: Vec<_> = (0..length).step_by(piece).map(|at| at..length.min(at + piece)).collect();
    let count = pieces.len();
    for place in 0..count {
        pieces.swap(place, (place * 7 + seed * 13) % count);
    }
    for place in (0..count).step_by(3) {
        let Range { start, end } = pieces[place].clone();
        pieces.push(start.saturating_sub(piece / 2)..length.min(end + seed));
    }
    pieces
}

#[test]
fn the_order_of_pieces_makes_no_difference() {
    let (_folder, store) = new_store();
    // The last one is more than is read again for one piece.
    for (length, piece) in [(0, 1), (1, 1), (5_000, 64), (70_001, 1_000), (9 << 20, 100_003)] {
        let body = noise(3, length);
        let digest = Digest::of(&body);
        let whole = Digest::of(&[&[7; 512][..], &body, &[0; 1024]].concat());
        for seed in 0..4 {
            let mut embedding = store.embedding_writer(&[7; 512], 1024).unwrap();
            let mut plain = store.piece_writer().unwrap();
            for range in shuffled(length, piece, seed) {
                embedding.write_at(range.start as u64, &body[range.clone()]).unwrap();
                plain.write_at(range.start as u64, &body[range]).unwrap();
            }
            let (container, size) = embedding.commit(&digest, length as u64).unwrap();
            assert_eq!((container, size), (whole, length as u64 + 1536), "{length} {seed}");
            plain.commit(&digest).unwrap();
            assert!(read_all(store.blob(&whole).unwrap()).unwrap()[512..512 + length] == body);
            assert!(store.read(&digest, 16 << 20).unwrap() == body);
        }
    }
}

#[test]
fn backwards_everything_is_early_until_the_end() {
    let (_folder, store) = new_store();
    let body = noise(4, 10 << 20);
    let digest = Digest::of(&body);
    let mut writer = store.embedding_writer(&[7; 512], 512).unwrap();
    for (number, piece) in body.chunks(1 << 20).enumerate().rev() {
        assert_eq!(writer.written(), 0);
        writer.write_at((number << 20) as u64, piece).unwrap();
    }
    assert!(writer.written() < body.len() as u64, "the rest is for the end");
    writer.commit(&digest, body.len() as u64).unwrap();
    assert!(read_all(store.blob(&digest).unwrap()).unwrap() == body);
}

#[test]
fn a_gap_and_a_changed_piece_leave_nothing() {
    let (_folder, store) = new_store();
    let body = noise(5, 10_000);
    let digest = Digest::of(&body);
    let mut gap = store.piece_writer().unwrap();
    gap.write_at(0, &body[..4_000]).unwrap();
    gap.write_at(4_001, &body[4_001..]).unwrap();
    let error = gap.commit(&digest).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { size: 4_000, .. }), "{error}");
    let mut gap = store.embedding_writer(&[7; 512], 512).unwrap();
    gap.write_at(1, &body[1..]).unwrap();
    let error = gap.commit(&digest, 10_000).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { size: 0, .. }), "{error}");
    // What came early is hashed as it lies in the file, not as it came first.
    let mut changed = store.piece_writer().unwrap();
    changed.write_at(5_000, &body[5_000..]).unwrap();
    changed.write_at(6_000, b"other").unwrap();
    changed.write_at(0, &body[..5_000]).unwrap();
    assert!(matches!(changed.commit(&digest).unwrap_err(), StoreError::Mismatch { size: 10_000, .. }));
    for folder in ["blobs", "embedded", "tmp"] {
        assert!(files(&store.path().join(folder)).is_empty(), "{folder}");
    }
    let mut far = store.embedding_writer(&[7; 512], 512).unwrap();
    assert!(far.write_at(u64::MAX, b"x").is_err());
}
