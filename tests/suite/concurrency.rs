//! Many processes use one store, and one output, at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, index, root_digest};
use crate::support::kic::{kic, shown};
use crate::support::random::Random;
use crate::support::rich_spec;
use crate::support::upstream::Upstream;

const VARIANTS: [&str; 4] = ["north", "east", "south", "west"];

/// Specs that share files, images and downloads in part, and what each gives by itself.
struct Place {
    folder: TempDir,
    upstream: Upstream,
    golden: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        rich_spec::make_images_only(&images);
        let image = |name: &str| images.join("images").join(name);
        let (root, tool, agent) = (image("root.oci"), image("tool.oci"), image("agent.oci"));
        let upstream = Upstream::serve(
            &[("e/root", "v1", &root), ("e/tool", "v1", &tool), ("e/agent", "v1", &agent)],
            |_, reply| reply,
        );
        let mut place = Self { folder, upstream, golden: Vec::new() };
        let mut random = Random::new(23);
        place.write("tree/big", &random.bytes(5 << 20));
        for number in 0..40 {
            place.write(&format!("tree/{number}/file"), &random.bytes(number * 50));
        }
        for (number, variant) in VARIANTS.into_iter().enumerate() {
            place.write(&format!("{variant}/cluster.kdl"), spec(variant, number).as_bytes());
            let alone = place.path(&format!("alone-{variant}"));
            let done = place.compile(variant, &alone, &alone.with_extension("oci")).output().unwrap();
            assert!(done.status.success(), "{}", shown(&done));
            place.golden.push(String::from_utf8(done.stdout).unwrap().trim().to_owned());
            assert_valid(&alone.with_extension("oci"));
        }
        assert_eq!(place.golden.iter().collect::<BTreeSet<_>>().len(), VARIANTS.len());
        place.forget_locks();
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

    fn forget_locks(&self) {
        for variant in VARIANTS {
            drop(fs::remove_file(self.path(variant).join("kic.lock")));
        }
    }

    fn compile(&self, variant: &str, store: &Path, output: &Path) -> Command {
        let mut command = kic(&self.path(variant), store);
        let mirror = format!("registry.test=http://{}", self.upstream.host());
        command.args(["compile", "--quiet", "--registry-mirror", &mirror, "cluster.kdl", "-o"]).arg(output);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts all commands, then waits for all of them. Each must give the digest of its variant.
    fn run_at_once(&self, commands: Vec<(usize, Command)>, when: &str) {
        let running: Vec<_> =
            commands.into_iter().map(|(variant, mut command)| (variant, command.spawn().unwrap())).collect();
        for (variant, child) in running {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{when}, {}: {}", VARIANTS[variant], shown(&output));
            let digest = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            assert_eq!(digest, self.golden[variant], "{when}, {}", VARIANTS[variant]);
        }
    }

    fn assert_tidy(&self, store: &Path, when: &str) {
        for folder in ["tmp", "corrupt"] {
            let left: Vec<_> =
                fs::read_dir(store.join(folder)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.is_empty(), "{when}: left in {folder}: {left:?}");
        }
        for variant in VARIANTS {
            for entry in fs::read_dir(self.path(variant)).unwrap() {
                let name = entry.unwrap().file_name();
                assert!(
                    name == "cluster.kdl" || name == "kic.lock",
                    "{when}: left beside the lock: {name:?}"
                );
            }
        }
    }
}

fn spec(variant: &str, number: usize) -> String {
    let image = ["tool", "agent"][number % 2];
    let compression = ["zstd", "zstd", "gzip", "none"][number];
    format!(
        "cluster \"many\" version=\"v1\" {{
            base \"registry.test/e/root:v1\"
            compression \"{compression}\"
            files \"tree\" {{ copy \"../tree\" to=\"/tree\"; }}
            files \"own\" {{ text \"/etc/variant\" \"{variant}\"; }}
            manifests \"shop\" {{ object \"v1/ConfigMap\" name=\"shop\"; }}
            registry \"r.local\" {{
                image \"registry.test/e/{image}:v1\"
                image \"registry.test/e/root:v1\"
            }}
        }}"
    )
}

