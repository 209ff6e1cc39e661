mod damage;
mod killed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use kic_base::{Digest, Platform};
use kic_store::{Boot, PlaceMode, Placed, Store, Suspects};

use super::*;
use crate::blob_source::BlobSource;
use crate::layer::{Compression, LayerWriter};
use crate::model::{Descriptor, ImageConfig, Index, Manifest, canonical_json, media_types};

/// Blobs in memory; the one that is `missing` cannot be had, the one that is `slow` never comes.
#[derive(Default, Clone)]
struct Blobs {
    blobs: BTreeMap<Digest, Vec<u8>>,
    missing: Option<Digest>,
    slow: Option<Digest>,
}

impl BlobSource for Blobs {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        if self.slow == Some(*digest) {
            thread::sleep(Duration::from_secs(600));
        }
        if self.missing == Some(*digest) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let bytes = self.blobs.get(digest).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }

    fn suspects(&self) -> Suspects {
        Suspects::default()
    }
}

struct Image {
    root: Descriptor,
    blobs: Vec<Descriptor>,
    source: Blobs,
}

/// An image of a layer that all share, and one of its own.
fn image(name: &str) -> Image {
    let mut source = Blobs::default();
    let mut put = |media_type: &str, bytes: Vec<u8>| {
        let descriptor = Descriptor::of(media_type, &bytes);
        source.blobs.insert(descriptor.digest, bytes);
        descriptor
    };
    let (mut layers, mut config) = (Vec::new(), ImageConfig::new(&Platform::new("linux", "amd64", None)));
    for path in ["shared", name] {
        let mut layer = LayerWriter::new(Vec::new(), kic_base::Epoch::CURRENT, Compression::Gzip, 0).unwrap();
        layer.file(path, 0o644, 6, &mut &b"hello\n"[..]).unwrap();
        let (bytes, digests) = layer.finish().unwrap();
        config.rootfs.diff_ids.push(digests.diff_id);
        layers.push(put(media_types::OCI_LAYER_GZIP, bytes));
    }
    let config = put(media_types::OCI_CONFIG, canonical_json(&config));
    let root = put(media_types::OCI_MANIFEST, canonical_json(&Manifest::new(config.clone(), layers.clone())));
    layers.push(config);
    Image { root, blobs: layers, source }
}

fn write(directory: &Path, reference: &str, image: &Image) -> Result<Written, LayoutError> {
    write_layout(directory, &image.root, reference, &image.blobs, &image.source, LayoutOptions::default())
}

/// Everything below a directory: path, mode, inode, time and content.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mut content = Vec::new();
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            content = fs::read(&path).unwrap();
        }
        let shown = path.strip_prefix(directory).unwrap().to_owned();
        found.insert(
            shown,
            (metadata.mode() & 0o7777, metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), content),
        );
    }
    found
}

