//! That the engines themselves make of pods what kic says, in every operation: the API server's admission plugin, and the
//! handlers of Kyverno's webhooks with Kyverno's own settings.

use std::fs;
use std::path::Path;

use kic_redirect::{Operation, Policy, kyverno_leaves_alone};

use crate::support::peers::peer;
use crate::support::redirected::{
    OPERATIONS, corpus, differences, folder, is_of_the_api_server, objects, ours, pods, theirs,
};
use crate::support::shared_data;

/// The versions of the API of `MutatingAdmissionPolicy`.
const VERSIONS: [&str; 3] = ["v1", "v1beta1", "v1alpha1"];

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_api_server_makes_of_pods_what_kic_says() {
    let Some(program) = peer("admission-policies") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut policies_seen = 0;
    for (name, path) in corpus().into_iter().filter(|(_, path)| is_of_the_api_server(path)) {
        policies_seen += 1;
        for version in VERSIONS {
            let copy = scratch.path().join(format!("{name}-{version}.yaml"));
            let of_version = |line: &str| match line.split_once("admissionregistration.k8s.io/") {
                Some((before, _)) => format!("{before}admissionregistration.k8s.io/{version}\n"),
                None => format!("{line}\n"),
            };
            let content = fs::read_to_string(&path).unwrap();
            fs::write(&copy, content.lines().map(of_version).collect::<String>()).unwrap();
            let policies = kic_redirect::policies(&objects(&copy));
            for (operation, named, subresource) in OPERATIONS {
                let (pods, namespaces) = (folder().join("pods.yaml"), folder().join("namespaces.yaml"));
                let theirs = theirs(
                    &program,
                    &["apply", &text(&copy), &text(&pods), &text(&namespaces), named, subresource],
                );
                wrong.extend(differences(&format!("{name} {version}"), &policies, operation, &theirs));
            }
        }
    }
    assert!(policies_seen >= 3, "the corpus has only {policies_seen} policies of the API server");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the handlers of Kyverno's webhooks make of the pods, against what kic says with these settings.
fn held_against_kyverno(
    program: &Path,
    (name, path): &(String, std::path::PathBuf),
    settings: Option<&Path>,
    wrong: &mut Vec<String>,
) {
    let mut policies = kic_redirect::policies(&objects(path));
    match settings {
        Some(manifest) => policies.extend(kic_redirect::policies(&objects(manifest))),
        None => policies.push(Policy::settings("", None, policies[0].span.clone())),
    }
    for (operation, named, subresource) in OPERATIONS {
        let (pods, namespaces) = (folder().join("pods.yaml"), folder().join("namespaces.yaml"));
        let mut arguments =
            vec![text(path), text(&pods), text(&namespaces), named.to_owned(), subresource.to_owned()];
        arguments.extend(settings.map(text));
        let theirs = theirs(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        wrong.extend(differences(name, &policies, operation, &theirs));
    }
}

fn of_kyverno() -> Vec<(String, std::path::PathBuf)> {
    corpus().into_iter().filter(|(_, path)| !is_of_the_api_server(path)).collect()
}

#[test]
fn the_webhooks_of_kyverno_make_of_pods_what_kic_says() {
    let Some(program) = peer("kyverno-admission") else { return };
    let mut wrong = Vec::new();
    for policy in of_kyverno() {
        held_against_kyverno(&program, &policy, None, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Policies that leave no namespace alone by themselves.
fn of_all_namespaces() -> Vec<(String, std::path::PathBuf)> {
    let policies: Vec<_> = of_kyverno()
        .into_iter()
        .filter(|(name, _)| matches!(&**name, "prefix" | "mutating-policy"))
        .collect();
    assert_eq!(policies.len(), 2);
    policies
}

#[test]
fn the_settings_of_kyvernos_install_manifests_leave_alone_what_kic_says() {
    let (Some(program), Some(data)) = (peer("kyverno-admission"), shared_data()) else { return };
    let mut wrong = Vec::new();
    for manifest in ["install-v1.5.8.yaml", "install-v1.13.0.yaml"] {
        let manifest = data.join("kyverno").join(manifest);
        let settings = kic_redirect::policies(&objects(&manifest));
        let settings: Vec<&Policy> = settings.iter().collect();
        for policy in of_all_namespaces() {
            held_against_kyverno(&program, &policy, Some(&manifest), &mut wrong);
        }
        // Where a spec has no settings of Kyverno's, kic takes those of these manifests.
        for (name, pod) in pods() {
            let set = kyverno_leaves_alone(&settings, &pod, Operation::Create).is_some();
            let default = kyverno_leaves_alone(&[], &pod, Operation::Create).is_some();
            assert_eq!(set, default, "{} and the defaults differ on {name}", manifest.display());
            assert_eq!(set, matches!(&*pod.namespace, "kube-system" | "kyverno"), "{name}");
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn filters_leave_alone_what_kyverno_leaves_alone() {
    let Some(program) = peer("kyverno-admission") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let policy = of_all_namespaces().into_iter().find(|(name, _)| name == "prefix").unwrap();
    let given = fs::read_to_string(folder().join("filters.txt")).unwrap();
    let filters: Vec<&str> =
        given.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(filters.len() >= 15);
    let mut wrong = Vec::new();
    let mut left_alone = 0;
    for filter in filters {
        let manifest = scratch.path().join("settings.yaml");
        fs::write(
            &manifest,
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kyverno\n  namespace: kyverno\n\
                 data:\n  resourceFilters: '{filter}'\n"
            ),
        )
        .unwrap();
        let titled = (format!("filter {filter}"), policy.1.clone());
        held_against_kyverno(&program, &titled, Some(&manifest), &mut wrong);
        let mut policies = kic_redirect::policies(&objects(&policy.1));
        let without = policies.clone();
        policies.extend(kic_redirect::policies(&objects(&manifest)));
        left_alone += pods()
            .iter()
            .filter(|(_, pod)| {
                ours(&policies, pod, Operation::Create) != ours(&without, pod, Operation::Create)
            })
            .count();
    }
    assert!(left_alone > 0);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
