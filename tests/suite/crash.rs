//! A run that is killed at any moment leaves nothing that the next one stumbles over.
//!
//! `kic compile` runs into one store and one output, over and over, and is killed at moments spread over its whole
//! length, downloads among them. What stands at the output is then the old image or the new one, whole; and the
//! next run gives the digest that a run in peace gives, and tidies up.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, shown};
use crate::support::random::Random;
use crate::support::rich_spec;
use crate::support::upstream::{Upstream, is_blob};

/// The variants of the spec whose images take turns at the output: they share some layers and not others.
const VARIANTS: [&str; 2] = ["one", "two"];

/// How long a run may take to end that is asked to.
const PATIENCE: Duration = Duration::from_secs(3);

/// A spec with downloads from a slow registry, its two variants, and what each gives.
struct Place {
    folder: TempDir,
    upstream: Upstream,
    output: &'static str,
    golden: [String; 2],
    /// How long a run takes that has everything to do.
    length: Duration,
}

impl Place {
    fn new(output: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images");
        rich_spec::make_images_only(&path);
        let image = |name: &str| path.join("images").join(name);
        let (root, tool, agent) = (image("root.oci"), image("tool.oci"), image("agent.oci"));
        let upstream = Upstream::serve(
            &[("e/root", "v1", &root), ("e/tool", "v1", &tool), ("e/agent", "v1", &agent)],
            |request, reply| {
                let reply = reply.wait(Duration::from_millis(5));
                if is_blob(request) { reply.trickle(60_000, Duration::from_millis(5)) } else { reply }
            },
        );
        let mut place = Self { folder, upstream, output, golden: Default::default(), length: Duration::ZERO };
        let mut random = Random::new(11);
        for number in 0..60 {
            place.write(&format!("tree/{number}/file"), &random.bytes(number * 100));
        }
        place.write("tree/big", &random.bytes(1 << 20));
        for variant in VARIANTS {
            place.write(&format!("tree-{variant}/own"), variant.as_bytes());
            place.write(&format!("{variant}/cluster.kdl"), spec(variant).as_bytes());
        }
        for (index, variant) in VARIANTS.into_iter().enumerate() {
            let started = Instant::now();
            let done = place.compile(variant).output().unwrap();
            place.length = place.length.max(started.elapsed());
            assert!(done.status.success(), "{}", shown(&done));
            place.golden[index] = String::from_utf8(done.stdout).unwrap().trim().to_owned();
            fs::remove_dir_all(place.store()).unwrap();
        }
        assert_ne!(place.golden[0], place.golden[1]);
        place
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("outputs").join(self.output)
    }

    fn compile(&self, variant: &str) -> Command {
        fs::create_dir_all(self.folder.path().join("outputs")).unwrap();
        let mut command = kic(&self.folder.path().join(variant), &self.store());
        let mirror = format!("registry.test=http://{}", self.upstream.host());
        command.args(["compile", "--quiet", "--registry-mirror", &mirror, "cluster.kdl", "-o"]);
        command.arg(self.output()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What stands at the output is nothing, where nothing was, or a whole image of one of the variants.
    fn assert_whole(&self, when: &str) {
        let output = self.output();
        if !output.exists() {
            return;
        }
        let digest = root_digest(&output);
        assert!(self.golden.contains(&digest), "{when}: {digest} is the image of no variant");
        if output.is_dir() {
            assert_valid(&output);
        } else {
            // An archive is renamed into its place; its end shows that it is all there.
            let listed = Command::new("tar").arg("-tf").arg(&output).output().unwrap();
            assert!(listed.status.success(), "{when}: {}", shown(&listed));
        }
    }

    /// Nothing is left over: not in the store, not beside the output, not beside the lock.
    fn assert_tidy(&self, when: &str) {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&self.store().join("tmp")), [""; 0], "{when}: left in the store");
        assert_eq!(names(&self.store().join("corrupt")), [""; 0], "{when}: found damaged in the store");
        let beside = names(&self.folder.path().join("outputs"));
        assert!(beside.iter().all(|name| name == self.output), "{when}: left beside the output: {beside:?}");
        for variant in VARIANTS {
            let beside = names(&self.folder.path().join(variant));
            let known = |name: &String| name == "cluster.kdl" || name == "kic.lock";
            assert!(beside.iter().all(known), "{when}: left beside the lock: {beside:?}");
        }
    }

