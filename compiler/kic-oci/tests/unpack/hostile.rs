//! What hostile layers try.

use std::fs;
use std::io::{self};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kic_oci::model::media_types::OCI_LAYER;
use kic_oci::unpack::{Refusal, UnpackError, UnpackOptions, unpack};
use tar::{EntryType, Header};

use crate::shared::*;

#[test]
fn names_that_leave_the_root_are_refused() {
    for (name, reason) in [
        ("../evil", Refusal::ParentName),
        ("a/../../evil", Refusal::ParentName),
        ("a/..", Refusal::ParentName),
        ("..", Refusal::ParentName),
        ("/etc/passwd", Refusal::AbsoluteName),
        ("//etc/passwd", Refusal::AbsoluteName),
        ("", Refusal::EmptyName),
        (".", Refusal::Root),
        ("./.wh...", Refusal::Whiteout),
        (".wh.", Refusal::Whiteout),
        ("..//.wh.x", Refusal::ParentName),
        (".wh.a/b", Refusal::Whiteout),
    ] {
        assert_eq!(refused(vec![Tar::default().file(name, b"x")]), reason, "{name:?}");
    }
    let nul = Tar::default().pax(&[("path", b"a\0b")]).file("x", b"");
    assert_eq!(refused(vec![nul]), Refusal::Nul);
    let long = "x".repeat(256);
    assert_eq!(refused(vec![Tar::default().file(&long, b"")]), Refusal::LongName);
    let long = "x/".repeat(2050);
    assert_eq!(refused(vec![Tar::default().file(&long, b"")]), Refusal::LongName);
    let deep = "x/".repeat(300) + "y";
    assert_eq!(refused(vec![Tar::default().file(&deep, b"")]), Refusal::Deep);
}

#[test]
fn absolute_names_are_taken_as_relative_when_asked() {
    let options = UnpackOptions { strip_leading_slashes: true, ..Default::default() };
    let tar = Tar::default().file("/ko-app/tool", b"t").hard("/ko-app/link", "/ko-app/tool");
    let (_folder, root, result) = run(vec![tar], &options);
    result.unwrap();
    assert_eq!(names(&root), ["ko-app", "ko-app/link", "ko-app/tool"]);
    assert_eq!(refused_with(vec![Tar::default().file("/../x", b"")], &options), Refusal::ParentName);
}

/// Runs layers against a destination whose surroundings hold something worth attacking.
fn attack(link: &str, entry: impl Fn(Tar) -> Tar) {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), b"safe").unwrap();
    fs::create_dir(outside.path().join("folder")).unwrap();
    let link = link.replace("OUTSIDE", outside.path().to_str().unwrap());
    let one = entry(Tar::default().link("link", &link));
    let two = vec![Tar::default().link("link", &link), entry(Tar::default())];
    for layers in [vec![one], two] {
        let root = outside.path().join("root");
        let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
        let read = layers.clone();
        let layers = layers.into_iter().map(|tar| layer(OCI_LAYER, io::Cursor::new(tar)));
        let result = unpack(layers, &root, &UnpackOptions::default());
        same_verdict(&read, &result);
        assert!(matches!(result, Err(UnpackError::Refused { .. })), "{link}: {result:?}");
        let names: Vec<_> = tree(outside.path()).into_iter().collect();
        let expected = [("folder", "d"), ("victim", "safe")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(names, expected, "{link}");
    }
}

#[test]
fn links_out_of_the_root_are_never_followed() {
    for link in ["OUTSIDE", "OUTSIDE/", "..", "../", "./..", "../../../../../../../../../../..", "/"] {
        attack(link, |tar| tar.file("link/victim", b"evil"));
        attack(link, |tar| tar.file("link/new", b"evil"));
        attack(link, |tar| tar.folder("link/folder2/"));
        attack(link, |tar| tar.link("link/evil", "x"));
        attack(link, |tar| tar.file("link/.wh.victim", b""));
        attack(link, |tar| tar.file("link/.wh..wh..opq", b""));
        attack(link, |tar| tar.hard("stolen", "link/victim"));
        attack(link, |tar| tar.file("own", b"").hard("link/new", "own"));
        attack(link, |tar| tar.link("second", "link").file("second/new", b"evil"));
        attack(link, |tar| tar.folder("d").link("d/second", "../link/folder").file("d/second/new", b"evil"));
    }
    attack("OUTSIDE/root/../folder", |tar| tar.file("link/new", b""));
}

