//! Layouts that lost bytes.

use super::*;

/// What a power failure leaves of a file: its size, and the time of its bytes.
fn lose(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    let size = file.metadata().unwrap().len();
    file.set_len(0).unwrap();
    file.set_len(size).unwrap();
    file.set_modified(time).unwrap();
}

/// A folder where a power failure is told from the times of files; `None`, with a loud word, where there is none.
fn local_folder() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    if Boot::of(File::open(folder.path()).unwrap()).is_none() {
        eprintln!("SKIPPED: no local file system at {}", folder.path().display());
        return None;
    }
    Some(folder)
}

#[test]
fn a_blob_of_the_time_before_the_machine_started_is_hashed_once() {
    let Some(parent) = local_folder() else { return };
    let out = parent.path().join("out");
    let image = image("a");
    write(&out, "a", &image).unwrap();
    let is_whole = || is_in_layout(&out, &image.root, "a", &image.blobs, &Suspects::default());
    let layer = out.join(blob_path(&image.blobs[0].digest));
    let written = || fs::metadata(&layer).unwrap().modified().unwrap();
    let set_written = |time| File::open(&layer).unwrap().set_modified(time).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);

    set_written(long_ago);
    assert!(!is_whole(), "that takes a while, and is for who writes to say");
    let again = write(&out, "a", &image).unwrap();
    assert_eq!((again.added, again.kept, again.changed), (0, 4, false));
    assert!(written() > long_ago && is_whole(), "it is known to be right from now on");

    lose(&layer);
    assert!(is_whole(), "the machine has run since it was written");
    set_written(long_ago);
    assert!(!is_whole());
    assert_eq!(written(), long_ago);
    let again = write(&out, "a", &image).unwrap();
    assert_eq!((again.added, again.kept), (1, 3));
    assert!(is_whole());
    assert_eq!(Digest::of(&fs::read(&layer).unwrap()), image.blobs[0].digest);
}

#[test]
fn after_a_power_failure_what_the_lost_image_left_is_removed() {
    let Some(parent) = local_folder() else { return };
    let out = parent.path().join("out");
    let (own, other, wanted) = (image("a"), image("b"), image("c"));
    write(&out, "own", &own).unwrap();
    write(&out, "other", &other).unwrap();
    // Neither of them is named by anything; what others name is not looked at.
    let [whole, lost] = [put_blob_of(&out, b"whole", b"whole"), put_blob_of(&out, b"lost", b"")];
    let of_other = out.join(blob_path(&other.blobs[1].digest));
    lose(&of_other);
    assert_eq!(write(&out, "own", &own).unwrap().removed, 0, "the machine has run since it was written");

    let layer = File::open(out.join(blob_path(&own.blobs[0].digest))).unwrap();
    layer.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let written = write(&out, "own", &own).unwrap();
    assert_eq!((written.added, written.removed), (0, 1));
    assert!(whole.exists() && !lost.exists() && of_other.exists());
    assert_eq!(write(&out, "own", &wanted).unwrap().removed, 3, "the image before goes as always");
}

#[test]
fn an_index_that_a_power_failure_took_is_made_anew_and_nothing_whole_goes() {
    let parent = tempfile::tempdir().unwrap();
    let (one, other) = (image("a"), image("b"));
    for (round, lost) in [vec![], vec![0; 300]].into_iter().enumerate() {
        let out = parent.path().join(round.to_string());
        let index = out.join("index.json");
        write(&out, "one", &one).unwrap();
        let whole = fs::read(&index).unwrap();
        fs::write(&index, &lost).unwrap();
        assert!(!is_in_layout(&out, &one.root, "one", &one.blobs, &Suspects::default()), "{round}");
        let again = write(&out, "one", &one).unwrap();
        assert_eq!((again.added, again.kept, again.changed), (0, 4, true), "{round}");
        assert_eq!(fs::read(&index).unwrap(), whole, "{round}");

        fs::write(&index, &lost).unwrap();
        assert_eq!(write(&out, "other", &other).unwrap().removed, 0, "{round}");
        assert_eq!(references(&out), [("other".to_owned(), other.root.digest)], "{round}");
        assert_eq!(names(&out), expected_names(&[&one, &other]), "{round}");
    }
}

/// Damage in a file that the store and a layout share, or that was copied before it was found.
#[test]
fn what_the_store_found_damaged_is_hashed_in_a_layout_too() {
    let parent = tempfile::tempdir().unwrap();
    let store = Store::open(&parent.path().join("store")).unwrap();
    let image = image("a");
    image.source.blobs.values().for_each(|bytes| {
        store.put(bytes).unwrap();
    });
    let layout = |name: &str| parent.path().join(name);
    let write = |name: &str, sharing| {
        let options = LayoutOptions { sharing, ..LayoutOptions::default() };
        write_layout(&layout(name), &image.root, "a", &image.blobs, &store, options).unwrap()
    };
    let is_whole =
        |name: &str| is_in_layout(&layout(name), &image.root, "a", &image.blobs, &store.suspects());
    write("shared", PlaceMode::Share);
    write("copied", PlaceMode::Copy);
    let digest = image.blobs[0].digest;
    let path = |name: &str| layout(name).join(blob_path(&digest));
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[20] ^= 1;
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
        File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
    };
    flip(&path("shared"));
    flip(&path("copied"));
    assert!(is_whole("shared") && is_whole("copied"), "nobody knows of it");

    assert!(store.read(&digest, 1 << 20).is_err());
    assert!(!is_whole("shared") && !is_whole("copied"));
    store.put(&image.source.blobs[&digest]).unwrap();
    for (name, sharing) in [("shared", PlaceMode::Share), ("copied", PlaceMode::Copy)] {
        assert_eq!(write(name, sharing).added, 1, "{name}");
        write(name, sharing);
        assert!(is_whole(name), "{name}");
        assert_eq!(fs::read(path(name)).unwrap(), image.source.blobs[&digest]);
    }
}

/// A blob of a layout, with other bytes than its own.
fn put_blob_of(out: &Path, own: &[u8], bytes: &[u8]) -> PathBuf {
    let path = out.join(blob_path(&Digest::of(own)));
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_damaged_blob_is_replaced_when_it_is_verified() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("out");
    let image = image("a");
    write(&out, "a", &image).unwrap();
    let path = out.join(blob_path(&image.root.digest));
    let good = fs::read(&path).unwrap();
    fs::write(&path, vec![0; good.len()]).unwrap();
    let options = LayoutOptions { verify: true, ..LayoutOptions::default() };
    let written = write_layout(&out, &image.root, "a", &image.blobs, &image.source, options).unwrap();
    assert_eq!((written.added, written.kept, written.changed), (1, 3, true));
    assert_eq!(fs::read(&path).unwrap(), good);
    fs::write(&path, "short").unwrap();
    assert_eq!(write(&out, "a", &image).unwrap().added, 1, "another size is always seen");

    // Blobs of an earlier image whose manifest was lost: one is whole, and may be anybody's.
    let [whole, lost] = [put_blob_of(&out, b"whole", b"whole"), put_blob_of(&out, b"lost", b"\0\0\0\0")];
    let written = write_layout(&out, &image.root, "a", &image.blobs, &image.source, options).unwrap();
    assert_eq!((written.added, written.removed), (0, 1));
    assert!(whole.exists() && !lost.exists());
}
