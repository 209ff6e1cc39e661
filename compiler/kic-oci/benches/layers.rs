//! Packing: `cargo bench -p kic-oci --bench layers`. 2,000 files of 25 KB into one layer, both digests known.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::io;

use divan::counter::BytesCount;
use kic_base::Epoch;
use kic_oci::layer::{Compression, LayerWriter};

const FILES: usize = 2_000;
const SIZE: usize = 25_000;

fn main() {
    divan::main();
}

/// About as compressible as programs and texts are: words of a small vocabulary between numbers.
fn body(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut bytes = Vec::with_capacity(SIZE + 32);
    while bytes.len() < SIZE {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let word = ["image", "registry", "layer", "manifest"][(state >> 62) as usize];
        bytes.extend_from_slice(word.as_bytes());
        bytes.extend_from_slice(&state.to_le_bytes()[5..]);
    }
    bytes.truncate(SIZE);
    bytes
}

#[divan::bench(args = [Compression::None, Compression::Zstd, Compression::Gzip], sample_count = 10)]
fn layer_of_2_000_files(bencher: divan::Bencher<'_, '_>, compression: Compression) {
    let files: Vec<(String, Vec<u8>)> =
        (0..FILES).map(|number| (format!("usr/share/files/part-{number:04}"), body(number))).collect();
    bencher.counter(BytesCount::new(FILES * SIZE)).bench(|| {
        let mut layer = LayerWriter::new(io::sink(), Epoch::CURRENT, compression, 0).unwrap();
        for (path, bytes) in &files {
            layer.file(path, 0o644, bytes.len() as u64, &mut bytes.as_slice()).unwrap();
        }
        layer.finish().unwrap().1
    });
}
