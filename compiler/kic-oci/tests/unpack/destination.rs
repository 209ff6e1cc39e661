//! The folder that is unpacked to.

use std::fs;
use std::io::{self};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kic_oci::model::media_types::OCI_LAYER;
use kic_oci::unpack::{Refusal, UnpackError, UnpackOptions, unpack};
use tar::EntryType;

use crate::shared::*;

#[test]
fn the_destination_is_new_or_empty_and_otherwise_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let layers = || [layer(OCI_LAYER, io::Cursor::new(Tar::default().file("a", b"x").end()))];
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    unpack(layers(), &root, &UnpackOptions::default()).unwrap();
    assert_eq!(names(&root), ["a"]);
    let result = unpack(layers(), &root, &UnpackOptions::default());
    assert!(matches!(result, Err(UnpackError::NotEmpty { .. })), "{result:?}");
    assert_eq!(names(&root), ["a"]);
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
    unpack(layers(), &folder.path().join("link"), &UnpackOptions::default()).unwrap();
    assert_eq!(names(&real), ["a"]);
    for bad in [root.join("a"), folder.path().join("no/such"), root.join("a/b")] {
        let result = unpack(layers(), &bad, &UnpackOptions::default());
        assert!(matches!(result, Err(UnpackError::Destination { .. })), "{result:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn messages_name_layer_entry_and_reason_and_do_no_harm_on_a_terminal() {
    let tar = Tar::default().link("run", "/run").file("run/\x1b[2Jfile", b"");
    let error = run(vec![tar], &UnpackOptions::default()).2.unwrap_err().to_string();
    assert_eq!(
        error,
        "layer test: refused the entry `run/\\u{1b}[2Jfile`: its parent `run` is a symbolic link to `/run`, \
         which is absolute and not followed"
    );
}

/// Run as root, the rest of this test is a child that has given up root.
#[test]
fn folders_that_even_their_owner_may_not_write_are_filled_and_then_closed() {
    let tar = Tar::default()
        .entry(EntryType::Directory, b"locked/", b"", 0o000, b"")
        .file("locked/a", b"1")
        .entry(EntryType::Directory, b"locked/inner/", b"", 0o100, b"")
        .file("locked/inner/b", b"2")
        .file("other", b"3");
    let upper = Tar::default().file("locked/c", b"4").file("locked/inner/.wh.b", b"");
    let check = |root: &Path| {
        assert_eq!(mode(root.join("locked")), 0o000);
        assert_eq!(mtime(root.join("locked")), (1_000_000, 0));
        if !is_root() {
            assert!(fs::read_dir(root.join("locked")).is_err());
            fs::set_permissions(root.join("locked"), fs::Permissions::from_mode(0o700)).unwrap();
        }
        assert_eq!(mode(root.join("locked/inner")), 0o100);
        fs::set_permissions(root.join("locked/inner"), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(names(root), ["locked", "locked/a", "locked/c", "locked/inner", "other"]);
    };
    let layers = || vec![tar.clone(), upper.clone()];
    let (_folder, root, _) = good(layers());
    check(&root);
    // And an error half way removes them.
    let mut bad = layers();
    bad.push(Tar::default().file("../x", b""));
    assert_eq!(refused(bad), Refusal::ParentName);
    if !is_root() {
        return;
    }
    // This binary must be where the other user can read it.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let binary = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let name = "folders_that_even_their_owner_may_not_write_are_filled_and_then_closed";
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&binary)
        .args(["--exact", name])
        .env("TMPDIR", folder.path())
        .output();
    match output {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => skip(&format!("giving up root needs setpriv: {error}")),
    }
}
