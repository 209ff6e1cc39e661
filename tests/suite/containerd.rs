//! containerd imports the archives that kic writes, and unpacks them to the same tree as `kic unpack`.

use std::fs;
use std::path::PathBuf;

use crate::support::containerd::Containerd;
use crate::support::kic::{kic, stdout};
use crate::support::root;
use crate::support::tree::assert_same;

#[test]
fn containerd_imports_an_archive_and_unpacks_it_to_the_same_tree() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(daemon) = Containerd::start(folder) else { return };
    let spec = root().join("examples/hello/cluster.kdl");
    let spec = spec.to_str().unwrap();
    let ours =
        |arguments: &[&str]| stdout(kic(folder, &folder.join("store")).args(arguments)).trim().to_owned();
    let digest = ours(&["compile", spec, "--quiet", "-o", "hello.tar"]);
    ours(&["unpack", "hello.tar", "ours"]);
    // Whole folders, and no overlay, which a container may not be allowed to mount.
    let archive = folder.join("hello.tar");
    let import = ["images", "import", "--snapshotter", "native", "--base-name", "example.com/hello"];
    if Containerd::unpacking(daemon.ctr(&import).arg(archive)).is_none() {
        return;
    }
    let list = stdout(&mut daemon.ctr(&["images", "list"]));
    assert!(list.contains("example.com/hello:v1") && list.contains(&digest), "{list}");
    // The snapshot of the uppermost layer is the newest.
    let snapshots = fs::read_dir(folder.join("root/io.containerd.snapshotter.v1.native/snapshots")).unwrap();
    let snapshots = snapshots.map(|entry| entry.unwrap().path());
    let number = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap_or(0);
    assert_same(&folder.join("ours"), &snapshots.max_by_key(number).unwrap());
}
