//! Writers that were killed.

use super::*;

#[test]
fn leftovers_of_the_dead_are_removed_and_those_of_the_living_kept() {
    let parent = tempfile::tempdir().unwrap();
    let (dead, living) = (parent.path().join(".out.kic-dead"), parent.path().join(".out.kic-living"));
    let foreign = parent.path().join(".other.kic-dead");
    for path in [&dead, &living, &foreign] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
    }
    let lock = File::open(&living).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    write(&parent.path().join("out"), "a", &image("a")).unwrap();
    assert_eq!((dead.exists(), living.exists(), foreign.exists()), (false, true, true));
}

/// What the next test kills: it writes below the working directory it was started in, and hangs.
#[test]
#[ignore = "started, and killed, by the test below"]
fn child_that_never_ends() {
    if !Path::new("kill-me").exists() {
        return;
    }
    let mut image = image("b");
    image.source.slow = image.blobs[2..].iter().chain([&image.root]).map(|blob| blob.digest).max();
    thread::scope(|scope| {
        for out in ["new", "old", "empty"] {
            let image = &image;
            scope.spawn(move || write(Path::new(out), "a", image));
        }
        scope.spawn(|| write_archive(Path::new("a.tar"), &image.root, "a", &image.blobs, &image.source));
    });
}

#[test]
fn a_killed_process_leaves_the_old_or_nothing_and_the_next_one_cleans_up() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    let (first, second) = (image("a"), image("b"));
    fs::create_dir(path("empty")).unwrap();
    write(&path("old"), "a", &first).unwrap();
    fs::write(path("kill-me"), "").unwrap();
    let index = fs::read(path("old/index.json")).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "layout::tests::killed::child_that_never_ends"])
        .current_dir(parent.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Each hangs at the last document, after it has written what comes before it: its index, and all other blobs that it does not
    // have, which get their names once all of them are there.
    let unnamed = |name: &str| {
        let entries = fs::read_dir(path(name)).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".kic-write-")).count()
    };
    let until = Instant::now() + Duration::from_secs(60);
    let is_there = |prefix: &str| names(parent.path()).iter().any(|name| name.starts_with(prefix));
    while unnamed("old") < 4 || unnamed("empty") < 5 || !is_there(".new.kic-") || !is_there(".a.tar.kic-") {
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it did not come so far: {:?}", names(parent.path()));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!path("new").exists() && !path("a.tar").exists());
    assert_eq!(fs::read(path("old/index.json")).unwrap(), index);
    for name in ["new", "old", "empty"] {
        write(&path(name), "a", &second).unwrap();
        assert_eq!(names(&path(name)), expected_names(&[&second]), "{name}");
    }
    write_archive(&path("a.tar"), &second.root, "a", &second.blobs, &second.source).unwrap();
    let left: BTreeSet<String> =
        names(parent.path()).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, BTreeSet::new());
}
