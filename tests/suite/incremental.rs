//! What a run takes over from the one before it is what it would have found out itself.
//!
//! A spec of every kind of layer is changed at random, in the ways in which files change without looking like it, and
//! compiled into one store after each change. A compile into an empty store must give the same every time. The number of
//! changes is `KIC_INCREMENTAL_ROUNDS`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::contents::files;
use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, shown, stdout};
use crate::support::large_tree;
use crate::support::random::Random;
use crate::support::repeats;
use crate::support::rich_spec::{self, Making};

/// A change to a file within this time of another may have the same time; afterwards it is taken on trust.
const SETTLED: Duration = Duration::from_millis(60);

struct Ground {
    folder: TempDir,
    random: Random,
    /// A value for the parameter, and a time.
    settings: (u64, u64),
}

impl Ground {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        rich_spec::make(folder.path(), Making::default());
        rich_spec::add_line(
            folder.path(),
            "param \"flavour\" type=\"string\" default=\"plain\"\n    use \"part.kdl\"\n    label \"flavour\" ($)\"${flavour}\"",
        );
        let ground = Self { folder, random: Random::new(seed), settings: (0, 0) };
        ground.write("part.kdl", b"module \"part\" { files \"part\" { copy \"part\" to=\"/part\"; }; }");
        ground.write("part/one", b"one");
        stdout(&mut ground.command("store", &["-o", "out.oci"]));
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn command(&self, store: &str, more: &[&str]) -> Command {
        let mut command = kic(self.folder.path(), &self.path(store));
        let (flavour, time) = self.settings;
        command.args(["compile", "--quiet", "--set", &format!("flavour=f{flavour}")]).args(more);
        command.env("SOURCE_DATE_EPOCH", time.to_string());
        command
    }

    /// Files that may be changed, and a path that is not there.
    fn candidates(&self) -> Vec<PathBuf> {
        let roots = ["tree", "part", "etc"];
        let below = |root: &&str| {
            files(&self.path(root)).into_keys().map(|name| Path::new(root).join(name)).collect::<Vec<_>>()
        };
        let all: BTreeSet<PathBuf> = roots.iter().flat_map(below).collect();
        all.into_iter()
            .filter(|path| self.folder.path().join(path).symlink_metadata().is_ok_and(|m| m.is_file()))
            .collect()
    }

