//! Stores that are read-only, somebody else's, or not there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Place, assert_fails};
use crate::support::contents::files;
use crate::support::kic::{json, kic, program, shown, stdout};
use crate::support::sharing_specs::names;
use crate::support::small_disk::{SmallDisk, is_root};

/// A store on a disk that can become read-only, where one can be mounted.
fn store_on_a_disk() -> Option<(Place, SmallDisk, PathBuf)> {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no store was read-only");
        return None;
    }
    let place = Place::new();
    let memory = SmallDisk::mount(place.path("small"), "size=64m")?;
    let store = memory.path.join("store");
    place.assert_compiles(&store, "a store that may be written");
    Some((place, memory, store))
}

#[test]
fn a_read_only_store_is_told() {
    let Some((place, memory, store)) = store_on_a_disk() else { return };
    memory.remount("ro");
    assert_fails(&place.compile(&store, &place.path("o.oci")), "store-permission", 2, "a read-only store");
    assert!(!place.path("o.oci").exists());
    let new = memory.path.join("new");
    assert_fails(&place.compile(&new, &place.path("o.oci")), "store-permission", 2, "a new store, read-only");
    memory.remount("rw");
    place.assert_compiles(&store, "again a store that may be written");
}

#[test]
fn a_read_only_store_can_be_looked_at() {
    let Some((place, memory, store)) = store_on_a_disk() else { return };
    let blob = files(&store.join("blobs")).into_keys().next().unwrap();
    let name = blob.file_name().unwrap().to_string_lossy().into_owned();
    let looks: [&[&str]; 6] =
        [&["status"], &["roots"], &["gc", "--dry-run"], &["verify"], &["path", &name], &["why-alive", &name]];
    let look = |arguments: &[&str]| stdout(kic(&place.path("north"), &store).arg("store").args(arguments));
    let before = looks.map(look);
    memory.remount("ro");
    assert_eq!(looks.map(look), before);
    // What is damaged stays where it is, and that is told.
    memory.remount("rw");
    let path = store.join("blobs").join(&blob);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "damaged").unwrap();
    memory.remount("ro");
    let output =
        kic(&place.path("north"), &store).args(["store", "verify", "--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("store-corrupt") && told.contains("read-only"), "{}", shown(&output));
    memory.remount("rw");
}

#[test]
fn a_blob_that_nobody_may_read_is_told_and_the_rest_is_checked() {
    if !is_root() {
        eprintln!("SKIPPED: only root can become nobody, so no blob was unreadable");
        return;
    }
    let place = Place::new();
    let store = place.path("store");
    place.assert_compiles(&store, "a store");
    let blobs = store.join("blobs");
    let blob = blobs.join(files(&blobs).into_keys().next().unwrap());
    let all = files(&blobs).len();
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o0)).unwrap();
    let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(&store).output().unwrap();
    assert!(owned.status.success(), "{}", shown(&owned));
    let copy = place.path("kic");
    fs::copy(program(), &copy).unwrap();
    let mut verify = Command::new("setpriv");
    verify.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy);
    verify.args(["store", "verify", "--format", "json", "--store"]).arg(&store);
    let output = verify.env_clear().env("HOME", "/").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let found = json(&output);
    assert_eq!(found["blobs"], all, "{found:#}");
    assert_eq!(found["damaged"].as_array().unwrap().len(), 1, "{found:#}");
    assert!(found["damaged"][0]["unreadable"].as_str().unwrap().contains("denied"), "{found:#}");
    assert_eq!(found["setAside"], 1);
}

