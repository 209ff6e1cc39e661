//! What policies make of images: what kic says in `tests/redirect/expected`, and that the engines themselves say the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Source;
use kic_redirect::{Operation, Pod, Policy};

use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;
use crate::support::redirected::{
    Outcome, corpus, differences, folder, images, is_of_the_api_server, objects, ours, pods, shown,
};
use crate::support::{copy_tree, root, updates_expectations};

/// The engines of `std:redirect` that are policies: the case in `tests/std`, and the file in the corpus.
const STANDARD: [(&str, &str); 4] = [
    ("redirect", "std-kyverno"),
    ("redirect-1.5", "std-kyverno-1.5"),
    ("redirect-mutating-policy", "std-mutating-policy"),
    ("redirect-admission-policy", "std-admission-policy"),
];

#[test]
fn the_corpus_has_what_the_module_emits() {
    for (case, name) in STANDARD {
        let scratch = tempfile::tempdir().unwrap();
        copy_tree(&root().join("tests/std").join(case), &scratch.path().join("case"), 0o644);
        copy_tree(&root().join("examples/hello/greeter-image"), &scratch.path().join("greeter-image"), 0o644);
        let kic = |arguments: &[&str]| {
            stdout(kic(&scratch.path().join("case"), &scratch.path().join("store")).args(arguments))
        };
        kic(&["compile", "--quiet", "--offline", "-o", "../image"]);
        kic(&["unpack", "--quiet", "../image", "../root"]);
        let folder = scratch.path().join("root/policies/redirect");
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        // The policy comes before its binding.
        paths.sort_by_key(|path| (path.to_str().unwrap().contains("binding"), path.clone()));
        let texts: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let emitted = texts.join("---\n");
        let path = self::folder().join("policies").join(format!("{name}.yaml"));
        if updates_expectations() {
            fs::write(&path, &emitted).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), emitted, "{case}");
    }
}

#[test]
fn policies_make_of_pods_what_is_expected() {
    let mut wrong = Vec::new();
    for (name, path) in corpus() {
        let policies = kic_redirect::policies(&objects(&path));
        assert!(!policies.is_empty(), "{name} is no policy");
        let mut text = String::new();
        for (pod_name, pod) in pods() {
            writeln!(text, "{pod_name}").unwrap();
            text.push_str(&shown(&ours(&policies, &pod, Operation::Create)));
        }
        let expected = folder().join("expected").join(format!("{name}.txt"));
        if updates_expectations() {
            fs::create_dir_all(expected.parent().unwrap()).unwrap();
            fs::write(&expected, &text).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("{name}:\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 rewrites what is expected of\n{}", wrong.join("\n"));
}

/// What Kyverno's own program makes of the pods that it changes, or fails on.
fn kyverno(program: &Path, policy: &Path) -> BTreeMap<String, Outcome> {
    let scratch = tempfile::tempdir().unwrap();
    // The labels of the namespaces, in the form in which it takes them.
    let mut values = "apiVersion: cli.kyverno.io/v1alpha1\nkind: Values\nmetadata:\n  name: namespaces\nnamespaceSelector:\n"
        .to_owned();
    for namespace in objects(&folder().join("namespaces.yaml")) {
        writeln!(values, "  - name: {}\n    labels:", namespace.name.as_deref().unwrap()).unwrap();
        for (key, value) in namespace.root.at(&["metadata", "labels"]).unwrap().entries() {
            writeln!(values, "      {}: {}", key.key(), value.as_str().unwrap()).unwrap();
        }
    }
    fs::write(scratch.path().join("values.yaml"), values).unwrap();
    let output = Command::new(program)
        .args(["apply", "--remove-color", "--values-file", "values.yaml"])
        .arg(policy)
        .arg("--resource")
        .arg(folder().join("pods.yaml"))
        .current_dir(scratch.path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut outcomes = BTreeMap::new();
    let mut sections = text.split("\npolicy ").skip(1);
    for section in &mut sections {
        let (head, body) = section.split_once(":\n").unwrap();
        let name = head.rsplit('/').next().unwrap().to_owned();
        let body = body.split("\n---\n").next().unwrap();
        let (objects, _) = kic_manifest::read(&Source::new("pod", body));
        if let Some(pod) = objects.first().and_then(|object| Pod::of(object, None)) {
            outcomes.insert(name, Ok(images(&pod)));
        }
    }
    let errors = text.split("\nerror while applying").skip(1);
    for (name, error) in errors.filter_map(|error| error.split_once("/Pod/")?.1.split_once([' ', '\n'])) {
        outcomes.insert(name.to_owned(), Err(error.trim().to_owned()));
    }
    outcomes
}

#[test]
fn kyverno_makes_of_pods_what_kic_says() {
    let Some(program) = peer("kyverno") else { return };
    let mut wrong = Vec::new();
    let mut changed = 0;
    for (name, path) in corpus() {
        // `redirect_engines.rs` gives those to the API server's own plugin.
        if is_of_the_api_server(&path) {
            continue;
        }
        let mut policies = kic_redirect::policies(&objects(&path));
        // Kyverno's program reads no settings of Kyverno's, so it filters nothing.
        policies.push(Policy::settings("", None, policies[0].span.clone()));
        let mut theirs = kyverno(&program, &path);
        changed += theirs.len();
        for (name, pod) in pods() {
            // What it leaves as it is, it does not name.
            theirs.entry(name).or_insert_with(|| Ok(images(&pod)));
        }
        wrong.extend(differences(&name, &policies, Operation::Create, &theirs));
    }
    assert!(changed > 300, "it changed only {changed}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
