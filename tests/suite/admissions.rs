//! What policies made of pods in the run before is what they would make of them now.

use std::fs;

use crate::support::kic::{kic, shown, stdout};
use crate::support::random::Random;
use crate::support::{repeats, root};

/// A spec whose policies make other names of images, at random.
fn redirected(random: &mut Random) -> String {
    let engine = ["kyverno", "kyverno-mutating-policy", "admission-policy", "containerd"]
        [usize::try_from(random.below(4)).unwrap()];
    let alone =
        if engine != "containerd" && random.below(2) == 0 { " { leave-alone \"left\"; }" } else { "" };
    let other = if random.below(3) == 0 { "    policies \"other\" { file \"other.yaml\"; }\n" } else { "" };
    let image = |name: &str| format!("        image \"oci:image\" as=\"{name}\"\n");
    let images = [image("docker.io/library/a:v1"), image("ghcr.io/x/b:v1")].concat();
    let images = if random.below(3) == 0 { image("docker.io/library/a:v1") } else { images };
    let base = if random.below(2) == 0 { "\"oci:base\"" } else { "scratch" };
    format!(
        "cluster \"c\" {{\n    base {base}\n    use \"std:redirect\" to=\"sea.hub:5000\" engine=\"{engine}\"{alone}\n{other}    \
         registry \"sea.hub:5000\" {{\n{images}    }}\n    manifests \"m\" {{ file \"m\"; }}\n}}\n"
    )
}

/// A base with manifests and a cache of its own, and, at random, a policy.
fn base(random: &mut Random) -> String {
    let other = if random.below(2) == 0 { "policies \"other\" { file \"other.yaml\"; }" } else { "" };
    let image = |name: &str| format!("        image \"oci:image\" as=\"{name}\"\n");
    let more = if random.below(2) == 0 { image("ghcr.io/x/b:v1") } else { String::new() };
    let images = image("docker.io/library/a:v1") + &more;
    format!(
        "cluster \"b\" {{\n    base scratch\n    registry \"sea.hub:5000\" {{\n{images}    }}\n    \
         manifests \"b\" {{ file \"b\"; }}\n    {other}\n}}\n"
    )
}

/// What makes a pod, or leaves open which image it has, at random.
fn pod(number: u64, random: &mut Random) -> String {
    let mut one_of =
        |words: &[&str]| words[usize::try_from(random.below(words.len() as u64)).unwrap()].to_owned();
    let namespace = one_of(&["shop", "left", "kube-system"]);
    if number == 4 {
        let version = one_of(&["2.50.1", "2.51.0"]);
        let kind = one_of(&["Kept", "Other"]);
        return format!(
            "apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{ name: k, namespace: {namespace} }}\nspec: {{ version: {version} }}\n"
        );
    }
    let image =
        |one_of: &mut dyn FnMut(&[&str]) -> String| one_of(&["a:v1", "ghcr.io/x/b:v1", "sea.hub:5000/a:v1"]);
    let containers: String = (0..=number % 2)
        .map(|place| {
            let (image, pull) = (image(&mut one_of), one_of(&["Always", "IfNotPresent", "Never"]));
            format!("        - {{ name: c{place}, image: \"{image}\", imagePullPolicy: {pull} }}\n")
        })
        .collect();
    let label = one_of(&["x", "y"]);
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: d{number}, namespace: {namespace} }}\nspec:\n  template:\n    \
         metadata: {{ labels: {{ app: {label} }} }}\n    spec:\n      containers:\n{containers}"
    )
}

#[test]
fn what_policies_made_of_pods_before_leads_nothing_astray() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    ["m", "b"].iter().for_each(|folder| fs::create_dir(path(folder)).unwrap());
    fs::write(path("image.kdl"), "cluster \"i\" { base scratch; label \"a\" \"b\"; }").unwrap();
    stdout(kic(folder.path(), &path("images")).args(["compile", "-q", "image.kdl", "-o", "image"]));
    // A policy of the corpus that makes other names.
    fs::copy(root().join("tests/redirect/policies/prefix.yaml"), path("other.yaml")).unwrap();
    let mut random = repeats::chance(11);
    let (mut good, mut bad, mut bases) = (0, 0, 0);
    for round in 0..repeats::rounds(30) {
        // What is wrong with a base ends its own compile, and the one before stays.
        if round % 3 == 0 {
            fs::write(path("base.kdl"), base(&mut random)).unwrap();
            for number in 0..3 {
                fs::write(path(&format!("b/{number}.yaml")), pod(number, &mut random)).unwrap();
            }
            let mut command = kic(folder.path(), &path("images"));
            let base = command.args(["compile", "-q", "base.kdl", "-o", "base"]).output().unwrap();
            bases += usize::from(base.status.success());
        }
        if round % 2 == 0 {
            fs::write(path("cluster.kdl"), redirected(&mut random)).unwrap();
        }
        for number in 0..6 {
            let manifest = path(&format!("m/{number}.yaml"));
            match random.below(6) {
                _ if round == 0 => fs::write(manifest, pod(number, &mut random)).unwrap(),
                0 => fs::write(manifest, pod(number, &mut random)).unwrap(),
                // It says the same, further down.
                1 => {
                    let text = fs::read_to_string(&manifest).unwrap();
                    fs::write(manifest, format!("# {round}\n{text}")).unwrap();
                }
                _ => {}
            }
        }
        drop(fs::remove_dir_all(path("cold")));
        let compile = |store: &str| {
            let mut command = kic(folder.path(), &path(store));
            command.args(["compile", "--quiet", "--offline", "--no-output"]).output().unwrap()
        };
        let (cold, warm, again) = (compile("cold"), compile("warm"), compile("warm"));
        for warm in [&warm, &again] {
            assert_eq!(shown(warm), shown(&cold), "round {round}");
        }
        if cold.status.success() { good += 1 } else { bad += 1 }
    }
    assert!(good > 2 && bad > 2, "{good} good and {bad} bad compiles are too few of one kind");
    assert!(bases > 1, "{bases} bases are too few");
}
