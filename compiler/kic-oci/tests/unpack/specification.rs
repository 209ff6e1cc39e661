//! What the specification says.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use kic_oci::model::media_types::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use kic_oci::unpack::{Refusal, UnpackOptions, unpack};
use tar::{EntryType, Header};

use crate::shared::*;

#[test]
fn files_folders_and_links_come_out_with_mode_and_time_in_every_compression() {
    let tar = Tar::default()
        .entry(EntryType::Directory, b"./", b"", 0o711, b"")
        .entry(EntryType::Directory, b"etc/", b"", 0o750, b"")
        .entry(EntryType::Regular, b"etc/passwd", b"", 0o640, b"root")
        .link("bin", "usr/bin")
        .link("escape", "../../etc/passwd")
        .link("var/run", "/run")
        .entry(EntryType::Regular, b"usr/bin/sh", b"", 0o755, b"shell")
        .hard("usr/bin/dash", "usr/bin/sh")
        .pax(&[("mtime", b"1700000000.25")])
        .file("etc/late", b"")
        .end();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Several frames and members, as kic and others write them.
    let (first, second) = tar.split_at(700);
    let gzipped = [gzip(first), gzip(second)].concat();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let zstded = [zstd(first), zstd(second)].concat();
    for (media_type, bytes) in [(OCI_LAYER, tar), (OCI_LAYER_GZIP, gzipped), (OCI_LAYER_ZSTD, zstded)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let report =
            unpack([layer(media_type, io::Cursor::new(bytes))], &root, &UnpackOptions::default()).unwrap();
        let expected = [
            ("bin", "-> usr/bin"),
            ("escape", "-> ../../etc/passwd"),
            ("etc", "d"),
            ("etc/late", ""),
            ("etc/passwd", "root"),
            ("usr", "d"),
            ("usr/bin", "d"),
            ("usr/bin/dash", "shell"),
            ("usr/bin/sh", "shell"),
            ("var", "d"),
            ("var/run", "-> /run"),
        ];
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(tree(&root), expected);
        assert_eq!(mode(root.clone()), 0o711);
        assert_eq!(mode(root.join("etc")), 0o750);
        assert_eq!(mode(root.join("etc/passwd")), 0o640);
        assert_eq!(mode(root.join("usr")), 0o755);
        assert_eq!(mtime(root.clone()), (1_000_000, 0));
        assert_eq!(mtime(root.join("etc")), (1_000_000, 0), "though files came into it later");
        assert_eq!(mtime(root.join("bin")), (1_000_000, 0));
        assert_eq!(mtime(root.join("usr/bin")), (0, 0), "nothing describes it");
        assert_eq!(mtime(root.join("etc/late")), (1_700_000_000, 250_000_000));
        let inode = |name| fs::metadata(root.join(name)).unwrap().ino();
        assert_eq!(inode("usr/bin/sh"), inode("usr/bin/dash"));
        assert_eq!(report.layers, 1);
        assert_eq!(report.entries, 9);
        assert_eq!((report.files, report.directories), (3, 2));
        assert_eq!((report.symbolic_links, report.hard_links, report.bytes), (3, 1, 9));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the temporary folder is gone");
    }
}

#[test]
fn whiteouts_hide_what_lower_layers_have_and_only_that() {
    let lower = Tar::default()
        .folder("a/")
        .file("a/one", b"1")
        .file("a/two", b"2")
        .file("a/deep/three", b"3")
        .file("b/four", b"4")
        .file("b/inner/five", b"5")
        .file("c", b"6");
    let upper = Tar::default()
        .file("a/new", b"n")
        .file("a/.wh.one", b"")
        .file("a/.wh.new", b"")
        .file("a/.wh.deep", b"")
        .file("b/inner/new", b"n")
        .file("b/.wh..wh..opq", b"")
        .file("b/after", b"a")
        .file(".wh.c", b"")
        .file("nowhere/.wh.file", b"")
        .file(".wh..wh.plnk/12.34", b"");
    let (_folder, root, report) = good(vec![lower, upper]);
    assert_eq!(names(&root), ["a", "a/new", "a/two", "b", "b/after", "b/inner", "b/inner/new"]);
    assert_eq!(mtime(root.join("a")), (1_000_000, 0));
    assert_eq!(report.whiteouts, 6);
}

