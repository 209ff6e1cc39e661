//! What policies make of images: what kic says in `tests/redirect/expected`, and that the engines themselves say the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kic_base::Source;
use kic_manifest::Object;
use kic_redirect::{Operation, Pod, Policy};

use crate::support::kic::{kic, stdout};
use crate::support::peers::peer;
use crate::support::{copy_tree, root, updates_expectations};

/// The images of a pod after a policy, by list and container; what came in the way, where something did.
type Outcome = Result<BTreeMap<String, String>, String>;

fn folder() -> PathBuf {
    root().join("tests/redirect")
}

fn objects(path: &Path) -> Vec<Object> {
    let (objects, errors) =
        kic_manifest::read(&Source::new(path.display().to_string(), fs::read_to_string(path).unwrap()));
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    objects
}

/// The policies of the corpus, by name.
fn corpus() -> Vec<(String, PathBuf)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder().join("policies")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

fn pods() -> Vec<(String, Pod)> {
    let objects = objects(&folder().join("pods.yaml"));
    assert!(objects.len() >= 30);
    objects.iter().map(|object| (object.name.clone().unwrap(), Pod::of(object, None).unwrap())).collect()
}

fn images(pod: &Pod) -> BTreeMap<String, String> {
    let named = |place: kic_redirect::Place| {
        let image = pod.image(&place).unwrap().to_owned();
        (format!("{} {}", place.list, place.name), image)
    };
    pod.places().into_iter().map(named).collect()
}

fn ours(policies: &[Policy], pod: &Pod) -> Outcome {
    let policies: Vec<&Policy> = policies.iter().collect();
    kic_redirect::admit(&policies, pod, Operation::Create, &mut Vec::new()).map(|pod| images(&pod)).map_err(
        |(_, problem)| format!("{}: {}", if problem.fails { "fails" } else { "unknown" }, problem.message),
    )
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Ok(images) => images.iter().fold(String::new(), |mut text, (place, image)| {
            writeln!(text, "  {place}: {image}").unwrap();
            text
        }),
        Err(problem) => format!("  {problem}\n"),
    }
}

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
            text.push_str(&shown(&ours(&policies, &pod)));
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

/// What Kyverno's own program makes of the pods. It also runs policies of the API server, through the API server's code.
fn kyverno(program: &Path, policy: &Path) -> BTreeMap<String, Outcome> {
    let folder = tempfile::tempdir().unwrap();
    // It reads the first version of these policies only; the text is the same in all of them.
    let text = fs::read_to_string(policy).unwrap();
    let text = match text.contains("kind: MutatingAdmissionPolicy")
        || text.contains("\"MutatingAdmissionPolicy\"")
    {
        // Bindings make it forget which pods the policy is for.
        true => text
            .split("---\n")
            .next()
            .unwrap()
            .replace("admissionregistration.k8s.io/v1\n", "admissionregistration.k8s.io/v1alpha1\n"),
        false => text,
    };
    let copy = folder.path().join("policy.yaml");
    fs::write(&copy, text).unwrap();
    let output = Command::new(program)
        .args(["apply", "--remove-color"])
        .arg(&copy)
        .arg("--resource")
        .arg(self::folder().join("pods.yaml"))
        .arg("--values-file")
        .arg(self::folder().join("namespaces.yaml"))
        .current_dir(folder.path())
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
    let mut compared = 0;
    for (name, path) in corpus() {
        let policies = kic_redirect::policies(&objects(&path));
        let theirs = kyverno(&program, &path);
        for (pod_name, pod) in pods() {
            // Kyverno's program does not read Kyverno's configuration, which leaves this namespace alone.
            if pod.namespace == "kube-system" {
                continue;
            }
            compared += 1;
            let ours = ours(&policies, &pod);
            let theirs = theirs.get(&pod_name).cloned().unwrap_or_else(|| Ok(images(&pod)));
            let same = match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => ours == theirs,
                (Err(ours), Err(_)) => ours.starts_with("fails"),
                _ => false,
            };
            if !same {
                wrong.push(format!(
                    "{name} on {pod_name}\n kic:\n{} Kyverno:\n{}",
                    shown(&ours),
                    shown(&theirs)
                ));
            }
        }
    }
    assert!(compared > 300, "only {compared} were compared");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The types of Kubernetes and Kyverno have each field that `std:redirect` writes, in each version of the APIs that it writes.
#[test]
fn mutating_policies_are_read_into_the_types_of_their_apis() {
    let Some(check) = peer("policy-check") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let read = |path: &Path| Command::new(&check).arg(path).output().unwrap();
    for (engine, group, kinds) in [
        ("kyverno-mutating-policy", "policies.kyverno.io", &["MutatingPolicy"][..]),
        (
            "admission-policy",
            "admissionregistration.k8s.io",
            &["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"][..],
        ),
    ] {
        for version in ["v1", "v1beta1", "v1alpha1"] {
            let folder = scratch.path().join(engine).join(version);
            fs::create_dir_all(&folder).unwrap();
            let spec = format!(
                "cluster \"check\" version=\"v1\" {{\n    base \"scratch\"\n    \
                 use \"std:redirect\" to=\"sea.hub:5000\" engine=\"{engine}\" api-version=\"{version}\"\n}}\n"
            );
            fs::write(folder.join("cluster.kdl"), spec).unwrap();
            let kic = |arguments: &[&str]| {
                stdout(kic(&folder, &scratch.path().join("store")).args(arguments));
            };
            kic(&["compile", "--quiet", "--offline", "-o", "image"]);
            kic(&["unpack", "--quiet", "image", "root"]);
            let emitted = fs::read_dir(folder.join("root/policies/redirect")).unwrap();
            let mut emitted: Vec<PathBuf> = emitted.map(|entry| entry.unwrap().path()).collect();
            emitted.sort_by_key(|path| (path.to_str().unwrap().contains("binding"), path.clone()));
            assert_eq!(emitted.len(), kinds.len());
            for (path, kind) in emitted.iter().zip(kinds) {
                let output = read(path);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                let expected = format!("{group}/{version}, Kind={kind}\n");
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
                // A field of another name is seen, at every depth.
                let text = fs::read_to_string(path).unwrap();
                let fields =
                    text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':'));
                let fields = fields.map(|(field, _)| field.to_owned());
                let known = ["apiVersion", "kind", "name"];
                for field in fields.filter(|field| !known.contains(&field.as_str())) {
                    let wrong = folder.join("wrong.yaml");
                    fs::write(&wrong, text.replace(&format!("{field}:"), &format!("{field}s:"))).unwrap();
                    let output = read(&wrong);
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert!(!output.status.success() && said.contains("unknown field"), "{field}: {said}");
                }
            }
        }
    }
}
