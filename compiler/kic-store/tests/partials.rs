//! Downloads that are cut off, and what the next one has of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::single_range_in_vec_init)]

mod common;

use std::fs::{self, File};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use common::*;
use kic_store::{CollectOptions, Collected, Download, EmbeddingWriter, PieceWriter, collect};

const MIB: usize = 1 << 20;

/// A blob of five MiB, and where what is left of it lies.
struct Blob {
    bytes: Vec<u8>,
    download: Download,
}

impl Blob {
    fn new(seed: u64) -> Self {
        let bytes = noise(seed, 5 * MIB);
        let download = Download { digest: Digest::of(&bytes), size: bytes.len() as u64, anew: false };
        Self { bytes, download }
    }

    fn path(&self, store: &Store) -> PathBuf {
        store.path().join("partial").join(self.download.digest.hex())
    }

    fn writer(&self, store: &Store) -> PieceWriter {
        store.piece_writer_of(&self.download).unwrap()
    }

    /// Fetches these ranges, by pieces that are not aligned to anything, and is cut off.
    fn cut_off(&self, store: &Store, ranges: &[Range<usize>]) {
        let mut writer = self.writer(store);
        self.fetch(&mut writer, ranges);
    }

    /// The writer that takes over what is there. A process that another test begins has what is open here, too, and with that the
    /// locks, until it is the program that it becomes: so long the file is in use, and stays.
    fn writer_once_free(&self, store: &Store) -> PieceWriter {
        for _ in 0..1000 {
            let writer = self.writer(store);
            if !self.path(store).exists() {
                return writer;
            }
            drop(writer);
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the file stays")
    }

    fn fetch(&self, writer: &mut PieceWriter, ranges: &[Range<usize>]) {
        for range in ranges {
            for at in range.clone().step_by(70_001) {
                let piece = at..range.end.min(at + 70_001);
                writer.write_at(at as u64, &self.bytes[piece]).unwrap();
            }
        }
    }

    /// Fetches what is missing, and commits.
    fn go_on(&self, store: &Store, mut writer: PieceWriter) {
        let missing = missing(&writer.had(), self.bytes.len());
        self.fetch(&mut writer, &missing);
        while writer.catch_up().unwrap() {}
        writer.commit(&self.download.digest).unwrap();
        assert!(read_all(store.blob(&self.download.digest).unwrap()).unwrap() == self.bytes);
    }
}

fn missing(had: &[Range<u64>], size: usize) -> Vec<Range<usize>> {
    let mut missing = Vec::new();
    let mut at = 0;
    for range in had {
        let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        missing.push(at..from);
        at = to;
    }
    missing.push(at..size);
    missing.retain(|range| !range.is_empty());
    missing
}

fn tidy(store: &Store) {
    for folder in ["tmp", "partial", "corrupt"].map(|name| store.path().join(name)) {
        assert!(!folder.exists() || files(&folder).is_empty(), "{}", folder.display());
    }
}

#[test]
fn what_came_is_there_for_the_next_one_whatever_its_order() {
    let blob = Blob::new(1);
    let whole = 5 * MIB;
    for ranges in [
        vec![0..2 * MIB],
        vec![0..MIB, 3 * MIB..4 * MIB + 17],
        vec![4 * MIB..whole, 2 * MIB..3 * MIB],
        vec![0..whole],
    ] {
        let (_folder, store) = new_store();
        assert!(!store.path().join("partial").exists());
        blob.cut_off(&store, &ranges);
        assert!(files(&store.path().join("tmp")).is_empty());
        // Another process.
        let store = Store::open(store.path()).unwrap();
        let writer = blob.writer_once_free(&store);
        let mut sorted = ranges.clone();
        sorted.sort_by_key(|range| range.start);
        let had: Vec<Range<u64>> = sorted.iter().map(|range| range.start as u64..range.end as u64).collect();
        assert_eq!(writer.had(), had);
        blob.go_on(&store, writer);
        let mode = fs::metadata(blob_path(&store, &blob.download.digest)).unwrap().permissions();
        assert!(mode.readonly(), "{mode:?}");
        assert_eq!(fs::metadata(blob_path(&store, &blob.download.digest)).unwrap().len(), blob.download.size);
        tidy(&store);
    }
}

#[test]
fn it_may_be_cut_off_again_and_again() {
    let (_folder, store) = new_store();
    let blob = Blob::new(2);
    let pieces = [3 * MIB..4 * MIB, 0..100_000, 2 * MIB..2 * MIB + 5, 100_000..MIB + 9, 4 * MIB..5 * MIB];
    for (number, piece) in pieces.iter().enumerate() {
        let mut writer = blob.writer(&store);
        let had: u64 = writer.had().iter().map(|range| range.end - range.start).sum();
        assert_eq!(had, pieces[..number].iter().map(|range| range.len() as u64).sum::<u64>());
        // It is cut off before all is hashed, and after.
        if number % 2 == 1 {
            while writer.catch_up().unwrap() {}
        }
        blob.fetch(&mut writer, std::slice::from_ref(piece));
    }
    let writer = blob.writer(&store);
    assert_eq!(writer.had().len(), 3, "{:?}", writer.had());
    blob.go_on(&store, writer);
    tidy(&store);
}

#[test]
fn little_and_what_is_given_up_and_what_has_no_download_is_not_kept() {
    let (_folder, store) = new_store();
    let blob = Blob::new(3);
    blob.cut_off(&store, &[0..MIB / 2, 2 * MIB..2 * MIB + MIB / 2 - 1]);
    tidy(&store);
    let mut writer = blob.writer(&store);
    blob.fetch(&mut writer, &[0..3 * MIB]);
    writer.forget();
    drop(writer);
    tidy(&store);
    let mut writer = store.piece_writer().unwrap();
    blob.fetch(&mut writer, &[0..3 * MIB]);
    drop(writer);
    tidy(&store);
    blob.cut_off(&store, &[0..MIB / 2, 2 * MIB..2 * MIB + MIB / 2]);
    assert!(blob.path(&store).exists());
    // There is no room any more.
    let writer = blob.writer(&store);
    assert_eq!(writer.had().len(), 2);
    store.keep_no_partials();
    drop(writer);
    tidy(&store);
}

#[test]
fn one_that_begins_anew_leaves_what_is_there_and_more_takes_the_place_of_less() {
    let (_folder, store) = new_store();
    let blob = Blob::new(4);
    blob.cut_off(&store, &[0..2 * MIB]);
    let anew = |ranges: &[Range<usize>]| {
        let mut writer = store.piece_writer_of(&Download { anew: true, ..blob.download }).unwrap();
        assert!(writer.had().is_empty());
        blob.fetch(&mut writer, ranges);
    };
    anew(&[0..MIB + MIB / 2]);
    assert_eq!(blob.writer(&store).had(), [0..2 * MIB as u64]);
    anew(&[MIB..4 * MIB]);
    assert_eq!(blob.writer(&store).had(), [MIB as u64..4 * MIB as u64]);
    // Once the blob is there, nobody needs it.
    assert!(blob.path(&store).exists());
    let writer = store.piece_writer_of(&Download { anew: true, ..blob.download }).unwrap();
    blob.go_on(&store, writer);
    tidy(&store);
}

#[test]
fn of_two_at_once_only_one_has_it() {
    let (_folder, store) = new_store();
    let blob = Blob::new(5);
    blob.cut_off(&store, &[0..2 * MIB]);
    let (one, other) = (blob.writer(&store), blob.writer(&Store::open(store.path()).unwrap()));
    assert_eq!((one.had().len(), other.had().len()), (1, 0));
    blob.go_on(&store, other);
    blob.go_on(&store, one);
    tidy(&store);
    // Many, each in a thread.
    let blob = Blob::new(6);
    blob.cut_off(&store, &[0..2 * MIB]);
    let begin = std::sync::Barrier::new(8);
    let had: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (begin, blob) = (&begin, &blob);
                let store = Store::open(store.path()).unwrap();
                scope.spawn(move || {
                    begin.wait();
                    let writer = blob.writer(&store);
                    let had = writer.had().len();
                    // Nobody is done before all have begun.
                    begin.wait();
                    blob.go_on(&store, writer);
                    had
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(had, 1);
    tidy(&store);
}

fn embedding(blob: &Blob, store: &Store, header: &[u8]) -> EmbeddingWriter {
    store.embedding_writer_of(header, 1024, &blob.download).unwrap()
}

#[test]
fn a_container_goes_on_with_the_same_body_under_another_header() {
    let (_folder, store) = new_store();
    let blob = Blob::new(7);
    let mut writer = embedding(&blob, &store, &[7; 512]);
    writer.write_at(0, &blob.bytes[..MIB]).unwrap();
    writer.write_at(2 * MIB as u64, &blob.bytes[2 * MIB..]).unwrap();
    drop(writer);
    let mut writer = embedding(&blob, &store, &[9; 512]);
    assert_eq!(writer.had(), [0..MIB as u64, 2 * MIB as u64..5 * MIB as u64]);
    while writer.catch_up().unwrap() {}
    assert_eq!(writer.written(), MIB as u64);
    writer.write_at(MIB as u64, &blob.bytes[MIB..2 * MIB]).unwrap();
    let whole = [&[9; 512][..], &blob.bytes, &[0; 1024]].concat();
    let (container, size) = writer.commit(&blob.download.digest, blob.download.size).unwrap();
    assert_eq!((container, size), (Digest::of(&whole), whole.len() as u64));
    assert!(read_all(store.blob(&container).unwrap()).unwrap() == whole);
    tidy(&store);
}

#[test]
fn where_the_body_begins_elsewhere_nothing_is_used_and_nothing_stays() {
    let (_folder, store) = new_store();
    let blob = Blob::new(8);
    let cut_off = || {
        let mut writer = embedding(&blob, &store, &[7; 512]);
        writer.write_at(0, &blob.bytes[..2 * MIB]).unwrap();
    };
    cut_off();
    let writer = blob.writer_once_free(&store);
    assert!(writer.had().is_empty());
    blob.go_on(&store, writer);
    cut_off();
    assert!(embedding(&blob, &store, &[7; 1024]).had().is_empty());
    tidy(&store);
}

/// What is done to the bytes of a file.
type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn a_file_that_is_not_what_it_says_is_not_used_and_does_not_stay() {
    let blob = Blob::new(9);
    let damages: [(&str, Damage); 7] = [
        ("shorter", &|bytes| bytes.truncate(MIB)),
        ("shorter by one byte", &|bytes| bytes.truncate(bytes.len() - 1)),
        ("longer", &|bytes| bytes.push(1)),
        ("empty", &|bytes| bytes.clear()),
        // The record is whole, and what it speaks of is not.
        ("without a beginning", &|bytes| drop(bytes.drain(..10))),
        ("a length that is none", &|bytes| {
            let length = bytes.len();
            bytes[length - 8..].fill(0xff);
        }),
        ("another record", &|bytes| {
            let length = bytes.len();
            bytes[length - 12] ^= 1;
        }),
    ];
    for (what, damage) in damages {
        let (_folder, store) = new_store();
        blob.cut_off(&store, &[0..2 * MIB]);
        let mut bytes = fs::read(blob.path(&store)).unwrap();
        damage(&mut bytes);
        overwrite(&blob.path(&store), &bytes);
        let writer = blob.writer_once_free(&store);
        assert!(writer.had().is_empty(), "{what}");
        blob.go_on(&store, writer);
        tidy(&store);
    }
    // One of another blob, and one of a blob of another size.
    let (_folder, store) = new_store();
    blob.cut_off(&store, &[0..2 * MIB]);
    let other = Blob::new(10);
    fs::rename(blob.path(&store), other.path(&store)).unwrap();
    assert!(other.writer(&store).had().is_empty());
    tidy(&store);
    blob.cut_off(&store, &[0..2 * MIB]);
    let shorter = Download { size: MIB as u64, ..blob.download };
    assert!(store.piece_writer_of(&shorter).unwrap().had().is_empty());
    tidy(&store);
    // A link that leads to a file of somebody's is not followed to its end.
    let mine = store.path().parent().unwrap().join("mine");
    blob.cut_off(&store, &[0..2 * MIB]);
    fs::rename(blob.path(&store), &mine).unwrap();
    std::os::unix::fs::symlink(&mine, blob.path(&store)).unwrap();
    assert!(blob.writer(&store).had().is_empty());
    assert!(mine.exists());
}

#[test]
fn damaged_bytes_are_another_digest_and_nothing_is_kept() {
    let (_folder, store) = new_store();
    let blob = Blob::new(11);
    for at in [5, 3 * MIB + 5] {
        blob.cut_off(&store, &[0..2 * MIB, 3 * MIB..4 * MIB]);
        flip(&blob.path(&store), at, 3);
        let mut writer = blob.writer(&store);
        assert_eq!(writer.had().len(), 2);
        let missing = missing(&writer.had(), blob.bytes.len());
        blob.fetch(&mut writer, &missing);
        let error = writer.commit(&blob.download.digest).unwrap_err();
        assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
        tidy(&store);
        assert!(!store.contains(&blob.download.digest));
    }
    let mut writer = embedding(&blob, &store, &[7; 512]);
    writer.write_at(0, &blob.bytes[..2 * MIB]).unwrap();
    drop(writer);
    flip(&blob.path(&store), 512, 0);
    let mut writer = embedding(&blob, &store, &[7; 512]);
    writer.write_at(2 * MIB as u64, &blob.bytes[2 * MIB..]).unwrap();
    let error = writer.commit(&blob.download.digest, blob.download.size).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error}");
    tidy(&store);
    blob.go_on(&store, blob.writer(&store));
}

fn run(store: &Store, options: CollectOptions) -> Collected {
    collect(store, &options, &|_| true, &|| false).unwrap()
}

#[test]
fn a_collection_removes_them_before_all_else() {
    let (_folder, store) = new_store();
    let (old, new) = (Blob::new(12), Blob::new(13));
    let blob = write(&store, &noise(14, 3 * MIB));
    let store = {
        let path = store.path().to_owned();
        drop(store);
        Store::open(&path).unwrap()
    };
    let cut_off = || {
        // The holes take no room.
        old.cut_off(&store, &[0..MIB, 4 * MIB..5 * MIB]);
        new.cut_off(&store, &[0..2 * MIB]);
    };
    cut_off();
    let now = fs::metadata(new.path(&store)).unwrap().modified().unwrap();
    let then = now - Duration::from_secs(7200);
    File::open(old.path(&store)).unwrap().set_modified(then).unwrap();
    let usage = store.usage(&|_| true).unwrap();
    assert_eq!((usage.partials.count, usage.blobs.count, usage.unneeded.count), (2, 1, 1));
    let room = 4 * MIB as u64..4 * MIB as u64 + 64 * 1024;
    assert!(room.contains(&usage.partials.bytes), "{usage:?}");

    let dry = run(&store, CollectOptions { dry_run: true, ..CollectOptions::default() });
    assert_eq!((dry.partials, dry.removed.len()), (2, 1));
    assert!(old.path(&store).exists() && new.path(&store).exists());
    let some = |most: usize| CollectOptions { max_size: Some(most as u64), ..CollectOptions::default() };
    let done = run(&store, some(100 * MIB));
    assert_eq!((done.partials, done.removed.len(), done.removed_bytes), (0, 0, 0));
    assert_eq!(done.kept_bytes, usage.partials.bytes + usage.blobs.bytes);
    let done = run(&store, some(6 * MIB));
    assert_eq!((done.partials, done.removed.len()), (1, 0));
    assert!(!old.path(&store).exists() && new.path(&store).exists() && store.size(&blob).unwrap().is_some());

    cut_off();
    File::open(old.path(&store)).unwrap().set_modified(then).unwrap();
    let since = now - Duration::from_secs(3600);
    let done = run(&store, CollectOptions { unused_since: Some(since), ..CollectOptions::default() });
    assert_eq!((done.partials, done.removed.len()), (1, 0));
    assert!(!old.path(&store).exists() && new.path(&store).exists());
    let done = run(&store, CollectOptions::default());
    assert_eq!((done.partials, done.kept_bytes), (1, usage.blobs.bytes), "{done:?}");
    tidy(&store);
}

#[test]
fn a_collection_leaves_what_is_in_use() {
    let (_folder, store) = new_store();
    let blob = Blob::new(15);
    blob.cut_off(&store, &[0..2 * MIB]);
    // Somebody is about to take it.
    let lock = File::open(blob.path(&store)).unwrap();
    lock.lock().unwrap();
    for dry_run in [true, false] {
        assert_eq!(run(&store, CollectOptions { dry_run, ..CollectOptions::default() }).partials, 0);
    }
    assert!(blob.writer(&store).had().is_empty(), "and nobody else takes it");
    drop(lock);
    let writer = blob.writer(&store);
    assert_eq!(writer.had().len(), 1);
    assert_eq!(run(&store, CollectOptions::default()).partials, 0);
    // A process that begins removes what others have left behind, and nothing else.
    drop(Store::open(store.path()).unwrap());
    blob.go_on(&store, writer);
    tidy(&store);
}

#[test]
fn a_full_disk_has_its_room_back() {
    let Some(disk) = Tmpfs::mount("size=6m") else { return skip("nothing can be mounted") };
    let store = Store::open(&disk.path().join("store")).unwrap();
    let (blob, other) = (Blob::new(16), Blob::new(17));
    let mut beside = other.writer(&store);
    other.fetch(&mut beside, &[0..2 * MIB]);
    let mut writer = blob.writer(&store);
    blob.fetch(&mut writer, &[0..3 * MIB]);
    let error = writer.write_at(3 * MIB as u64, &blob.bytes[3 * MIB..]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    drop(writer);
    // What was on its way beside it, too.
    drop(beside);
    tidy(&store);
    let store = Store::open(store.path()).unwrap();
    blob.go_on(&store, blob.writer(&store));
}