#[test]
fn a_whiteout_of_a_folder_keeps_what_its_own_layer_puts_there_in_any_order() {
    let lower = Tar::default().file("d/old", b"").file("d/sub/old", b"").file("e/old", b"");
    let before = Tar::default().file(".wh.d", b"").file("d/sub/new", b"");
    let after = Tar::default().file("d/sub/new", b"").file(".wh.d", b"");
    for upper in [before, after] {
        let (_folder, root, _) = good(vec![lower.clone(), upper]);
        assert_eq!(names(&root), ["d", "d/sub", "d/sub/new", "e", "e/old"]);
    }
    let (_folder, root, _) = good(vec![lower, Tar::default().file(".wh..wh..opq", b"").file("f", b"")]);
    assert_eq!(names(&root), ["f"]);
}

#[test]
fn a_later_entry_replaces_an_earlier_one_of_any_kind() {
    let first = Tar::default()
        .file("file-file", b"old")
        .file("file-folder", b"old")
        .folder("folder-file/")
        .file("folder-file/inner", b"")
        .link("link-file", "victim")
        .link("link-folder", "victim-folder")
        .file("folder-folder/kept", b"k")
        .folder("folder-link")
        .file("victim", b"safe")
        .file("victim-folder/x", b"safe")
        .hard("hard", "victim");
    let second = Tar::default()
        .file("file-file", b"new")
        .folder("file-folder/")
        .file("folder-file", b"new")
        .file("link-file", b"new")
        .folder("link-folder/")
        .file("link-folder/y", b"new")
        .entry(EntryType::Directory, b"folder-folder", b"", 0o700, b"")
        .link("folder-link", "victim")
        .file("hard", b"new")
        .hard("victim", "victim");
    let expected = [
        ("file-file", "new"),
        ("file-folder", "d"),
        ("folder-file", "new"),
        ("folder-folder", "d"),
        ("folder-folder/kept", "k"),
        ("folder-link", "-> victim"),
        ("hard", "new"),
        ("link-file", "new"),
        ("link-folder", "d"),
        ("link-folder/y", "new"),
        ("victim", "safe"),
        ("victim-folder", "d"),
        ("victim-folder/x", "safe"),
    ];
    let expected: BTreeMap<_, _> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let both = Tar([first.0.clone(), second.0.clone()].concat());
    for layers in [vec![first, second], vec![both]] {
        let (_folder, root, _) = good(layers);
        assert_eq!(tree(&root), expected);
        assert_eq!(mode(root.join("folder-folder")), 0o700);
    }
}

#[test]
fn names_with_spaces_line_breaks_and_odd_bytes_come_out_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let long = [b"d/".repeat(60), b"\xff name".to_vec()].concat();
    let tar = Tar::default().file("a b\n\\c", b"1").entry(EntryType::Regular, &long, b"", 0o644, b"2");
    let (_folder, root, _) = good(vec![tar]);
    assert_eq!(fs::read(root.join("a b\n\\c")).unwrap(), b"1");
    assert_eq!(fs::read(root.join(std::ffi::OsStr::from_bytes(&long))).unwrap(), b"2");
}

#[test]
fn gnu_long_names_and_old_folders_are_read() {
    let name = "n/".repeat(80) + "file";
    let gnu = |kind, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(5);
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    let long = [name.as_bytes(), b"\0"].concat();
    let tar = Tar::default()
        .raw(gnu(EntryType::GNULongName, &long), &long)
        .raw(gnu(EntryType::Regular, b"content"), b"content")
        .entry(EntryType::Regular, b"old/", b"", 0o700, b"");
    let (_folder, root, _) = good(vec![tar]);
    assert_eq!(fs::read(root.join(name)).unwrap(), b"content");
    assert!(root.join("old").is_dir());
}

