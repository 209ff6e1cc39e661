//! The same spec gives the same bytes, whatever is different around it.
//!
//! One rich spec is compiled by the real program along every axis: each time the digest is the golden one, and
//! every file of the output has the same bytes.

mod golden;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kic_base::Epoch;
use tempfile::TempDir;

use crate::support::contents::{digest_of, files};
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, program, shown};
use crate::support::peers::peer;
use crate::support::rich_spec::{self, Making};
use golden::assert_golden;

/// The rich spec, and the image that it gives in the plainest surroundings.
struct Reference {
    folder: TempDir,
    layout: PathBuf,
}

/// Made by the first test that needs it, removed by the last.
fn reference() -> Arc<Reference> {
    static REFERENCE: Mutex<Weak<Reference>> = Mutex::new(Weak::new());
    let mut shared = REFERENCE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reference) = shared.upgrade() {
        return reference;
    }
    let folder = tempfile::tempdir().unwrap();
    let spec = folder.path().join("spec");
    rich_spec::make(&spec, Making::default());
    let layout = folder.path().join("reference.oci");
    let digest = Build::new(&spec).output(&layout).run();
    assert_valid(&layout);
    assert_golden("zstd", &digest);
    let reference = Arc::new(Reference { folder, layout });
    *shared = Arc::downgrade(&reference);
    reference
}

impl Reference {
    /// The folder with the spec.
    fn spec(&self) -> PathBuf {
        self.folder.path().join("spec")
    }

    /// The digest of the reference, and the bytes of all its files.
    fn assert_same(&self, layout: &Path, axis: &str) {
        assert_eq!(root_digest(layout), root_digest(&self.layout), "{axis}: another image");
        assert_eq!(files(layout), files(&self.layout), "{axis}: other files");
    }
}

/// One run of the program. What is not said is as plain as can be: a new store, a new output.
struct Build {
    scratch: TempDir,
    folder: PathBuf,
    spec: PathBuf,
    store: PathBuf,
    output: PathBuf,
    arguments: Vec<String>,
    program: PathBuf,
    wrapper: Vec<OsString>,
    environment: Vec<(String, Option<String>)>,
}