    /// The next run succeeds with the golden digest, and leaves nothing but its results.
    fn assert_next_run(&self, index: usize, when: &str) {
        let next = self.compile(VARIANTS[index]).output().unwrap();
        assert!(next.status.success(), "{when}, the next run: {}", shown(&next));
        assert_eq!(
            String::from_utf8_lossy(&next.stdout).trim(),
            self.golden[index],
            "{when}: another digest"
        );
        assert_eq!(root_digest(&self.output()), self.golden[index], "{when}: the output is another");
        self.assert_whole(when);
        self.assert_tidy(when);
    }

    /// Takes away some of what the store knows, so that the next run has something to do.
    fn forget(&self, random: &mut Random) {
        match random.below(4) {
            0 | 1 => drop(fs::remove_dir_all(self.store())),
            2 => drop(fs::remove_dir_all(self.store().join("outputs"))),
            _ => {
                let blobs = self.store().join("blobs");
                let names = if blobs.exists() { files(&blobs) } else { Default::default() };
                for name in names.keys().filter(|_| random.below(2) == 0) {
                    fs::remove_file(blobs.join(name)).unwrap();
                }
            }
        }
        // Pins go too, at times: resolving is a part of a run.
        if random.below(3) == 0 {
            for variant in VARIANTS {
                drop(fs::remove_file(self.folder.path().join(variant).join("kic.lock")));
            }
        }
    }

    /// Kills runs at `count` moments.
    fn kill_at_moments(&self, count: u32, seed: u64) {
        assert!(!count.is_multiple_of(11), "moments would repeat");
        let mut random = Random::new(seed);
        let mut length = self.length;
        let mut ended_by_signal = 0;
        for round in 0..count {
            let index = (round % 2) as usize;
            self.forget(&mut random);
            // One moment in each of `count` equal parts of the run, in an order that jumps: 11 divides no count.
            let part = (round * 11 + 3) % count;
            let thousandths = part * 1000 + u32::try_from(random.below(1000)).unwrap();
            let moment = length * thousandths / (count * 1000);
            let signal = ["KILL", "KILL", "KILL", "INT", "KILL", "KILL", "TERM"][(round % 7) as usize];
            let when = format!("round {round}: {signal} after {moment:?} of {length:?}");
            let mut child = self.compile(VARIANTS[index]).spawn().unwrap();
            std::thread::sleep(moment);
            let asked = Instant::now();
            send(&child, signal);
            let status = wait(&mut child, &when);
            match (status.code(), status.signal()) {
                // It was done before.
                (Some(0), _) => {}
                (Some(130), _) if signal != "KILL" => {
                    ended_by_signal += 1;
                    assert!(asked.elapsed() < PATIENCE, "{when}: it took {:?} to end", asked.elapsed());
                }
                (None, Some(_)) => ended_by_signal += 1,
                _ => panic!("{when}: {}", shown(&child.wait_with_output().unwrap())),
            }
            length = adapted(length, status.success());
            self.assert_whole(&when);
            if status.code() == Some(130) {
                self.assert_tidy(&when);
            }
            self.assert_next_run(index, &when);
        }
        assert!(ended_by_signal * 3 > count, "only {ended_by_signal} of {count} runs were hit");
    }
}

/// How long a run is taken to last: shorter after one that was done before its moment came. How busy the machine is
/// changes all the time.
fn adapted(length: Duration, was_done: bool) -> Duration {
    if was_done { length * 4 / 5 } else { length * 21 / 20 }
}

