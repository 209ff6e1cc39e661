//! Specs with every kind of layer that share images, files and downloads in part, the registry that has the images, and what
//! each spec gives by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kic_registry::scripted_server::{Reply, Request};
use tempfile::TempDir;

use super::image_layout::{assert_valid, root_digest};
use super::kic::{kic, stdout};
use super::random::Random;
use super::rich_spec;
use super::upstream::{Upstream, is_blob};

/// The names of the specs. What stands in a folder of that name is the spec's own.
pub const VARIANTS: [&str; 8] = ["north", "east", "south", "west", "up", "down", "in", "out"];

pub struct SharingSpecs {
    folder: TempDir,
    pub upstream: Upstream,
    /// The digest of each.
    pub golden: Vec<String>,
    /// How long the slowest took that had everything to do.
    pub length: Duration,
}

impl SharingSpecs {
    /// The first `count` specs. They share a tree with a file of so many bytes.
    pub fn new(count: usize, big: usize) -> Self {
        Self::served(count, big, |_, reply| reply)
    }

    /// The same from a registry that answers in its own manner.
    pub fn served(
        count: usize,
        big: usize,
        manner: impl Fn(&Request, Reply) -> Reply + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = folder.path().join("images");
        rich_spec::make_images_only(&images);
        let image = |name: &str| images.join("images").join(name);
        let (root, tool, agent) = (image("root.oci"), image("tool.oci"), image("agent.oci"));
        let upstream = Upstream::serve(
            &[("e/root", "v1", &root), ("e/tool", "v1", &tool), ("e/agent", "v1", &agent)],
            manner,
        );
        let mut place = Self { folder, upstream, golden: Vec::new(), length: Duration::ZERO };
        let mut random = Random::new(37);
        place.write("tree/big", &random.bytes(big));
        for number in 0..40 {
            place.write(&format!("tree/{number}/file"), &random.bytes(number * 50));
        }
        for (number, variant) in VARIANTS[..count].iter().enumerate() {
            place.write(&format!("{variant}/own/name"), variant.as_bytes());
            place.write(&format!("{variant}/cluster.kdl"), spec(number).as_bytes());
            let store = place.path("alone-store");
            let began = Instant::now();
            let digest = stdout(&mut place.compile(number, &store, &place.alone(number)));
            place.length = place.length.max(began.elapsed());
            assert_valid(&place.alone(number));
            place.golden.push(digest.trim().to_owned());
            fs::remove_dir_all(store).unwrap();
        }
        assert_eq!(place.golden.iter().collect::<BTreeSet<_>>().len(), count);
        place.forget_locks();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// The layout that a spec gave by itself.
    pub fn alone(&self, variant: usize) -> PathBuf {
        self.path(&format!("alone/{}.oci", VARIANTS[variant]))
    }

    /// Where a spec's image goes, unless a test says otherwise.
    pub fn output(&self, variant: usize) -> PathBuf {
        self.path(&format!("outputs/{}.oci", VARIANTS[variant]))
    }

    pub fn compile(&self, variant: usize, store: &Path, output: &Path) -> Command {
        fs::create_dir_all(output.parent().unwrap()).unwrap();
        let mut command = self.kic(VARIANTS[variant], store, &["compile", "--quiet"]);
        command.args(["--registry-mirror", &self.mirror(), "cluster.kdl", "-o"]).arg(output);
        command
    }

    /// `kic store` with these arguments.
    pub fn store(&self, store: &Path, arguments: &[&str]) -> Command {
        let mut command = self.kic("", store, &["store"]);
        command.args(arguments);
        if arguments[0] == "verify" {
            command.args(["--registry-mirror", &self.mirror()]);
        }
        command
    }

    /// kic in one of the folders, with pipes.
    pub fn kic(&self, folder: &str, store: &Path, arguments: &[&str]) -> Command {
        let mut command = kic(&self.path(folder), store);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Where the images come from.
    pub fn mirror(&self) -> String {
        format!("registry.test=http://{}", self.upstream.host())
    }

    /// A compile that must come to its end with a good image.
    pub fn assert_compiles(&self, variant: usize, store: &Path, arguments: &[&str]) {
        let output = self.output(variant);
        let digest = stdout(self.compile(variant, store, &output).args(arguments));
        assert_eq!(digest.trim(), self.golden[variant], "{}", VARIANTS[variant]);
        assert_eq!(root_digest(&output), self.golden[variant]);
        assert_valid(&output);
    }

    pub fn forget_outputs(&self) {
        drop(fs::remove_dir_all(self.path("outputs")));
    }

    pub fn forget_locks(&self) {
        for variant in VARIANTS {
            drop(fs::remove_file(self.path(variant).join("kic.lock")));
        }
    }

    /// Nothing is left over: not in the store, not beside the locks.
    pub fn assert_tidy(&self, store: &Path, when: &str) {
        for folder in ["tmp", "leases", "corrupt"] {
            assert_eq!(names(&store.join(folder)), [""; 0], "{when}: left in {folder}");
        }
        for variant in &VARIANTS[..self.golden.len()] {
            let beside = names(&self.path(variant));
            let known = |name: &String| ["cluster.kdl", "kic.lock", "own"].contains(&name.as_str());
            assert!(beside.iter().all(known), "{when}: left beside the lock: {beside:?}");
        }
    }
}

/// The manner of a registry that is far away, for [`SharingSpecs::served`].
pub fn slowly(request: &Request, reply: Reply) -> Reply {
    let reply = reply.wait(Duration::from_millis(5));
    if is_blob(request) { reply.trickle(60_000, Duration::from_millis(5)) } else { reply }
}

/// The text of a spec.
pub fn spec(number: usize) -> String {
    let image = ["tool", "agent"][number % 2];
    let compression = ["zstd", "zstd", "gzip", "none"][number % 4];
    let variant = VARIANTS[number];
    format!(
        "cluster \"many\" version=\"v1\" {{
            base \"registry.test/e/root:v1\"
            compression \"{compression}\"
            files \"tree\" {{ copy \"../tree\" to=\"/tree\"; }}
            files \"own\" {{ copy \"own\" to=\"/own\"; text \"/etc/variant\" \"{variant}\"; }}
            manifests \"shop\" {{ object \"v1/ConfigMap\" name=\"shop\"; }}
            readiness \"shop\" {{ exists \"configmap/shop\"; }}
            registry \"r.local\" {{
                image \"registry.test/e/{image}:v1\"
                image \"registry.test/e/root:v1\"
            }}
        }}"
    )
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