#[test]
fn a_link_at_the_entrys_own_name_is_replaced_and_not_written_through() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, b"safe").unwrap();
    let tar = Tar::default().link("link", victim.to_str().unwrap()).file("link", b"evil");
    let (_folder, root, _) = good(vec![tar]);
    assert_eq!(fs::read(&victim).unwrap(), b"safe");
    assert_eq!(fs::read(root.join("link")).unwrap(), b"evil");
    // Nor through a hard link to it, which links the link.
    let tar =
        Tar::default().link("link", victim.to_str().unwrap()).hard("hard", "link").file("hard", b"evil");
    good(vec![tar]);
    assert_eq!(fs::read(&victim).unwrap(), b"safe");
    // A folder described over the link does not change what the link points to.
    let folder = outside.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let tar = Tar::default().link("link", folder.to_str().unwrap()).entry(
        EntryType::Directory,
        b"link/",
        b"",
        0o777,
        b"",
    );
    let (_folder, root, _) = good(vec![tar.file("link/x", b"")]);
    assert_eq!(mode(folder.clone()), 0o755);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert!(root.join("link").is_dir());
}

#[test]
fn hard_links_out_of_the_root_to_nothing_and_to_folders_are_refused() {
    let target = |target: &str| refused(vec![Tar::default().folder("d/").hard("link", target)]);
    for (name, expected) in [
        ("../victim", Refusal::ParentName),
        ("d/../../victim", Refusal::ParentName),
        ("/etc/passwd", Refusal::AbsoluteName),
    ] {
        assert!(
            matches!(target(name), Refusal::HardLinkTarget { reason, .. } if *reason == expected),
            "{name}"
        );
    }
    assert!(matches!(target("missing"), Refusal::HardLinkMissing { .. }));
    assert!(matches!(target("missing/also"), Refusal::HardLinkMissing { .. }));
    assert!(matches!(target("d"), Refusal::HardLinkFolder { .. }));
    assert!(matches!(target("./"), Refusal::HardLinkFolder { .. }));
    assert!(matches!(target("link"), Refusal::HardLinkMissing { .. }));
}

#[test]
fn links_in_a_circle_and_files_as_parents_are_refused() {
    let circle = Tar::default().link("a", "b").link("b", "a").file("a/x", b"");
    assert_eq!(refused(vec![circle]), Refusal::LinkLoop);
    let grow = Tar::default().link("a", "a/a/a").file("a/x", b"");
    assert_eq!(refused(vec![grow]), Refusal::LinkLoop);
    let file = Tar::default().file("a", b"").file("a/x", b"");
    assert!(matches!(refused(vec![file]), Refusal::ParentNotFolder { parent } if parent == "a"));
    // Through links a path may get deeper than a name; that is bounded too.
    let half = "x/".repeat(200);
    let deep = Tar::default().folder(&half).link("half", &half).folder(&format!("half/{half}"));
    assert_eq!(refused(vec![deep]), Refusal::Deep);
}

#[test]
fn special_files_are_refused_or_left_out_as_the_options_say() {
    let special = |kind| Tar::default().entry(kind, b"dev/node", b"", 0o666, b"").file("dev/file", b"");
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b's')] {
        assert!(matches!(refused(vec![special(kind)]), Refusal::SpecialFile(_)), "{kind:?}");
        let options = UnpackOptions { skip_special_files: true, ..Default::default() };
        let (_folder, root, result) = run(vec![special(kind)], &options);
        assert_eq!(result.unwrap().skipped_special_files, 1);
        assert_eq!(names(&root), ["dev", "dev/file"]);
    }
    assert_eq!(refused(vec![special(EntryType::new(b'Z'))]), Refusal::Kind(b'Z'));
    let mut sparse = Header::new_gnu();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(0);
    sparse.set_path("sparse").unwrap();
    sparse.as_gnu_mut().unwrap().set_real_size(0);
    assert_eq!(refused(vec![Tar::default().raw(sparse, b"")]), Refusal::Sparse);
    let sparse = Tar::default().pax(&[("GNU.sparse.major", b"1")]).file("x", b"");
    assert_eq!(refused(vec![sparse]), Refusal::Sparse);
}