#[test]
fn numbers_that_a_writer_left_out_are_zero_and_other_text_is_refused() {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..1].copy_from_slice(b"x");
    header.set_entry_type(EntryType::Regular);
    header.set_size(1);
    header.set_mode(0o644);
    let (_folder, root, _) = good(vec![Tar::default().raw(header.clone(), b"x")]);
    assert_eq!((mode(root.join("x")), mtime(root.join("x"))), (0o644, (0, 0)));
    header.as_old_mut().uid = *b"owner  \0";
    assert!(matches!(refused(vec![Tar::default().raw(header, b"x")]), Refusal::Header(_)));
}

#[test]
fn relative_links_inside_the_tree_are_followed_for_parents() {
    let lower = Tar::default().folder("usr/lib/").link("lib", "usr/lib").link("usr/up", "../usr/./lib/");
    let upper = Tar::default()
        .file("lib/one", b"1")
        .file("usr/up/two", b"2")
        .hard("lib/three", "usr/up/two")
        .file("lib/.wh.nothing", b"");
    let (_folder, root, _) = good(vec![lower, upper]);
    assert_eq!(
        names(&root),
        ["lib", "usr", "usr/lib", "usr/lib/one", "usr/lib/three", "usr/lib/two", "usr/up"]
    );
    assert!(fs::symlink_metadata(root.join("lib")).unwrap().is_symlink());
    assert_eq!(mtime(root.join("usr/lib")), (1_000_000, 0));
}

#[test]
fn links_of_layers_below_count_until_they_are_hidden_or_replaced() {
    let below = Tar::default().folder("run/").link("var", "/run").link("d/deep", "../..");
    let refused_above = |above: Tar| refused(vec![below.clone(), Tar::default().file("x", b""), above]);
    assert!(matches!(refused_above(Tar::default().file("var/x", b"")), Refusal::AbsoluteLink { .. }));
    assert!(matches!(refused_above(Tar::default().folder("var/y/")), Refusal::AbsoluteLink { .. }));
    assert!(matches!(refused_above(Tar::default().folder("d/deep/y/")), Refusal::EscapingLink { .. }));
    // Said after the entry, it comes too late.
    assert!(matches!(
        refused_above(Tar::default().file("var/x", b"").folder("var/")),
        Refusal::AbsoluteLink { .. }
    ));
    for above in [
        Tar::default().folder("var/").file("var/x", b""),
        Tar::default().file(".wh.var", b"").file("var/x", b""),
        Tar::default().file(".wh.d", b"").file("d/deep/x", b""),
        Tar::default().file("d/.wh..wh..opq", b"").file("d/deep/x", b""),
        Tar::default().link("var", "run").file("var/x", b""),
    ] {
        good(vec![below.clone(), above.clone()]);
        let next = Tar::default().file("run/y", b"");
        good(vec![below.clone(), above, next]);
    }
    let replaced = vec![below.clone(), Tar::default().folder("var/"), Tar::default().file("var/x", b"")];
    good(replaced);
    let hidden = vec![below, Tar::default().file(".wh.var", b""), Tar::default().file("var/x", b"")];
    good(hidden);
}

#[test]
fn a_link_that_comes_or_goes_between_two_neighbours_counts() {
    let gone = Tar::default().folder("to/").link("l", "to").file("l/a", b"").folder("l/").file("l/b", b"");
    let (_folder, root, _) = good(vec![gone]);
    assert_eq!(names(&root), ["l", "l/b", "to", "to/a"]);
    let come = Tar::default().file("l/a", b"").link("l", "/etc").file("l/b", b"");
    assert!(matches!(refused(vec![come]), Refusal::AbsoluteLink { .. }));
    let inside = Tar::default().file("d/a", b"").link("d/l", "/etc").file("d/b", b"").file("d/l/c", b"");
    assert!(matches!(refused(vec![inside]), Refusal::AbsoluteLink { .. }));
    for last in ["d/..", "d/.wh.", "d/b\0"] {
        let odd = Tar::default().file("d/a", b"").pax(&[("path", last.as_bytes())]).file("x", b"");
        refused(vec![odd]);
    }
}