    /// Changes something, and says what.
    fn change(&mut self) -> String {
        let candidates = self.candidates();
        let chosen = candidates[usize::try_from(self.random.below(candidates.len() as u64)).unwrap()].clone();
        let path = self.folder.path().join(&chosen);
        let is_manifest = chosen.starts_with("etc");
        let shown = chosen.display();
        match self.random.below(16) {
            // The last characters of a comment: the same length, and what the file says stays well formed.
            0..=3 => {
                let metadata = fs::metadata(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
                let mut text = fs::read(&path).unwrap();
                if is_manifest {
                    let mark = b"\n# ";
                    if !text.windows(3).any(|window| window == mark) && !shown.to_string().ends_with(".json")
                    {
                        text.extend_from_slice(b"\n# 0\n");
                    }
                    let place = text.len() - 2;
                    if !shown.to_string().ends_with(".json") {
                        text[place] = b'a' + u8::try_from(self.random.below(26)).unwrap();
                    }
                } else if let Some(last) = text.last_mut() {
                    *last = b'a' + u8::try_from(self.random.below(26)).unwrap();
                }
                fs::write(&path, text).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_modified(metadata.modified().unwrap()).unwrap();
                fs::set_permissions(&path, metadata.permissions()).unwrap();
                format!("{shown}: in place, time set back")
            }
            4 if !is_manifest => {
                let metadata = fs::metadata(&path).unwrap();
                let bytes = self.random.bytes(usize::try_from(metadata.size()).unwrap());
                self.write("aside", &bytes);
                let file = fs::File::options().write(true).open(self.path("aside")).unwrap();
                file.set_modified(metadata.modified().unwrap()).unwrap();
                fs::rename(self.path("aside"), &path).unwrap();
                format!("{shown}: another file of the same size and time")
            }
            5 if !is_manifest => {
                let mode = fs::metadata(&path).unwrap().permissions().mode() ^ 0o100;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o600)).unwrap();
                format!("{shown}: mode")
            }
            6 => {
                let number = self.random.below(5);
                let name = format!("part/new/{number}");
                if self.path(&name).exists() {
                    fs::remove_file(self.path(&name)).unwrap();
                } else {
                    self.write(&name, b"new");
                }
                format!("{name} comes or goes")
            }
            7 => {
                drop(fs::remove_file(self.path("part/link")));
                symlink(self.random.below(3).to_string(), self.path("part/link")).unwrap();
                "part/link leads elsewhere".to_owned()
            }
            8 => {
                let number = self.random.below(3);
                self.write(
                    "part.kdl",
                    format!(
                        "module \"part\" {{ files \"part\" {{ copy \"part\" to=\"/part{number}\"; }}; }}"
                    )
                    .as_bytes(),
                );
                "the module".to_owned()
            }
            9 => {
                self.settings = (self.random.below(3), self.random.below(2));
                "settings".to_owned()
            }
            10 => {
                // Another image at the same path, of the same files but one.
                let text = fs::read_to_string(self.path("images/tool.kdl")).unwrap();
                let cut = text.rfind('}').unwrap();
                let number = self.random.below(2);
                let other = format!("{}    label \"n\" \"{number}\"\n}}\n", &text[..cut]);
                self.write("images/other.kdl", other.as_bytes());
                drop(fs::remove_dir_all(self.path("images/tool.oci")));
                let mut command = kic(self.folder.path(), &self.path("images-store"));
                stdout(command.args(["compile", "-q", "images/other.kdl", "-o", "images/tool.oci"]));
                "the image on disk".to_owned()
            }
            11 => {
                drop(fs::remove_dir_all(self.path("out.oci")));
                "the output is gone".to_owned()
            }
            12 => {
                let blobs: Vec<PathBuf> = files(&self.path("store/blobs"))
                    .into_keys()
                    .map(|name| self.path("store/blobs").join(name))
                    .collect();
                let gone = &blobs[usize::try_from(self.random.below(blobs.len() as u64)).unwrap()];
                fs::remove_file(gone).unwrap();
                "a blob of the store is gone".to_owned()
            }
            13 => {
                for name in files(&self.path("store/memos")).into_keys() {
                    let path = self.path("store/memos").join(name);
                    let mut bytes = fs::read(&path).unwrap();
                    let place = usize::try_from(self.random.below(bytes.len() as u64)).unwrap();
                    bytes[place] ^= 1 << self.random.below(8);
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, &bytes[..bytes.len() - usize::from(self.random.below(2) == 0)]).unwrap();
                }
                "memos are damaged".to_owned()
            }
            14 => {
                drop(fs::remove_dir_all(self.path("part/new")));
                if self.random.below(3) == 0 {
                    self.write("etc/shop.yaml.not", b"x");
                    drop(fs::rename(self.path("part.kdl"), self.path("part.gone")));
                } else {
                    drop(fs::rename(self.path("part.gone"), self.path("part.kdl")));
                }
                "a module comes or goes".to_owned()
            }
            _ => {
                std::thread::sleep(SETTLED);
                "time passes".to_owned()
            }
        }
    }
}