fn names(directory: &Path) -> BTreeSet<String> {
    snapshot(directory).into_keys().map(|path| path.to_str().unwrap().to_owned()).collect()
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn expected_names(images: &[&Image]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        ["", "blobs", "blobs/sha256", "index.json", "oci-layout"].map(str::to_owned).into();
    for image in images {
        names.extend(image.blobs.iter().chain([&image.root]).map(|blob| blob_path(&blob.digest)));
    }
    names
}

fn references(directory: &Path) -> Vec<(String, Digest)> {
    let index: Index = serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
    index.manifests.iter().map(|entry| (entry.annotations[REFERENCE_NAME].clone(), entry.digest)).collect()
}

#[test]
fn a_new_directory_holds_the_image_with_fixed_modes_and_is_a_function_of_it() {
    let parent = tempfile::tempdir().unwrap();
    let image = image("a");
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let written = write(&parent.path().join("out"), "example.com/a:1", &image);
    rustix::process::umask(before);
    let written = written.unwrap();
    assert_eq!((written.added, written.kept, written.changed), (4, 0, true));
    let out = parent.path().join("out");
    assert_eq!(names(&out), expected_names(&[&image]));
    for (path, (mode, ..)) in snapshot(&out) {
        let expected = if out.join(&path).is_dir() { 0o755 } else { 0o644 };
        assert_eq!(mode, expected, "{}", path.display());
    }
    let index = String::from_utf8(fs::read(out.join("index.json")).unwrap()).unwrap();
    let (digest, size) = (image.root.digest, image.root.size);
    assert_eq!(
        index,
        format!(
            r#"{{"manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"example.com/a:1"}},"digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":{size}}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
        )
    );
    assert_eq!(names(parent.path()).len(), names(&out).len() + 1, "nothing is left beside it");
}

#[test]
fn an_empty_directory_and_a_path_through_a_link_become_a_layout() {
    let parent = tempfile::tempdir().unwrap();
    let (empty, link) = (parent.path().join("empty"), parent.path().join("link"));
    fs::create_dir(&empty).unwrap();
    symlink(&empty, &link).unwrap();
    let inode = fs::metadata(&empty).unwrap().ino();
    let image = image("a");
    write(&link, "a", &image).unwrap();
    assert_eq!(names(&empty), expected_names(&[&image]));
    assert_eq!(fs::metadata(&empty).unwrap().ino(), inode, "it is still the same directory");
}

#[test]
fn writing_the_same_image_again_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let image = image("a");
    write(&out, "a", &image).unwrap();
    let before = snapshot(&out);
    for verify in [false, true] {
        let options = LayoutOptions { verify, ..LayoutOptions::default() };
        // A source that has nothing: nothing is asked of it.
        let written = write_layout(&out, &image.root, "a", &image.blobs, &Blobs::default(), options).unwrap();
        assert_eq!(written, Written { kept: 4, ..Written::default() });
        assert_eq!(snapshot(&out), before);
    }
}

#[test]
fn other_references_are_kept_and_only_what_the_replaced_image_needed_is_removed() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let (first, second, third) = (image("a"), image("b"), image("c"));
    write(&out, "z", &first).unwrap();
    let written = write(&out, "latest", &second).unwrap();
    assert_eq!((written.added, written.kept), (3, 1));
    assert_eq!(names(&out), expected_names(&[&first, &second]));
    let written = write(&out, "latest", &third).unwrap();
    assert_eq!((written.removed, written.replaced), (3, vec![second.root.digest]));
    assert_eq!(names(&out), expected_names(&[&first, &third]));
    let expected = [("latest".to_owned(), third.root.digest), ("z".to_owned(), first.root.digest)];
    assert_eq!(references(&out), expected);
    // The same image under another name, then the first name moves on: the image stays.
    write(&out, "y", &first).unwrap();
    write(&out, "z", &third).unwrap();
    assert_eq!(names(&out), expected_names(&[&first, &third]));
    write(&out, "y", &third).unwrap();
    assert_eq!(names(&out), expected_names(&[&third]));
}

#[test]
fn nothing_is_removed_while_an_entry_is_not_understood() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let (first, second) = (image("a"), image("b"));
    write(&out, "a", &first).unwrap();
    let strange = br#"{"blobs":["who knows"]}"#;
    let descriptor = Descriptor::of("application/vnd.example+json", strange);
    fs::write(out.join(blob_path(&descriptor.digest)), strange).unwrap();
    let mut index: Index = serde_json::from_slice(&fs::read(out.join("index.json")).unwrap()).unwrap();
    index.manifests.push(descriptor.clone());
    fs::write(out.join("index.json"), canonical_json(&index)).unwrap();
    assert_eq!(write(&out, "a", &second).unwrap().removed, 0);
    let mut expected = expected_names(&[&first, &second]);
    expected.insert(blob_path(&descriptor.digest));
    assert_eq!(names(&out), expected);
}

