use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use kic_graph::EntryFacts;
use tempfile::TempDir;

use super::*;

/// A store, a folder of sources, and a spec's path that never is read.
struct Ground {
    folder: TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        Self { folder, store }
    }

    fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What a run finds, and how many files it has read for that.
    fn run(&self) -> (Result<Digest, String>, usize) {
        let context = self.context(Sources::open(Path::new("/specs/cluster.kdl"), &self.store));
        let place = Place { path: self.tree(), globs: vec!["*.tmp".to_owned()], deep: true };
        let looked = context.sources.look(std::slice::from_ref(&place), &context).remove(0);
        let looked = looked.map(|facts| facts_digest(&facts)).map_err(|errors| format!("{errors:?}"));
        // Files that may not be taken on trust are read, and do not count as fresh.
        let read = count(&context.sources.lock().fresh);
        context.sources.save(&self.store);
        (looked, read)
    }

    /// How many folders a run lists of which the next one may know what is in them.
    fn listed(&self) -> usize {
        let context = self.context(Sources::open(Path::new("/specs/cluster.kdl"), &self.store));
        let place = Place { path: self.tree(), globs: Vec::new(), deep: true };
        let _ = context.sources.look(&[place], &context);
        let listed = context.sources.listings.count_fresh();
        context.sources.save(&self.store);
        listed
    }

    /// What a run finds that knows nothing.
    fn anew(&self) -> Result<Digest, String> {
        let context = self.context(Sources::default());
        let place = Place { path: self.tree(), globs: vec!["*.tmp".to_owned()], deep: true };
        let looked = context.sources.look(&[place], &context).remove(0);
        looked.map(|facts| facts_digest(&facts)).map_err(|errors| format!("{errors:?}"))
    }

    fn context(&self, sources: Sources) -> Context {
        Context::for_tests(self.store.clone(), sources)
    }
}

/// Until what changed just now counts as settled.
fn wait() {
    std::thread::sleep(Duration::from_millis(45));
}

#[test]
fn a_file_is_read_once_and_again_when_it_changed_in_any_way() {
    let ground = Ground::new();
    for number in 0..40 {
        ground.write(&format!("{}/{number}", number % 6), &number.to_string());
    }
    symlink("3/3", ground.tree().join("link")).unwrap();
    wait();
    let (first, read) = ground.run();
    assert_eq!((first.clone(), read), (ground.anew(), 40));
    assert_eq!(ground.run(), (first, 0), "nothing changed");

    let path = ground.tree().join("1/1");
    let times = fs::metadata(&path).unwrap();
    // Another content of the same length, in place, with its time set back.
    fs::write(&path, "x").unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    drop(file);
    wait();
    assert_eq!(ground.run(), (ground.anew(), 1), "the time was set back");

    // Another file in its place, with its time.
    ground.write("new.tmp", "y");
    let file = File::options().write(true).open(ground.tree().join("new.tmp")).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    drop(file);
    fs::rename(ground.tree().join("new.tmp"), &path).unwrap();
    wait();
    assert_eq!(ground.run(), (ground.anew(), 1), "another file");

    // A hard link, and a change through it.
    fs::hard_link(&path, ground.folder.path().join("outside")).unwrap();
    wait();
    assert_eq!(ground.run(), (ground.anew(), 1), "another name makes a change of its status");
    fs::write(ground.folder.path().join("outside"), "z").unwrap();
    wait();
    assert_eq!(ground.run(), (ground.anew(), 1), "a change through another name");

    // The mode is part of what is found.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    wait();
    assert_eq!(ground.run(), (ground.anew(), 1), "it may be executed now");

    // A file becomes a folder, and a folder a file.
    fs::remove_file(&path).unwrap();
    ground.write("1/1/1", "deeper");
    fs::remove_dir_all(ground.tree().join("2")).unwrap();
    ground.write("2", "flat");
    fs::create_dir(ground.tree().join("empty")).unwrap();
    wait();
    assert_eq!(ground.run(), (ground.anew(), 2), "kinds changed");
    let (last, read) = ground.run();
    assert_eq!((last, read), (ground.anew(), 0));
}

#[test]
fn what_is_found_is_in_the_order_of_paths_whatever_folder_it_is_in() {
    let ground = Ground::new();
    let files = ["a", "b-", "b.txt", "b/-", "b/c-/d", "b/c.d", "b/c/d", "b/c0", "b0", "c/d/e/f", "z"];
    for path in files.iter().rev() {
        ground.write(path, path);
    }
    symlink("..", ground.tree().join("b/c/back")).unwrap();
    fs::create_dir(ground.tree().join("b/c/nothing")).unwrap();
    let mut expected: Vec<&str> = files.into_iter().chain(["b/c/back", "b/c/nothing"]).collect();
    expected.sort_unstable();
    for jobs in [1, 2, 8] {
        let context = Context { jobs, ..ground.context(Sources::default()) };
        let place = Place { path: ground.tree(), globs: Vec::new(), deep: true };
        let Ok(PathFacts::Folder(found)) = context.sources.look(&[place], &context).remove(0) else {
            panic!("no folder");
        };
        assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), expected, "{jobs}");
        // Each with what is at that path.
        for (path, entry) in found.iter() {
            let content = Digest::of(path.as_bytes());
            match entry {
                EntryFacts::File(file) => assert_eq!(file.content.digest, content, "{path}"),
                EntryFacts::Symlink(target) => {
                    assert_eq!((path.as_str(), target.as_str()), ("b/c/back", ".."))
                }
                EntryFacts::EmptyFolder => assert_eq!(path, "b/c/nothing"),
            }
        }
    }
}

