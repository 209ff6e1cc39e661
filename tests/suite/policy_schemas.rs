//! That the API server takes what `std:redirect` emits, by its own code: Kyverno's policies by the definitions that Kyverno
//! ships, those of the API server by its own decoding, defaults and validation. And that it refuses what is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::kic::{kic, stdout};
use crate::support::peers::{peer, peer_file};
use crate::support::shared_data;

/// The definitions of the version of Kyverno that the suite runs, and of the oldest that is a Go module.
const DEFINITIONS: [&str; 2] = ["kyverno-v1.19.1.yaml", "kyverno-v1.13.4.yaml"];

/// The parameters of a policy of each form and version, and the kinds of its objects.
const POLICIES: [(&str, &[&str]); 8] = [
    (r#"engine="kyverno""#, &["kyverno.io/v1, Kind=ClusterPolicy"]),
    (r#"engine="kyverno" kyverno-version="v1.5.8""#, &["kyverno.io/v1, Kind=ClusterPolicy"]),
    (
        r#"engine="kyverno-mutating-policy" api-version="v1""#,
        &["policies.kyverno.io/v1, Kind=MutatingPolicy"],
    ),
    (
        r#"engine="kyverno-mutating-policy" api-version="v1beta1""#,
        &["policies.kyverno.io/v1beta1, Kind=MutatingPolicy"],
    ),
    (
        r#"engine="kyverno-mutating-policy" api-version="v1alpha1""#,
        &["policies.kyverno.io/v1alpha1, Kind=MutatingPolicy"],
    ),
    (
        r#"engine="admission-policy" api-version="v1""#,
        &[
            "admissionregistration.k8s.io/v1, Kind=MutatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1, Kind=MutatingAdmissionPolicyBinding",
        ],
    ),
    (
        r#"engine="admission-policy" api-version="v1beta1""#,
        &[
            "admissionregistration.k8s.io/v1beta1, Kind=MutatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1beta1, Kind=MutatingAdmissionPolicyBinding",
        ],
    ),
    (
        r#"engine="admission-policy" api-version="v1alpha1""#,
        &[
            "admissionregistration.k8s.io/v1alpha1, Kind=MutatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1alpha1, Kind=MutatingAdmissionPolicyBinding",
        ],
    ),
];

/// What `std:redirect` emits with these parameters: a file an object, a policy before its binding.
fn emitted(scratch: &Path, parameters: &str) -> Vec<PathBuf> {
    let folder = scratch.join(parameters.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
    if !folder.exists() {
        compile(scratch, &folder, parameters);
    }
    let files = fs::read_dir(folder.join("root/policies/redirect")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|path| (path.to_str().unwrap().contains("binding"), path.clone()));
    files
}

fn compile(scratch: &Path, folder: &Path, parameters: &str) {
    fs::create_dir_all(folder).unwrap();
    let spec = format!(
        "cluster \"check\" version=\"v1\" {{\n    base \"scratch\"\n    \
         use \"std:redirect\" to=\"sea.hub:5000\" {parameters} {{ leave-alone \"kube-system\" \"build\"; }}\n}}\n"
    );
    fs::write(folder.join("cluster.kdl"), spec).unwrap();
    for arguments in
        [&["compile", "--quiet", "--offline", "-o", "image"][..], &["unpack", "--quiet", "image", "root"]]
    {
        stdout(kic(folder, &scratch.join("store")).args(arguments));
    }
}

/// Judges files, by these definitions or by the API server itself: what is wrong with each, and nothing of those that pass,
/// whose kinds come second.
fn judge(definitions: Option<&Path>, files: &[PathBuf]) -> Option<(BTreeMap<PathBuf, String>, String)> {
    let mut command = match definitions {
        Some(definitions) => {
            let mut command = Command::new(peer("policy-check")?);
            command.arg(definitions);
            command
        }
        None => {
            let mut command = Command::new(peer("admission-policies")?);
            command.arg("check");
            command
        }
    };
    let output = command.args(files).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let mut wrong: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut at = None;
    for line in said.lines() {
        let line = line.strip_prefix("admission-policies: ").unwrap_or(line);
        let of = |file: &&PathBuf| {
            line.strip_prefix(file.to_str().unwrap()).is_some_and(|rest| rest.starts_with(": "))
        };
        at = files.iter().find(of).or(at);
        wrong.entry(at.unwrap_or_else(|| panic!("{said}")).clone()).or_default().push_str(line);
    }
    assert_eq!(output.status.success(), wrong.is_empty(), "{said}");
    Some((wrong, String::from_utf8(output.stdout).unwrap()))
}

fn is_kyvernos(parameters: &str) -> bool {
    parameters.contains("kyverno")
}

#[test]
fn the_api_server_takes_every_policy_that_is_emitted() {
    let Some(definitions) = DEFINITIONS.map(peer_file).into_iter().collect::<Option<Vec<_>>>() else {
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    for (parameters, kinds) in POLICIES {
        let files = emitted(scratch.path(), parameters);
        assert_eq!(files.len(), kinds.len(), "{parameters}");
        for (file, kind) in files.iter().zip(kinds) {
            let by: Vec<Option<&Path>> = match *kind {
                kind if kind.starts_with("kyverno.io/") => {
                    definitions.iter().map(|path| Some(&**path)).collect()
                }
                // 1.13 does not have these yet.
                kind if kind.starts_with("policies.kyverno.io/") => vec![Some(&definitions[0])],
                _ => vec![None],
            };
            for by in by {
                let Some((wrong, passed)) = judge(by, std::slice::from_ref(file)) else { return };
                assert!(wrong.is_empty(), "{parameters} by {by:?}: {wrong:?}");
                assert_eq!(passed, format!("{kind}\n"), "{parameters} by {by:?}");
            }
        }
    }
}

/// Each form is one that the Kyverno that it is for knows, by the definitions in the install manifests of those versions.
/// The newer form has a field that 1.5 does not have: that is why there are two.
#[test]
fn kyvernos_own_install_manifests_take_the_form_of_their_time() {
    let Some(data) = shared_data() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let old = emitted(scratch.path(), r#"engine="kyverno" kyverno-version="v1.5.8""#);
    let new = emitted(scratch.path(), r#"engine="kyverno" kyverno-version="v1.13.0""#);
    let (of_1_5, of_1_13) =
        (data.join("kyverno/install-v1.5.8.yaml"), data.join("kyverno/install-v1.13.0.yaml"));
    for (manifest, file) in [(&of_1_5, &old[0]), (&of_1_13, &old[0]), (&of_1_13, &new[0])] {
        let Some((wrong, _)) = judge(Some(manifest), std::slice::from_ref(file)) else { return };
        assert!(wrong.is_empty(), "{}: {wrong:?}", manifest.display());
    }
    let Some((wrong, _)) = judge(Some(&of_1_5), &new[..1]) else { return };
    let field = "unknown field: spec.rules[0].match.any[0].resources.operations";
    assert!(wrong.get(&new[0]).is_some_and(|said| said.contains(field)), "{wrong:?}");
}

/// One thing changed in what is emitted, and what the API server says to it.
const WRONG: [(&str, &str, &str, &str); 20] = [
    (r#"engine="kyverno""#, "\n      name: redirect-images", "", "spec.rules[0].name: Required value"),
    (r#"engine="kyverno""#, "      match:", "      matches:", "unknown field: spec.rules[0].matches"),
    (r#"engine="kyverno""#, "background: false", "background: sometimes", "spec.background: Invalid value"),
    (r#"engine="kyverno""#, "- UPDATE", "- CHANGE", "Unsupported value: \"CHANGE\""),
    (r#"engine="kyverno""#, "background: false", "failurePolicy: Maybe", "Unsupported value: \"Maybe\""),
    (r#"engine="kyverno""#, "background: false", "background: false\n  background: true", "already set"),
    (r#"engine="kyverno""#, "kyverno.io/v1", "kyverno.io/v9", "no definition serves it"),
    (
        r#"engine="kyverno""#,
        "name: redirect-images\nspec",
        "name: Redirect_Images\nspec",
        "metadata.name: Invalid value",
    ),
    (r#"engine="kyverno-mutating-policy""#, "Policy: Fail", "Policy: Maybe", "Unsupported value: \"Maybe\""),
    (
        r#"engine="kyverno-mutating-policy""#,
        "patchType: JSONPatch",
        "",
        "spec.mutations[0].patchType: Required value",
    ),
    (
        r#"engine="kyverno-mutating-policy""#,
        "operator: NotIn",
        "",
        "matchExpressions[0].operator: Required value",
    ),
    (r#"engine="kyverno-mutating-policy""#, "jsonPatch:", "patch:", "unknown field: spec.mutations[0].patch"),
    (
        r#"engine="admission-policy""#,
        "failurePolicy: Fail",
        "failurePolicy: Maybe",
        "Unsupported value: \"Maybe\"",
    ),
    (
        r#"engine="admission-policy""#,
        "reinvocationPolicy: IfNeeded",
        "",
        "spec.reinvocationPolicy: Required value",
    ),
    (r#"engine="admission-policy""#, "- UPDATE", "- DELETE", "Unsupported value: \"DELETE\""),
    (
        r#"engine="admission-policy""#,
        "operator: NotIn",
        "operator: Within",
        "\"Within\": not a valid selector operator",
    ),
    (
        r#"engine="admission-policy""#,
        "resourceRules:",
        "resources:",
        "unknown field \"spec.matchConstraints.resources\"",
    ),
    (r#"engine="admission-policy""#, "JSONPatch{op:", "JSONPatch{does:", "expected type of field 'does'"),
    (
        r#"engine="admission-policy""#,
        "c.image.contains(",
        "c.image.holds(",
        "undeclared reference to 'holds'",
    ),
    (
        r#"engine="admission-policy""#,
        "patchType: JSONPatch",
        "patchType: ApplyConfiguration",
        "spec.mutations[0]",
    ),
];

/// Broken policies: the file, what it is, and what is to be said to it.
type Broken = Vec<(PathBuf, String, String)>;

/// Where broken policies pass, or are refused with other words.
fn passed(definitions: Option<&Path>, broken: &Broken) -> Option<Vec<String>> {
    let files: Vec<PathBuf> = broken.iter().map(|(file, ..)| file.clone()).collect();
    let (wrong, _) = judge(definitions, &files)?;
    let passed = broken.iter().filter_map(|(file, what, expected)| {
        let said = wrong.get(file).map_or("it passes", String::as_str);
        (!said.contains(expected)).then(|| format!("{what} is to be refused by `{expected}`: {said}"))
    });
    Some(passed.collect())
}

/// Holds Kyverno's against its definitions, and the others against the API server; all are to be refused.
fn all_refused(kyvernos: &Broken, others: &Broken) {
    let Some(definitions) = peer_file(DEFINITIONS[0]) else { return };
    for (by, broken) in [(Some(&*definitions), kyvernos), (None, others)] {
        let Some(passed) = passed(by, broken) else { return };
        assert!(passed.is_empty(), "{}", passed.join("\n"));
    }
}

#[test]
fn the_api_server_refuses_what_is_wrong() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut kyvernos, mut others) = (Broken::new(), Broken::new());
    for (number, (parameters, right, wrong, expected)) in WRONG.into_iter().enumerate() {
        let text = fs::read_to_string(&emitted(scratch.path(), parameters)[0]).unwrap();
        assert!(text.contains(right), "{parameters} has no `{right}`");
        let file = scratch.path().join(format!("wrong-{number}.yaml"));
        fs::write(&file, text.replacen(right, wrong, 1)).unwrap();
        let what = format!("{parameters} with `{wrong}` for `{right}`");
        let of = if is_kyvernos(parameters) { &mut kyvernos } else { &mut others };
        of.push((file, what, expected.to_owned()));
    }
    all_refused(&kyvernos, &others);
}

/// A field of another name is seen, at every depth, in every form and version.
#[test]
fn the_api_server_refuses_fields_that_it_does_not_know() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut kyvernos, mut others) = (Broken::new(), Broken::new());
    for (parameters, _) in POLICIES {
        for file in emitted(scratch.path(), parameters) {
            let text = fs::read_to_string(&file).unwrap();
            // What names the object is missed by other words. Free are keys of annotations, what Kyverno merges into a pod,
            // and the preconditions of the form of 1.5, which have no schema.
            let mut free = vec!["apiVersion", "kind", "name", "pod-policies.kyverno.io/autogen-controllers"];
            if text.contains("kind: ClusterPolicy") {
                free.extend(["spec", "image", "containers", "initContainers", "ephemeralContainers"]);
            }
            if text.contains("preconditions:") {
                free.extend(["all", "key", "operator", "value"]);
            }
            let fields = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).split_once(':'));
            for field in fields.map(|(field, _)| field).filter(|field| !free.contains(field)) {
                let of = if is_kyvernos(parameters) { &mut kyvernos } else { &mut others };
                let file =
                    scratch.path().join(format!("unknown-{}-{}.yaml", is_kyvernos(parameters), of.len()));
                fs::write(&file, text.replace(&format!("{field}:"), &format!("{field}s:"))).unwrap();
                of.push((file, format!("{parameters} with `{field}s`"), "unknown field".to_owned()));
            }
        }
    }
    assert!(kyvernos.len() > 60 && others.len() > 40, "{} and {}", kyvernos.len(), others.len());
    all_refused(&kyvernos, &others);
}