#[test]
fn the_store_of_another_user_is_told_and_left_alone() {
    if !is_root() {
        eprintln!("SKIPPED: only root can make files of another user, so no store was somebody else's");
        return;
    }
    let place = Place::new();
    let store = place.path("store");
    place.assert_compiles(&store, "an own store");
    chown(store.join("version"), Some(65534), Some(65534)).unwrap();
    let before = files(&store);
    let output = place.compile(&store, &place.path("o.oci"));
    assert_fails(&output, "store-permission", 2, "the store of nobody");
    assert!(String::from_utf8_lossy(&output.stderr).contains("65534"), "whose it is: {}", shown(&output));
    assert_eq!(files(&store), before);
    chown(store.join("version"), Some(0), Some(0)).unwrap();

    // The other way round: nobody may not even look into the store of root.
    let copy = place.path("kic");
    fs::copy(program(), &copy).unwrap();
    let plain = place.command(&store, &place.path("o.oci"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(plain.get_args());
    command.current_dir(place.path("north")).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    assert_fails(&output, "store-permission", 2, "nobody in the store of root");
    assert_eq!(files(&store), before);
}

#[test]
fn a_store_is_made_where_it_is_missing_and_nowhere_else() {
    let place = Place::new();
    place.assert_compiles(&place.path("a/b c/ü/store"), "a store whose parents are missing");
    let mode = fs::metadata(place.path("a/b c/ü/store")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "what images hold may be secret");
    symlink(place.path("a/b c/ü/store"), place.path("link")).unwrap();
    place.assert_compiles(&place.path("link"), "a store behind a link");

    place.specs.write("file", b"mine");
    let output = place.path("o.oci");
    assert_fails(&place.compile(&place.path("file"), &output), "store-unusable", 2, "a file");
    assert_fails(&place.compile(&place.path("file/store"), &output), "store-unusable", 2, "below a file");
    place.specs.write("home/letter", b"mine");
    let home = place.path("home");
    assert_fails(&place.compile(&home, &output), "store-unusable", 2, "a folder of something else");
    assert_eq!(names(&home), ["letter"], "somebody's folder was changed");
    fs::create_dir(place.path("empty")).unwrap();
    place.assert_compiles(&place.path("empty"), "an empty folder");
    for (text, says) in [("99\n", "99"), ("x", "version"), ("", "version"), ("0\n", "version")] {
        let store = place.path("empty");
        let version = store.join("version");
        let good = fs::read(&version).unwrap();
        fs::remove_file(&version).unwrap();
        fs::write(&version, text).unwrap();
        let refused = place.compile(&store, &output);
        assert_fails(&refused, "store-unusable", 2, &format!("a version {text:?}"));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(says), "{}", shown(&refused));
        fs::write(&version, good).unwrap();
    }
    place.assert_compiles(&place.path("empty"), "the version it had");
    assert!(!output.exists());
}

#[test]
fn without_a_word_the_store_is_in_the_cache_of_the_user() {
    let place = Place::new();
    let run = |variables: &[(&str, &OsStr)], arguments: &[&OsStr]| {
        let mut command = place.command(&place.path("unused"), &place.path("o.oci"));
        command.env_remove("KIC_STORE").env_remove("HOME").env_remove("XDG_CACHE_HOME");
        drop(fs::remove_dir_all(place.path("o.oci")));
        command.envs(variables.iter().copied()).args(arguments).output().unwrap()
    };
    let (home, cache, own, given) =
        (place.path("home"), place.path("cache"), place.path("own"), place.path("given"));
    /// The environment, the arguments, and where the store is then.
    type StorePlace<'a> = (&'a [(&'a str, &'a OsStr)], &'a [&'a OsStr], &'a Path);
    let cases: [StorePlace; 7] = [
        (&[("HOME", home.as_os_str())], &[], &home.join(".cache/kic")),
        (&[("HOME", home.as_os_str()), ("XDG_CACHE_HOME", cache.as_os_str())], &[], &cache.join("kic")),
        (&[("XDG_CACHE_HOME", cache.as_os_str())], &[], &cache.join("kic")),
        // The specification of base directories says that a relative one is to be ignored.
        (
            &[("HOME", home.as_os_str()), ("XDG_CACHE_HOME", OsStr::new("cache"))],
            &[],
            &home.join(".cache/kic"),
        ),
        (&[("HOME", home.as_os_str()), ("KIC_STORE", OsStr::new(""))], &[], &home.join(".cache/kic")),
        (&[("HOME", home.as_os_str()), ("KIC_STORE", own.as_os_str())], &[], &own),
        (&[("KIC_STORE", own.as_os_str())], &[OsStr::new("--store"), given.as_os_str()], &given),
    ];
    for (variables, arguments, store) in cases {
        let done = run(variables, arguments);
        assert!(done.status.success(), "{variables:?}: {}", shown(&done));
        assert!(
            store.join("version").is_file(),
            "{variables:?} {arguments:?}: no store at {}",
            store.display()
        );
        fs::remove_dir_all(store).unwrap();
        for other in [&home.join(".cache/kic"), &cache.join("kic"), &own, &given] {
            assert!(!other.exists(), "{variables:?} {arguments:?}: a store at {}", other.display());
        }
    }
    for variables in [&[][..], &[("HOME", OsStr::new(""))], &[("HOME", OsStr::new("relative"))]] {
        let lost = run(variables, &[]);
        assert_fails(&lost, "invalid-environment", 2, &format!("{variables:?}"));
        assert!(String::from_utf8_lossy(&lost.stderr).contains("KIC_STORE"), "{}", shown(&lost));
    }
}
