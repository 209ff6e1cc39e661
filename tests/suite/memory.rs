//! What is stored is streamed: a gigabyte of images goes through in a fixed amount of memory.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kic_base::Digest;
use serde_json::json;

use crate::support::kic::{kic, shown};
use crate::support::random::Random;
use crate::support::stock_registry::StockRegistry;

/// What the whole process may have in memory at any time.
const BOUND: u64 = 100 << 20;

/// Four blobs of this many bytes: a gigabyte.
const BLOB: usize = 256 << 20;

/// The most memory that a process has had so far, in bytes, as Linux tells.
fn most_resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Bytes of the size of a large layer, which do not repeat within any window that a program would look at.
fn large(seed: u64) -> Vec<u8> {
    let mut piece = Random::new(seed).bytes(1 << 20);
    let mut bytes = Vec::with_capacity(BLOB);
    for number in 0..BLOB as u64 / (1 << 20) {
        piece[..8].copy_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// An image of four large layers, laid into the data folder of a registry: the bytes are not pushed through it.
fn lay_in(data: &Path) {
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let root = data.join("docker/registry/v2");
    let write = |path: std::path::PathBuf, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let blob = |media_type: &str, bytes: &[u8], links: &str| {
        let digest = Digest::of(bytes);
        let hex = digest.hex();
        write(root.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])), bytes);
        write(
            root.join(format!("repositories/large/{links}/sha256/{hex}/link")),
            digest.to_string().as_bytes(),
        );
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let layers: Vec<_> = (0..4).map(|seed| blob(LAYER, &large(seed), "_layers")).collect();
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let config = blob(CONFIG, config.to_string().as_bytes(), "_layers");
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    let manifest = blob(MANIFEST, manifest.to_string().as_bytes(), "_manifests/revisions");
    let link = manifest["digest"].as_str().unwrap().as_bytes();
    write(root.join("repositories/large/_manifests/tags/v1/current/link"), link);
}

/// Runs kic in `folder`, and returns the most memory that it had.
fn measured(folder: &Path, arguments: &[&str]) -> u64 {
    let mut command = kic(folder, &folder.join("store"));
    let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most_resident(child.id()).unwrap_or(0).max(most);
        assert!(began.elapsed() < Duration::from_secs(300), "it hangs");
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    eprintln!("kic {}: {} MB at most, {:?}", arguments.join(" "), most >> 20, began.elapsed());
    most
}

#[test]
fn a_gigabyte_of_images_is_compiled_in_less_than_100_megabytes() {
    if most_resident(std::process::id()).is_none() {
        eprintln!("SKIPPED: only Linux tells how much memory a process has had");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let data = folder.join("upstream");
    lay_in(&data);
    let Some(registry) = StockRegistry::start(&data, true) else { return };
    let spec = |content: &str| format!("cluster \"large\" version=\"v1\" {{\n    {content}\n}}\n");
    let image = format!("{}/large:v1", registry.host);
    let cache = format!("base scratch\n    registry \"sea.hub:5000\" {{\n        image \"{image}\"\n    }}");
    fs::write(folder.join("cluster.kdl"), spec(&cache)).unwrap();
    let most = measured(folder, &["compile", "--quiet", "-o", "large.oci", "--jobs", "8"]);
    // A process that does nothing has some megabytes: the measure works.
    assert!(most > 5 << 20, "{most}");
    assert!(most < BOUND, "{} MB", most >> 20);
    // The other ways of so many bytes through kic: into an archive, and out of a layout.
    for arguments in [&["compile", "--quiet", "-o", "large.tar"][..], &["unpack", "large.oci", "root"]] {
        let most = measured(folder, arguments);
        assert!(most < BOUND, "{arguments:?}: {} MB", most >> 20);
    }
    let written: u64 = fs::read_dir(folder.join("large.oci/blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(written > 4 * BLOB as u64, "{written}");
}
