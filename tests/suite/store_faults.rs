//! Stores that are full, damaged, read-only, somebody else's, or not there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, program, shown};
use crate::support::random::Random;
use crate::support::rich_spec;
use crate::support::upstream::Upstream;

/// A spec with every kind of layer, an upstream registry, and what comes out in peace.
struct Place {
    folder: TempDir,
    upstream: Upstream,
    golden: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let images = folder.path().join("images");
        rich_spec::make_images_only(&images);
        let image = |name: &str| images.join("images").join(name);
        let (root, tool) = (image("root.oci"), image("tool.oci"));
        let upstream = Upstream::serve(&[("e/root", "v1", &root), ("e/tool", "v1", &tool)], |_, reply| reply);
        let mut place = Self { folder, upstream, golden: String::new() };
        let mut random = Random::new(31);
        place.write("spec/tree/big", &random.bytes(1 << 20));
        for number in 0..20 {
            place.write(&format!("spec/tree/{number}"), &random.bytes(number * 100));
        }
        place.write(
            "spec/cluster.kdl",
            b"cluster \"faults\" version=\"v1\" {
                base \"registry.test/e/root:v1\"
                files \"tree\" { copy \"tree\" to=\"/tree\"; }
                manifests \"shop\" { object \"v1/ConfigMap\" name=\"shop\"; }
                readiness \"shop\" { exists \"configmap/shop\"; }
                registry \"r.local\" { image \"registry.test/e/tool:v1\"; }
            }",
        );
        let alone = place.path("alone.oci");
        let done = place.compile(&place.path("alone-store"), &alone);
        assert!(done.status.success(), "{}", shown(&done));
        place.golden = root_digest(&alone);
        assert_valid(&alone);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn command(&self, store: &Path, output: &Path) -> Command {
        let mut command = kic(&self.path("spec"), store);
        let mirror = format!("registry.test=http://{}", self.upstream.host());
        command.args(["compile", "--quiet", "--registry-mirror", &mirror, "cluster.kdl", "-o"]).arg(output);
        command
    }

    fn compile(&self, store: &Path, output: &Path) -> Output {
        self.command(store, output).output().unwrap()
    }

    /// A compile that must come to its end, with the right image.
    fn assert_compiles(&self, store: &Path, when: &str) {
        let output = self.path("checked.oci");
        drop(fs::remove_dir_all(&output));
        let done = self.compile(store, &output);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(root_digest(&output), self.golden, "{when}");
        assert_valid(&output);
        assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A run that ended with that exit status, and a diagnostic of that code with something to do.
fn assert_fails(output: &Output, code: &str, status: i32, when: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{when}: {}", shown(output));
    assert!(text.contains(code), "{when}: not `{code}`: {}", shown(output));
    assert!(text.contains("help: "), "{when}: nothing to do: {}", shown(output));
    assert!(output.stdout.is_empty(), "{when}: {}", shown(output));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A small file system in memory.
struct Memory {
    path: PathBuf,
}

impl Memory {
    /// `None`, with a loud word, where none can be mounted.
    fn mount(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path }),
            failed => {
                eprintln!(
                    "SKIPPED: no file system of a small size can be mounted here, so none was full: {failed:?}"
                );
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mounted = Command::new("mount").args(["-o", &options]).arg(&self.path).output().unwrap();
        assert!(mounted.status.success(), "{}", shown(&mounted));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.path).status());
    }
}

/// The bytes of all files below a folder, each in whole pages as a file system in memory has them. Memos of a store are left
/// out: a compile does without them where there is no room.
fn room(folder: &Path) -> u64 {
    let pages =
        |path: &PathBuf| fs::symlink_metadata(folder.join(path)).unwrap().len().next_multiple_of(4096);
    files(folder).keys().filter(|path| !path.starts_with("memos")).map(pages).sum()
}

#[test]
fn a_full_store_is_told_and_not_broken() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no store was full");
        return;
    }
    let place = Place::new();
    let needed = room(&place.path("alone-store"));
    for (part, inodes) in [(1, 0), (5, 0), (20, 0), (45, 0), (70, 0), (90, 0), (99, 0), (300, 12), (300, 40)]
    {
        let when = format!("{part} % of the room, {inodes} inodes");
        let size = needed * part / 100;
        let Some(memory) = Memory::mount(place.path("small"), &format!("size={size},nr_inodes={inodes}"))
        else {
            return;
        };
        let store = memory.path.join("store");
        let output = place.path("full.oci");
        let full = place.compile(&store, &output);
        assert_fails(&full, "store-full", 2, &when);
        assert!(!output.exists(), "{when}: an image was written");
        if store.join("tmp").exists() {
            assert_eq!(names(&store.join("tmp")), [""; 0], "{when}: left in the store");
        }
        memory.remount(&format!("size={},nr_inodes=0", needed * 4));
        place.assert_compiles(&store, &when);
    }
}

