//! The bytes of each epoch, fixed: whoever changes one of these digests makes a new epoch.

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use kic_base::{Digest, Epoch};

use super::{Compression, LayerDigests, LayerWriter};

/// Each with the epochs that have it, the digest of the layer whose large file is small, and of the one whose large file is large.
const GOLDEN: [(Compression, &[u32], &str, &str); 4] = [
    (
        Compression::None,
        &[1, 2],
        "600dee227256eb684f13c1d449399a1ea56e691dddd176e0834c25ecc0df8f61",
        "9160f2fb740dd25eba4372158e152fbf2f49f628cdcbfaa77837d0a174ce304a",
    ),
    (
        Compression::Gzip,
        &[1, 2],
        "91d1dd5a80081b3dc14bbebbb36a231fe04c236d93ed1cfabaec05265341f0b7",
        "b6e9e631ca5023ba908e04d2c8fbd0076b3be484ad707c8ba9240dabce1e2a8b",
    ),
    (
        Compression::Zstd,
        &[1],
        "461e27d06c7678a46ccfc704c44ae5b70e3575e1559c032650b79bf09c4fff4c",
        "aa7d31662171976794ce4da57ce3b5adcad0de01d0cc77301bb23b51927818f1",
    ),
    (
        Compression::Zstd,
        &[2],
        "de3503e596a8a187b82b7226743e44bcecc987f4e5ff1caa24baaba4803e4a78",
        "7458a0032394364a0c0b13206efd61ae897e89596e22614cd42b9814e891ac1c",
    ),
];
const SMALL: usize = (4 << 20) + 77;
const LARGE: usize = (23 << 20) + 77;

/// Words in an order that looks random: compresses well, but not to nothing.
fn text(length: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["cluster ", "image ", "layer\n", "registry ", "α ", "policy: ", "0x1f", "  - "];
    let (mut state, mut out) = (1_u64, Vec::with_capacity(length + 16));
    while out.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(WORDS[(state >> 61) as usize].as_bytes());
        if state >> 40 & 7 == 0 {
            out.extend_from_slice(&state.to_le_bytes());
        }
    }
    out.truncate(length);
    out
}

/// Gives and takes at most `most` bytes at once.
struct Pieces<T> {
    inner: T,
    most: usize,
}

impl<T: Read> Read for Pieces<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.most);
        self.inner.read(&mut buffer[..count])
    }
}

impl<T: Write> Write for Pieces<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(&bytes[..bytes.len().min(self.most)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn long_path() -> String {
    format!("long/{}/ünïcode/{}", "d".repeat(200), "f".repeat(120))
}

fn write(
    epoch: Epoch,
    compression: Compression,
    large: &[u8],
    threads: usize,
    most: usize,
) -> (Vec<u8>, LayerDigests) {
    let out = Pieces { inner: Vec::new(), most };
    let mut layer = LayerWriter::with_threads(out, epoch, compression, 1_700_000_000, threads).unwrap();
    layer.directory("etc", 0o755).unwrap();
    layer.file("etc/empty", 0o600, 0, &mut io::empty()).unwrap();
    layer.file("etc/large.yaml", 0o644, large.len() as u64, &mut Pieces { inner: large, most }).unwrap();
    layer.symlink("etc/link", "/usr/share/ünïcode").unwrap();
    layer.hard_link("etc/other", "etc/empty").unwrap();
    layer.file(&long_path(), 0o4755, 5, &mut Pieces { inner: &b"hello"[..], most }).unwrap();
    layer.directory("tmp", 0o1777).unwrap();
    let (out, digests) = layer.finish().unwrap();
    (out.inner, digests)
}

#[test]
fn the_bytes_are_the_golden_ones_for_any_threads_and_sizes_of_reads_and_writes() {
    assert_eq!(zstd::zstd_safe::version_string(), "1.5.7");
    let (small, large) = (text(SMALL), text(LARGE));
    let [(_, _, small_diff_id, large_diff_id), ..] = GOLDEN;
    let all = GOLDEN.iter().flat_map(|golden| golden.1.iter().map(move |epoch| (*epoch, golden)));
    for (epoch, &(compression, _, small_golden, large_golden)) in all {
        let epoch = Epoch::from_number(epoch).unwrap();
        for (body, threads, most, golden, diff_id) in [
            (&small, 1, usize::MAX, small_golden, small_diff_id),
            (&small, 2, 1, small_golden, small_diff_id),
            (&small, 8, 4093, small_golden, small_diff_id),
            (&large, 1, 1 << 20, large_golden, large_diff_id),
            (&large, 2, 4093, large_golden, large_diff_id),
            (&large, 8, 1 << 20, large_golden, large_diff_id),
        ] {
            let (bytes, digests) = write(epoch, compression, body, threads, most);
            assert_eq!(digests.digest, Digest::of(&bytes), "{epoch:?} {compression:?}");
            assert_eq!(digests.size, bytes.len() as u64);
            let found = (digests.digest.hex(), digests.diff_id.hex());
            assert_eq!(
                found,
                (golden.into(), diff_id.into()),
                "{epoch:?} {compression:?} {} {threads} {most}",
                body.len()
            );
        }
    }
}

#[test]
fn other_tools_read_the_layer_back() {
    let directory = tempfile::tempdir().unwrap();
    let large = text(SMALL);
    let tar_bytes = write(Epoch::CURRENT, Compression::None, &large, 1, usize::MAX).0;
    for (compression, name) in [
        (Compression::None, "layer.tar"),
        (Compression::Gzip, "layer.tar.gz"),
        (Compression::Zstd, "layer.tar.zst"),
    ] {
        fs::write(directory.path().join(name), write(Epoch::CURRENT, compression, &large, 2, usize::MAX).0)
            .unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory.path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let Ok(output) = command.output() else {
            eprintln!("SKIPPED: {program} is not installed, so it did not read the layer back");
            return None;
        };
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    };
    for (program, arguments) in [("zstd", ["-dc", "layer.tar.zst"]), ("gzip", ["-dc", "layer.tar.gz"])] {
        if let Some(unpacked) = run(program, &arguments) {
            assert!(unpacked == tar_bytes, "{program} gives the tar");
        }
    }
    let long = long_path();
    let listing = "import tarfile\nfor e in tarfile.open('layer.tar', 'r:'):\n  print(e.name, '%o' % e.mode, e.size, e.uid, e.gid, e.uname, e.gname, int(e.mtime), e.type.decode(), e.linkname)";
    if let Some(output) = run("python3", &["-X", "utf8", "-c", listing]) {
        let large = SMALL;
        let expected = format!(
            "etc 755 0 0 0   1700000000 5 \netc/empty 600 0 0 0   1700000000 0 \netc/large.yaml 644 {large} 0 0   1700000000 0 \n\
             etc/link 777 0 0 0   1700000000 2 /usr/share/ünïcode\netc/other 600 0 0 0   1700000000 1 etc/empty\n\
             {long} 4755 5 0 0   1700000000 0 \ntmp 1777 0 0 0   1700000000 5 \n"
        );
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }
    for (program, arguments) in [
        ("tar", vec!["-tf", "layer.tar.gz", "--quoting-style=literal"]),
        ("bsdtar", vec!["-tf", "layer.tar.zst"]),
    ] {
        if let Some(output) = run(program, &arguments) {
            let expected = format!("etc/\netc/empty\netc/large.yaml\netc/link\netc/other\n{long}\ntmp/\n");
            assert_eq!(String::from_utf8(output).unwrap(), expected, "{program}");
        }
    }
}
