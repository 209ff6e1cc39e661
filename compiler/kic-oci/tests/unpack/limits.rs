//! Layers that are cut off, damaged, or cost too much.

use std::fs;
use std::io::{self, Read, Write};

use kic_oci::model::media_types::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use kic_oci::unpack::{Limit, Refusal, UnpackError, UnpackLimits, UnpackOptions, UnpackReport, unpack};
use tar::{EntryType, Header};

use crate::shared::*;

fn run_bytes(
    media_type: &str,
    bytes: impl Read + Send + 'static,
    limits: UnpackLimits,
) -> Result<UnpackReport, UnpackError> {
    let folder = tempfile::tempdir().unwrap();
    let options = UnpackOptions { limits, ..Default::default() };
    let result = unpack([layer(media_type, bytes)], &folder.path().join("root"), &options);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, usize::from(result.is_ok()));
    result
}

#[test]
fn a_layer_cut_off_anywhere_never_passes_as_whole() {
    let tar = Tar::default().file("a", &[b'x'; 1500]).link("b", "c").0;
    for length in 0..tar.len() {
        let result = run_bytes(OCI_LAYER, io::Cursor::new(tar[..length].to_vec()), UnpackLimits::default());
        match result {
            // Between two entries an archive may end; only the digest knows better.
            Ok(report) => assert!([0, 2048].contains(&length), "{length}: {report:?}"),
            Err(UnpackError::Read { .. } | UnpackError::Refused { reason: Refusal::Truncated, .. }) => {}
            Err(other) => panic!("{length}: {other:?}"),
        }
    }
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    for (media_type, packed) in [(OCI_LAYER_ZSTD, zstd), (OCI_LAYER_GZIP, gzip.finish().unwrap())] {
        for length in 1..packed.len() {
            let bytes = io::Cursor::new(packed[..length].to_vec());
            let result = run_bytes(media_type, bytes, UnpackLimits::default());
            assert!(result.is_err(), "{media_type} {length}");
        }
    }
}

#[test]
fn bytes_that_are_not_what_the_media_type_says_are_an_error() {
    let noise: Vec<u8> = (0..5000u32).map(|n| ((n * 7919) >> 3) as u8).collect();
    for media_type in [OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD] {
        let result = run_bytes(media_type, io::Cursor::new(noise.clone()), UnpackLimits::default());
        assert!(matches!(result, Err(UnpackError::Read { .. })), "{media_type}: {result:?}");
    }
    let result = run_bytes("text/plain", io::empty(), UnpackLimits::default());
    assert!(matches!(result, Err(UnpackError::MediaType { .. })));
}

#[test]
fn the_readers_verdict_after_the_end_of_the_archive_counts() {
    struct Verdict(io::Cursor<Vec<u8>>);
    impl Read for Verdict {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::InvalidData, "the digest is another")),
                count => Ok(count),
            }
        }
    }
    let tar = Tar::default().file("a", b"x").end();
    for (media_type, bytes) in [
        (OCI_LAYER, [&tar[..], &[0; 100_000]].concat()),
        (OCI_LAYER_ZSTD, zstd::encode_all(&tar[..], 3).unwrap()),
    ] {
        let result = run_bytes(media_type, Verdict(io::Cursor::new(bytes)), UnpackLimits::default());
        let Err(UnpackError::Read { source, .. }) = result else { panic!("{result:?}") };
        assert!(source.to_string().contains("the digest is another"), "{source:?}");
    }
}

#[test]
fn bombs_end_at_the_limits() {
    let limit = |result: Result<UnpackReport, UnpackError>| match result {
        Err(UnpackError::Limit { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    let limits = UnpackLimits::default;
    // A hundred megabytes of zeros in a few kilobytes, as a file and after the archive's end.
    let mut header = Header::new_ustar();
    header.set_path("zeros").unwrap();
    header.set_size(100 << 20);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let zeros = |before: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(before).unwrap();
        io::copy(&mut io::repeat(0).take(100 << 20), &mut encoder).unwrap();
        io::Cursor::new(encoder.finish().unwrap())
    };
    assert_eq!(limit(run_bytes(OCI_LAYER_ZSTD, zeros(header.as_bytes()), limits())), Limit::Ratio(200));
    assert_eq!(limit(run_bytes(OCI_LAYER_ZSTD, zeros(b""), limits())), Limit::Ratio(200));
    let small = UnpackLimits { bytes: 1 << 20, ..limits() };
    assert_eq!(limit(run_bytes(OCI_LAYER_ZSTD, zeros(header.as_bytes()), small)), Limit::Bytes(1 << 20));
    // Headers that would be read into memory whole.
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::GNULongLink] {
        let mut long = Header::new_gnu();
        long.set_entry_type(kind);
        long.set_size(100 << 20);
        long.set_cksum();
        assert_eq!(
            limit(run_bytes(OCI_LAYER_ZSTD, zeros(long.as_bytes()), limits())),
            Limit::Headers(1 << 20)
        );
    }
    let many = (0..11).fold(Tar::default(), |tar, n| tar.file(&n.to_string(), b""));
    let ten = UnpackLimits { entries: 10, ..limits() };
    assert_eq!(limit(run_bytes(OCI_LAYER, io::Cursor::new(many.end()), ten)), Limit::Entries(10));
}

#[test]
fn limits_hold_over_all_layers_together() {
    let options =
        UnpackOptions { limits: UnpackLimits { bytes: 8000, ..Default::default() }, ..Default::default() };
    let tar = |name| Tar::default().file(name, &[1; 2048]);
    let (_folder, _root, result) = run(vec![tar("a")], &options);
    result.unwrap();
    let (_folder, _root, result) = run(vec![tar("a"), tar("b"), tar("c")], &options);
    assert!(matches!(result, Err(UnpackError::Limit { limit: Limit::Bytes(8000), .. })));
}