/// A spec with every kind of layer, whose parts depend in part on the variant.
fn spec(variant: &str) -> String {
    let image = if variant == "one" { "tool" } else { "agent" };
    format!(
        "cluster \"crash\" version=\"v1\" {{
            base \"registry.test/e/root:v1\"
            files \"tree\" {{ copy \"../tree\" to=\"/tree\"; }}
            files \"own\" {{ copy \"../tree-{variant}\" to=\"/own\"; }}
            manifests \"shop\" {{ object \"v1/ConfigMap\" name=\"{variant}\"; }}
            readiness \"shop\" {{ exists \"configmap/{variant}\"; }}
            registry \"r.local\" {{
                image \"registry.test/e/{image}:v1\"
                image \"registry.test/e/root:v1\"
            }}
        }}"
    )
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).output().unwrap();
    // It may have ended, but it is not reaped yet: its number is nobody else's.
    assert!(sent.status.success(), "{}", shown(&sent));
}

/// Waits until a child ends; it must, soon.
fn wait(child: &mut Child, when: &str) -> std::process::ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("{when}: it does not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_compile_to_a_layout_that_is_killed_leaves_an_old_or_a_new_image_and_a_good_store() {
    Place::new("image.oci").kill_at_moments(42, 1);
}

#[test]
fn a_compile_to_an_archive_that_is_killed_leaves_an_old_or_a_new_image_and_a_good_store() {
    Place::new("image.tar").kill_at_moments(18, 2);
}

#[test]
fn an_unpack_that_is_killed_leaves_nothing_or_everything() {
    let place = tempfile::tempdir().unwrap();
    let mut random = Random::new(13);
    for number in 0..150 {
        let folder = place.path().join(format!("tree/{}", number % 8));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), random.bytes(number * 200)).unwrap();
    }
    let text = "cluster \"image\" { base scratch; files \"one\" { copy \"tree\" to=\"/one\"; }
        files \"two\" { copy \"tree\" to=\"/two\"; }; }";
    fs::write(place.path().join("cluster.kdl"), text).unwrap();
    let store = place.path().join("store");
    let built = kic(place.path(), &store).args(["compile", "-q"]).output().unwrap();
    assert!(built.status.success(), "{}", shown(&built));
    fs::create_dir(place.path().join("out")).unwrap();
    let unpack = |name: &str| {
        let mut command = kic(place.path(), &store);
        command.args(["unpack", "--quiet", "image.oci"]).arg(Path::new("out").join(name));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let started = Instant::now();
    let done = unpack("whole").output().unwrap();
    assert!(done.status.success(), "{}", shown(&done));
    let mut length = started.elapsed();
    let whole = files(&place.path().join("out/whole"));
    let destination = place.path().join("out/root");
    let mut random = Random::new(3);
    let (count, mut hit) = (15, 0);
    for round in 0..count {
        drop(fs::remove_dir_all(&destination));
        // An empty folder is a destination too, and is empty again afterwards.
        let empty = round % 3 == 0;
        if empty {
            fs::create_dir(&destination).unwrap();
        }
        let moment = length * (round * 100 + u32::try_from(random.below(100)).unwrap()) / (count * 100);
        let signal = ["KILL", "INT", "KILL", "KILL", "TERM"][(round % 5) as usize];
        let when = format!("round {round}: {signal} after {moment:?} of {length:?}");
        let mut child = unpack("root").spawn().unwrap();
        std::thread::sleep(moment);
        let asked = Instant::now();
        send(&child, signal);
        let status = wait(&mut child, &when);
        assert!(asked.elapsed() < PATIENCE, "{when}: it took {:?} to end", asked.elapsed());
        length = adapted(length, status.success());
        if status.success() {
            assert_eq!(files(&destination), whole, "{when}");
        } else {
            hit += 1;
            assert!(status.code() == Some(130) || status.signal().is_some(), "{when}: {status}");
            // Killed between its last step and its end, it leaves everything.
            if status.signal().is_some() && destination.exists() && files(&destination) == whole {
                continue;
            }
            assert_eq!(destination.exists(), empty, "{when}: a part is there");
            assert!(
                !empty || fs::read_dir(&destination).unwrap().next().is_none(),
                "{when}: a part is there"
            );
            if status.code() == Some(130) {
                assert_eq!(
                    fs::read_dir(place.path().join("out")).unwrap().count(),
                    1 + usize::from(empty),
                    "{when}"
                );
            }
            let next = unpack("root").output().unwrap();
            assert!(next.status.success(), "{when}, the next run: {}", shown(&next));
            assert_eq!(files(&destination), whole, "{when}, the next run");
            assert_eq!(
                fs::read_dir(place.path().join("out")).unwrap().count(),
                2,
                "{when}: something is left over"
            );
        }
    }
    assert!(hit * 3 > count, "only {hit} of {count} runs were hit");
}

