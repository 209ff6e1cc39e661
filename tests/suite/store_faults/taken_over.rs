//! A layer that is packed again takes over what it can from the layer before, of which the disk may have damaged or lost some.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use crate::support::image_layout::layers;
use crate::support::kic::{kic, stdout};
use crate::support::large_tree;

/// Longer than files need to be taken on trust.
const SETTLED: Duration = Duration::from_millis(60);

#[test]
fn a_layer_whose_predecessor_is_damaged_or_gone_is_packed_from_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("cluster.kdl"),
        "cluster \"c\" { base scratch; files \"t\" split=#false { copy \"tree\" to=\"/tree\"; }; }",
    )
    .unwrap();
    large_tree::make(&path.join("tree"));
    let compile = |store: &str| {
        let out = format!("{store}.oci");
        let mut command = kic(path, &path.join(store));
        stdout(command.args(["compile", "--quiet", "-o", &out]));
        layers(&path.join(out)).into_iter().collect::<BTreeSet<String>>()
    };
    std::thread::sleep(SETTLED);
    let mut before = compile("warm");
    // In places all over the layer: of most, some frames come before.
    for (round, number) in [199, 487, 770, 1_111, 1_444, 1_820].into_iter().enumerate() {
        fs::write(large_tree::file(&path.join("tree"), number), large_tree::body(90 + number)).unwrap();
        std::thread::sleep(SETTLED);
        drop(fs::remove_dir_all(path.join("cold")));
        let expected = compile("cold");
        let replaced: Vec<&String> = before.difference(&expected).collect();
        assert!(!replaced.is_empty());
        for digest in replaced {
            let hex = digest.strip_prefix("sha256:").unwrap();
            spoil(&path.join("warm/blobs/sha256").join(&hex[..2]).join(hex), round % 2 == 0);
        }
        assert_eq!(compile("warm"), expected, "round {round}");
        before = expected;
    }
}

/// Damages a byte of the second frame, or takes the file away.
fn spoil(blob: &Path, damage: bool) {
    if damage {
        fs::set_permissions(blob, fs::Permissions::from_mode(0o644)).unwrap();
        let file = fs::File::options().read(true).write(true).open(blob).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 600_000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 600_000).unwrap();
    } else {
        fs::remove_file(blob).unwrap();
    }
}
