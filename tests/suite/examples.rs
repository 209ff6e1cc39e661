//! Every example that stands for itself compiles to the digest that stands in it, however it is compiled.
//!
//! An example is a folder of `examples/` with a `cluster.kdl` and a file `expected-digest`: the number of the current encoder
//! epoch, and the digest of the image in it. `expected-digest.NAME=VALUE` is that of the image with
//! `--set NAME=VALUE`. `examples/NAME/PART-image` is what
//! `examples/NAME/PART/cluster.kdl` compiles to, kept because it is so small. The other examples need a registry:
//! see `seed.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Epoch;
use serde_json::Value;

use crate::support::image_layout::{assert_valid, root_digest};
use crate::support::kic::{kic, program, stdout};
use crate::support::{copy_tree, root, updates_expectations};

/// The folders in `folder`, sorted.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// What is set for each image of an example, nothing for the first, and the file with its digest.
fn variants(example: &Path) -> Vec<(Option<String>, PathBuf)> {
    let mut files: Vec<PathBuf> = fs::read_dir(example).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let variant = |path: PathBuf| {
        let rest = path.file_name()?.to_str()?.strip_prefix("expected-digest")?.to_owned();
        Some((rest.strip_prefix('.').map(str::to_owned), path))
    };
    files.into_iter().filter_map(variant).collect()
}

/// `kic compile SPEC [--set SET] -o OUTPUT --quiet` from `folder` with another umask, time zone, locale, clock format and job
/// count for each `variant`; its store is new. The digest that it prints.
fn compile(folder: &Path, spec: &Path, set: Option<&str>, output: &Path, variant: usize) -> String {
    let (jobs, umask, time_zone, locale) = [
        ("1", "022", "UTC", "C"),
        ("16", "077", "Pacific/Kiritimati", "tr_TR.UTF-8"),
        ("3", "000", "America/St_Johns", "C.UTF-8"),
    ][variant];
    let store = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", umask]).arg(program());
    shell.args(["compile", "--quiet", "--offline", "--jobs", jobs]).arg(spec).arg("-o").arg(output);
    shell.args(set.map(|set| format!("--set={set}")));
    shell.current_dir(folder).env("TZ", time_zone).env("LC_ALL", locale).env("KIC_STORE", store.path());
    shell.env_remove("SOURCE_DATE_EPOCH");
    stdout(&mut shell).trim().to_owned()
}

/// The line that a file of that digest has; written there when expectations are updated.
fn expected(file: &Path, actual: &str) -> String {
    if updates_expectations() {
        fs::write(file, line(actual)).unwrap();
    }
    fs::read_to_string(file).unwrap()
}

fn line(digest: &str) -> String {
    format!("{} {digest}\n", Epoch::CURRENT.number())
}

#[test]
fn examples_compile_to_their_golden_digests() {
    let mut images = Vec::new();
    for example in folders(&root().join("examples")) {
        images.extend(variants(&example).into_iter().map(|(set, digest)| (example.clone(), set, digest)));
    }
    assert!(!images.is_empty());
    for (example, set, digest) in images {
        let set = set.as_deref();
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path();
        // As the README has it: from the root.
        let spec = example.strip_prefix(root()).unwrap().join("cluster.kdl");
        let first = compile(&root(), &spec, set, &out.join("first"), 0);
        assert_eq!(line(&first), expected(&digest, &first), "{}", digest.display());
        assert_eq!(root_digest(&out.join("first")), first);
        assert_valid(&out.join("first"));
        // A copy, its files written in another order and with other modes, from within it.
        let copy = out.join("elsewhere/copy");
        copy_tree(&example, &copy, 0o600);
        assert_eq!(compile(&copy, Path::new("cluster.kdl"), set, &out.join("second"), 1), first);
        assert_valid(&out.join("second"));
        assert_eq!(compile(&copy, Path::new("cluster.kdl"), set, &out.join("third.tar"), 2), first);
        assert_eq!(root_digest(&out.join("third.tar")), first);
        assert!(!example.join("kic.lock").exists(), "it needs no pins");
    }
}

#[test]
fn images_kept_in_examples_are_what_their_specs_compile_to() {
    let mut kept = 0;
    for example in folders(&root().join("examples")) {
        for folder in folders(&example) {
            let image = PathBuf::from(format!("{}-image", folder.display()));
            // One that lies in another example is counted there.
            if !image.is_dir() || image.is_symlink() {
                continue;
            }
            kept += 1;
            let scratch = tempfile::tempdir().unwrap();
            let digest =
                compile(&root(), &folder.join("cluster.kdl"), None, &scratch.path().join("image"), 1);
            if updates_expectations() {
                fs::remove_dir_all(&image).unwrap();
                copy_tree(&scratch.path().join("image"), &image, 0o644);
            }
            assert_eq!(root_digest(&image), digest, "{}", image.display());
            assert_valid(&image);
            let index: Value = serde_json::from_slice(&fs::read(image.join("index.json")).unwrap()).unwrap();
            assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
        }
    }
    assert_eq!(kept, 1);
}

/// What people copy is written as `kic fmt` writes it, but for `hello`: cases of `kic verify` record its text, and have the digest.
#[test]
fn examples_and_modules_are_formatted() {
    let mut places = folders(&root().join("examples"));
    places.retain(|example| !example.ends_with("hello"));
    places.push(root().join("stdlib"));
    assert_eq!(stdout(Command::new(program()).args(["fmt", "--check"]).args(places)), "");
}

/// The program of the image that `examples/hello` caches does what its source says.
#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn the_greeter_says_hello_and_waits() {
    use std::io::{BufRead as _, BufReader};
    let folder = tempfile::tempdir().unwrap();
    copy_tree(&root().join("examples/hello/greeter"), folder.path(), 0o755);
    let mut greeter = Command::new(folder.path().join("greeter"));
    let mut greeter = greeter.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(greeter.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "hello from a cluster image\n");
    assert!(greeter.try_wait().unwrap().is_none(), "it waits until it is ended");
    greeter.kill().unwrap();
    greeter.wait().unwrap();
}

#[test]
fn examples_are_formatted() {
    let folder = tempfile::tempdir().unwrap();
    stdout(kic(&root(), &folder.path().join("store")).args(["fmt", "--check", "examples"]));
}