#[test]
fn a_full_disk_for_the_output_is_told_and_leaves_the_old_image() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no output was on a full disk");
        return;
    }
    let place = Place::new();
    let store = place.path("store");
    let needed = room(&place.path("alone.oci"));
    for (name, part) in
        [("o.oci", 1), ("o.oci", 60), ("o.oci", 98), ("o.tar", 1), ("o.tar", 60), ("o.tar", 90)]
    {
        let when = format!("{part} % of the room for {name}");
        let Some(memory) = Memory::mount(place.path("small"), &format!("size={}", needed * part / 100))
        else {
            return;
        };
        let output = memory.path.join(name);
        let full = place.compile(&store, &output);
        assert_fails(&full, "store-full", 2, &when);
        assert_eq!(names(&memory.path), [""; 0], "{when}: a part was left");
        memory.remount(&format!("size={}", needed * 2));
        let done = place.compile(&store, &output);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(root_digest(&output), place.golden, "{when}");
    }
    // An image that stands there stays when the next one does not fit beside it.
    let Some(memory) = Memory::mount(place.path("small"), &format!("size={}", needed + needed / 3)) else {
        return;
    };
    for name in ["o.oci", "o.tar"] {
        let output = memory.path.join(name);
        let done = place.compile(&store, &output);
        assert!(done.status.success(), "{}", shown(&done));
        let before = if output.is_dir() { files(&output) } else { BTreeMap::new() };
        let text = fs::read_to_string(place.path("spec/cluster.kdl")).unwrap();
        place.write(
            "spec/cluster.kdl",
            text.replace("files \"tree\" {", "compression \"none\"; files \"tree\" {").as_bytes(),
        );
        let full = place.compile(&store, &output);
        place.write("spec/cluster.kdl", text.as_bytes());
        assert_fails(&full, "store-full", 2, name);
        assert_eq!(root_digest(&output), place.golden, "{name}: the old image is gone");
        if output.is_dir() {
            assert_eq!(files(&output), before, "{name}");
            fs::remove_dir_all(&output).unwrap();
        }
        assert!(names(&memory.path).iter().all(|left| left == name), "{name}: a part was left");
    }
}

#[test]
fn a_full_disk_for_an_unpacked_image_is_told_and_leaves_nothing() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so nothing was unpacked to a full disk");
        return;
    }
    let place = Place::new();
    let unpack = |to: &Path| {
        kic(&place.path("spec"), &place.path("store"))
            .args(["unpack", "-q", "../alone.oci"])
            .arg(to)
            .output()
            .unwrap()
    };
    let whole = unpack(&place.path("whole"));
    assert!(whole.status.success(), "{}", shown(&whole));
    let needed = room(&place.path("whole"));
    for (part, inodes) in [(1, 0), (50, 0), (95, 0), (300, 15)] {
        let when = format!("{part} % of the room, {inodes} inodes");
        let options = format!("size={},nr_inodes={inodes}", needed * part / 100);
        let Some(memory) = Memory::mount(place.path("small"), &options) else { return };
        let destination = memory.path.join("root");
        assert_fails(&unpack(&destination), "store-full", 2, &when);
        assert_eq!(names(&memory.path), [""; 0], "{when}: a part was left");
        memory.remount(&format!("size={},nr_inodes=0", needed * 4));
        let done = unpack(&destination);
        assert!(done.status.success(), "{when}: {}", shown(&done));
        assert_eq!(files(&destination), files(&place.path("whole")), "{when}");
    }
}

/// What happens to bytes on a disk.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
    Empty,
    Longer,
}