#[test]
fn a_check_that_is_killed_leaves_no_second_store_for_long() {
    let place = Place::new("image.oci");
    let check = || {
        let mut command = place.compile(VARIANTS[0]);
        command.arg("--check");
        command
    };
    let scratch = || {
        let names = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".kic-check-")).count()
    };
    // A folder that is no store yet belongs to nobody who could be told apart from the living.
    let is_store = || {
        let mut entries = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.any(|path| path.to_string_lossy().contains("/.kic-check-") && path.join("version").exists())
    };
    let done = place.compile(VARIANTS[0]).output().unwrap();
    assert!(done.status.success(), "{}", shown(&done));
    // The second store is there after the first build, which has nothing to do.
    let mut killed = 0;
    for _ in 0..30 {
        let mut child = check().spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_store() && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&child, "KILL");
        wait(&mut child, "check");
        killed += u64::from(scratch() > 0);
        assert!(scratch() <= 1, "second stores pile up");
        if killed == 4 {
            break;
        }
    }
    assert_eq!(killed, 4, "no check was hit");
    let next = check().output().unwrap();
    assert!(next.status.success(), "{}", shown(&next));
    assert_eq!(scratch(), 0, "a second store is left over");
    place.assert_tidy("after checks that were killed");
}

/// Starts a run that cannot come to an end by itself, asks it to stop, and returns its exit status.
fn stop(command: &mut Command, signal: &str, started: impl Fn() -> bool) -> Option<i32> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !started() {
        assert!(child.try_wait().unwrap().is_none(), "{}", shown(&child.wait_with_output().unwrap()));
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    send(&child, signal);
    let status = wait(&mut child, signal);
    assert!(asked.elapsed() < PATIENCE, "{signal}: it took {:?} to end", asked.elapsed());
    status.code()
}

#[test]
fn a_download_that_does_not_go_on_is_stopped_at_once() {
    let place = tempfile::tempdir().unwrap();
    rich_spec::make_images_only(place.path());
    let image = place.path().join("images/tool.oci");
    for at in ["/manifests/", "/blobs/"] {
        let upstream = Upstream::serve(&[("e/tool", "v1", &image)], move |request, reply| {
            if request.path().contains(at) { reply.wait(Duration::from_secs(600)) } else { reply }
        });
        let text = format!("cluster \"c\" {{ base \"{}/e/tool:v1\"; }}", upstream.host());
        fs::create_dir_all(place.path().join("slow")).unwrap();
        fs::write(place.path().join("slow/cluster.kdl"), text).unwrap();
        for signal in ["INT", "TERM"] {
            let store = place.path().join("store");
            drop(fs::remove_dir_all(&store));
            let before = upstream.asked().len();
            let asked = || upstream.asked()[before..].iter().any(|line| line.contains(at));
            let status = stop(kic(&place.path().join("slow"), &store).args(["compile", "-q"]), signal, asked);
            assert_eq!(status, Some(130), "{signal} at {at}");
            assert!(!place.path().join("slow/c.oci").exists());
            assert_eq!(
                fs::read_dir(store.join("tmp")).unwrap().count(),
                0,
                "{signal} at {at}: left in the store"
            );
        }
    }
}

#[test]
fn the_reading_of_a_huge_file_is_stopped_at_once() {
    let place = tempfile::tempdir().unwrap();
    // It has holes only: it takes no room, and much time.
    fs::File::create(place.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    let text = "cluster \"c\" { base scratch; files \"f\" { copy \"huge\"; }; }";
    fs::write(place.path().join("cluster.kdl"), text).unwrap();
    let store = place.path().join("store");
    let opened = || store.join("version").exists();
    let status = stop(kic(place.path(), &store).args(["compile", "-q"]), "INT", opened);
    assert_eq!(status, Some(130));
    assert!(!place.path().join("c.oci").exists());
}