fn rounds() -> u64 {
    std::env::var("KIC_INCREMENTAL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

#[test]
fn after_any_change_an_incremental_compile_gives_what_a_compile_from_nothing_gives() {
    let mut ground = Ground::new(7);
    let (mut log, mut good) = (Vec::new(), 0);
    for round in 0..rounds() {
        for _ in 0..=ground.random.below(2) {
            log.push(ground.change());
        }
        drop(fs::remove_dir_all(ground.path("cold")));
        let cold = ground.command("cold", &["--no-output"]).output().unwrap();
        // Twice: what the first run leaves must not lead the second one astray.
        for again in 0..=ground.random.below(2) {
            let warm = ground.command("store", &["-o", "out.oci"]).output().unwrap();
            let when =
                format!("round {round}, again {again}, after {:#?}", &log[log.len().saturating_sub(6)..]);
            assert_eq!(warm.status, cold.status, "{when}: {}", shown(&warm));
            assert_eq!(warm.stdout, cold.stdout, "{when}: {}\n{}", shown(&warm), shown(&cold));
            assert_eq!(warm.stderr, cold.stderr, "{when}: {}\n{}", shown(&warm), shown(&cold));
            if warm.status.success() {
                let digest = String::from_utf8(warm.stdout).unwrap();
                assert_eq!(root_digest(&ground.path("out.oci")), digest.trim(), "{when}");
                assert_valid(&ground.path("out.oci"));
                good += 1;
            }
        }
    }
    assert!(good * 3 > rounds(), "only {good} compiles were good");
}

/// The outcome of each layer, by name.
fn outcomes(ground: &Path, more: &[&str]) -> Vec<(String, String)> {
    let mut command = kic(ground, &ground.join("store"));
    let text = stdout(command.args(["compile", "--format", "json", "--no-output"]).args(more));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let layers = json["platforms"][0]["layers"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    layers.iter().map(|layer| (text(&layer["name"]), text(&layer["outcome"]))).collect()
}

#[test]
fn a_run_with_nothing_changed_does_not_look_at_what_derivations_gave() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let spec = "cluster \"c\" { base scratch; files \"a\" { copy \"a\"; }; files \"b\" { copy \"b\"; }; }";
    for (name, text) in [("cluster.kdl", spec), ("a/one", "1"), ("a/two", "2"), ("b", "3")] {
        fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        fs::write(path.join(name), text).unwrap();
    }
    std::thread::sleep(SETTLED);
    let all = |outcome: &str| ["a", "b", "launch"].map(|name| (name.to_owned(), outcome.to_owned())).to_vec();
    assert_eq!(outcomes(path, &[]), all("built"));
    let changed = ["a", "b", "launch"]
        .map(|name| (name.to_owned(), if name == "a" { "built" } else { "reused" }.to_owned()))
        .to_vec();
    // Without these, who asks the derivations builds again.
    let forget = || {
        fs::remove_dir_all(path.join("store/outputs")).unwrap();
        fs::create_dir(path.join("store/outputs")).unwrap();
    };
    forget();
    assert_eq!(outcomes(path, &[]), all("reused"));
    assert_eq!(outcomes(path, &["--offline", "--jobs", "1"]), all("reused"), "what decides nothing");
    // Touched, and still the same.
    fs::write(path.join("a/one"), "1").unwrap();
    assert_eq!(outcomes(path, &[]), all("reused"));
    // Each of these makes a run look at everything. What the derivations of the last run gave is still known.
    fs::write(path.join("a/one"), "2").unwrap();
    assert_eq!(outcomes(path, &[]), changed);
    forget();
    fs::write(path.join("a/three"), "").unwrap();
    assert_eq!(outcomes(path, &[]), changed);
    forget();
    assert_eq!(outcomes(path, &[]), all("reused"));
    fs::write(path.join("cluster.kdl"), format!("{spec}\n// changed")).unwrap();
    assert_eq!(outcomes(path, &[]), all("reused"));
    forget();
    assert_eq!(outcomes(path, &["--record-source"]), all("built"), "no run before asked for the same");
    // What is known to have been there, and is not any more.
    let blobs = path.join("store/blobs/sha256");
    fs::remove_dir_all(&blobs).unwrap();
    fs::create_dir(&blobs).unwrap();
    fs::write(path.join("a/one"), "3").unwrap();
    assert_eq!(outcomes(path, &[]), all("built"));
    forget();
    fs::write(path.join("kic.lock"), "").unwrap();
    let mut command = kic(path, &path.join("store"));
    let empty_lock = command.args(["compile", "--no-output"]).output().unwrap();
    assert!(!empty_lock.status.success(), "{}", shown(&empty_lock));
}

#[test]
fn a_change_to_one_file_builds_one_layer_and_the_plan_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("cluster.kdl"),
        "cluster \"c\" {
            base scratch
            files \"tree\" { copy \"tree\"; }
            manifests \"one\" { file \"one\"; }
            manifests \"two\" { file \"two\"; }
            launch { apply \"one\"; apply \"two\"; }
        }",
    )
    .unwrap();
    let map = |name: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ a: {value} }}\n")
    };
    for folder in ["tree", "one", "two"] {
        fs::create_dir(path.join(folder)).unwrap();
        for number in 0..20 {
            let name = format!("{folder}-{number}");
            fs::write(path.join(folder).join(format!("{number}.yaml")), map(&name, "x")).unwrap();
        }
    }
    outcomes(path, &[]);
    fs::write(path.join("one/7.yaml"), map("one-7", "y")).unwrap();
    let built: Vec<_> = outcomes(path, &[]).into_iter().filter(|(_, outcome)| outcome == "built").collect();
    assert_eq!(built.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["one", "launch"]);
}