#[test]
fn what_changes_within_one_step_of_the_clock_is_never_missed() {
    let ground = Ground::new();
    for number in 0..300_u32 {
        // As quickly as can be: many of these fall into one step of the clock, and have the same length.
        ground.write("a", &format!("{number:04}"));
        let (found, _) = ground.run();
        assert_eq!(found, ground.anew(), "{number}");
        ground.write("a", &format!("{number:04x}"));
        let (found, _) = ground.run();
        assert_eq!(found, ground.anew(), "{number}");
    }
}

#[test]
fn a_folder_is_listed_once_and_again_when_a_name_came_or_went() {
    let ground = Ground::new();
    for name in ["a/1", "a/2", "b/c/3", "b/4"] {
        ground.write(name, name);
    }
    symlink("a", ground.tree().join("link")).unwrap();
    fs::create_dir(ground.tree().join("empty")).unwrap();
    wait();
    assert_eq!(ground.listed(), 5);
    assert_eq!(ground.listed(), 0, "nothing changed");
    ground.write("a/1", "what a file holds is not in the folder");
    wait();
    assert_eq!(ground.listed(), 0);
    let path = |name: &str| ground.tree().join(name);
    let changes: [(&str, &dyn Fn()); 7] = [
        ("a file more", &|| ground.write("a/5", "5")),
        ("a file less", &|| fs::remove_file(path("a/2")).unwrap()),
        ("another name", &|| fs::rename(path("a/5"), path("a/6")).unwrap()),
        ("another kind", &|| {
            fs::remove_file(path("a/6")).unwrap();
            symlink("1", path("a/6")).unwrap();
        }),
        ("a file from elsewhere in its place", &|| fs::rename(path("b/4"), path("a/1")).unwrap()),
        ("a folder in the place of another", &|| fs::rename(path("a"), path("empty")).unwrap()),
        ("a time that is set back", &|| {
            let times = fs::metadata(path("b")).unwrap();
            ground.write("b/7", "7");
            File::open(path("b")).unwrap().set_modified(times.modified().unwrap()).unwrap();
        }),
    ];
    for (what, change) in changes {
        change();
        wait();
        assert_eq!(ground.run().0, ground.anew(), "{what}");
        assert_eq!(ground.run().0, ground.anew(), "{what}, again");
        assert_eq!(ground.listed(), 0, "{what}");
    }
}

#[test]
fn what_is_listed_after_listings_were_written_is_written_with_them() {
    let ground = Ground::new();
    ground.write("a/1", "1");
    ground.write("b/2", "2");
    wait();
    let context = ground.context(Sources::open(Path::new("/specs/cluster.kdl"), &ground.store));
    for name in ["a", "b"] {
        let place = Place { path: ground.tree().join(name), globs: Vec::new(), deep: true };
        context.sources.look(&[place], &context);
        assert!(context.sources.is_changed());
        context.sources.save(&ground.store);
        assert!(!context.sources.is_changed());
    }
    // Of the tree's own folder nothing is known.
    assert_eq!(ground.listed(), 1);
}

#[test]
fn listings_of_folders_that_are_gone_do_not_stay_for_ever() {
    let ground = Ground::new();
    let size = || {
        let sources = Sources::open(Path::new("/specs/cluster.kdl"), &ground.store);
        sources.listings.written(&ground.store).unwrap().1.len()
    };
    ground.write("kept/1", "1");
    for number in 0..1100 {
        ground.write(&format!("gone/{number}/1"), "1");
    }
    wait();
    ground.run().0.unwrap();
    let full = size();
    fs::remove_dir_all(ground.tree().join("gone")).unwrap();
    wait();
    ground.run().0.unwrap();
    assert!(size() < full / 100, "{} of {full}", size());
    assert_eq!(ground.listed(), 0);
}

#[test]
fn names_that_come_and_go_within_one_step_of_the_clock_are_never_missed() {
    let ground = Ground::new();
    ground.write("a/0", "0");
    let path = |name: usize| ground.tree().join(format!("a/{name}"));
    for number in 0..300_usize {
        // As quickly as can be.
        match number % 3 {
            0 => fs::write(path(number + 1), "0").unwrap(),
            1 => fs::remove_file(path(number - 1)).unwrap(),
            _ => fs::rename(path(number - 1), path(number)).unwrap(),
        }
        assert_eq!(ground.run().0, ground.anew(), "{number}");
        if number % 50 == 0 {
            wait();
            ground.run().0.unwrap();
        }
        if number % 3 == 2 {
            fs::rename(path(number), path(number + 1)).unwrap();
            assert_eq!(ground.run().0, ground.anew(), "{number}");
        }
    }
}

