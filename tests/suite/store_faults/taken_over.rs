//! A layer that is packed again takes over what it can from the layer before, of which the disk may have damaged or lost some.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
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
    let compile = |store: &str| compile(path, store);
    std::thread::sleep(SETTLED);
    let mut before = compile("warm");
    // In places all over the layer: of most, some frames come before.
    for (round, number) in [199, 487, 770, 1_111, 1_444, 1_820].into_iter().enumerate() {
        fs::write(large_tree::file(&path.join("tree"), number), large_tree::body(90 + number)).unwrap();
        std::thread::sleep(SETTLED);
        drop(fs::remove_dir_all(path.join("cold")));
        let expected = compile("cold");
        let replaced: Vec<PathBuf> = before.difference(&expected).map(|digest| blob(path, digest)).collect();
        assert!(!replaced.is_empty());
        // A byte of the second frame.
        replaced.iter().for_each(|blob| spoil(blob, (round % 2 == 0).then_some(600_000)));
        assert_eq!(compile("warm"), expected, "round {round}");
        before = expected;
    }
}

type Change = fn(&Path);

/// What is done to a folder of 200 small files before it is packed again.
const CHANGES: [(&str, Change); 11] = [
    ("one file", |tree| fs::write(file(tree, 7), "another").unwrap()),
    ("a name", |tree| fs::rename(file(tree, 20), tree.join("zzz")).unwrap()),
    ("a content that others have", |tree| fs::write(file(tree, 100), text(3)).unwrap()),
    ("a mode", |tree| fs::set_permissions(file(tree, 110), fs::Permissions::from_mode(0o755)).unwrap()),
    ("fewer files", |tree| (30..50).for_each(|number| fs::remove_file(file(tree, number)).unwrap())),
    ("a link and a folder in place of files", |tree| {
        fs::remove_file(file(tree, 60)).unwrap();
        symlink("061", file(tree, 60)).unwrap();
        fs::remove_file(file(tree, 62)).unwrap();
        fs::create_dir(file(tree, 62)).unwrap();
        fs::write(file(tree, 62).join("deeper"), text(62)).unwrap();
    }),
    ("more files than are opened one by one", |tree| {
        (70..170).for_each(|number| fs::write(file(tree, number), text(1_000 + number)).unwrap());
    }),
    ("a large file", |tree| fs::write(tree.join("large"), vec![b'x'; 5 << 20]).unwrap()),
    ("no large file", |tree| fs::remove_file(tree.join("large")).unwrap()),
    ("damage", |tree| fs::write(file(tree, 180), "damage").unwrap()),
    ("loss", |tree| fs::write(file(tree, 180), "loss").unwrap()),
];

#[test]
fn a_small_layer_takes_over_files_whatever_changed_and_however_it_is_compressed() {
    for compression in ["zstd", "gzip", "none"] {
        let folder = tempfile::tempdir().unwrap();
        let (path, tree) = (folder.path(), folder.path().join("tree"));
        let files = "files \"t\" { copy \"tree\" to=\"/tree\"; }";
        let spec = format!("cluster \"c\" {{ base scratch; compression \"{compression}\"; {files}; }}");
        fs::write(path.join("cluster.kdl"), spec).unwrap();
        fs::create_dir(&tree).unwrap();
        (0..200).for_each(|number| fs::write(file(&tree, number), text(number)).unwrap());
        std::thread::sleep(SETTLED);
        let mut before = compile(path, "warm");
        for (name, change) in CHANGES {
            change(&tree);
            std::thread::sleep(SETTLED);
            drop(fs::remove_dir_all(path.join("cold")));
            let expected = compile(path, "cold");
            assert_ne!(expected, before, "{compression}, {name}");
            for blob in before.difference(&expected).map(|digest| blob(path, digest)) {
                match name {
                    "damage" => spoil(&blob, Some(fs::metadata(&blob).unwrap().len() / 2)),
                    "loss" => spoil(&blob, None),
                    _ => {}
                }
            }
            assert_eq!(compile(path, "warm"), expected, "{compression}, {name}");
            before = expected;
        }
    }
}

fn file(tree: &Path, number: u64) -> PathBuf {
    tree.join(format!("{number:03}"))
}

fn text(number: u64) -> String {
    format!("number: {number}\n").repeat(number as usize % 60)
}

/// The layers of the image that a compile with that store gives.
fn compile(folder: &Path, store: &str) -> BTreeSet<String> {
    let out = format!("{store}.oci");
    let mut command = kic(folder, &folder.join(store));
    stdout(command.args(["compile", "--quiet", "-o", &out]));
    layers(&folder.join(out)).into_iter().collect()
}

/// A blob of the store that is compiled with again.
fn blob(folder: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    folder.join("warm/blobs/sha256").join(&hex[..2]).join(hex)
}

/// Damages a byte of the blob, or takes it away.
fn spoil(blob: &Path, place: Option<u64>) {
    let Some(place) = place else { return fs::remove_file(blob).unwrap() };
    fs::set_permissions(blob, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(blob).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
}