impl Build {
    fn new(folder: &Path) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self {
            folder: folder.to_owned(),
            spec: "cluster.kdl".into(),
            store: scratch.path().join("store"),
            output: scratch.path().join("output.oci"),
            arguments: Vec::new(),
            program: program().to_owned(),
            wrapper: Vec::new(),
            environment: Vec::new(),
            scratch,
        }
    }

    fn spec(mut self, spec: impl Into<PathBuf>) -> Self {
        self.spec = spec.into();
        self
    }

    fn store(mut self, store: &Path) -> Self {
        self.store = store.to_owned();
        self
    }

    fn output(mut self, output: &Path) -> Self {
        self.output = output.to_owned();
        self
    }

    fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Runs the program through others, such as `faketime`.
    fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper.extend(words.iter().map(OsString::from));
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    /// The digest that the program prints.
    fn run(&self) -> String {
        let plain = kic(&self.folder, &self.store);
        let mut words = self.wrapper.clone();
        words.push(self.program.clone().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["compile", "--quiet"]).arg(&self.spec).arg("-o").arg(&self.output);
        command.args(&self.arguments).current_dir(&self.folder).env_clear();
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", shown(&output));
        let digest = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        assert!(digest.starts_with("sha256:"), "{digest}");
        digest
    }

    fn run_and_compare(&self, reference: &Reference, axis: &str) {
        let digest = self.run();
        assert_eq!(digest, root_digest(&self.output), "{axis}: what is printed is not what is written");
        reference.assert_same(&self.output, axis);
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A shell that sets something up, then becomes the program.
const SHELL: &str = "/bin/sh";

#[test]
fn the_number_of_jobs_does_not_show() {
    let reference = reference();
    for jobs in ["1", "2", "16"] {
        Build::new(&reference.spec())
            .argument("-j")
            .argument(jobs)
            .run_and_compare(&reference, &format!("-j {jobs}"));
    }
}

#[test]
fn the_folder_and_the_way_to_it_do_not_show() {
    let reference = reference();
    let elsewhere = tempfile::tempdir().unwrap();
    let deep = elsewhere.path().join("a folder with spaces").join("ünï/日本").join(["deep"; 30].join("/"));
    rich_spec::make(&deep, Making::default());
    Build::new(&deep).run_and_compare(&reference, "another folder");
    let absolute = deep.join("cluster.kdl");
    Build::new(Path::new("/")).spec(&absolute).run_and_compare(&reference, "an absolute path");
    let parent = deep.parent().unwrap();
    Build::new(parent).spec("deep/../deep/./cluster.kdl").run_and_compare(&reference, "a path with dots");
    let link = elsewhere.path().join("link");
    symlink(&deep, &link).unwrap();
    Build::new(&link).run_and_compare(&reference, "through a link");
    let renamed = deep.join("renamed.kdl");
    fs::rename(&absolute, &renamed).unwrap();
    Build::new(&deep).spec("renamed.kdl").run_and_compare(&reference, "a spec of another name");
}

#[test]
fn the_umask_does_not_show() {
    let reference = reference();
    for umask in ["000", "022", "077"] {
        let script = format!("umask {umask}; exec \"$@\"");
        let build = Build::new(&reference.spec()).wrapper(&[SHELL, "-c", &script, SHELL]);
        build.run_and_compare(&reference, &format!("umask {umask}"));
        for (path, mode) in
            [("", 0o755), ("blobs/sha256", 0o755), ("index.json", 0o644), ("oci-layout", 0o644)]
        {
            let found = fs::metadata(build.output.join(path)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{path} under umask {umask}");
        }
    }
}

#[test]
fn the_environment_does_not_show() {
    let reference = reference();
    let spec = reference.spec();
    Build::new(&spec)
        .variable("TZ", "Pacific/Kiritimati")
        .variable("LC_ALL", "tr_TR.UTF-8")
        .variable("LANG", "tr_TR.UTF-8")
        .variable("HOME", "/nonexistent")
        .variable("USER", "somebody")
        .variable("COLUMNS", "40")
        .run_and_compare(&reference, "a Turkish environment");
    Build::new(&spec)
        .variable("TZ", "America/St_Johns")
        .variable("LC_ALL", "C")
        .variable("TERM", "dumb")
        .variable("SOURCE_DATE_EPOCH", "0")
        .variable("ZSTD_CLEVEL", "19")
        .variable("ZSTD_NBTHREADS", "4")
        .variable("TOKIO_WORKER_THREADS", "1")
        .without("HOME")
        .run_and_compare(&reference, "a bare environment");
    Build::new(&spec)
        .variable("SOURCE_DATE_EPOCH", "")
        .without("PATH")
        .without("LC_ALL")
        .run_and_compare(&reference, "hardly any environment");
}

#[test]
fn another_user_gets_the_same_image() {
    if !is_root() {
        eprintln!("SKIPPED: only root can become another user, so no other user has compiled");
        return;
    }
    let Some(setpriv) = peer("setpriv") else { return };
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let spec = place.path().join("spec");
    rich_spec::make(&spec, Making::default());
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(65534), Some(65534)).unwrap();
    // The program lies where another user may not come.
    let program = place.path().join("kic");
    fs::copy(self::program(), &program).unwrap();
    let mut build = Build::new(&spec)
        .store(&own.join("store"))
        .output(&own.join("output.oci"))
        .variable("HOME", own.to_str().unwrap())
        .wrapper(&[setpriv.to_str().unwrap(), "--reuid=65534", "--regid=65534", "--clear-groups"]);
    build.program = program;
    build.run_and_compare(&reference, "the user nobody");
    assert_eq!(
        fs::metadata(own.join("output.oci/index.json")).unwrap().uid(),
        65534,
        "nobody did not write it"
    );
}

#[test]
fn how_the_files_came_to_be_does_not_show() {
    let reference = reference();
    let makings = [
        Making { order: 2, modified: 1, modes: (0o600, 0o700, 0o700) },
        Making { order: 3, modified: 4_000_000_000, modes: (0o664, 0o744, 0o775) },
        // Executable for others alone is not executable: the owner's bit says it.
        Making { order: 4, modified: 1_600_000_001, modes: (0o655, 0o755, 0o755) },
    ];
    for making in makings {
        let folder = tempfile::tempdir().unwrap();
        let spec = folder.path().join("spec");
        rich_spec::make(&spec, making);
        Build::new(&spec).run_and_compare(&reference, &format!("{making:?}"));
    }
}

#[test]
fn the_order_of_folders_does_not_show() {
    let (Some(disorderfs), Some(unmount)) = (peer("disorderfs"), peer("fusermount")) else { return };
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("mounted");
    fs::create_dir(&outside).unwrap();
    let mounted = Command::new(disorderfs)
        .args(["--shuffle-dirents=yes", "--reverse-dirents=yes", "--pad-blocks=7", "--quiet"])
        .args([&reference.spec(), &outside])
        .output()
        .unwrap();
    if !mounted.status.success() {
        assert!(std::env::var("KIC_REQUIRE_PEERS").as_deref() != Ok("1"), "disorderfs: {}", shown(&mounted));
        eprintln!(
            "SKIPPED: disorderfs cannot mount here, so no other order of folders was tried: {}",
            shown(&mounted)
        );
        return;
    }
    struct Unmount(PathBuf, PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            let _ = Command::new(&self.0).arg("-u").arg(&self.1).status();
        }
    }
    let _unmount = Unmount(unmount, outside.clone());
    let names = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder.join("tree/many")).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_ne!(names(&outside), names(&reference.spec()), "disorderfs changes nothing");
    for _ in 0..2 {
        Build::new(&outside).run_and_compare(&reference, "disorderfs");
    }
}