#[test]
fn listings_that_are_damaged_or_of_another_time_are_none() {
    let ground = Ground::new();
    ground.write("a/1", "1");
    wait();
    assert_eq!(ground.listed(), 2);
    let sources = Sources::open(Path::new("/specs/cluster.kdl"), &ground.store);
    let (key, bytes) = sources.listings.written(&ground.store).unwrap();
    let mut later = bytes.clone();
    later[8..16].copy_from_slice(&i64::MAX.to_le_bytes());
    let shorter = &bytes[..bytes.len() - 1];
    for damaged in [b"", &b"kiclst1\n"[..], shorter, &[&bytes[..], b"x"].concat(), &later] {
        ground.store.remember(&Memo::new(key, damaged.to_vec())).unwrap();
        assert_eq!(ground.run().0, ground.anew());
        ground.store.remember(&Memo::new(key, damaged.to_vec())).unwrap();
        assert_eq!(ground.listed(), 2);
    }
    // Damage that got through the checksum: it must not do more harm than to be wrong.
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x81;
        ground.store.remember(&Memo::new(key, damaged)).unwrap();
        let _ = ground.run();
    }
}

#[test]
fn an_index_that_is_damaged_or_of_another_time_is_none() {
    let ground = Ground::new();
    ground.write("a", "1");
    wait();
    let (found, read) = ground.run();
    assert_eq!(read, 1);
    let key =
        ground.context(Sources::open(Path::new("/specs/cluster.kdl"), &ground.store)).sources.lock().key;
    let (key, bytes) = (key.unwrap(), ground.store.recall(&key.unwrap()).unwrap());
    for damaged in [&b""[..], b"kicsrc1\n", &bytes[..bytes.len() - 1], &[&bytes[..], b"x"].concat()] {
        ground.store.remember(&Memo::new(key, damaged.to_vec())).unwrap();
        assert_eq!(ground.run(), (found.clone(), 1));
    }
    // Written by a clock that was set back since.
    let mut later = bytes;
    later[8..16].copy_from_slice(&i64::MAX.to_le_bytes());
    ground.store.remember(&Memo::new(key, later.to_vec())).unwrap();
    assert_eq!(ground.run(), (found, 1));
}

#[test]
fn errors_are_those_of_a_run_that_knows_nothing() {
    let ground = Ground::new();
    ground.write("a/b/c", "1");
    ground.write("d", "1");
    wait();
    assert!(ground.run().0.is_ok());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        ground.tree().join("a/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let (found, _) = ground.run();
    assert!(
        found.as_ref().unwrap_err().contains("neither a file, a folder nor a symbolic link"),
        "{found:?}"
    );
    assert_eq!(found, ground.anew());
}

#[test]
fn an_index_does_not_grow_with_what_is_gone() {
    let known = |number: usize| {
        let fingerprint =
            Fingerprint { device: 1, inode: number as u64, size: 1, modified: (1, 1), changed: (1, 1) };
        Known { fingerprint, digest: Digest::of(b"") }
    };
    let folder = |count: usize| (0..count).map(|number| (number.to_string(), known(number))).collect();
    let names = |files: &Files| files.keys().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let mut files: Files =
        BTreeMap::from([("/a".into(), folder(10)), ("/b".into(), folder(MORE)), ("/c".into(), folder(3000))]);
    let seen = BTreeMap::from([(PathBuf::from("/a"), 9), (PathBuf::from("/c"), 10)]);
    forget(&mut files, &seen);
    // `/b` is of no use to this spec any more, and most of `/c` is gone.
    assert_eq!(names(&files), ["/a"]);
    let mut files: Files = BTreeMap::from([("/a".into(), folder(10)), ("/b".into(), folder(100))]);
    forget(&mut files, &seen);
    assert_eq!(names(&files), ["/a", "/b"]);
}

#[test]
fn what_packs_early_begins_once_a_file_is_seen_that_changed_and_not_before() {
    let ground = Ground::new();
    for name in ["a", "b/c"] {
        ground.write(name, name);
    }
    wait();
    ground.run().0.unwrap();
    // What is there tells on which thread it is done.
    let begins = || {
        let mut context = ground.context(Sources::open(Path::new("/specs/cluster.kdl"), &ground.store));
        let early = Arc::new(crate::build::Early::new(&context));
        context.early = Some(early.clone());
        let place = Place { path: ground.tree(), globs: Vec::new(), deep: true };
        context.sources.look(&[place], &context);
        let (own, (tell, told)) = (std::thread::current().id(), std::sync::mpsc::channel());
        early.later(move || tell.send(std::thread::current().id()).unwrap());
        told.recv().unwrap() != own
    };
    assert!(!begins(), "nothing changed");
    ground.write("new", "new");
    assert!(!begins(), "a file that was not known is no change of one that was");
    ground.write("b/c", "other");
    assert!(begins());
}