#[test]
fn what_is_no_layout_is_left_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/notes"), "mine").unwrap();
    fs::write(path("file"), "mine").unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    for (name, version, index) in [
        ("version", r#"{"imageLayoutVersion":"2.0.0"}"#, "{}"),
        ("garbage", "x", "{}"),
        ("broken", r#"{"imageLayoutVersion":"1.0.0"}"#, "{"),
        ("manifest", r#"{"imageLayoutVersion":"1.0.0"}"#, r#"{"schemaVersion":2,"layers":[]}"#),
    ] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("oci-layout"), version).unwrap();
        fs::write(path(name).join("index.json"), index).unwrap();
    }
    fs::create_dir_all(path("linked")).unwrap();
    fs::write(path("linked/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    symlink("../full", path("linked/blobs")).unwrap();
    let before = snapshot(parent.path());
    let image = image("a");
    for name in ["full", "file", "dangling"] {
        assert!(matches!(write(&path(name), "a", &image), Err(LayoutError::Occupied { .. })), "{name}");
    }
    for name in ["version", "garbage", "broken", "manifest", "linked"] {
        assert!(matches!(write(&path(name), "a", &image), Err(LayoutError::Damaged { .. })), "{name}");
    }
    for name in ["file/x", "missing/x"] {
        assert!(matches!(write(&path(name), "a", &image), Err(LayoutError::NotADirectory { .. })), "{name}");
    }
    for reference in ["", "a\nb"] {
        assert!(matches!(write(&path("new"), reference, &image), Err(LayoutError::Reference { .. })));
    }
    assert_eq!(snapshot(parent.path()), before);
}

#[test]
fn a_blob_that_cannot_be_had_or_lies_about_its_size_leaves_everything_as_it_was() {
    let parent = tempfile::tempdir().unwrap();
    let (new, empty, old) =
        (parent.path().join("new"), parent.path().join("empty"), parent.path().join("old"));
    fs::create_dir(&empty).unwrap();
    write(&old, "a", &image("a")).unwrap();
    let before = names(parent.path());
    let index = fs::read(old.join("index.json")).unwrap();
    for missing in [true, false] {
        let mut image = image("b");
        // The last in the order in which they are written, but not the layer that the old layout has.
        let last = image.blobs[1..].iter().chain([&image.root]).map(|blob| blob.digest).max().unwrap();
        if missing {
            image.source.missing = Some(last);
        } else {
            image.source.blobs.get_mut(&last).unwrap().push(b' ');
        }
        for out in [&new, &empty, &old] {
            let error = write(out, "b", &image).unwrap_err();
            match error {
                LayoutError::Blob { digest, .. } => assert!(missing && digest == last),
                LayoutError::Size { digest, .. } => assert!(!missing && digest == last),
                other => panic!("{other}"),
            }
        }
        let file = parent.path().join("file.tar");
        write_archive(&file, &image.root, "b", &image.blobs, &image.source).unwrap_err();
        assert_eq!(names(parent.path()), before);
        assert_eq!(fs::read(old.join("index.json")).unwrap(), index);
    }
}

#[test]
fn a_full_disk_and_a_forbidden_directory_are_typed_errors_with_the_path() {
    struct Full;
    impl BlobSource for Full {
        fn open(&self, _: &Digest) -> io::Result<Box<dyn Read + Send>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn place(&self, _: &Digest, _: &Path, _: PlaceMode) -> io::Result<Option<Placed>> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn suspects(&self) -> Suspects {
            Suspects::default()
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let image = image("a");
    let write_to = |out: &Path, source: &dyn BlobSource| {
        write_layout(out, &image.root, "a", &image.blobs, source, LayoutOptions::default())
    };
    assert!(matches!(write_to(&out, &Full), Err(LayoutError::StorageFull { .. })));
    assert_eq!(names(parent.path()).len(), 1);
    fs::set_permissions(parent.path(), Permissions::from_mode(0o555)).unwrap();
    if rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: root may write everywhere, so no directory is forbidden");
    } else {
        assert!(matches!(write_to(&out, &image.source), Err(LayoutError::Permission { .. })));
    }
    fs::set_permissions(parent.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn several_writers_at_once_all_find_their_image_in_the_layout() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let images: Vec<Image> = ["a", "b", "c", "d", "e", "f"].into_iter().map(image).collect();
    thread::scope(|scope| {
        for (place, image) in images.iter().enumerate() {
            let out = &out;
            scope.spawn(move || write(out, &format!("image-{place}"), image).unwrap());
        }
    });
    assert_eq!(names(&out), expected_names(&images.iter().collect::<Vec<_>>()));
    assert_eq!(references(&out).len(), images.len());
    assert_eq!(names(parent.path()).len(), names(&out).len() + 1);
}

#[test]
fn the_store_shares_or_copies() {
    let parent = tempfile::tempdir().unwrap();
    let store = Store::open(&parent.path().join("store")).unwrap();
    let image = image("a");
    for bytes in image.source.blobs.values() {
        store.put(bytes).unwrap();
    }
    for (name, sharing, mode) in [("share", PlaceMode::Share, 0o444), ("copy", PlaceMode::Copy, 0o644)] {
        let out = parent.path().join(name);
        let options = LayoutOptions { sharing, verify: false };
        write_layout(&out, &image.root, "a", &image.blobs, &store, options).unwrap();
        assert_eq!(names(&out), expected_names(&[&image]));
        for digest in image.source.blobs.keys() {
            let metadata = fs::metadata(out.join(blob_path(digest))).unwrap();
            assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
        }
    }
    let file = parent.path().join("a.tar");
    write_archive(&file, &image.root, "a", &image.blobs, &store).unwrap();
}

#[test]
fn an_archive_is_a_function_of_the_image_and_replaces_only_files() {
    let parent = tempfile::tempdir().unwrap();
    let image = image("a");
    let file = parent.path().join("image.tar");
    let write_to = |file: &Path| write_archive(file, &image.root, "a:1", &image.blobs, &image.source);
    fs::write(&file, "what was there before").unwrap();
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let written = write_to(&file);
    rustix::process::umask(before);
    assert_eq!(written.unwrap().added, 4);
    let bytes = fs::read(&file).unwrap();
    let golden = "0a9c586d62d9ff1e4828ee00f2d88291d8f94b9ef78738ece02b4e41313b7876";
    assert_eq!(Digest::of(&bytes).hex(), golden, "the golden digest of epoch 1");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o644);
    symlink("image.tar", parent.path().join("link")).unwrap();
    write_to(&parent.path().join("link")).unwrap();
    assert!(fs::symlink_metadata(parent.path().join("link")).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert!(matches!(write_to(parent.path()), Err(LayoutError::Occupied { .. })));
    assert!(matches!(write_to(Path::new("/dev/null")), Err(LayoutError::Occupied { .. })));
    assert_eq!(names(parent.path()).len(), 3, "nothing is left beside it");
}

#[test]
fn skopeo_reads_layout_and_archive() {
    let parent = tempfile::tempdir().unwrap();
    let image = image("a");
    write(&parent.path().join("out"), "a:1", &image).unwrap();
    write_archive(&parent.path().join("a.tar"), &image.root, "a:1", &image.blobs, &image.source).unwrap();
    for (place, from) in ["oci:out:a:1", "oci-archive:a.tar:a:1"].into_iter().enumerate() {
        let to = format!("dir:copy-{place}");
        let mut command = Command::new("skopeo");
        command
            .args(["--insecure-policy", "copy", "--preserve-digests", from, &to])
            .current_dir(parent.path());
        let Ok(output) = command.stdin(Stdio::null()).output() else {
            eprintln!("SKIPPED: skopeo is not installed, so it did not read {from}");
            continue;
        };
        assert!(output.status.success(), "{from}: {}", String::from_utf8_lossy(&output.stderr));
        let manifest = fs::read(parent.path().join(format!("copy-{place}/manifest.json"))).unwrap();
        assert_eq!(Digest::of(&manifest), image.root.digest);
    }
}
