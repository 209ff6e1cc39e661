//! Layers unpacked into folders: what the image specification says, and what hostile layers try.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kic_oci::model::media_types::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use kic_oci::unpack::{
    Limit, Refusal, UnpackError, UnpackLayer, UnpackLimits, UnpackOptions, UnpackReport, unpack,
};
use tar::{EntryType, Header};

/// A tar stream written entry by entry, hostile names and all.
#[derive(Default, Clone)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &[u8], target: &[u8], mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_000_000);
        header.set_size(content.len() as u64);
        header.set_uid(1234);
        header.set_gid(5678);
        if name.len() > 100 || target.len() > 100 {
            self = self.pax(&[("path", name), ("linkpath", target)]);
        } else {
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        }
        self.raw(header, content)
    }

    fn raw(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut content = Vec::new();
        for (key, value) in records.iter().filter(|(_, value)| !value.is_empty()) {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.pax_bytes(&content)
    }

    fn pax_bytes(self, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.raw(header, content)
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, name.as_bytes(), b"", 0o644, content)
    }

    fn folder(self, name: &str) -> Self {
        self.entry(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn layer(media_type: &str, bytes: impl Read + Send + 'static) -> UnpackLayer {
    UnpackLayer { media_type: media_type.to_owned(), reader: Box::new(bytes), name: "test".to_owned() }
}

fn run(
    layers: Vec<Tar>,
    options: &UnpackOptions,
) -> (tempfile::TempDir, PathBuf, Result<UnpackReport, UnpackError>) {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("root");
    let layers = layers.into_iter().map(|tar| layer(OCI_LAYER, io::Cursor::new(tar.end())));
    let result = unpack(layers, &destination, options);
    if result.is_err() {
        assert!(!destination.exists(), "an error leaves no destination");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "and nothing beside it");
    }
    (folder, destination, result)
}

fn good(layers: Vec<Tar>) -> (tempfile::TempDir, PathBuf, UnpackReport) {
    let (folder, root, result) = run(layers, &UnpackOptions::default());
    (folder, root, result.unwrap())
}

fn refused(layers: Vec<Tar>) -> Refusal {
    refused_with(layers, &UnpackOptions::default())
}

fn refused_with(layers: Vec<Tar>, options: &UnpackOptions) -> Refusal {
    match run(layers, options).2 {
        Err(UnpackError::Refused { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Every path with what it is: `d`, the file's content, or `-> target`.
fn tree(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, out: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let what = if metadata.is_dir() {
                walk(root, &path, out);
                "d".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                String::from_utf8(fs::read(&path).unwrap()).unwrap()
            };
            out.insert(name, what);
        }
    }
    let mut out = BTreeMap::new();
    walk(root, root, &mut out);
    out
}

fn names(root: &Path) -> Vec<String> {
    tree(root).into_keys().collect()
}

fn mode(path: PathBuf) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn mtime(path: PathBuf) -> (i64, i64) {
    let metadata = fs::symlink_metadata(path).unwrap();
    (metadata.mtime(), metadata.mtime_nsec())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[allow(clippy::disallowed_methods)]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    let required = std::env::var("KIC_REQUIRE_PEERS").is_ok_and(|value| value == "1");
    assert!(!required, "KIC_REQUIRE_PEERS=1, and a test was skipped: {why}");
}

// What the specification says.

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

// What hostile layers try.

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
        let layers = layers.into_iter().map(|tar| layer(OCI_LAYER, io::Cursor::new(tar.end())));
        let result = unpack(layers, &root, &UnpackOptions::default());
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

// Layers that are cut off, damaged, or cost too much.

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

// The destination.

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