#[test]
fn eight_processes_share_one_store() {
    let place = Place::new();
    let store = place.path("store");
    let mut random = Random::new(29);
    for round in 0..5 {
        let when = format!("round {round}");
        // A store that is not there yet; a warm one; one that lost its records; one that lost half of its blobs.
        match round {
            0 | 3 => drop(fs::remove_dir_all(&store)),
            1 => {}
            2 => fs::remove_dir_all(store.join("outputs")).unwrap(),
            _ => {
                for blob in files(&store.join("blobs")).keys().filter(|_| random.below(2) == 0) {
                    fs::remove_file(store.join("blobs").join(blob)).unwrap();
                }
                place.forget_locks();
            }
        }
        let output = |process: usize| place.path(&format!("round-{round}-{process}.oci"));
        let commands = (0..8).map(|process| {
            let variant = process % VARIANTS.len();
            let mut command = place.compile(VARIANTS[variant], &store, &output(process));
            command.args(["-j", ["1", "2", "16"][process % 3]]);
            (variant, command)
        });
        place.run_at_once(commands.collect(), &when);
        for process in 0..8 {
            let alone = place.path(&format!("alone-{}.oci", VARIANTS[process % VARIANTS.len()]));
            assert_eq!(files(&output(process)), files(&alone), "{when}");
            fs::remove_dir_all(output(process)).unwrap();
        }
        place.assert_tidy(&store, &when);
    }
}

#[test]
fn processes_that_write_to_one_output_leave_the_whole_image_of_one() {
    let place = Place::new();
    let store = place.path("store");
    for round in 0..5 {
        let when = format!("round {round}");
        let output = place.path("outputs/shared.oci");
        let archive = place.path("outputs/shared.tar");
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        if round % 2 == 0 {
            drop(fs::remove_dir_all(&output));
        }
        // Twice the same image, and another one, to a layout; two images to an archive.
        let (one, other) = (round % VARIANTS.len(), (round + 1) % VARIANTS.len());
        let commands = [(one, &output), (one, &output), (other, &output), (one, &archive), (other, &archive)];
        let commands =
            commands.map(|(variant, output)| (variant, place.compile(VARIANTS[variant], &store, output)));
        place.run_at_once(commands.into(), &when);
        let digest = root_digest(&output);
        let variant = [one, other].into_iter().find(|variant| place.golden[*variant] == digest);
        let variant = variant.unwrap_or_else(|| panic!("{when}: {digest} is the image of nobody"));
        assert_valid(&output);
        let alone = place.path(&format!("alone-{}.oci", VARIANTS[variant]));
        assert_eq!(files(&output), files(&alone), "{when}: the other image has left something");
        assert!(
            [one, other].map(|variant| &place.golden[variant]).contains(&&root_digest(&archive)),
            "{when}"
        );
        assert_eq!(
            fs::read_dir(output.parent().unwrap()).unwrap().count(),
            2,
            "{when}: left beside the outputs"
        );
        place.assert_tidy(&store, &when);
    }
}

#[test]
fn processes_that_write_different_tags_to_one_layout_leave_all_images() {
    let place = Place::new();
    let output = place.path("tags.oci");
    for (number, variant) in VARIANTS.into_iter().enumerate() {
        let text = spec(variant, number).replace("version=\"v1\"", &format!("version=\"{variant}\""));
        place.write(&format!("{variant}/cluster.kdl"), text.as_bytes());
    }
    let running: Vec<_> = VARIANTS
        .map(|variant| place.compile(variant, &place.path("store"), &output).spawn().unwrap())
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let mut digests = BTreeSet::new();
    for output in &running {
        assert!(output.status.success(), "{}", shown(output));
        digests.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let index = index(&output);
    let found = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned());
    assert_eq!(found.collect::<BTreeSet<_>>(), digests);
    assert_valid(&output);
}

#[test]
fn processes_that_unpack_at_once_each_get_everything() {
    let place = Place::new();
    let store = place.path("store");
    let reference = format!("{}/e/tool:v1", place.upstream.host());
    fs::create_dir(place.path("out")).unwrap();
    let running: Vec<_> = (0..4)
        .map(|number| {
            let mut command = kic(&place.path("out"), &store);
            command.args(["unpack", "--quiet", "--platform", "linux/amd64", &reference]);
            // Two of them to one place, which is the first one's; the other is told.
            command
                .arg(["a", "b", "same", "same"][number])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<_> = running.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in &outputs[..2] {
        assert!(output.status.success(), "{}", shown(output));
    }
    let lucky = outputs[2..].iter().filter(|output| output.status.success()).count();
    assert_eq!(lucky, 1, "{} {}", shown(&outputs[2]), shown(&outputs[3]));
    let unlucky = outputs[2..].iter().find(|output| !output.status.success()).unwrap();
    assert!(String::from_utf8_lossy(&unlucky.stderr).contains("output-not-empty"), "{}", shown(unlucky));
    let whole = files(&place.path("out/a"));
    assert!(whole.len() > 2);
    assert_eq!(files(&place.path("out/b")), whole);
    assert_eq!(files(&place.path("out/same")), whole);
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 3);
}