#[test]
fn a_large_tree_is_several_layers_and_a_file_that_changes_makes_one_of_them_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let spec = |more: &str| {
        format!("cluster \"c\" {{ base scratch; files \"t\"{more} {{ copy \"tree\" to=\"/tree\"; }}; }}")
    };
    fs::write(path.join("cluster.kdl"), spec("")).unwrap();
    large_tree::make(&path.join("tree"));
    let first = outcomes(path, &["-j", "1"]);
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert!((5..=12).contains(&names.len()), "{names:?}");
    assert_eq!((names[0], names[names.len() - 1]), ("t", "launch"));
    assert!(names[1..names.len() - 1].iter().all(|name| name.starts_with("t from /tree/")), "{names:?}");

    // The same at any number of jobs, from files that were made in another order.
    let digest = |store: &str, more: &[&str]| {
        let mut command = kic(path, &path.join(store));
        stdout(command.args(["compile", "--quiet", "-o", "out.oci"]).args(more))
    };
    let before = digest("store", &[]);
    fs::rename(path.join("tree"), path.join("old")).unwrap();
    for name in files(&path.join("old")).into_keys().rev() {
        let to = path.join("tree").join(&name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(path.join("old").join(&name), to).unwrap();
    }
    assert_eq!(digest("other", &["-j", "8"]), before);
    assert_valid(&path.join("out.oci"));

    // One file of the same size; and of another one, which may move the cuts beside it.
    for (bytes, most) in [(vec![7; 40_000], 1), (vec![8; 90_000], 3)] {
        fs::write(path.join("tree/07/0777"), bytes).unwrap();
        let built = outcomes(path, &[]).into_iter().filter(|(_, outcome)| outcome == "built").count();
        assert!((1..=most).contains(&built), "{built}");
    }

    // All files are there, and as in one layer.
    let unpacked = |to: &str| {
        digest("store", &[]);
        stdout(kic(path, &path.join("store")).args(["unpack", "-q", "out.oci", to]));
        files(&path.join(to).join("tree"))
    };
    let parts = unpacked("parts");
    assert_eq!(parts, files(&path.join("tree")));
    fs::write(path.join("cluster.kdl"), spec(" split=#false")).unwrap();
    assert_eq!(outcomes(path, &[]).len(), 2);
    assert_eq!(unpacked("whole"), parts);
}

