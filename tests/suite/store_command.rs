//! What `kic store gc` keeps and what it removes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::contents::files;
use crate::support::kic::{json, stdout};
use crate::support::sharing_specs::{SharingSpecs, VARIANTS};

#[test]
fn a_lock_keeps_what_it_pins_when_the_output_is_gone() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    place.assert_compiles(0, &store, &[]);
    place.forget_outputs();
    let done = json(&place.store(&store, &["gc", "--format", "json"]).output().unwrap());
    assert!(done["removedBytes"].as_u64().unwrap() > 1 << 19, "the layer of files is nobody's: {done:#}");
    let asked = place.upstream.asked().len();
    place.assert_compiles(0, &store, &["--offline", "--locked"]);
    assert_eq!(place.upstream.asked().len(), asked);
    // A lock that says something else keeps nothing of what it was.
    place.forget_outputs();
    let lock = place.path(VARIANTS[0]).join("kic.lock");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, format!("{text}\n")).unwrap();
    stdout(&mut place.store(&store, &["gc"]));
    assert_eq!(files(&store.join("blobs")).len(), 0);
    place.assert_compiles(0, &store, &[]);
}

#[test]
fn a_lock_does_not_keep_the_layer_that_was_packed_before() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    place.assert_compiles(0, &store, &[]);
    let before = lock_record(&store);
    place.write("tree/7/file", b"another");
    stdout(&mut place.compile(0, &store, &place.alone(0)));
    assert!(lock_record(&store) == before, "nothing that it pins is another");
}

#[test]
fn the_root_of_a_lock_is_the_same_whether_or_not_the_compile_before_is_known() {
    let place = SharingSpecs::new(1, 1 << 10);
    let store = place.path("store");
    let compile = || stdout(&mut place.compile(0, &store, &place.alone(0)));
    let edit = |name: &str, from: &str, to: &str| {
        let path = place.path(VARIANTS[0]).join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    compile();
    let (first, _) = lock_record(&store);
    let file = || place.write("tree/7/file", b"another");
    let gone = || {
        fs::remove_file(&first).unwrap();
        place.write("tree/8/file", b"another");
    };
    let damaged = || {
        gone();
        fs::write(&first, "damaged").unwrap();
        place.write("tree/9/file", b"another");
    };
    let image = || edit("cluster.kdl", "registry.test/e/tool:v1", "registry.test/e/agent:v1");
    let name = || {
        edit(
            "cluster.kdl",
            "image \"registry.test/e/agent:v1\"",
            "image \"registry.test/e/agent:v1\" as=\"a.b/c:d\"",
        )
    };
    let lock = || edit("kic.lock", "\n", "\n\n");
    let steps: [(&str, &dyn Fn()); 6] = [
        ("a file", &file),
        ("its record is gone", &gone),
        ("its record is damaged", &damaged),
        ("another image", &image),
        ("another name", &name),
        ("other bytes of the lock", &lock),
    ];
    for (what, step) in steps {
        step();
        compile();
        let known = lock_record(&store);
        fs::remove_dir_all(store.join("memos")).unwrap();
        compile();
        assert!(lock_record(&store) == known, "{what}");
    }
}

/// The only record of a lock's root, beside those whose files are spare.
fn lock_record(store: &Path) -> (PathBuf, String) {
    let paths = fs::read_dir(store.join("roots")).unwrap().map(|entry| entry.unwrap().path());
    let records = paths
        .filter(|path| path.extension().is_none())
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()));
    let mut locks: Vec<_> = records.filter(|(_, text)| text.contains("\"kind\":\"lock\"")).collect();
    assert_eq!(locks.len(), 1);
    locks.remove(0)
}

#[test]
fn a_written_lock_keeps_its_documents() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    let lock = || {
        stdout(&mut place.kic(VARIANTS[0], &store, &["lock", "-q", "--registry-mirror", &place.mirror()]));
    };
    lock();
    let documents = files(&store.join("blobs")).len();
    stdout(&mut place.store(&store, &["gc"]));
    assert_eq!(files(&store.join("blobs")).len(), documents);
    // A lock that is only looked at again keeps what a compile found out of it.
    place.assert_compiles(0, &store, &[]);
    lock();
    place.forget_outputs();
    stdout(&mut place.store(&store, &["gc"]));
    place.assert_compiles(0, &store, &["--offline"]);
}

#[test]
fn what_is_known_of_images_stands_for_no_document_that_is_gone_or_damaged() {
    let place = SharingSpecs::new(1, 1 << 20);
    let store = place.path("store");
    let spec = place.path(VARIANTS[0]).join("cluster.kdl");
    // So that there is something to do.
    let touch = || fs::write(&spec, fs::read_to_string(&spec).unwrap() + "// again\n").unwrap();
    place.assert_compiles(0, &store, &[]);
    let all = files(&store.join("blobs"));
    let small = || {
        let paths = files(&store.join("blobs")).into_keys().map(|path| store.join("blobs").join(path));
        paths.filter(|path| fs::metadata(path).unwrap().len() < 16 << 10).collect::<Vec<_>>()
    };
    for path in small() {
        fs::remove_file(path).unwrap();
    }
    touch();
    place.assert_compiles(0, &store, &[]);
    assert_eq!(files(&store.join("blobs")), all);
    touch();
    place.assert_compiles(0, &store, &["--offline", "--locked"]);
    for path in small() {
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 4;
        fs::remove_file(&path).unwrap();
        fs::write(path, bytes).unwrap();
    }
    touch();
    place.forget_outputs();
    place.assert_compiles(0, &store, &[]);
    stdout(&mut place.store(&store, &["verify"]));
    touch();
    place.assert_compiles(0, &store, &["--offline", "--locked"]);
}
