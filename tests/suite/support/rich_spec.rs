//! A spec rich enough to show where builds differ: `tests/reproducible/spec` with a tree of odd files and the
//! images that it caches.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::kic::{kic, stdout};
use super::random::Random;
use super::root;

/// How a tree comes to be on a disk; none of it may show in an image.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// Files are made in another order for each seed.
    pub order: u64,
    /// When every file was changed last, in seconds since 1970.
    pub modified: u64,
    /// The permission bits of files, of executable files, and of folders.
    pub modes: (u32, u32, u32),
}

impl Default for Making {
    fn default() -> Self {
        Self { order: 1, modified: 1_600_000_000, modes: (0o644, 0o755, 0o755) }
    }
}

/// What a spec is made of.
pub(super) enum Item {
    File { path: String, bytes: Vec<u8>, executable: bool },
    Link { path: String, target: String },
    Folder { path: String },
}

/// Makes the spec with its tree and images in `folder`. `folder/cluster.kdl` is the spec.
pub fn make(folder: &Path, making: Making) {
    lay_out(items(), folder, making);
    make_images(folder);
}

/// The same, with locks that have the spec, its base and its images built in that encoder epoch.
pub fn make_of_epoch(folder: &Path, epoch: u32) {
    lay_out(items(), folder, Making::default());
    for part in ["", "base", "images"] {
        fs::write(folder.join(part).join("kic.lock"), format!("lock version=1 epoch={epoch}\n")).unwrap();
    }
    make_images(folder);
}

/// Makes the images alone, as layouts `root.oci`, `tool.oci` and `agent.oci` in `folder/images`.
pub fn make_images_only(folder: &Path) {
    for item in images() {
        item.make(folder, Making::default());
    }
    make_images(folder);
}

/// Makes files, links and folders.
pub(super) fn lay_out(mut items: Vec<Item>, folder: &Path, making: Making) {
    items.sort_by(|one, other| one.path().cmp(other.path()));
    Random::new(making.order).shuffle(&mut items);
    for item in &items {
        item.make(folder, making);
    }
    settle(folder, making);
}

/// Compiles the images that the spec caches or builds on.
pub(super) fn make_images(folder: &Path) {
    let store = folder.join(".images-store");
    for (spec, output) in
        [("root", "root.oci"), ("tool", "tool.oci"), ("agent", "agent.oci"), ("agent", "agent.tar")]
    {
        let (spec, output) = (format!("images/{spec}.kdl"), format!("images/{output}"));
        stdout(kic(folder, &store).args(["compile", "--quiet", &spec, "-o", &output]));
    }
    fs::remove_dir_all(store).unwrap();
}

/// Puts a line into the spec, below its platforms.
pub fn add_line(folder: &Path, line: &str) {
    let path = folder.join("cluster.kdl");
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_once("    base ").unwrap();
    fs::write(path, format!("{before}    {line}\n    base {after}")).unwrap();
}

/// The files below a folder of the project.
pub(super) fn files_of(data: &Path) -> Vec<Item> {
    let mut items = Vec::new();
    let mut waiting = vec![data.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                let path = path.strip_prefix(data).unwrap().to_str().unwrap().to_owned();
                items.push(Item::File { path, bytes, executable: false });
            }
        }
    }
    items
}

/// What the images are made of.
pub(super) fn images() -> Vec<Item> {
    items().into_iter().filter(|item| item.path().starts_with("images/")).collect()
}

/// What is made.
fn items() -> Vec<Item> {
    let mut items = files_of(&root().join("tests/reproducible/spec"));
    let mut file = |path: &str, bytes: &[u8], executable: bool| {
        items.push(Item::File { path: path.to_owned(), bytes: bytes.to_vec(), executable });
    };
    let mut random = Random::new(7);
    file("images/tool-data/blob", &random.bytes(300_000), false);
    file("images/tool-data/small", b"small", false);
    file("tree/plain.txt", b"plain\n", false);
    file("tree/run.sh", b"#!/bin/sh\necho run\n", true);
    file("tree/empty", b"", false);
    // Several frames of 4 MiB: some that do not compress, some that do.
    let mut big = random.bytes(1 << 20);
    big.extend(b"kic ".repeat(2 << 20));
    file("tree/big.bin", &big, false);
    file("tree/with space/a b  c", b"spaces", false);
    file("tree/quotes/'\"`$(x);&|<>*?", b"shell", true);
    file("tree/new\nline", b"line feed", false);
    file("tree/-rf", b"looks like an option", false);
    file("tree/.hidden/.file", b"hidden", false);
    file("tree/ünïcödé/日本語/имя", b"unicode", false);
    // One name in two normal forms of Unicode, which are two files.
    file("tree/forms/caf\u{e9}", b"composed", false);
    file("tree/forms/cafe\u{301}", b"decomposed", false);
    // Orders differ here between bytes, characters, locales, and whole paths or parts of them.
    for name in
        ["a", "A", "ä", "b", "B", "a-b", "a.b", "a/b", "a0", "Z", "_", "10", "9", "\u{1f600}", "\u{ffee}"]
    {
        file(&format!("tree/order/x{name}/f"), name.as_bytes(), false);
    }
    file(&format!("tree/{}/end", "n".repeat(120)), b"a name over 100 bytes", false);
    file(&format!("tree/{}/end", ["long-part-of-a-path"; 20].join("/")), b"a path over 255 bytes", true);
    file(&format!("tree/{}", "é".repeat(100)), b"a name of 200 bytes that are not ASCII", false);
    file("tree/left-out/never", b"never", false);
    file("tree/deep/x.tmp", b"never", false);
    file("tree/x.bak", b"never", false);
    for number in 0..60 {
        file(
            &format!("tree/many/{}", number * 7919 % 1000),
            format!("{number}\n").as_bytes(),
            number % 3 == 0,
        );
    }
    let mut link =
        |path: &str, target: &str| items.push(Item::Link { path: path.into(), target: target.into() });
    link("tree/link", "plain.txt");
    link("tree/links/up", "../with space/a b  c");
    link("tree/links/absolute", "/etc/hosts");
    link("tree/links/dangling", "not there");
    link("tree/links/folder", "../order");
    link("tree/links/long", &"target/".repeat(30));
    items.push(Item::Folder { path: "tree/nothing".into() });
    items.push(Item::Folder { path: "tree/nothing-below/here/either".into() });
    items
}

impl Item {
    fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Folder { path } => path,
        }
    }

    fn make(&self, folder: &Path, making: Making) {
        let path = folder.join(self.path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match self {
            Self::File { bytes, executable, .. } => {
                fs::write(&path, bytes).unwrap();
                let mode = if *executable { making.modes.1 } else { making.modes.0 };
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            Self::Link { target, .. } => symlink(target, path).unwrap(),
            Self::Folder { .. } => fs::create_dir_all(path).unwrap(),
        }
    }
}

/// Gives modes to folders, and times to everything.
fn settle(folder: &Path, making: Making) {
    let mut folders = vec![folder.to_owned()];
    let mut next = 0;
    while next < folders.len() {
        let inside: Vec<PathBuf> =
            fs::read_dir(&folders[next]).unwrap().map(|entry| entry.unwrap().path()).collect();
        next += 1;
        for path in inside {
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                set_modified(&path, making.modified);
            }
        }
    }
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, fs::Permissions::from_mode(making.modes.2)).unwrap();
        set_modified(folder, making.modified);
    }
}

fn set_modified(path: &Path, seconds: u64) {
    let times = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(seconds));
    File::open(path).and_then(|file| file.set_times(times)).unwrap();
}