#[test]
fn a_file_that_changes_while_a_large_tree_is_compiled_leads_nothing_astray() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let tree = path.join("tree");
    large_tree::make(&tree);
    fs::write(
        path.join("cluster.kdl"),
        "cluster \"c\" { base scratch; files \"t\" { copy \"tree\" to=\"/tree\"; }; }",
    )
    .unwrap();
    let compile = |store: &str, more: &[&str]| {
        let mut command = kic(path, &path.join(store));
        command.args(["compile", "--quiet"]).args(more);
        command
    };
    let cold = || {
        drop(fs::remove_dir_all(path.join("cold")));
        stdout(&mut compile("cold", &["--no-output"]))
    };
    let warm = || compile("store", &["-o", "out.oci"]);
    stdout(&mut warm());
    std::thread::sleep(SETTLED);
    let began = Instant::now();
    stdout(&mut warm());
    let mut length = began.elapsed();
    let mut random = repeats::chance(9);
    for round in 0..repeats::rounds(5) {
        let file = large_tree::file(&tree, random.below(large_tree::FILES));
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        // As large as it was, and, so programs say, as old.
        let write = |seed: u64| {
            fs::write(&file, large_tree::body(seed)).unwrap();
            fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        };
        write(random.next());
        let before = cold();
        if random.below(2) == 0 {
            write(random.next());
            write(random.next());
        }
        let between = cold();
        let began = Instant::now();
        let child = warm().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(length.mul_f64(random.below(1000) as f64 / 1000.0));
        write(random.next());
        let output = child.wait_with_output().unwrap();
        length = began.elapsed();
        let after = cold();
        // It is an image of what was there, or the change was noticed.
        if output.status.success() {
            let digest = String::from_utf8(output.stdout).unwrap();
            assert!(
                [&between, &after].contains(&&digest),
                "round {round}: {before}{between}{after}: {digest}"
            );
        } else {
            let shown = shown(&output);
            assert!(shown.contains("changed while it was compiled"), "round {round}: {shown}");
        }
        // What it has written down leads nobody astray, either at once or later.
        assert_eq!(stdout(&mut warm()), after, "round {round}");
        std::thread::sleep(SETTLED);
        assert_eq!(stdout(&mut warm()), after, "round {round}, settled");
    }
    assert_valid(&path.join("out.oci"));
}

#[test]
fn an_archive_that_changed_is_written_again_and_one_that_did_not_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("cluster.kdl"),
        "cluster \"c\" { base scratch; files \"f\" { text \"/a\" \"b\"; }; }",
    )
    .unwrap();
    let compile = || {
        let mut command = kic(path, &path.join("store"));
        stdout(command.args(["compile", "-q", "-o", "c.tar"]));
        (fs::read(path.join("c.tar")).unwrap(), fs::metadata(path.join("c.tar")).unwrap().ino())
    };
    let (bytes, file) = compile();
    assert_eq!(compile(), (bytes.clone(), file), "it was written again");
    let mut damaged = bytes.clone();
    damaged[2000] ^= 1;
    fs::write(path.join("c.tar"), damaged).unwrap();
    assert_eq!(compile().0, bytes, "it was left damaged");
    fs::remove_file(path.join("c.tar")).unwrap();
    assert_eq!(compile().0, bytes);
}

#[test]
fn warnings_are_told_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("cluster.kdl"), "cluster \"c\" {\n    base scratch\n    files \"f\" {\n    }\n}\n")
        .unwrap();
    let compile = || {
        let mut command = kic(path, &path.join("store"));
        let done = command.args(["compile", "-q", "--color", "always", "--no-output"]).output().unwrap();
        assert!(done.status.success(), "{}", shown(&done));
        String::from_utf8(done.stderr).unwrap()
    };
    let first = compile();
    assert!(first.contains("empty-layer") && first.contains("files"), "{first}");
    assert_eq!(compile(), first);
    assert_eq!(compile(), first);
}