fn damage(path: &Path, how: Damage, random: &mut Random) {
    let mut bytes = fs::read(path).unwrap();
    match how {
        Damage::Flip => {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= 1 << random.below(8);
        }
        Damage::Cut => bytes.truncate(bytes.len() / 2),
        Damage::Empty => bytes.clear(),
        Damage::Longer => bytes.push(b'\n'),
    }
    // A new file: the old one may be a hard link to an output.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn damage_in_the_store_is_found_and_healed_and_never_written_out() {
    let place = Place::new();
    let store = place.path("store");
    let output = place.path("out.oci");
    let mut random = Random::new(37);
    place.assert_compiles(&store, "a new store");
    let kept: Vec<PathBuf> = files(&store)
        .into_keys()
        .filter(|path| path != Path::new("version") && path != Path::new("lock"))
        .collect();
    for kind in ["blobs", "embedded", "outputs"] {
        assert!(kept.iter().any(|path| path.starts_with(kind)), "nothing is kept in {kind}");
    }
    let mut named = 0;
    // Some of each kind: every one of them would take long, and they are all alike.
    let some = |(number, name): &(usize, &PathBuf)| number % 3 == 0 || name.starts_with("embedded");
    for (number, name) in kept.iter().enumerate().filter(some) {
        for how in [Damage::Flip, [Damage::Cut, Damage::Empty, Damage::Longer][number / 3 % 3]] {
            let when = format!("{how:?} in {}", name.display());
            if !store.join(name).exists() {
                continue;
            }
            damage(&store.join(name), how, &mut random);
            drop(fs::remove_dir_all(&output));
            let done = place.compile(&store, &output);
            assert!(done.status.success(), "{when}: {}", shown(&done));
            assert_eq!(root_digest(&output), place.golden, "{when}");
            assert_valid(&output);
            // Records are only built again, and blobs that nothing needed were not looked at.
            let text = String::from_utf8_lossy(&done.stderr);
            if !text.is_empty() {
                assert!(text.contains("store-healed") && text.contains("sha256:"), "{when}: {text}");
                named += 1;
            }
        }
        place.assert_compiles(&store, &name.display().to_string());
    }
    assert!(named > 2, "only {named} damages were named");
}

#[test]
fn damage_in_everything_at_once_is_healed_in_one_run() {
    let place = Place::new();
    let store = place.path("store");
    for how in [Damage::Flip, Damage::Empty] {
        place.assert_compiles(&store, "a whole store");
        let mut random = Random::new(41);
        for name in
            files(&store).into_keys().filter(|path| path != Path::new("version") && path != Path::new("lock"))
        {
            damage(&store.join(name), how, &mut random);
        }
        place.assert_compiles(&store, &format!("{how:?} in everything"));
    }
}

#[test]
fn damage_that_cannot_be_healed_is_told_and_nothing_is_written() {
    let place = Place::new();
    let store = place.path("store");
    place.assert_compiles(&store, "a whole store");
    let base = files(&place.path("alone.oci/blobs/sha256"));
    // The base's first layer: only the registry has it.
    let layer = crate::support::contents::layer(&place.path("alone.oci"), "files", "root");
    let hex = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    assert!(base.contains_key(Path::new(&hex)));
    damage(&store.join("blobs/sha256").join(&hex[..2]).join(&hex), Damage::Flip, &mut Random::new(47));
    let output = place.path("o.oci");
    let told = place.command(&store, &output).arg("--offline").output().unwrap();
    assert_fails(&told, "offline", 2, "no network");
    assert_fails(&told, "store-corrupt", 2, "no network");
    assert!(!output.exists(), "an image was written");
    place.assert_compiles(&store, "with the network again");
}

#[test]
fn a_damaged_blob_is_not_unpacked() {
    let place = Place::new();
    let store = place.path("store");
    let reference = format!("{}/e/tool:v1", place.upstream.host());
    let unpack = |to: &str| {
        kic(&place.path("spec"), &store)
            .args(["unpack", "-q", "--platform", "linux/amd64", &reference])
            .arg(place.path(to))
            .output()
            .unwrap()
    };
    let done = unpack("one");
    assert!(done.status.success(), "{}", shown(&done));
    let largest = files(&store.join("blobs"))
        .into_keys()
        .max_by_key(|path| fs::metadata(store.join("blobs").join(path)).unwrap().len());
    damage(&store.join("blobs").join(largest.unwrap()), Damage::Flip, &mut Random::new(43));
    let damaged = unpack("two");
    assert_fails(&damaged, "store-corrupt", 2, "a flipped bit");
    assert!(!place.path("two").exists());
    let done = unpack("two");
    assert!(done.status.success(), "{}", shown(&done));
    assert_eq!(files(&place.path("two")), files(&place.path("one")));
}

#[test]
fn a_read_only_store_is_told() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount, so no store was read-only");
        return;
    }
    let place = Place::new();
    let Some(memory) = Memory::mount(place.path("small"), "size=64m") else { return };
    let store = memory.path.join("store");
    place.assert_compiles(&store, "a store that may be written");
    memory.remount("ro");
    assert_fails(&place.compile(&store, &place.path("o.oci")), "store-permission", 2, "a read-only store");
    assert!(!place.path("o.oci").exists());
    let new = memory.path.join("new");
    assert_fails(&place.compile(&new, &place.path("o.oci")), "store-permission", 2, "a new store, read-only");
    memory.remount("rw");
    place.assert_compiles(&store, "again a store that may be written");
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
    command.current_dir(place.path("spec")).env_clear();
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

    place.write("file", b"mine");
    let output = place.path("o.oci");
    assert_fails(&place.compile(&place.path("file"), &output), "store-unusable", 2, "a file");
    assert_fails(&place.compile(&place.path("file/store"), &output), "store-unusable", 2, "below a file");
    place.write("home/letter", b"mine");
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
