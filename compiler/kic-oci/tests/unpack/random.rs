//! Layers damaged at random.

use std::fs;
use std::io::{self};

use kic_oci::model::media_types::OCI_LAYER;
use kic_oci::unpack::{UnpackLimits, UnpackOptions, unpack};

use crate::shared::*;

/// Bytes changed at random, checksums put right, so that most of it reaches the tree.
#[test]
fn damaged_layers_never_panic_and_never_leave_the_root() {
    let good = Tar::default()
        .folder("a/")
        .file("a/b", b"content")
        .link("a/l", "../a")
        .hard("a/h", "a/b")
        .file("a/l/x", b"x")
        .file("a/.wh.b", b"")
        .pax(&[("path", b"a/long"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"1")])
        .file("x", b"y")
        .end();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let interesting = *b"/.\0\x01\x7f\x80\xff0a1256sxgLKS";
    let (mut done, mut refused) = (0, 0);
    for _ in 0..1500 {
        let mut bytes = good.clone();
        for _ in 0..1 + random(4) {
            let header = random(bytes.len() / 512 - 2) * 512;
            // The fields that matter most: name, mode to mtime, kind, link name.
            let at = header + [random(12), 100 + random(48), 156, 157 + random(8), random(512)][random(5)];
            bytes[at] = interesting[random(interesting.len())];
        }
        for block in bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>()
                - block[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>()
                + 8 * 32;
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        let options = UnpackOptions {
            limits: UnpackLimits { bytes: 1 << 20, ..Default::default() },
            skip_special_files: true,
            ..Default::default()
        };
        let layers = [layer(OCI_LAYER, io::Cursor::new(bytes.clone()))];
        let result = unpack(layers, &folder.path().join("root"), &options);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), usize::from(result.is_ok()));
        same_verdict(&[bytes], &result);
        match result {
            Ok(_) => done += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(done > 150 && refused > 150, "{done} unpacked, {refused} refused");
}