#[test]
fn setuid_bits_are_dropped_unless_asked_for_and_the_sticky_bit_stays() {
    let tar = Tar::default()
        .entry(EntryType::Regular, b"sudo", b"", 0o4755, b"")
        .entry(EntryType::Directory, b"mail", b"", 0o2775, b"")
        .entry(EntryType::Directory, b"tmp", b"", 0o1777, b"");
    for (keep_setuid, modes, dropped) in
        [(false, [0o755, 0o775, 0o1777], 2), (true, [0o4755, 0o2775, 0o1777], 0)]
    {
        let options = UnpackOptions { keep_setuid, ..Default::default() };
        let (_folder, root, result) = run(vec![tar.clone()], &options);
        assert_eq!(result.unwrap().dropped_setuid, dropped);
        assert_eq!(["sudo", "mail", "tmp"].map(|name| mode(root.join(name))), modes);
    }
}

#[test]
fn the_owner_is_the_current_user_unless_root_asks_for_the_entrys() {
    let tar = Tar::default()
        .folder("d/")
        .file("d/file", b"")
        .link("d/link", "x")
        .pax(&[("uid", b"70000"), ("gid", b"70001")])
        .file("d/pax", b"");
    let owner = |path: PathBuf| {
        let metadata = fs::symlink_metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let (_folder, root, _) = good(vec![tar.clone()]);
    let own = owner(root.clone()).0;
    assert_eq!(owner(root.join("d/file")).0, own);
    if !is_root() {
        return skip("other owners need root");
    }
    let options = UnpackOptions { preserve_owner: true, ..Default::default() };
    let (_folder, root, result) = run(vec![tar], &options);
    result.unwrap();
    for name in ["d", "d/file", "d/link"] {
        assert_eq!(owner(root.join(name)), (1234, 5678), "{name}");
    }
    assert_eq!(owner(root.join("d/pax")), (70_000, 70_001));
    let huge = Tar::default().pax(&[("uid", b"4294967295")]).file("x", b"");
    assert!(matches!(refused_with(vec![huge], &options), Refusal::Header(_)));
}

#[test]
fn only_extended_attributes_on_the_list_are_restored() {
    let tar = Tar::default()
        .pax(&[("SCHILY.xattr.user.one", b"1"), ("SCHILY.xattr.user.two", b"2")])
        .file("file", b"");
    let get = |root: &Path, name: &str| {
        let mut value = [0; 16];
        rustix::fs::lgetxattr(root.join("file"), name, &mut value[..]).map(|length| value[..length].to_vec())
    };
    let options = UnpackOptions { xattrs: vec!["user.one".into()], ..Default::default() };
    let (_folder, root, result) = run(vec![tar.clone()], &options);
    match result {
        Err(UnpackError::Write { source, .. }) if source.kind() == io::ErrorKind::Unsupported => {
            return skip("the file system of the temporary folder has no extended attributes");
        }
        result => result.unwrap(),
    };
    assert_eq!(get(&root, "user.one").unwrap(), b"1");
    assert!(get(&root, "user.two").is_err());
    let (_folder, root, _) = good(vec![tar]);
    assert!(get(&root, "user.one").is_err());
}

#[test]
fn damaged_headers_are_refused() {
    for records in [
        &b"not a record\n"[..],
        b"11 path=ab\n11 path=cd\n",
        b"99 path=ab\n",
        b"12 mtime=no\n",
        b"13 size=1e3a\n",
        b"12 uid=-100\n",
    ] {
        let tar = Tar::default().pax_bytes(records).file("x", b"");
        assert!(matches!(refused(vec![tar]), Refusal::Header(_)), "{}", String::from_utf8_lossy(records));
    }
    let link = Tar::default().entry(EntryType::Symlink, b"link", b"", 0o777, b"");
    assert_eq!(refused(vec![link]), Refusal::LinkTarget);
}