#[test]
fn the_clock_does_not_show() {
    let Some(faketime) = peer("faketime") else { return };
    let reference = reference();
    let faketime = faketime.to_str().unwrap();
    for clock in ["1985-10-26 01:21:00", "2041-05-06 07:08:09"] {
        // The clock starts elsewhere and goes on; timers, which go by the time since the machine started, do not see it.
        let build = Build::new(&reference.spec()).wrapper(&[
            faketime,
            "--exclude-monotonic",
            "-f",
            &format!("@{clock}"),
        ]);
        let date = Command::new(faketime)
            .args(["--exclude-monotonic", "-f", &format!("@{clock}"), "date", "+%Y"])
            .output();
        let date = String::from_utf8(date.unwrap().stdout).unwrap();
        assert_eq!(date.trim(), &clock[..4], "faketime does not fake");
        build.run_and_compare(&reference, clock);
    }
}

#[test]
fn the_instructions_of_the_processor_do_not_show() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("SKIPPED: only processors of the kind x86-64 are played, and this is none");
        return;
    }
    let Some(qemu) = peer("qemu-x86_64") else { return };
    let reference = reference();
    // One without AVX, BMI and SHA instructions.
    let build = Build::new(&reference.spec()).wrapper(&[qemu.to_str().unwrap(), "-cpu", "Nehalem"]);
    build.run_and_compare(&reference, "an old processor");
}

#[test]
fn what_the_store_holds_does_not_show() {
    let reference = reference();
    let cold = Build::new(&reference.spec());
    cold.run_and_compare(&reference, "a cold store");
    let again = |axis: &str| {
        Build::new(&reference.spec()).store(&cold.store).run_and_compare(&reference, axis);
    };
    again("a warm store");
    fs::remove_dir_all(cold.store.join("outputs")).unwrap();
    again("a store without output records");
    fs::remove_dir_all(cold.store.join("embedded")).unwrap();
    again("a store that lost what it knew of embedded blobs");
    let mut blobs: Vec<PathBuf> = files(&cold.store.join("blobs")).into_keys().collect();
    crate::support::random::Random::new(5).shuffle(&mut blobs);
    for blob in &blobs[..blobs.len() / 2] {
        fs::remove_file(cold.store.join("blobs").join(blob)).unwrap();
    }
    again("a store that lost half of its blobs");
}

#[test]
fn the_file_system_of_store_and_output_does_not_show() {
    let reference = reference();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: no /dev/shm, so store and output were on one file system");
        return;
    };
    let output = memory.path().join("output.oci");
    Build::new(&reference.spec())
        .output(&output)
        .run_and_compare(&reference, "an output on another file system");
    let store = memory.path().join("store");
    Build::new(&reference.spec()).store(&store).run_and_compare(&reference, "a store on another file system");
}

#[test]
fn an_output_that_is_written_over_is_the_same_as_a_new_one() {
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let spec = place.path().join("spec");
    rich_spec::make(&spec, Making::default());
    let output = place.path().join("output.oci");
    let text = fs::read_to_string(spec.join("cluster.kdl")).unwrap();
    rich_spec::add_line(&spec, "compression \"none\"");
    let other = Build::new(&spec).output(&output).run();
    assert_ne!(other, root_digest(&reference.layout));
    fs::write(spec.join("cluster.kdl"), text).unwrap();
    Build::new(&spec).output(&output).run_and_compare(&reference, "over another image");
    Build::new(&spec).output(&output).run_and_compare(&reference, "over itself");
}

#[test]
fn an_archive_holds_the_same_image_and_has_the_same_bytes_each_time() {
    let reference = reference();
    let place = tempfile::tempdir().unwrap();
    let archive = |name: &str, jobs: &str| {
        let path = place.path().join(name);
        let digest = Build::new(&reference.spec()).output(&path).argument("-j").argument(jobs).run();
        assert_eq!(digest, root_digest(&reference.layout));
        path
    };
    let (one, two) = (archive("one.tar", "1"), archive("two.tar", "16"));
    assert_eq!(digest_of(&one), digest_of(&two), "two archives differ");
    assert_golden("archive", &digest_of(&one).to_string());
    let unpacked = place.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let status = Command::new("tar").arg("-xf").arg(&one).arg("-C").arg(&unpacked).status().unwrap();
    assert!(status.success());
    reference.assert_same(&unpacked, "an archive, unpacked");
}

#[test]
fn each_compression_gives_its_golden_digest() {
    for method in ["gzip", "none"] {
        let place = tempfile::tempdir().unwrap();
        let spec = place.path().join("spec");
        rich_spec::make(&spec, Making::default());
        rich_spec::add_line(&spec, &format!("compression \"{method}\""));
        let one = Build::new(&spec).argument("-j").argument("1");
        assert_golden(method, &one.run());
        assert_valid(&one.output);
        let many = Build::new(&spec).argument("-j").argument("16").variable("TZ", "Asia/Kathmandu");
        assert_eq!(many.run(), root_digest(&one.output));
        assert_eq!(files(&one.output), files(&many.output), "{method}");
    }
}

#[test]
fn source_date_epoch_changes_the_digest_and_nothing_else_does_then() {
    let reference = reference();
    let at = |seconds: &str, jobs: &str| {
        let build = Build::new(&reference.spec())
            .variable("SOURCE_DATE_EPOCH", seconds)
            .argument("-j")
            .argument(jobs);
        let digest = build.run();
        (digest, build)
    };
    let (digest, build) = at("1700000000", "1");
    assert_ne!(digest, root_digest(&reference.layout));
    assert_golden("zstd at 1700000000", &digest);
    assert_valid(&build.output);
    let (again, other) = at("1700000000", "16");
    assert_eq!(again, digest);
    assert_eq!(files(&build.output), files(&other.output));
    // The last second of a tar header without extensions, in a store that holds the same layers of other times.
    let last =
        Build::new(&reference.spec()).store(&build.store).variable("SOURCE_DATE_EPOCH", "8589934591").run();
    assert_ne!(last, digest);
    Build::new(&reference.spec())
        .store(&build.store)
        .run_and_compare(&reference, "after other times, in one store");
}

#[test]
fn every_epoch_that_this_kic_knows_gives_its_golden_digest() {
    for number in 1..=Epoch::CURRENT.number() {
        let place = tempfile::tempdir().unwrap();
        let spec = place.path().join("spec");
        rich_spec::make(&spec, Making::default());
        for lock in ["kic.lock", "base/kic.lock"] {
            fs::write(spec.join(lock), format!("lock version=1 epoch={number}\n")).unwrap();
        }
        let build = Build::new(&spec).argument("--locked");
        golden::assert_golden_of(number, "zstd", &build.run());
    }
}

#[test]
fn a_debug_and_a_release_build_of_kic_give_the_same_image() {
    let own = program();
    let target = own.ancestors().nth(2).unwrap();
    let other = if own.starts_with(target.join("release")) { "debug" } else { "release" };
    let other = target.join(other).join("kic");
    if !is_fresh(&other) {
        eprintln!(
            "SKIPPED: {} is missing, or older than the sources: only one build of kic was tried",
            other.display()
        );
        return;
    }
    let reference = reference();
    let mut build = Build::new(&reference.spec());
    build.program = other;
    build.run_and_compare(&reference, "another build of kic");
}

/// Whether a program is there and newer than every source that cargo lists for it.
fn is_fresh(program: &Path) -> bool {
    let (Ok(list), Ok(metadata)) = (fs::read_to_string(program.with_extension("d")), fs::metadata(program))
    else {
        return false;
    };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources).replace("\\ ", "\0");
    let built = metadata.modified().unwrap();
    sources.split_whitespace().all(|source| {
        fs::metadata(source.replace('\0', " "))
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time <= built)
    })
}

#[test]
fn nothing_of_a_build_stays_beside_its_output() {
    let reference = reference();
    let build = Build::new(&reference.spec());
    build.run_and_compare(&reference, "the plain case");
    let mut names: Vec<_> =
        fs::read_dir(build.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["output.oci", "store"]);
    assert_eq!(fs::read_dir(build.store.join("tmp")).unwrap().count(), 0);
    assert!(!reference.spec().join("kic.lock").exists(), "a spec without pins needs no lock");
}
